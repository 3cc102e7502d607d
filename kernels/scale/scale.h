/** scale: (x - shift) * scale of each feature: what a scaler gives to the model behind it. */
#ifndef MR_KERNEL_SCALE_H
#define MR_KERNEL_SCALE_H

#include <stddef.h>

struct mr_scale_params {
    size_t cols;
    const float *shift, *scale; /* [cols], finite */
};

/** Of moments: cols sums of x - shift, cols sums of its square, the count of rows. */
static inline size_t mr_moments_count(const struct mr_scale_params *params)
{
    return 2 * params->cols + 1;
}

#endif
