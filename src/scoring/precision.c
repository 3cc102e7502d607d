#include "scoring/precision.h"

#include <math.h>
#include <stdlib.h>

#include "backend/measure.h"
#include "base/log.h"
#include "scoring/cross_check.h"

static bool scores_make(struct mr_scores *scores, const struct mr_model_info *info)
{
    _Static_assert(MR_PRECISION_ROWS % MR_TILE_ROWS == 0, "whole tiles");
    *scores = (struct mr_scores){.width = info->width, .row_cap = MR_PRECISION_ROWS};
    scores->y = aligned_alloc(MR_ALIGN, MR_PRECISION_ROWS * info->width * sizeof(float));
    if (info->is_classifier) scores->class_index = aligned_alloc(MR_ALIGN, MR_PRECISION_ROWS * sizeof(int32_t));
    return scores->y && (scores->class_index || !info->is_classifier);
}

mr_status mr_precision_init(struct mr_precision *precision, struct mr_models *models, struct mr_err *err)
{
    *precision = (struct mr_precision){.models = models};
    bool is_asked = false, is_whole = true;
    for (size_t i = 0; i < models->count; i++) is_asked |= models->item[i].reduced.name != NULL;
    if (!is_asked) return MR_OK;
    is_whole = (precision->scores = calloc(models->count, sizeof *precision->scores));
    for (size_t i = 0; i < models->count && is_whole; i++) {
        if (models->item[i].reduced.name) is_whole = scores_make(&precision->scores[i], models->info[i]);
    }
    if (is_whole) return MR_OK;
    mr_precision_deinit(precision);
    return mr_fail(err, MR_ENOMEM, "no memory for the scores that a precision is compared with");
}

void mr_precision_deinit(struct mr_precision *precision)
{
    for (size_t i = 0; precision->scores && i < precision->models->count; i++) {
        free(precision->scores[i].y);
        free(precision->scores[i].class_index);
    }
    free(precision->scores);
    *precision = (struct mr_precision){0};
}

double mr_precision_error(const struct mr_model_info *info, const struct mr_scores *scores,
                          const struct mr_scores *exact, size_t rows, size_t *classes_out)
{
    *classes_out = 0;
    for (size_t row = 0; row < rows && info->is_classifier; row++)
        *classes_out += scores->class_index[row] != exact->class_index[row];
    if (!info->is_classifier || info->has_no_probability) return mr_scores_error(info, scores, exact, rows);
    double error = 0;
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = 0; o < info->width; o++) {
            const size_t at = mr_tile_at(row, o, info->width);
            const double got = (double)scores->y[at], want = (double)exact->y[at];
            if (got == want || (isnan(got) && isnan(want))) continue;
            error = fmax(error, isfinite(got - want) ? fabs(got - want) : (double)INFINITY);
        }
    }
    return error;
}

bool mr_precision_note(struct mr_models *models, struct mr_model_at_work *model, size_t rows, double error,
                       size_t classes)
{
    struct mr_precision_stats *const stats = &model->precision;
    const struct mr_reduced *const reduced = &model->reduced;
    const uint64_t before = atomic_fetch_add(&stats->rows, rows), now = before + rows;
    double most = atomic_load(&stats->error_max);
    atomic_fetch_add(&stats->classes, classes);
    while (error > most && !atomic_compare_exchange_weak(&stats->error_max, &most, error)) {
    }
    if (error <= reduced->tolerance) {
        if (!before || (before < MR_PRECISION_ROWS && now >= MR_PRECISION_ROWS))
            mr_log(MR_LOG_INFO, "precision",
                   "\"%s\" in %s: off by at most %.3g of float32 over %llu rows, %llu classes differ (tolerance %g)",
                   model->job->name, reduced->name, atomic_load(&stats->error_max), (unsigned long long)now,
                   (unsigned long long)atomic_load(&stats->classes), reduced->tolerance);
        return false;
    }
    if (!atomic_exchange(&stats->is_refused, true)) {
        atomic_fetch_add(&models->refused, 1);
        mr_log(MR_LOG_ERROR, "precision",
               "\"%s\": %s is refused: off by %.3g of float32, more than precision_tolerance %g: going on in float32",
               model->job->name, reduced->name, error, reduced->tolerance);
    }
    return true;
}

