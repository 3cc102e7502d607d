/* Where `millrace score` computes, and the buffers of one batch. */
#include <stdlib.h>
#include <string.h>

#include "cli/score.h"
#include "registry.h"

#define ARENA_BYTES (2u << 20)

static mr_status backend_open(struct score *score, struct mr_err *err)
{
    const char *const text = score->options->backend, *const colon = strchr(text, ':');
    char name[32];
    snprintf(name, sizeof name, "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
    score->backend_ops = mr_backend_find(strcmp(name, "auto") != 0 ? name : "cpu");
    if (!score->backend_ops)
        return mr_fail(err, MR_EUSAGE, "--backend: no backend \"%s\"; `millrace backends` lists what there is", name);
    mr_status status = score->backend_ops->open(colon ? colon + 1 : NULL, &score->backend, err);
    if (status) return status;
    status = mr_plan_model(score->backend_ops, score->backend, score->job_model.ops, score->model, SCORE_ROW_CAP,
                           score->layout->want[0], &score->plan, err);
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
    score->box = (struct mr_outbox){.record = calloc(SCORE_RECORD_CAP, sizeof(struct mr_record)),
                                    .record_cap = SCORE_RECORD_CAP,
                                    .arena = malloc(ARENA_BYTES),
                                    .arena_cap = ARENA_BYTES};
    const bool is_whole = score->rows.x && score->rows.capture && score->rows.message && score->rows.reject &&
                          score->scores.y && score->scores.class_index && score->box.record && score->box.arena;
    return is_whole ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

mr_status mr_score_machine_open(struct score *score, struct mr_err *err)
{
    const mr_status status = backend_open(score, err);
    return status ? status : buffers_create(score, err);
}

void mr_score_machine_close(struct score *score)
{
    const struct mr_backend_ops *const ops = score->backend_ops;
    if (score->rows.x) ops->slab_release(score->backend, score->rows.x, tiles_bytes(score->rows.feature_count));
    if (score->scores.y) ops->slab_release(score->backend, score->scores.y, tiles_bytes(score->scores.width));
    if (score->scores.class_index)
        ops->slab_release(score->backend, score->scores.class_index, SCORE_ROW_CAP * sizeof(int32_t));
    free(score->rows.capture);
    free(score->rows.message);
    free(score->rows.reject);
    free(score->box.record);
    free(score->box.arena);
    if (score->queue) ops->queue_close(score->queue);
    if (score->plan) ops->plan_destroy(score->plan);
    if (score->backend) ops->close(score->backend);
}
