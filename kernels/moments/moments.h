/**
 * moments: sums of the features and of their squares, for a running mean and variance. Its parameters are those of
 * scale, of which only shift is used: a value near the mean, taken off first, so that the variance keeps its digits.
 *
 * sums: sum of (x - shift)[cols], sum of (x - shift)^2 [cols], rows.
 */
#ifndef MR_KERNEL_MOMENTS_H
#define MR_KERNEL_MOMENTS_H

#include "kernels/scale/scale.h"

#endif