/* Compares one model's scores of the first rows. */
static mr_status model_check(struct mr_precision *precision, size_t i, struct mr_queues *queues,
                             const struct mr_rows *rows, const struct mr_scores *scores, struct mr_err *err)
{
    struct mr_models *const models = precision->models;
    const size_t count = rows->row_count < MR_PRECISION_ROWS ? rows->row_count : MR_PRECISION_ROWS;
    const mr_status status = mr_model_score_exact(models, queues, i, rows, count, scores, &precision->scores[i], err);
    size_t classes;
    if (status) return status;
    const double error = mr_precision_error(models->info[i], &scores[i], &precision->scores[i], count, &classes);
    mr_precision_note(models, &models->item[i], count, error, classes);
    return MR_OK;
}

mr_status mr_precision_batch(struct mr_precision *precision, struct mr_queues *queues, const struct mr_rows *rows,
                             struct mr_scores *scores, struct mr_err *err)
{
    struct mr_models *const models = precision->models;
    mr_status status = MR_OK;
    if (!precision->scores || !rows->row_count) return MR_OK;
    for (size_t i = 0; i < models->count && !status; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        if (mr_model_is_reduced(model) && model->plans.reduced[queues->unit] && model->want &&
            atomic_load(&model->precision.rows) < MR_PRECISION_ROWS)
            status = model_check(precision, i, queues, rows, scores, err);
    }
    while (!status && queues->refused != atomic_load(&models->refused)) {
        status = mr_models_score(models, queues, rows, scores, err);
        if (!status) status = mr_models_wait(models, queues, rows, scores, err);
    }
    return status;
}

mr_status mr_precision_try(const struct mr_backend_ops *ops, struct mr_backend *backend,
                           const struct mr_model_ops *model_ops, const struct mr_model *model, double *error_out,
                           struct mr_err *err)
{
    const struct mr_model_info *const info = model_ops->info(model);
    struct mr_rows rows = {.feature_count = info->feature_count, .row_cap = MR_PRECISION_ROWS};
    struct mr_scores scores[2] = {{0}};
    struct mr_plan *plan[2] = {NULL, NULL};
    struct mr_queue *queue = NULL;
    const unsigned want = MR_WANT_Y | (info->is_classifier ? MR_WANT_CLASS : 0);
    const void *params;
    const mr_op op = model_ops->op(model, &params);
    size_t classes;
    rows.x = aligned_alloc(MR_ALIGN, MR_PRECISION_ROWS * info->feature_count * sizeof(float));
    mr_status status = rows.x && scores_make(&scores[0], info) && scores_make(&scores[1], info)
                           ? ops->queue_open(backend, &queue, err)
                           : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_plan_model(ops, backend, model_ops, model, MR_PRECISION_ROWS, want, &plan[0], err);
    if (!status) status = ops->plan_create(backend, op, params, MR_PRECISION_ROWS, want, &plan[1], err);
    if (!status) mr_measure_rows(model_ops, model, &rows);
    for (size_t i = 0; i < 2 && !status; i++) {
        status = ops->score(queue, plan[i], rows.x, MR_PRECISION_ROWS, &scores[i], err);
        if (!status) status = ops->wait(queue, err);
    }
    if (!status) *error_out = mr_precision_error(info, &scores[0], &scores[1], MR_PRECISION_ROWS, &classes);
    for (size_t i = 0; i < 2; i++) {
        if (plan[i]) ops->plan_destroy(plan[i]);
        free(scores[i].y);
        free(scores[i].class_index);
    }
    ops->queue_close(queue);
    free(rows.x);
    return status;
}
