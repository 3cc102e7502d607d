/* The meaning of mlp_forward: plain loops, sums in double, never optimised. */
#include "kernels/kernels.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_mlp_forward_ref;

void mr_mlp_forward_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                        size_t rows)
{
    const struct mr_mlp_params *const params = model->params;
    const size_t in = model->in;
    double *const value = scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < in; c++)
            value[c] = (double)x[mr_tile_at(row, c, in)] - (params->shift ? (double)params->shift[c] : 0);
        mr_reference_row(model, mr_reference_dense, scratch, row, y, class_index);
    }
}
