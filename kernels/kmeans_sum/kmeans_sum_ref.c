/* The meaning of kmeans_sum: plain loops, sums in double, never optimised. */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/kmeans_sum/kmeans_sum.h"
#include "millrace/batch.h"

mr_sum_fn mr_kmeans_sum_ref;

void mr_kmeans_sum_ref(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                       void *scratch, size_t rows)
{
    const struct mr_kmeans_params *params = model->params;
    const size_t cols = params->cols, k = params->k;
    double *const count = sums, *const sum = count + k, *const distance = sum + k * cols;
    (void)scratch;
    mr_kernel_ran = "ref";
    memset(sums, 0, mr_kmeans_sum_count(params) * sizeof *sums);
    for (size_t row = 0; row < rows; row++) {
        const size_t nearest = (size_t)target->class_index[row];
        count[nearest] += 1;
        for (size_t c = 0; c < cols; c++) sum[nearest * cols + c] += (double)x[mr_tile_at(row, c, cols)];
        *distance += (double)target->y[row];
    }
}
