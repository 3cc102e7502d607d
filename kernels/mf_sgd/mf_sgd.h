/** mf_sgd: a matrix factorisation learns from ratings, one after the other. */
#ifndef MR_KERNEL_MF_SGD_H
#define MR_KERNEL_MF_SGD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Factors of a row of the factors' matrices: rank, rounded up to a multiple of this. */
#define MR_MF_STRIDE 16

/** What one of the rows (users) gave one of the columns (items). */
struct mr_rating {
    uint32_t row, col;
    float value;
};

/**
 * Factors and biases, all float or all double, by the function that they are for. Rows of factors stand stride numbers
 * apart, aligned to 64 bytes; what is behind the rank is 0 and stays it.
 */
struct mr_mf_sgd {
    size_t stride;
    double mean, step, reg;
    bool is_biased; /* false: no biases, and the mean is 0 */
    void *row_factor, *col_factor, *row_bias, *col_bias;
};

/**
 * For each rating in its order, with e = value - (mean + b_r + b_c + p_r . q_c):
 *     b_r += step (e - reg b_r), b_c += step (e - reg b_c),
 *     p_r += step (e q_c - reg p_r), q_c += step (e p_r - reg q_c), both with the old p and q.
 * That is one pass of Surprise's SVD (its manual, "Matrix Factorization-based algorithms"). Returns the sum of e^2.
 * Threads may work at once on ratings that have no row and no column in common. Cannot fail; factors that diverge
 * become infinite or NaN.
 */
typedef double mr_mf_sgd_fn(const struct mr_mf_sgd *model, const struct mr_rating *rating, size_t count);

struct mr_mf_sgd_kernel {
    const char *variant;
    mr_mf_sgd_fn *f32, *f64;
};

/** The best variant that can run here, or the named one ("avx512", "avx2", "neon", "base", "ref"); NULL: there is none.
 */
const struct mr_mf_sgd_kernel *mr_mf_sgd_select(const char *variant);

#endif
