/** linear_score: weighted sums over feature tiles, with the activation that makes them a regression, a probability or
 * classes. */
#ifndef MR_KERNEL_LINEAR_SCORE_H
#define MR_KERNEL_LINEAR_SCORE_H

#include <stddef.h>

#include "kernels/mlp_forward/mlp_forward.h" /* mr_activation */

struct mr_linear_params {
    size_t cols, out;         /* out: 1, or the classes of a multinomial model */
    const float *w;           /* [out][cols] */
    const float *b;           /* [out] */
    mr_activation activation; /* identity, sigmoid (out == 1) or softmax */
};

#endif
