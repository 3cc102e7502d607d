/*
 * mlp_forward on a device. Narrow layers: mlp_forward, all of a tile one after the other, activations in shared memory.
 * Wide ones, on a GPU: dense_wide, a layer a launch, activations in scratch. finish: what follows the last layer, when
 * that is a wide one.
 */
#ifndef MR_KERNEL_MLP_FORWARD_GPU_H
#define MR_KERNEL_MLP_FORWARD_GPU_H

#include "kernels/gpu_dense.h"
#include "kernels/gpu_product.h"

MR_KERNEL(mlp_forward)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    mr_dense_tiles(x, model, y, class_index, scratch, rows, step, shared);
}

MR_KERNEL(finish)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step, *const layer = at + MR_DENSE_WORDS;
    const mr_word tiles = at[MR_DENSE_TILES], out = layer[MR_LAYER_OUT];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL float *const z = y ? y + (size_t)tile * out * MR_TILE : mr_place(scratch, at[MR_DENSE_TO], tile, out);
        mr_finish_tile(out, layer[MR_LAYER_ACTIVATION], z, y != 0,
                       class_index ? class_index + (size_t)tile * MR_TILE : 0);
    }
}

#if MR_LANES == 1
MR_KERNEL_WIDE(dense_wide)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step, *const layer = at + MR_DENSE_WORDS;
    const mr_word in = layer[MR_LAYER_IN], out = layer[MR_LAYER_OUT], blocks = at[MR_DENSE_BLOCKS];
    const mr_word tile = mr_group_id() / blocks * 2, first = mr_group_id() % blocks * MR_WIDE;
    const mr_word lane = mr_local_id() % 16, other = mr_local_id() / 16;
    const mr_word activation = at[MR_DENSE_IS_LAST] ? MR_GPU_IDENTITY : layer[MR_LAYER_ACTIVATION];
    const int is_two = (tile + 1) * MR_TILE < rows;
    MR_GLOBAL const float *const w = (MR_GLOBAL const float *)(model + layer[MR_LAYER_W]);
    MR_GLOBAL const float *const b = (MR_GLOBAL const float *)(model + layer[MR_LAYER_B]);
    MR_GLOBAL const float *const from =
        at[MR_DENSE_FROM] ? mr_place(scratch, at[MR_DENSE_FROM], tile, in) : x + (size_t)tile * in * MR_TILE;
    MR_GLOBAL float *const to =
        at[MR_DENSE_IS_LAST] && y ? y + (size_t)tile * out * MR_TILE : mr_place(scratch, at[MR_DENSE_TO], tile, out);
    float acc[64];
    mr_product(from, is_two, w + (size_t)first * in,
               at[MR_DENSE_SHIFT] ? (MR_GLOBAL const float *)(model + at[MR_DENSE_SHIFT]) : 0, in, shared, acc);
    MR_UNROLL for (mr_word i = 0; i < 64; i += 4)
    {
        const mr_word o = first + MR_WIDE_AT(other, i / 8), is_second = i % 8 / 4;
        if (o >= out || (is_second && !is_two)) continue;
        mr_f4 z;
        z.x = mr_activate(activation, acc[i] + b[o]);
        z.y = mr_activate(activation, acc[i + 1] + b[o]);
        z.z = mr_activate(activation, acc[i + 2] + b[o]);
        z.w = mr_activate(activation, acc[i + 3] + b[o]);
        *(MR_GLOBAL mr_f4 *)(to + ((size_t)is_second * out + o) * MR_TILE + lane * 4) = z;
    }
}
#endif

#endif
