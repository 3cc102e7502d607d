/** Mean and variance of the features of rows in memory. */
#ifndef MR_FIT_MOMENTS_H
#define MR_FIT_MOMENTS_H

#include "fit/crew.h"
#include "learn/standard.h"

/** Adds rows, at least one, on the crew's threads. x: tiles (batch.h) of standard->cols features. */
mr_status mr_rows_moments(struct mr_crew *crew, const float *x, size_t rows, struct mr_standard *standard,
                          struct mr_err *err);

#endif
