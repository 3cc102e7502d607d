/* Where `millrace score` computes, and the buffers of one batch. */
#include <stdlib.h>
#include <string.h>

#include "backend/named.h"
#include "cli/score.h"

#define ARENA_BYTES (2u << 20)

static mr_status backend_open(struct score *score, struct mr_err *err)
{
    mr_status status = mr_backend_open_named(score->options->backend, &score->backend_ops, &score->backend, err);
    if (status) return status;
    const void *params;
    const mr_op op = score->job_model.ops->op(score->model, &params);
    const bool is_reduced = score->at_work.reduced.name;
    unsigned want = score->layout->want[0];
    if (is_reduced || score->options->expect) want |= MR_WANT_Y | (score->info->is_classifier ? MR_WANT_CLASS : 0);
    status = mr_plan_model(score->backend_ops, score->backend, score->job_model.ops, score->model, SCORE_ROW_CAP, want,
                           &score->plan, err);
    if (!status && is_reduced)
        status =
            score->backend_ops->plan_create(score->backend, op, params, SCORE_ROW_CAP, want, &score->exact_plan, err);
    return status ? status : score->backend_ops->queue_open(score->backend, &score->queue, err);
}

/* Slabs from the backend, zeroed. */
static void *slab(struct score *score, size_t bytes)
{
    return score->backend_ops->slab_acquire(score->backend, bytes);
}

static size_t tiles_bytes(size_t cols)
{
    return SCORE_ROW_CAP * cols * sizeof(float);
}

static mr_status buffers_create(struct score *score, struct mr_err *err)
{
    const struct mr_schema *const schema = &score->layout->schema;
    _Static_assert(SCORE_ROW_CAP % MR_TILE_ROWS == 0, "whole tiles");
    score->rows = (struct mr_rows){.x = slab(score, tiles_bytes(schema->feature_count)),
                                   .capture = calloc(SCORE_ROW_CAP * schema->capture_count + 1, sizeof(struct mr_span)),
                                   .message = calloc(SCORE_ROW_CAP, sizeof(uint32_t)),
                                   .reject = calloc(2 * SCORE_ROW_CAP, sizeof(struct mr_reject)),
                                   .feature_count = schema->feature_count,
                                   .capture_count = schema->capture_count,
                                   .row_cap = SCORE_ROW_CAP};
    score->scores = (struct mr_scores){.y = slab(score, tiles_bytes(score->info->width)),
                                       .class_index = slab(score, SCORE_ROW_CAP * sizeof(int32_t)),
                                       .width = score->info->width,
                                       .row_cap = SCORE_ROW_CAP};
    if (score->exact_plan)
        score->exact = (struct mr_scores){.y = slab(score, tiles_bytes(score->info->width)),
                                          .class_index = slab(score, SCORE_ROW_CAP * sizeof(int32_t)),
                                          .width = score->info->width,
                                          .row_cap = SCORE_ROW_CAP};
    score->box = (struct mr_outbox){.record = calloc(SCORE_RECORD_CAP, sizeof(struct mr_record)),
                                    .record_cap = SCORE_RECORD_CAP,
                                    .arena = malloc(ARENA_BYTES),
                                    .arena_cap = ARENA_BYTES};
    const bool has_exact = !score->exact_plan || (score->exact.y && score->exact.class_index);
    const bool is_whole = has_exact && score->rows.x && score->rows.capture && score->rows.message &&
                          score->rows.reject && score->scores.y && score->scores.class_index && score->box.record &&
                          score->box.arena;
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_score_machine_open(struct score *score, struct mr_err *err)
{
    const mr_status status = backend_open(score, err);
    return status ? status : buffers_create(score, err);
}

static mr_status plan_run(struct score *score, const struct mr_plan *plan, size_t rows, struct mr_scores *scores,
                          struct mr_err *err)
{
    const mr_status status = score->backend_ops->score(score->queue, plan, score->rows.x, rows, scores, err);
    return status ? status : score->backend_ops->wait(score->queue, err);
}

mr_status mr_score_rows(struct score *score, struct mr_err *err)
{
    struct mr_model_at_work *const model = &score->at_work;
    const size_t rows = score->rows.row_count, count = rows < MR_PRECISION_ROWS ? rows : MR_PRECISION_ROWS;
    const bool is_refused = score->exact_plan && !mr_model_is_reduced(model);
    size_t classes;
    mr_status status = plan_run(score, is_refused ? score->exact_plan : score->plan, rows, &score->scores, err);
    if (status || !mr_model_is_reduced(model) || atomic_load(&model->precision.rows) >= MR_PRECISION_ROWS)
        return status;
    status = plan_run(score, score->exact_plan, count, &score->exact, err);
    if (status) return status;
    const double error = mr_precision_error(score->info, &score->scores, &score->exact, count, &classes);
    if (mr_precision_note(&score->models, model, count, error, classes))
        status = plan_run(score, score->exact_plan, rows, &score->scores, err);
    return status;
}

void mr_score_machine_close(struct score *score)
{
    const struct mr_backend_ops *const ops = score->backend_ops;
    if (score->rows.x) ops->slab_release(score->backend, score->rows.x, tiles_bytes(score->rows.feature_count));
    if (score->scores.y) ops->slab_release(score->backend, score->scores.y, tiles_bytes(score->scores.width));
    if (score->scores.class_index)
        ops->slab_release(score->backend, score->scores.class_index, SCORE_ROW_CAP * sizeof(int32_t));
    if (score->exact.y) ops->slab_release(score->backend, score->exact.y, tiles_bytes(score->exact.width));
    if (score->exact.class_index)
        ops->slab_release(score->backend, score->exact.class_index, SCORE_ROW_CAP * sizeof(int32_t));
    free(score->rows.capture);
    free(score->rows.message);
    free(score->rows.reject);
    free(score->box.record);
    free(score->box.arena);
    if (score->queue) ops->queue_close(score->queue);
    if (score->plan) ops->plan_destroy(score->plan);
    if (score->exact_plan) ops->plan_destroy(score->exact_plan);
    if (score->backend) ops->close(score->backend);
}
