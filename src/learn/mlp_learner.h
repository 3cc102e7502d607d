/** Weights of a multi-layer perceptron that learn from the sums of kernels/mlp_gradient. */
#ifndef MR_LEARN_MLP_LEARNER_H
#define MR_LEARN_MLP_LEARNER_H

#include "kernels/mlp_gradient/mlp_gradient.h"
#include "learn/linear_learner.h"

struct mr_mlp_learner {
    struct mr_mlp_gradient_params sum;
    size_t weights, count; /* weights; and biases, too */
    double *w;             /* [count]: all weights, layer by layer, then all biases (mlp_gradient.h) */
    double *w_before, *gradient;
    const double *factor; /* [first layer's in]: what its float32 weights are multiplied by; NULL: 1 */
    struct mr_optimizer optimizer, before;
    double *scratch; /* values of one row */
    struct mr_guard guard;
    uint64_t undone_count;
};

/**
 * Takes the weights of sum->mlp, whose layers the learner then writes (their arrays must be writable and stay where
 * they are). factor (may be NULL): inputs were standardised by folding this into the first layer; what is learned are
 * the weights without it. False: out of memory, and deinit may still be called.
 */
bool mr_mlp_learner_init(struct mr_mlp_learner *learner, const struct mr_mlp_gradient_params *sum, const double *factor,
                         const struct mr_optimizer_options *options);
void mr_mlp_learner_deinit(struct mr_mlp_learner *learner);

/** Rounds the weights into the layers, as after setting w. */
void mr_mlp_learner_round(struct mr_mlp_learner *learner);

/**
 * One step from the sums of a batch; no row with a label: nothing happens. When a weight or the loss is not finite, or
 * the guard says so (guard.h; it looks at the first rows of the batch, at most a tile, fewer where the model is large),
 * the step is undone; step_stable is then the largest step / 2^k, k up to 20, that would have lowered their loss.
 */
void mr_mlp_learner_update(struct mr_mlp_learner *learner, const double *sums, const struct mr_learn_rows *rows,
                           struct mr_learn_report *report);

/** Mean loss of weights w (as in the learner) over the first rows with a label, at most rows_max; 0 without any. */
double mr_mlp_loss(const struct mr_mlp_learner *learner, const double *w, const struct mr_learn_rows *rows,
                   size_t rows_max);

#endif
