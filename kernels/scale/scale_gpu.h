/* scale on a device; also what takes a mean off inputs that are too wide for shared memory, before another step. */
#ifndef MR_KERNEL_SCALE_GPU_H
#define MR_KERNEL_SCALE_GPU_H

#include "kernels/gpu_dense.h"

MR_KERNEL(scale)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_SCALE_TILES], cols = at[MR_SCALE_COLS], place = at[MR_SCALE_TO];
    MR_GLOBAL const float *const shift = (MR_GLOBAL const float *)(model + at[MR_SCALE_SHIFT]);
    MR_GLOBAL const float *const scale = (MR_GLOBAL const float *)(model + at[MR_SCALE_SCALE]);
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL const float *const from = x + (size_t)tile * cols * MR_TILE;
        MR_GLOBAL float *const to = place ? mr_place(scratch, place, tile, cols) : y + (size_t)tile * cols * MR_TILE;
        MR_EACH_STEP(row)
        {
            for (mr_word c = 0; (place || y) && c < cols; c++) {
                MR_UNROLL for (int v = 0; v < MR_VECS; v++)
                {
                    const mr_word i = c * MR_TILE + row + v * MR_LANES;
                    MR_STORE(MR_GLOBAL, to + i, (MR_LOAD(MR_GLOBAL, from + i) - shift[c]) * scale[c]);
                }
            }
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)
            {
                if (class_index && !place)
                    MR_STORE_I(MR_GLOBAL, class_index + (size_t)tile * MR_TILE + row + v * MR_LANES, mr_set_i(0));
            }
        }
    }
}

#endif
