/* linear_score with SIMD: one pass over the features, which are read once, in whole lines. */
#include "kernels/dense.h"
#include "kernels/kernels.h"

mr_score_fn MR_KERNEL_NAME(mr_linear_score);

void MR_KERNEL_NAME(mr_linear_score)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                     void *scratch, size_t rows)
{
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        mr_last_tile(&model->layer[0], x, y, class_index, scratch, mr_tile_vecs(rows - row));
        x += model->in * MR_TILE_ROWS;
        if (y) y += model->out * MR_TILE_ROWS;
        if (class_index) class_index += MR_TILE_ROWS;
    }
}
