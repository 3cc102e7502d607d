/* linear_sum with SIMD: the residuals of a tile, then their products with the features, which are read once an output.
 */
#include "kernels/residuals.h"

mr_sum_fn MR_KERNEL_NAME(mr_linear_sum);

void MR_KERNEL_NAME(mr_linear_sum)(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                                   double *sums, void *scratch, size_t rows)
{
    const struct mr_linear_sum_params *const params = model->params;
    const size_t cols = model->in, out = model->out, count = model->sum_count;
    float *const all = scratch, *const r = all + count * MR_LANES;
    const struct mr_residual_lanes lanes = {.b = all + out * cols * MR_LANES,
                                            .loss = all + out * (cols + 1) * MR_LANES,
                                            .count = all + (out * (cols + 1) + 1) * MR_LANES};
    const float *y = target->y;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    mr_lanes_clear(all, count);
    for (size_t i = 0; i < count; i++) sums[i] = 0;
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t left = rows - row, vecs = mr_tile_vecs(left);
        double padded[MR_TILE_ROWS];
        const double *const label = mr_labels_tile(target->label + row, left, padded);
        mr_residuals_tile(params->loss, params->delta, NULL, out, y, label, r, &lanes, vecs);
        for (size_t o = 0; o < out; o++) mr_weigh_tile(x, cols, r + o * MR_TILE_ROWS, all + o * cols * MR_LANES, vecs);
        x += cols * MR_TILE_ROWS;
        y += out * MR_TILE_ROWS;
        if ((row + MR_TILE_ROWS) % MR_SUM_ROWS == 0) mr_lanes_flush(all, count, sums);
    }
    mr_lanes_flush(all, count, sums);
}
