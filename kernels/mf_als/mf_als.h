/** mf_als: one row of a matrix factorisation by least squares, the columns as they are. */
#ifndef MR_KERNEL_MF_ALS_H
#define MR_KERNEL_MF_ALS_H

#include "kernels/mf_sgd/mf_sgd.h"

struct mr_mf_als {
    size_t rank, stride;
    const float *factor; /* of the columns: [cols][stride], 0 behind the rank, 64-byte aligned */
    const float *bias;   /* [cols]; NULL: there are none, and mean is 0 */
    double mean, reg;    /* reg: above 0 */
};

/** Bytes of scratch for models of this rank, 64-byte aligned. */
size_t mr_mf_als_scratch(size_t rank);

/**
 * From the ratings of one row, at least one, the b and p of least
 *     sum over the ratings of (value - mean - b_c - b - q_c . p)^2 + reg (b^2 + |p|^2),
 * which is that row's part of what mf_sgd minimises: the normal equations of rank + 1 unknowns, added up and solved in
 * float64 by Cholesky (alternating least squares with weighted regularisation: Zhou, Wilkinson, Schreiber and Pan
 * 2008). factor_out: [stride]; bias_out: NULL where there are none. Any number of threads, each with its scratch.
 * Cannot fail.
 */
typedef void mr_mf_als_fn(const struct mr_mf_als *model, const struct mr_rating *rating, size_t count, void *scratch,
                          float *factor_out, float *bias_out);

/** The best variant that can run here, or the named one; NULL: there is none. */
mr_mf_als_fn *mr_mf_als_select(const char *variant);

/* ---- for the variants ---- */

#define MR_ALS_PANEL 32 /* ratings whose factors are laid side by side before they are multiplied */
#define MR_ALS_ROUND 16 /* numbers of a row in scratch: a multiple of this */

/** Numbers of a row in scratch: factors, the 1 of the bias, what is to be met. */
static inline size_t mr_mf_als_width(size_t rank)
{
    return (rank + 2 + MR_ALS_ROUND - 1) / MR_ALS_ROUND * MR_ALS_ROUND;
}

#endif
