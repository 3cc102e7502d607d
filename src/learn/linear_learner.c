#include "learn/linear_learner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "millrace/batch.h"

static size_t weight_count(const struct mr_linear_sum_params *sum)
{
    return sum->out * (sum->cols + 1);
}

bool mr_linear_learner_init(struct mr_linear_learner *learner, const struct mr_linear_sum_params *sum,
                            const struct mr_optimizer_options *options, bool standardises)
{
    const size_t count = weight_count(sum), regularised = sum->out * sum->cols;
    *learner = (struct mr_linear_learner){.sum = *sum, .standardises = standardises};
    learner->w = calloc(count, sizeof *learner->w);
    learner->w_before = calloc(count, sizeof *learner->w_before);
    learner->gradient = calloc(count, sizeof *learner->gradient);
    learner->w_plain = calloc(count, sizeof *learner->w_plain);
    learner->w_begin = calloc(count, sizeof *learner->w_begin);
    const bool is_before_standard = mr_standard_init(&learner->standard_before, sum->cols);
    const bool is_standard = mr_standard_init(&learner->standard, sum->cols) && is_before_standard;
    const bool is_optimizer = mr_optimizer_init(&learner->optimizer, options, count, regularised);
    const bool is_before = mr_optimizer_init(&learner->before, options, count, regularised);
    return learner->w && learner->w_before && learner->gradient && learner->w_plain && learner->w_begin &&
           is_standard && is_optimizer && is_before;
}

void mr_linear_learner_deinit(struct mr_linear_learner *learner)
{
    mr_optimizer_deinit(&learner->optimizer);
    mr_optimizer_deinit(&learner->before);
    mr_standard_deinit(&learner->standard);
    mr_standard_deinit(&learner->standard_before);
    free(learner->w);
    free(learner->w_plain);
    free(learner->w_begin);
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
static double step_stable(const struct mr_linear_learner *l, const struct mr_learn_rows *rows)
{
    const struct mr_linear_sum_params *const sum = &l->sum;
    double square = 0, count = 0;
    for (size_t row = 0; row < rows->rows; row++) {
        if (!mr_loss_has_label(sum->loss, sum->out, rows->label[row])) continue;
        count += 1;
        for (size_t c = 0; c < sum->cols; c++) {
            double x = (double)rows->x[mr_tile_at(row, c, sum->cols)];
            if (l->standardises) x = (x - l->standard.mean[c]) * l->standard.factor[c];
            square += x * x;
        }
    }
    const double curvature = (square / fmax(count, 1) + 1) * (sum->loss == MR_LOSS_LOG ? 0.25 : 1);
    return isfinite(curvature) ? 1 / curvature : 0;
}

void mr_linear_learner_begin(struct mr_linear_learner *l, const float *x, size_t rows)
{
    const size_t cols = l->sum.cols, biases = l->sum.out * cols;
    if (!l->standardises || l->standard.count > 0 || !rows) return;
    mr_standard_add_rows(&l->standard, x, rows);
    if (!mr_standard_fits(&l->standard)) mr_standard_clear(&l->standard);
    memcpy(l->w_begin, l->w, weight_count(&l->sum) * sizeof *l->w);
    l->has_begun_with = rows;
    for (size_t o = 0; o < l->sum.out; o++) {
        for (size_t c = 0; c < cols; c++) {
            l->w[biases + o] += l->w[o * cols + c] * l->standard.mean[c];
            l->w[o * cols + c] /= l->standard.factor[c];
        }
    }
}

const double *mr_linear_learner_weights(struct mr_linear_learner *l, const double *w)
{
    const size_t cols = l->sum.cols, biases = l->sum.out * cols;
    if (!l->standardises) return w;
    for (size_t o = 0; o < l->sum.out; o++) {
        double bias = w[biases + o];
        for (size_t c = 0; c < cols; c++) {
            l->w_plain[o * cols + c] = w[o * cols + c] * l->standard.factor[c];
            bias -= l->w_plain[o * cols + c] * l->standard.mean[c];
        }
        l->w_plain[biases + o] = bias;
    }
    return l->w_plain;
}

/* The mean gradient, by standardised features where the learner does so. */
static void gradient_take(struct mr_linear_learner *l, const double *sums, double labelled)
{
    const size_t cols = l->sum.cols, biases = l->sum.out * cols;
    for (size_t i = 0; i < weight_count(&l->sum); i++) l->gradient[i] = sums[i] / labelled;
    for (size_t o = 0; o < l->sum.out && l->standardises; o++) {
        for (size_t c = 0; c < cols; c++) {
            double *const slope = &l->gradient[o * cols + c];
            *slope = (*slope - l->standard.mean[c] * l->gradient[biases + o]) * l->standard.factor[c];
        }
    }
}

/* Adds the batch to mean and deviation; rows of the first one are there since before it was scored. False: they do not
 * fit. */
static bool rows_add(struct mr_linear_learner *l, const struct mr_learn_rows *rows)
{
    if (!l->standardises || !rows->rows) return true;
    if (l->has_begun_with) return l->standard.count > 0;
    mr_standard_copy(&l->standard_before, &l->standard);
    mr_standard_add_rows(&l->standard, rows->x, rows->rows);
    if (mr_standard_fits(&l->standard)) return true;
    mr_standard_copy(&l->standard, &l->standard_before);
    return false;
}

/* The weights, and what the first batch gave, as before it. */
static void batch_undo(struct mr_linear_learner *l, const struct mr_learn_rows *rows, struct mr_learn_report *report)
{
    const size_t bytes = weight_count(&l->sum) * sizeof *l->w;
    report->is_undone = true;
    l->undone_count++;
    if (report->rows) {
        memcpy(l->w, l->w_before, bytes);
        mr_optimizer_undo(&l->optimizer, &l->before);
        report->step_stable = step_stable(l, rows);
    }
    if (!l->has_begun_with) return;
    memcpy(l->w, l->w_begin, bytes);
    mr_standard_clear(&l->standard);
    report->must_begin = true;
}

/* Whether a step made things worse, beyond what noise explains. */
static bool has_diverged(struct mr_linear_learner *l, const double *sums, const struct mr_learn_rows *rows)
{
    const size_t count = weight_count(&l->sum);
    const double before = mr_linear_loss(&l->sum, mr_linear_learner_weights(l, l->w_before), rows, MR_TILE_ROWS),
                 after = mr_linear_loss(&l->sum, mr_linear_learner_weights(l, l->w), rows, MR_TILE_ROWS);
    const struct mr_guard_loss loss = {.batch = sums[count] / sums[count + 1],
                                       .before = before,
                                       .after = after,
                                       .noise = mr_loss_noise(l->sum.loss, rows)};
    return !is_finite(l->w, count) || mr_guard_undoes(&l->guard, &loss);
}

void mr_linear_learner_update(struct mr_linear_learner *l, const double *sums, const struct mr_learn_rows *rows,
                              struct mr_learn_report *report)
{
    const size_t count = weight_count(&l->sum), bytes = count * sizeof *l->w;
    const double labelled = sums[count + 1];
    *report = (struct mr_learn_report){.loss = sums[count], .rows = (uint64_t)labelled};
    if (labelled > 0) {
        gradient_take(l, sums, labelled);
        memcpy(l->w_before, l->w, bytes);
        mr_optimizer_copy(&l->before, &l->optimizer);
        mr_optimizer_step(&l->optimizer, l->w, l->gradient);
        report->is_undone = has_diverged(l, sums, rows);
    }
    if (report->is_undone || !rows_add(l, rows)) batch_undo(l, rows, report);
    l->has_begun_with = 0;
}
