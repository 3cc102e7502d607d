/** Weights of a linear or logistic model that learn from the sums of kernels/linear_sum. */
#ifndef MR_LEARN_LINEAR_LEARNER_H
#define MR_LEARN_LINEAR_LEARNER_H

#include "learn/guard.h"
#include "learn/optimizer.h"
#include "learn/standard.h"
#include "millrace/model.h"

struct mr_linear_learner {
    struct mr_linear_sum_params sum; /* cols, out, loss */
    double *w; /* [out][cols], then the biases [out]; with `standardises`, of standardised features */
    bool standardises;
    struct mr_standard standard, standard_before; /* of the features, where it does; before a batch */
    size_t has_begun_with;                        /* rows of the batch at hand that are in `standard` already */
    double *w_begin;                              /* as w, before it began */
    double *w_plain;                              /* as w, of the features as they are */
    struct mr_optimizer optimizer, before;
    double *w_before, *gradient; /* as w */
    struct mr_guard guard;
    uint64_t undone_count;
};

/** Zero weights. standardises: learn in standardised features, see update. False: out of memory, and deinit may still
 * be called. */
bool mr_linear_learner_init(struct mr_linear_learner *learner, const struct mr_linear_sum_params *sum,
                            const struct mr_optimizer_options *options, bool standardises);
void mr_linear_learner_deinit(struct mr_linear_learner *learner);

/**
 * Before the first batch is scored: mean and variance of its features, unless there are some already; w, of the
 * features as they are until then, is of the standardised ones after it. Does nothing to a learner that does not
 * standardise.
 */
void mr_linear_learner_begin(struct mr_linear_learner *learner, const float *x, size_t rows);

/** The weights for features as they are, as w: factor * w, and the biases less what the means add. The learner's. */
const double *mr_linear_learner_weights(struct mr_linear_learner *learner, const double *w);

/**
 * One step from the sums of a batch (linear_sum.h); no row with a label: nothing happens. When a weight or the loss is
 * not finite, or the guard (guard.h; it looks at the first tile of the batch, in double) says so, the step is undone
 * and step_stable is 1 / (curvature of the loss, at most) of these rows: mean |x|^2 + 1, a quarter of it for a log
 * loss. Under MR_STEP_SQRT a step that was undone counts, too: the next is smaller.
 *
 * A learner that standardises steps along the gradient by z = (x - mean) / deviation, which the same sums give:
 * (gradient by x - mean * gradient by the bias) / deviation. Mean and deviation are those that the batch was scored
 * with; then the batch's rows, labelled or not, are added to them: what a scaler that learns does before the model.
 */
void mr_linear_learner_update(struct mr_linear_learner *learner, const double *sums, const struct mr_learn_rows *rows,
                              struct mr_learn_report *report);

/** Mean loss of weights w (as in the learner) over the rows with a label, at most `rows_max` of them; 0 without any. In
 * double. */
double mr_linear_loss(const struct mr_linear_sum_params *sum, const double *w, const struct mr_learn_rows *rows,
                      size_t rows_max);

#endif
