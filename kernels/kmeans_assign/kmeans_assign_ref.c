/* The meaning of kmeans_assign: plain loops, sums in double, never optimised. */
#include <math.h>

#include "kernels/kernels.h"
#include "millrace/batch.h"

mr_score_fn mr_kmeans_assign_ref;

void mr_kmeans_assign_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                          size_t rows)
{
    const struct mr_kmeans_params *params = model->params;
    (void)scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        double nearest = INFINITY;
        int32_t index = 0;
        for (size_t k = 0; k < params->k; k++) {
            double distance = 0;
            for (size_t c = 0; c < params->cols; c++) {
                const double off =
                    (double)x[mr_tile_at(row, c, params->cols)] - (double)params->center[k * params->cols + c];
                distance += off * off;
            }
            if (distance < nearest) {
                nearest = distance;
                index = (int32_t)k;
            }
        }
        if (y) y[row] = (float)nearest;
        if (class_index) class_index[row] = index;
    }
}
