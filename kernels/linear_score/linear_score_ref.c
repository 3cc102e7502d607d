/* The meaning of linear_score: plain loops, sums in double, never optimised. */
#include "kernels/kernels.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_linear_score_ref;

void mr_linear_score_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                         size_t rows)
{
    const struct mr_linear_params *params = model->params;
    const size_t cols = params->cols, out = params->out;
    double *z = scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = 0; o < out; o++) {
            z[o] = (double)params->b[o];
            for (size_t c = 0; c < cols; c++) {
                z[o] += (double)params->w[o * cols + c] * (double)x[mr_tile_at(row, c, cols)];
            }
        }
        if (class_index) class_index[row] = mr_reference_class(z, out);
        mr_reference_activate(params->activation, z, out);
        for (size_t o = 0; y && o < out; o++) y[mr_tile_at(row, o, out)] = (float)z[o];
    }
}
