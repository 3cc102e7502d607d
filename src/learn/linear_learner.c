#include "learn/linear_learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "millrace/batch.h"

#define EXPLODES_AT 4.0 /* times the loss before the step */

static size_t weight_count(const struct mr_linear_sum_params *sum)
{
    return sum->out * (sum->cols + 1);
}

bool mr_linear_learner_init(struct mr_linear_learner *learner, const struct mr_linear_sum_params *sum,
                            const struct mr_optimizer_options *options)
{
    const size_t count = weight_count(sum), regularised = sum->out * sum->cols;
    *learner = (struct mr_linear_learner){.sum = *sum};
    learner->w = calloc(count, sizeof *learner->w);
    learner->w_before = calloc(count, sizeof *learner->w_before);
    learner->gradient = calloc(count, sizeof *learner->gradient);
    const bool is_optimizer = mr_optimizer_init(&learner->optimizer, options, count, regularised);
    const bool is_before = mr_optimizer_init(&learner->before, options, count, regularised);
    return learner->w && learner->w_before && learner->gradient && is_optimizer && is_before;
}

void mr_linear_learner_deinit(struct mr_linear_learner *learner)
{
    mr_optimizer_deinit(&learner->optimizer);
    mr_optimizer_deinit(&learner->before);
    free(learner->w);
    free(learner->w_before);
    free(learner->gradient);
    *learner = (struct mr_linear_learner){0};
}

double mr_linear_loss(const struct mr_linear_sum_params *sum, const double *w, const struct mr_learn_rows *rows,
                      size_t rows_max)
{
    double loss = 0, z[64] = {0};
    double *const logits = sum->out > 64 ? malloc(sum->out * sizeof *logits) : z;
    size_t count = 0;
    if (!logits) return 0;
    for (size_t row = 0; row < rows->rows && count < rows_max; row++) {
        if (!mr_loss_has_label(sum->loss, sum->out, rows->label[row])) continue;
        for (size_t o = 0; o < sum->out; o++) {
            logits[o] = w[sum->out * sum->cols + o];
            for (size_t c = 0; c < sum->cols; c++)
                logits[o] += w[o * sum->cols + c] * (double)rows->x[mr_tile_at(row, c, sum->cols)];
        }
        loss += mr_loss_of_row(sum->loss, (double)sum->delta, logits, sum->out, rows->label[row]);
        count++;
    }
    if (logits != z) free(logits);
    return count ? loss / (double)count : 0;
}

static bool is_finite(const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) return false;
    }
    return true;
}

/* The largest eigenvalue of the mean of x x' is at most the mean of |x|^2; the 1 is the bias. */
static double step_stable(const struct mr_linear_sum_params *sum, const struct mr_learn_rows *rows)
{
    double square = 0, count = 0;
    for (size_t row = 0; row < rows->rows; row++) {
        if (!mr_loss_has_label(sum->loss, sum->out, rows->label[row])) continue;
        count += 1;
        for (size_t c = 0; c < sum->cols; c++) {
            const double x = (double)rows->x[mr_tile_at(row, c, sum->cols)];
            square += x * x;
        }
    }
    const double curvature = (square / fmax(count, 1) + 1) * (sum->loss == MR_LOSS_LOG ? 0.25 : 1);
    return isfinite(curvature) ? 1 / curvature : 0;
}

void mr_linear_learner_update(struct mr_linear_learner *l, const double *sums, const struct mr_learn_rows *rows,
                              struct mr_learn_report *report)
{
    const size_t count = weight_count(&l->sum), bytes = count * sizeof *l->w;
    const double labelled = sums[count + 1];
    *report = (struct mr_learn_report){.loss = sums[count], .rows = (uint64_t)labelled};
    if (!(labelled > 0)) return;
    for (size_t i = 0; i < count; i++) l->gradient[i] = sums[i] / labelled;
    memcpy(l->w_before, l->w, bytes);
    mr_optimizer_copy(&l->before, &l->optimizer);
    mr_optimizer_step(&l->optimizer, l->w, l->gradient);
    const double before = mr_linear_loss(&l->sum, l->w_before, rows, MR_TILE_ROWS),
                 after = mr_linear_loss(&l->sum, l->w, rows, MR_TILE_ROWS);
    if (is_finite(l->w, count) && isfinite(sums[count]) &&
        !(after > EXPLODES_AT * before && after > mr_loss_small(l->sum.loss, rows)) && isfinite(after))
        return;
    memcpy(l->w, l->w_before, bytes);
    mr_optimizer_copy(&l->optimizer, &l->before);
    l->undone_count++;
    report->is_undone = true;
    report->step_stable = step_stable(&l->sum, rows);
}
