#include "evaluate/number_sums.h"

#include <math.h>

void mr_number_sums_add(struct mr_number_sums *sums, const float *y, const double *label, size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        if (!isfinite(y[row])) {
            sums->unfit++;
            continue;
        }
        const double error = (double)y[row] - label[row], apart = label[row] - sums->label_mean;
        sums->rows++;
        sums->error += error;
        sums->squared += error * error;
        sums->absolute += fabs(error);
        sums->largest = fmax(sums->largest, fabs(error));
        sums->label_mean += apart / (double)sums->rows; /* Welford: no difference of large sums */
        sums->label_squared += apart * (label[row] - sums->label_mean);
    }
}

void mr_number_sums_end(const struct mr_number_sums *sums, struct mr_number_metrics *metrics)
{
    const double rows = sums->rows ? (double)sums->rows : NAN;
    metrics->mse = sums->squared / rows;
    metrics->rmse = sqrt(metrics->mse);
    metrics->mae = sums->absolute / rows;
    metrics->bias = sums->error / rows;
    metrics->error_max = sums->rows ? sums->largest : NAN;
    metrics->r2 = sums->rows < 2            ? NAN
                  : sums->label_squared > 0 ? 1 - sums->squared / sums->label_squared
                                            : (double)(sums->squared == 0);
}
