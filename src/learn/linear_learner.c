#include "learn/linear_learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "millrace/batch.h"

#define EXPLODES_AT 4.0  /* times the loss before the step */
#define SMALL_SHARE 1e-6 /* of the mean squared label, or of 1: a loss below is noise */

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

/* -log of the probability that logits z[out] give to the label; ln(1 + e^z) without overflow. */
static double log_loss(const double *z, size_t out, double label)
{
    if (out == 1) return fmax(z[0], 0) + log1p(exp(-fabs(z[0]))) - label * z[0];
    double most = z[0], sum = 0;
    for (size_t o = 1; o < out; o++) most = fmax(most, z[o]);
    for (size_t o = 0; o < out; o++) sum += exp(z[o] - most);
    return log(sum) + most - z[(size_t)label];
}

static double loss_of(const struct mr_linear_sum_params *sum, const double *z, double label)
{
    const double r = fabs(z[0] - label), delta = (double)sum->delta;
    if (sum->loss == MR_LOSS_LOG) return log_loss(z, sum->out, label);
    return sum->loss == MR_LOSS_SQUARED || r <= delta ? r * r / 2 : delta * (r - delta / 2);
}

static bool is_label(const struct mr_linear_sum_params *sum, double label)
{
    if (isnan(label)) return false;
    if (sum->loss != MR_LOSS_LOG) return true;
    return sum->out == 1 ? label >= 0 && label <= 1 : label >= 0 && label < (double)sum->out && label == floor(label);
}

double mr_linear_loss(const struct mr_linear_sum_params *sum, const double *w, const struct mr_learn_rows *rows,
                      size_t rows_max)
{
    double loss = 0, z[64] = {0};
    double *const logits = sum->out > 64 ? malloc(sum->out * sizeof *logits) : z;
    size_t count = 0;
    if (!logits) return 0;
    for (size_t row = 0; row < rows->rows && count < rows_max; row++) {
        if (!is_label(sum, rows->label[row])) continue;
        for (size_t o = 0; o < sum->out; o++) {
            logits[o] = w[sum->out * sum->cols + o];
            for (size_t c = 0; c < sum->cols; c++)
                logits[o] += w[o * sum->cols + c] * (double)rows->x[mr_tile_at(row, c, sum->cols)];
        }
        loss += loss_of(sum, logits, rows->label[row]);
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

/* A loss that is no more than noise beside the labels. */
static double small_loss(const struct mr_linear_sum_params *sum, const struct mr_learn_rows *rows)
{
    double square = 0;
    const size_t count = rows->rows < MR_TILE_ROWS ? rows->rows : MR_TILE_ROWS;
    if (sum->loss == MR_LOSS_LOG) return SMALL_SHARE;
    for (size_t row = 0; row < count; row++)
        square += isnan(rows->label[row]) ? 0 : rows->label[row] * rows->label[row];
    return SMALL_SHARE * square / (double)(count ? count : 1);
}

/* The largest eigenvalue of the mean of x x' is at most the mean of |x|^2; the 1 is the bias. */
static double step_stable(const struct mr_linear_sum_params *sum, const struct mr_learn_rows *rows)
{
    double square = 0, count = 0;
    for (size_t row = 0; row < rows->rows; row++) {
        if (!is_label(sum, rows->label[row])) continue;
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
        !(after > EXPLODES_AT * before && after > small_loss(&l->sum, rows)) && isfinite(after))
        return;
    memcpy(l->w, l->w_before, bytes);
    mr_optimizer_copy(&l->optimizer, &l->before);
    l->undone_count++;
    report->is_undone = true;
    report->step_stable = step_stable(&l->sum, rows);
}
