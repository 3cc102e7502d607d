/* The meaning of moments: plain loops, sums in double, never optimised. */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/moments/moments.h"
#include "millrace/batch.h"

mr_sum_fn mr_moments_ref;

void mr_moments_ref(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                    void *scratch, size_t rows)
{
    const struct mr_scale_params *params = model->params;
    const size_t cols = params->cols;
    (void)target;
    (void)scratch;
    mr_kernel_ran = "ref";
    memset(sums, 0, mr_moments_count(params) * sizeof *sums);
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < cols; c++) {
            const double off = (double)x[mr_tile_at(row, c, cols)] - (double)params->shift[c];
            sums[c] += off;
            sums[cols + c] += off * off;
        }
    }
    sums[2 * cols] = (double)rows;
}
