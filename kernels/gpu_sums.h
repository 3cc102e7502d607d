/**
 * Sums over rows on a device. A work-group takes a block of rows; each sum of it belongs to one thread, which adds in a
 * fixed order: the same rows give the same bits. The host adds the blocks in float64.
 */
#ifndef MR_KERNELS_GPU_SUMS_H
#define MR_KERNELS_GPU_SUMS_H

#include "kernels/gpu_activate.h"

#define MR_SUM_BLOCK 512                      /* rows of a work-group: MR_SUM_ROWS of kernels.h */
#define MR_SUM_WAYS  (MR_LANES == 1 ? 8 : 2)  /* sums side by side, to hide the latency of an addition */
#define MR_SUM_STEP  (MR_SUM_WAYS * MR_LANES) /* rows that are added at a time */

/** The lanes of all the ways, in order. */
MR_DEVICE float mr_ways_sum(const mr_vf *ways)
{
    mr_vf all = ways[0];
    MR_UNROLL for (int i = 1; i < MR_SUM_WAYS; i++) all += ways[i];
    return mr_lanes_sum(all);
}

/** Sum over the rows of `tiles` tiles of weight[row] * x[row]; x: a column of the first tile, of `cols`. */
MR_DEVICE float mr_weigh_column(MR_GLOBAL const float *x, mr_word cols, MR_SHARED const float *weight, mr_word tiles)
{
    mr_vf ways[MR_SUM_WAYS];
    MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++) ways[i] = mr_set(0.0f);
    for (mr_word tile = 0; tile < tiles; tile++, x += (size_t)cols * MR_TILE, weight += MR_TILE) {
        for (mr_word row = 0; row < MR_TILE; row += MR_SUM_STEP) {
            MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++) ways[i] = mr_fma(
                MR_LOAD(MR_GLOBAL, x + row + i * MR_LANES), MR_LOAD(MR_SHARED, weight + row + i * MR_LANES), ways[i]);
        }
    }
    return mr_ways_sum(ways);
}

/** Sum of values[tiles][64]. */
MR_DEVICE float mr_add_values(MR_SHARED const float *values, mr_word tiles)
{
    mr_vf ways[MR_SUM_WAYS];
    MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++) ways[i] = mr_set(0.0f);
    for (mr_word row = 0; row < tiles * MR_TILE; row += MR_SUM_STEP) {
        MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++) ways[i] += MR_LOAD(MR_SHARED, values + row + i * MR_LANES);
    }
    return mr_ways_sum(ways);
}

/** Tiles of the block that starts at row `first`. */
MR_DEVICE mr_word mr_block_tiles(mr_word first, mr_word rows)
{
    const mr_word left = (rows - first + MR_TILE - 1) / MR_TILE;
    return left < MR_SUM_BLOCK / MR_TILE ? left : MR_SUM_BLOCK / MR_TILE;
}

#endif
