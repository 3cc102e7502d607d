/** What a matrix factorisation is while it is fitted: factors and biases of rows (users) and columns (items). */
#ifndef MR_FIT_FACTORS_H
#define MR_FIT_FACTORS_H

#include <stdatomic.h>

#include "fit/crew.h"
#include "fit/ratings.h"

/** The estimate is mean + b_r + b_c + p_r . q_c; unbiased p_r . q_c alone. */
struct mr_factors {
    size_t rows, cols, rank, stride; /* stride: numbers from one row of factors to the next, 0 behind the rank */
    bool is_biased, is_double;       /* is_double: all are double, else float */
    double mean;
    void *row_factor, *col_factor; /* [rows][stride], [cols][stride], 64-byte aligned */
    void *row_bias, *col_bias;     /* [rows], [cols]; 0 in an unbiased model */
};

/**
 * Biases 0, factors drawn as Surprise's SVD draws them: from a normal distribution of this deviation, those of the rows
 * first, by NumPy's RandomState(seed). rows, cols and rank: at least 1. MR_ENOMEM; deinit whatever the outcome.
 */
mr_status mr_factors_init(struct mr_factors *factors, double deviation, uint32_t seed, struct mr_err *err);
void mr_factors_deinit(struct mr_factors *factors);

/** Errors of estimates that were limited to [low, high], as Surprise's predict() limits them. NaN: of no ratings.
 * MR_ENOMEM. */
struct mr_factors_score {
    double rmse, mae;
};
mr_status mr_factors_score(struct mr_crew *crew, const struct mr_factors *factors, const struct mr_rating *rating,
                           size_t count, double low, double high, struct mr_factors_score *score_out,
                           struct mr_err *err);

/** How to fit. */
struct mr_factors_fit {
    struct mr_rating *rating; /* [count], at least 1; sorted by row when it is over */
    size_t count;
    size_t *row_first; /* [rows + 1]: where each row's begin when it is over */
    double step, reg;  /* step: of mr_sgd_fit */
    size_t epochs_max;
    bool is_sequential; /* of mr_sgd_fit */
    uint64_t seed;
    const char *variant;                                       /* of the kernels; NULL: the best */
    _Atomic bool *is_stopped;                                  /* set: it ends behind the epoch */
    void (*stepped)(void *context, size_t epoch, double rmse); /* rmse: of the ratings */
    void *context;
};

/**
 * Stochastic gradient descent (kernels/mf_sgd). is_sequential: rating by rating, rows in their order, a row's ratings
 * in theirs, which is Surprise's; one thread. Else in blocks that have no row and no column in common, as many at once
 * as there are threads (Gemulla, Nijkamp, Haas and Sismanis 2011); the order of the blocks changes in each epoch, and
 * depends on the seed, not on the threads. *epochs_out: done. MR_ENOMEM; MR_EDATA: it diverged; MR_EUSAGE: no such
 * variant.
 */
mr_status mr_sgd_fit(struct mr_crew *crew, const struct mr_factors_fit *fit, struct mr_factors *factors,
                     size_t *epochs_out, struct mr_err *err);

/**
 * Alternating least squares (kernels/mf_als): in an epoch all rows, then all columns. factors: float. Otherwise as
 * mr_sgd_fit.
 */
mr_status mr_als_fit(struct mr_crew *crew, const struct mr_factors_fit *fit, struct mr_factors *factors,
                     size_t *epochs_out, struct mr_err *err);

#endif
