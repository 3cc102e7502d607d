/**
 * linear_sum: the gradient of a linear model over a batch, from the scores that the model gave: for squared loss and
 * identity, log loss and sigmoid, log loss and softmax alike it is (y - label) times the features.
 */
#ifndef MR_KERNEL_LINEAR_SUM_H
#define MR_KERNEL_LINEAR_SUM_H

#include <stddef.h>

typedef enum {
    MR_LOSS_SQUARED, /* r^2 / 2, r = y - label */
    MR_LOSS_HUBER,   /* r^2 / 2 up to |r| = delta, then delta * (|r| - delta / 2): the gradient is clipped */
    MR_LOSS_LOG,     /* -log of the probability of the label: one output, label 0 or 1, or one output a class, label its
                        index */
} mr_loss;

/** The least probability that the log loss counts with: that of a label which was given none. */
#define MR_PROBABILITY_MIN 1e-30

/**
 * sums: gradient w[out][cols], gradient b[out], loss, rows that had a label. A label that no class has (not whole, or
 * out of range) counts as none, the row as one without a label; with one output a label of the log loss may lie between
 * 0 and 1.
 */
struct mr_linear_sum_params {
    size_t cols, out; /* out above 1 only with MR_LOSS_LOG */
    mr_loss loss;
    float delta; /* of MR_LOSS_HUBER, > 0 */
};

static inline size_t mr_linear_sum_count(const struct mr_linear_sum_params *params)
{
    return params->out * (params->cols + 1) + 2;
}

#endif
