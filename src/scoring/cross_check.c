#include "scoring/cross_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scoring/precision.h"

static size_t y_bytes(const struct mr_scores *scores)
{
    return mr_tile_count(scores->row_cap) * MR_TILE_ROWS * scores->width * sizeof(float);
}

static size_t class_bytes(const struct mr_scores *scores)
{
    return mr_tile_count(scores->row_cap) * MR_TILE_ROWS * sizeof(int32_t);
}

mr_status mr_cross_check_init(struct mr_cross_check *check, struct mr_models *models, struct mr_check_stats *stats,
                              double share, double tolerance, size_t row_cap, struct mr_err *err)
{
    *check = (struct mr_cross_check){
        .share = share, .tolerance = tolerance, .due = 1, .models = models, .stats = stats, .row_cap = row_cap};
    if (!(share > 0)) return MR_OK;
    bool is_whole = (check->scores = calloc(models->count, sizeof *check->scores));
    for (size_t i = 0; i < models->count && is_whole; i++) {
        struct mr_scores *const scores = &check->scores[i];
        *scores = (struct mr_scores){.width = models->info[i]->width, .row_cap = row_cap};
        scores->y = aligned_alloc(MR_ALIGN, y_bytes(scores));
        if (models->info[i]->is_classifier) scores->class_index = aligned_alloc(MR_ALIGN, class_bytes(scores));
        if (models->info[i]->item_count) scores->item = aligned_alloc(MR_ALIGN, y_bytes(scores));
        is_whole = scores->y && (scores->class_index || !models->info[i]->is_classifier) &&
                   (scores->item || !models->info[i]->item_count);
    }
    if (is_whole) return MR_OK;
    mr_cross_check_deinit(check);
    return mr_fail(err, MR_ENOMEM, "no memory for the scores of a cross-check: lower batch.records_max");
}

void mr_cross_check_deinit(struct mr_cross_check *check)
{
    for (size_t i = 0; check->scores && i < check->models->count; i++) {
        free(check->scores[i].y);
        free(check->scores[i].class_index);
        free(check->scores[i].item);
    }
    free(check->scores);
    *check = (struct mr_cross_check){0};
}

static double difference(double got, double want)
{
    if (isnan(got) && isnan(want)) return 0;
    if (got == want) return 0; /* also the same infinity */
    const double error = fabs(got - want);
    return isnan(error) ? INFINITY : error;
}

/* One output of all rows. */
static double column_error(const struct mr_scores *scores, const struct mr_scores *reference, size_t col, size_t rows)
{
    double error = 0, scale = 0;
    for (size_t row = 0; row < rows; row++) {
        const size_t at = mr_tile_at(row, col, scores->width);
        const double here = difference(scores->y[at], reference->y[at]), size = fabs(reference->y[at]);
        if (here > error) error = here;
        if (isfinite(size) && size > scale) scale = size;
    }
    return error > 0 && scale > 0 ? error / scale : error;
}

/* How far the reference prefers its class of a row over the other. */
static double class_error(const struct mr_model_info *info, const struct mr_scores *scores,
                          const struct mr_scores *reference, size_t row)
{
    const int32_t got = scores->class_index[row], want = reference->class_index[row];
    if (got == want || info->has_no_probability) return 0; /* their y tells: the distance to the centre */
    if (got < 0 || (size_t)got >= info->class_count) return INFINITY;
    if (info->width == 1 && info->is_logit) return fabs(reference->y[mr_tile_at(row, 0, 1)]);
    if (info->width == 1) return 2 * fabs(reference->y[mr_tile_at(row, 0, 1)] - 0.5);
    return difference(reference->y[mr_tile_at(row, (size_t)want, info->width)],
                      reference->y[mr_tile_at(row, (size_t)got, info->width)]);
}

double mr_scores_error(const struct mr_model_info *info, const struct mr_scores *scores,
                       const struct mr_scores *reference, size_t rows)
{
    double error = 0;
    for (size_t col = 0; col < info->width; col++) error = fmax(error, column_error(scores, reference, col, rows));
    for (size_t row = 0; row < rows && info->is_classifier; row++)
        error = fmax(error, class_error(info, scores, reference, row));
    return error;
}

