/*
 * kmeans_sum with SIMD. Few centres: each takes its rows by a weight of 1 or 0, as a gradient does by its residuals.
 * Many centres: row by row into the sums of the one that it belongs to.
 */
#include "kernels/kmeans_sum/kmeans_sum.h"
#include "kernels/sums.h"

mr_sum_fn MR_KERNEL_NAME(mr_kmeans_sum);

#define FEW 12 /* centres up to which looking at all of them is cheaper */

/* lanes: as the sums. is_mine: a tile of scratch. */
MR_INLINE void few_tile(const float *x, size_t cols, size_t k, const int32_t *class_index, const float *there,
                        float *is_mine, float *lanes, size_t vecs)
{
    for (size_t i = 0; i < k; i++) {
        const mr_vec_i here = (mr_vec_i){0} + (int32_t)i;
        for (size_t v = 0; v < vecs; v++) {
            const mr_mask mine = mr_equal_i(*(const mr_vec_i *)(class_index + v * MR_LANES), here);
            const mr_vec weight = mr_select(mine, mr_load(there + v * MR_LANES), (mr_vec){0});
            mr_store(is_mine + v * MR_LANES, weight);
            mr_lane_add(lanes + i * MR_LANES, weight);
        }
        mr_weigh_tile(x, cols, is_mine, lanes + (k + i * cols) * MR_LANES, vecs);
    }
}

MR_INLINE void many_tile(const float *x, size_t cols, size_t k, const int32_t *class_index, double *sums, size_t rows)
{
    for (size_t row = 0; row < rows; row++) {
        const size_t nearest = (size_t)class_index[row];
        double *const sum = sums + k + nearest * cols;
        sums[nearest] += 1;
        for (size_t c = 0; c < cols; c++) sum[c] += (double)x[c * MR_TILE_ROWS + row];
    }
}

void MR_KERNEL_NAME(mr_kmeans_sum)(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,
                                   double *sums, void *scratch, size_t rows)
{
    const size_t cols = model->in, k = model->out, count = model->sum_count;
    const bool is_few = k <= FEW;
    float *const all = scratch, *const is_mine = all + count * MR_LANES, *const distance = all + (count - 1) * MR_LANES;
    _Alignas(MR_ALIGN) float there[MR_TILE_ROWS];
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    mr_lanes_clear(all, count);
    for (size_t i = 0; i < count; i++) sums[i] = 0;
    mr_there_tile(there, MR_TILE_ROWS);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t left = rows - row, vecs = mr_tile_vecs(left);
        if (left < MR_TILE_ROWS) mr_there_tile(there, left);
        if (is_few)
            few_tile(x, cols, k, target->class_index + row, there, is_mine, all, vecs);
        else
            many_tile(x, cols, k, target->class_index + row, sums, left < MR_TILE_ROWS ? left : MR_TILE_ROWS);
        for (size_t v = 0; v < vecs; v++) {
            const mr_mask is_there = mr_greater(mr_load(there + v * MR_LANES), (mr_vec){0});
            mr_lane_add(distance, mr_select(is_there, mr_load(target->y + row + v * MR_LANES), (mr_vec){0}));
        }
        x += cols * MR_TILE_ROWS;
        if ((row + MR_TILE_ROWS) % MR_SUM_ROWS == 0) {
            if (is_few)
                mr_lanes_flush(all, count, sums);
            else
                mr_lanes_flush(distance, 1, sums + count - 1);
        }
    }
    if (is_few)
        mr_lanes_flush(all, count, sums);
    else
        mr_lanes_flush(distance, 1, sums + count - 1);
}
