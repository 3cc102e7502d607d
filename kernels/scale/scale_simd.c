/* scale with SIMD. */
#include "kernels/kernels.h"
#include "kernels/simd.h"

mr_score_fn MR_KERNEL_NAME(mr_scale);

void MR_KERNEL_NAME(mr_scale)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                              void *scratch, size_t rows)
{
    (void)scratch;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t row = 0; class_index && row < rows; row++) class_index[row] = 0;
    for (size_t row = 0; y && row < rows; row += MR_TILE_ROWS) {
        for (size_t c = 0; c < model->in; c++, x += MR_TILE_ROWS, y += MR_TILE_ROWS) {
            const mr_vec shift = mr_set(model->shift[c]), scale = mr_set(model->scale[c]);
            MR_UNROLL for (int v = 0; v < MR_TILE_VECS; v++)
                mr_store(y + v * MR_LANES, (mr_load(x + v * MR_LANES) - shift) * scale);
        }
    }
}
