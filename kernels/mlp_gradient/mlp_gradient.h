/**
 * mlp_gradient: the gradient of the loss of a multi-layer perceptron over a batch, by back-propagation (Rumelhart,
 * Hinton and Williams 1986), from the scores that the model gave: the residual y - label is the gradient by the last
 * logits for squared loss and identity, log loss and sigmoid, log loss and softmax alike.
 */
#ifndef MR_KERNEL_MLP_GRADIENT_H
#define MR_KERNEL_MLP_GRADIENT_H

#include "kernels/linear_sum/linear_sum.h"
#include "kernels/mlp_forward/mlp_forward.h"

/**
 * sums: gradient w[out][in] of every layer, one behind the other; gradient b[out] of every layer; loss; rows that had a
 * label (mr_linear_sum_params says which labels count as none).
 */
struct mr_mlp_gradient_params {
    struct mr_mlp_params mlp; /* the last activation is identity, sigmoid with one output, or softmax */
    mr_loss loss;             /* MR_LOSS_LOG for the latter two; squared or Huber with one output of identity */
    float delta;              /* of MR_LOSS_HUBER */
    /* [classes], 2 of a single output: how much a row counts, by its label; of MR_LOSS_LOG. A label between 0 and 1 of
     * a single output lies between the two. NULL: every row counts 1. Rows with a label are counted as rows. */
    const float *class_weight;
};

static inline size_t mr_mlp_weight_count(const struct mr_mlp_params *mlp)
{
    size_t count = 0;
    for (size_t i = 0; i < mlp->layer_count; i++) count += mlp->layer[i].in * mlp->layer[i].out;
    return count;
}

static inline size_t mr_mlp_bias_count(const struct mr_mlp_params *mlp)
{
    size_t count = 0;
    for (size_t i = 0; i < mlp->layer_count; i++) count += mlp->layer[i].out;
    return count;
}

static inline size_t mr_mlp_gradient_count(const struct mr_mlp_gradient_params *params)
{
    return mr_mlp_weight_count(&params->mlp) + mr_mlp_bias_count(&params->mlp) + 2;
}

#endif
