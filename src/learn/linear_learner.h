/** Weights of a linear or logistic model that learn from the sums of kernels/linear_sum. */
#ifndef MR_LEARN_LINEAR_LEARNER_H
#define MR_LEARN_LINEAR_LEARNER_H

#include "learn/loss.h"
#include "learn/optimizer.h"
#include "millrace/model.h"

struct mr_linear_learner {
    struct mr_linear_sum_params sum; /* cols, out, loss */
    double *w;                       /* [out][cols], then the biases [out] */
    struct mr_optimizer optimizer, before;
    double *w_before, *gradient; /* as w */
    uint64_t undone_count;
};

/** Zero weights. False: out of memory, and deinit may still be called. */
bool mr_linear_learner_init(struct mr_linear_learner *learner, const struct mr_linear_sum_params *sum,
                            const struct mr_optimizer_options *options);
void mr_linear_learner_deinit(struct mr_linear_learner *learner);

/**
 * One step from the sums of a batch (linear_sum.h); no row with a label: nothing happens. The guard: when a weight or
 * the loss is not finite, or the loss on the first tile of the batch (in double) is more than four times what it was
 * before the step and not small, the step is undone and step_stable is 1 / (curvature of the loss, at most) of these
 * rows: mean |x|^2 + 1, a quarter of it for a log loss.
 */
void mr_linear_learner_update(struct mr_linear_learner *learner, const double *sums, const struct mr_learn_rows *rows,
                              struct mr_learn_report *report);

/** Mean loss of weights w (as in the learner) over the rows with a label, at most `rows_max` of them; 0 without any. In
 * double. */
double mr_linear_loss(const struct mr_linear_sum_params *sum, const double *w, const struct mr_learn_rows *rows,
                      size_t rows_max);

#endif
