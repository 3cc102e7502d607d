/* mlp_forward with SIMD: all layers of a tile before the next tile, so that activations never leave the cache. */
#include "kernels/dense.h"
#include "kernels/kernels.h"

mr_score_fn MR_KERNEL_NAME(mr_mlp_forward);

void MR_KERNEL_NAME(mr_mlp_forward)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                    void *scratch, size_t rows)
{
    const size_t hidden_floats = model->hidden_width_max * MR_TILE_ROWS, last = model->layer_count - 1;
    float *const logits = (float *)scratch + 2 * hidden_floats, *const shifted = logits + model->out * MR_TILE_ROWS;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t vecs = mr_tile_vecs(rows - row);
        const float *from = x;
        float *to = scratch, *other = to + hidden_floats;
        if (model->shift) {
            mr_shift_tile(x, model->shift, model->in, shifted, vecs);
            from = shifted;
        }
        for (size_t i = 0; i < last; i++) {
            mr_dense_tile(&model->layer[i], from, to, vecs);
            from = to;
            to = other;
            other = (float *)(uintptr_t)from;
        }
        mr_last_tile(&model->layer[last], from, y, class_index, logits, vecs);
        x += model->in * MR_TILE_ROWS;
        if (y) y += model->out * MR_TILE_ROWS;
        if (class_index) class_index += MR_TILE_ROWS;
    }
}
