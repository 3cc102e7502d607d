/* moments on a device: a thread a column. */
#ifndef MR_KERNEL_MOMENTS_GPU_H
#define MR_KERNEL_MOMENTS_GPU_H

#include "kernels/gpu_sums.h"

MR_KERNEL(moments)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word cols = at[MR_SUMS_COLS], first = mr_group_id() * MR_SUM_BLOCK, tiles = mr_block_tiles(first, rows);
    MR_GLOBAL const float *const shift = (MR_GLOBAL const float *)(model + at[MR_SUMS_SHIFT]);
    MR_GLOBAL float *const partial = scratch + (size_t)mr_group_id() * 2 * cols;
    for (mr_word row = mr_local_id(); row < tiles * MR_TILE; row += mr_group_size())
        shared[row] = first + row < rows ? 1.0f : 0.0f;
    mr_barrier();
    for (mr_word c = mr_local_id(); c < cols; c += mr_group_size()) {
        mr_vf sum[MR_SUM_WAYS], square[MR_SUM_WAYS];
        MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++) sum[i] = square[i] = mr_set(0.0f);
        for (mr_word row = 0; row < tiles * MR_TILE; row += MR_SUM_STEP) {
            MR_GLOBAL const float *const from =
                x + ((size_t)(first + row) / MR_TILE * cols + c) * MR_TILE + row % MR_TILE;
            MR_UNROLL for (int i = 0; i < MR_SUM_WAYS; i++)
            {
                const mr_vf there = MR_LOAD(MR_SHARED, shared + row + i * MR_LANES);
                const mr_vf value = MR_LOAD(MR_GLOBAL, from + i * MR_LANES) - shift[c];
                const mr_vf off = mr_pick(there > 0.0f, value, mr_set(0.0f));
                sum[i] += off;
                square[i] = mr_fma(off, off, square[i]);
            }
        }
        partial[c] = mr_ways_sum(sum);
        partial[cols + c] = mr_ways_sum(square);
    }
}

#endif
