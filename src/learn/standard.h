/** Running mean and variance of features, by which they are standardised. */
#ifndef MR_LEARN_STANDARD_H
#define MR_LEARN_STANDARD_H

#include <stdbool.h>
#include <stddef.h>

/** Of all rows so far. */
struct mr_standard {
    size_t cols;
    double count;    /* rows */
    double *mean;    /* [cols] */
    double *squares; /* [cols]: sum of squared deviations from the mean */
    double *factor;  /* [cols]: 1 / standard deviation; 1 where a feature never varied */
};

/** No rows. False: out of memory, and deinit may still be called. */
bool mr_standard_init(struct mr_standard *standard, size_t cols);
void mr_standard_deinit(struct mr_standard *standard);

/**
 * Adds rows, more than none, by their sums, as kernels/moments makes them: of x - near [cols], then of its squares
 * [cols]. Two sets of rows become one as in Chan, Golub and LeVeque (1979). The variance is that of the population, as
 * in scikit-learn's StandardScaler.
 */
void mr_standard_add(struct mr_standard *standard, const float *near, const double *sums, double rows);

/** The same from the rows themselves, in double. x: tiles (batch.h); rows: more than 0. */
void mr_standard_add_rows(struct mr_standard *standard, const float *x, size_t rows);

/** Whether mean and variance of every feature fit float32: one value of 1e38 makes them useless for good. */
bool mr_standard_fits(const struct mr_standard *standard);

/** Copies the state; both have the same cols. */
void mr_standard_copy(struct mr_standard *to, const struct mr_standard *from);

/** Back to no rows. */
void mr_standard_clear(struct mr_standard *standard);

/** Works out factor after count, mean and squares were set. */
void mr_standard_refresh(struct mr_standard *standard);

#endif
