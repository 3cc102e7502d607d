/** How good predicted numbers are, summed over rows: mean_squared_error, mean_absolute_error and r2_score of
 * scikit-learn. */
#ifndef MR_EVALUATE_NUMBER_SUMS_H
#define MR_EVALUATE_NUMBER_SUMS_H

#include <stddef.h>
#include <stdint.h>

struct mr_number_sums {
    uint64_t rows, unfit;              /* unfit: the prediction is no number; they count for nothing else */
    double squared, absolute, largest; /* of prediction - label: sums, and the largest absolute one */
    double error;                      /* sum, with its sign */
    double label_mean, label_squared;  /* mean; sum of squared distances from it */
};

/** NaN: there is no row. */
struct mr_number_metrics {
    double mse, rmse, mae; /* in the label's unit, squared for mse */
    double bias;           /* mean of prediction - label */
    double error_max;
    double r2; /* 1 - squared errors / squared distances of the labels from their mean; NaN for less than two rows.
                  Labels that are all the same: 1 where all is right, else 0 */
};

/** y: predictions, one column of tiles. label: [rows]. */
void mr_number_sums_add(struct mr_number_sums *sums, const float *y, const double *label, size_t rows);
void mr_number_sums_end(const struct mr_number_sums *sums, struct mr_number_metrics *metrics);

#endif
