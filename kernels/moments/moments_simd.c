/* moments with SIMD: one pass over the features. */
#include "kernels/moments/moments.h"
#include "kernels/sums.h"

mr_sum_fn MR_KERNEL_NAME(mr_moments);

void MR_KERNEL_NAME(mr_moments)(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                                double *sums, void *scratch, size_t rows)
{
    const size_t cols = model->in;
    float *const lanes = scratch;
    _Alignas(MR_ALIGN) float there[MR_TILE_ROWS];
    (void)target;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    mr_lanes_clear(lanes, 2 * cols);
    for (size_t i = 0; i < 2 * cols; i++) sums[i] = 0;
    mr_there_tile(there, MR_TILE_ROWS);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t left = rows - row, vecs = mr_tile_vecs(left);
        if (left < MR_TILE_ROWS) mr_there_tile(there, left);
        for (size_t c = 0; c < cols; c++, x += MR_TILE_ROWS) {
            const mr_vec shift = mr_set(model->shift[c]);
            mr_vec sum = mr_load(lanes + c * MR_LANES), square = mr_load(lanes + (cols + c) * MR_LANES);
            for (size_t v = 0; v < vecs; v++) {
                const mr_vec off = (mr_load(x + v * MR_LANES) - shift) * mr_load(there + v * MR_LANES);
                sum += off;
                square += off * off;
            }
            mr_store(lanes + c * MR_LANES, sum);
            mr_store(lanes + (cols + c) * MR_LANES, square);
        }
        if ((row + MR_TILE_ROWS) % MR_SUM_ROWS == 0) mr_lanes_flush(lanes, 2 * cols, sums);
    }
    mr_lanes_flush(lanes, 2 * cols, sums);
    sums[2 * cols] = (double)rows;
}
