/* The meaning of scale. */
#include "kernels/kernels.h"
#include "millrace/batch.h"

mr_score_fn mr_scale_ref;

void mr_scale_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                  size_t rows)
{
    const struct mr_scale_params *params = model->params;
    (void)scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; y && c < params->cols; c++) {
            const size_t at = mr_tile_at(row, c, params->cols);
            y[at] = (float)(((double)x[at] - (double)params->shift[c]) * (double)params->scale[c]);
        }
        if (class_index) class_index[row] = 0;
    }
}
