/*
 * kmeans_sum on a device. Few centres: kmeans_sum, a thread for each sum, which takes the rows of its centre by a mask.
 * Many: kmeans_scatter, a thread a column, which adds each row to its centre's sum; such a sum may have any number of
 * rows, so what each addition rounds off is kept beside it. kmeans_reduce adds the blocks, so that little comes down.
 */
#ifndef MR_KERNEL_KMEANS_SUM_GPU_H
#define MR_KERNEL_KMEANS_SUM_GPU_H

#include "kernels/gpu_sums.h"

/** Sum over rows whose class is k of x, or their count, where cols is 0. */
MR_DEVICE float mr_center_sum(MR_GLOBAL const float *x, mr_word cols, MR_SHARED const float *class_of, mr_word k,
                              mr_word tiles)
{
    mr_vf ways[MR_SUM_WAYS];
    MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++) ways[i] = mr_set(0.0f);
    for (mr_word tile = 0; tile < tiles; tile++, x += (size_t)cols * MR_TILE, class_of += MR_TILE) {
        for (mr_word row = 0; row < MR_TILE; row += MR_SUM_STEP) {
            MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++)
            {
                const mr_vf value = cols ? MR_LOAD(MR_GLOBAL, x + row + i * MR_LANES) : mr_set(1.0f);
                const mr_vf is = MR_LOAD(MR_SHARED, class_of + row + i * MR_LANES);
                ways[i] += mr_pick(is == (float)k, value, mr_set(0.0f));
            }
        }
    }
    return mr_ways_sum(ways);
}

MR_KERNEL(kmeans_sum)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word cols = at[MR_SUMS_COLS], k = at[MR_SUMS_OUT], count = k * (cols + 1) + 1;
    const mr_word first = mr_group_id() * MR_SUM_BLOCK, tiles = mr_block_tiles(first, rows);
    MR_SHARED float *const class_of = shared, *const distance = shared + MR_SUM_BLOCK;
    MR_GLOBAL float *const partial = scratch + (size_t)mr_group_id() * count;
    for (mr_word row = mr_local_id(); row < tiles * MR_TILE; row += mr_group_size()) {
        const int is_there = first + row < rows;
        class_of[row] = is_there ? (float)class_index[first + row] : -1.0f;
        distance[row] = is_there ? y[first + row] : 0.0f;
    }
    mr_barrier();
    for (mr_word i = mr_local_id(); i < count; i += mr_group_size()) {
        const mr_word center = i < k ? i : (i - k) / cols, c = i < k ? 0 : (i - k) % cols;
        if (i + 1 == count)
            partial[i] = mr_add_values(distance, tiles);
        else
            partial[i] =
                mr_center_sum(x + ((size_t)first * cols + c * MR_TILE), i < k ? 0 : cols, class_of, center, tiles);
    }
}

/** sum + rest += value, with what the addition rounds off. */
MR_DEVICE void mr_add_exactly(MR_GLOBAL float *sum, MR_GLOBAL float *rest, float value)
{
    const float before = *sum, after = before + value, taken = after - before;
    *rest += (before - (after - taken)) + (value - taken);
    *sum = after;
}

MR_KERNEL(kmeans_scatter)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word cols = at[MR_SUMS_COLS], k = at[MR_SUMS_OUT], size = at[MR_SUMS_ROWS], blocks = at[MR_SUMS_BLOCKS];
    const mr_word block = mr_group_id() / blocks, first = block * size;
    const mr_word end = rows - first < size ? rows : first + size;
    const size_t count = (size_t)k * (cols + 1) + 1;
    MR_GLOBAL float *const partial =
        scratch + (size_t)(at[MR_SCATTER_PARTIAL] - 1) * MR_TILE + (size_t)block * 2 * count;
    /* Columns, then the counts, then the distances. */
    for (mr_word c = mr_group_id() % blocks * mr_group_size() + mr_local_id(); c < cols + 2;
         c += blocks * mr_group_size()) {
        MR_GLOBAL float *const sum = partial + (size_t)c * k, *const rest = sum + count;
        for (mr_word i = 0; i < (c <= cols ? k : 1); i++) sum[i] = rest[i] = 0.0f;
        for (mr_word row = first; row < end; row++) {
            if (c < cols)
                mr_add_exactly(sum + class_index[row], rest + class_index[row],
                               x[((size_t)(row / MR_TILE) * cols + c) * MR_TILE + row % MR_TILE]);
            else if (c == cols)
                sum[class_index[row]] += 1.0f;
            else
                mr_add_exactly(sum, rest, y[row]);
        }
    }
}

/* Sums of all blocks to the start of scratch, and behind them what was rounded off. */
MR_KERNEL(kmeans_reduce)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word count = at[MR_SUMS_OUT] * (at[MR_SUMS_COLS] + 1) + 1, blocks = (rows - 1) / at[MR_SUMS_ROWS] + 1;
    const mr_word threads = at[MR_SUMS_BLOCKS] * mr_group_size();
    MR_GLOBAL const float *const partial = scratch + (size_t)(at[MR_SCATTER_PARTIAL] - 1) * MR_TILE;
    for (mr_word i = mr_group_id() * mr_group_size() + mr_local_id(); i < count; i += threads) {
        MR_GLOBAL const float *from = partial + i;
        float sum = from[0], rest = from[count];
        for (mr_word block = 1; block < blocks; block++) {
            from += (size_t)2 * count;
            const float value = from[0], before = sum;
            sum = before + value;
            const float taken = sum - before;
            rest += (before - (sum - taken)) + (value - taken) + from[count];
        }
        scratch[i] = sum;
        scratch[count + i] = rest;
    }
}

#endif