static void error_note(struct mr_check_stats *stats, size_t rows, double error)
{
    double most = atomic_load(&stats->error_max);
    atomic_fetch_add_explicit(&stats->batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->rows, rows, memory_order_relaxed);
    while (error > most && !atomic_compare_exchange_weak(&stats->error_max, &most, error)) {
    }
}

static void scores_copy(struct mr_scores *into, const struct mr_scores *from, size_t rows)
{
    const size_t whole = mr_tile_count(rows) * MR_TILE_ROWS;
    memcpy(into->y, from->y, whole * from->width * sizeof *from->y);
    if (from->item) memcpy(into->item, from->item, whole * from->width * sizeof *from->item);
    if (from->class_index) memcpy(into->class_index, from->class_index, whole * sizeof *from->class_index);
}

/* Whether what a model reads comes from fewer bits: the reference has read something else then. */
static bool reads_reduced(const struct mr_models *models, size_t i)
{
    while ((i = models->item[i].input) != MR_NO_MODEL) {
        if (mr_model_is_reduced(&models->item[i])) return true;
    }
    return false;
}

/* One model's error; wrong: past what it may be. With fewer bits it is the precision that is refused then. */
static double model_check(struct mr_cross_check *check, size_t i, const struct mr_scores *scores, size_t rows,
                          bool *is_wrong_out, bool *is_refused_out)
{
    struct mr_model_at_work *const model = &check->models->item[i];
    size_t classes;
    *is_refused_out = false;
    if (mr_model_is_reduced(model)) {
        const double error = mr_precision_error(model->info, &scores[i], &check->scores[i], rows, &classes);
        *is_wrong_out = *is_refused_out = mr_precision_note(check->models, model, rows, error, classes);
        return error;
    }
    const double error = mr_scores_error(model->info, &scores[i], &check->scores[i], rows);
    *is_wrong_out = error > check->tolerance && !reads_reduced(check->models, i);
    return error;
}

mr_status mr_cross_check_batch(struct mr_cross_check *check, struct mr_queues *queues, const struct mr_rows *rows,
                               struct mr_scores *scores, struct mr_err *err)
{
    struct mr_models *const models = check->models;
    double worst = 0, worst_of_unit = 0;
    size_t worst_model = 0;
    bool is_any_wrong = false;

    if (!(check->share > 0) || !rows->row_count || queues->unit == models->units->reference) return MR_OK;
    if (check->due < 1) {
        check->due += check->share;
        return MR_OK;
    }
    check->due += check->share - 1;
    const mr_status status = mr_models_score_on(models, queues, models->units->reference, rows, check->scores, err);
    if (status) return status;
    for (size_t i = 0; i < models->count; i++) {
        bool is_wrong, is_refused;
        if (!models->item[i].want) continue;
        const double error = model_check(check, i, scores, rows->row_count, &is_wrong, &is_refused);
        worst = fmax(worst, error);
        is_any_wrong |= is_wrong;
        if (is_wrong && !is_refused && error > worst_of_unit) worst_of_unit = error, worst_model = i;
    }
    error_note(check->stats, rows->row_count, worst);
    if (!is_any_wrong) return MR_OK;
    if (worst_of_unit > 0) {
        char why[160];
        snprintf(why, sizeof why,
                 "scores of \"%s\" are off by %.3g of the reference's, more than cross_check_tolerance %g",
                 models->item[worst_model].job->name, worst_of_unit, check->tolerance);
        mr_unit_leave(models->units, queues->unit, why);
        queues->unit = mr_unit_pick(models->units, rows->row_count); /* what is learned is summed there */
    }
    for (size_t i = 0; i < models->count; i++) {
        if (models->item[i].want) scores_copy(&scores[i], &check->scores[i], rows->row_count);
    }
    return MR_OK;
}
