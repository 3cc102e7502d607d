/*
 * linear_sum on a device: the residuals of a block of rows and of up to MR_SUM_OUTS outputs in shared memory, then a
 * thread for each sum. A label is the sum of two floats, so that the difference is as exact as one of float64.
 */
#ifndef MR_KERNEL_LINEAR_SUM_GPU_H
#define MR_KERNEL_LINEAR_SUM_GPU_H

#include "kernels/gpu_sums.h"

#define MR_SUM_OUTS           8
#define MR_SUM_LIKELIHOOD_MIN 1e-30f /* MR_PROBABILITY_MIN */

/** Of one output: r = y - label, or its limit, 0 where there is no label; part: the loss of the row. */
MR_DEVICE void mr_residual_one(mr_word loss, float delta, mr_vf p, mr_vf label, mr_vf rest, mr_vf *r, mr_vf *part,
                               mr_vf *there)
{
    const mr_vf zero = mr_set(0.0f), one = mr_set(1.0f), least = mr_set(MR_SUM_LIKELIHOOD_MIN);
    mr_vf off = (p - label) - rest;
    *there = mr_pick(label == label, one, zero);
    *part = off * off * 0.5f;
    if (loss == MR_GPU_LOG) { /* labels outside of [0, 1] are none */
        *there = mr_pick(label < 0.0f, zero, mr_pick(label > 1.0f, zero, *there));
        *there = mr_pick(label == 0.0f, mr_pick(rest < 0.0f, zero, *there), *there);
        *there = mr_pick(label == 1.0f, mr_pick(rest > 0.0f, zero, *there), *there);
        *part = -(label * mr_log(mr_max(p, least)) + (one - label) * mr_log(mr_max(one - p, least)));
    } else if (loss == MR_GPU_HUBER) {
        const mr_vf size = mr_from_bits(mr_bits(off) & 0x7fffffff), most = mr_set(delta);
        *part = mr_pick(size > most, most * (size - most * 0.5f), *part);
        off = mr_max(mr_min(off, most), -most);
    }
    *r = mr_pick(*there > 0.0f, off, zero);
    *part = mr_pick(*there > 0.0f, *part, zero);
}

/** Of a softmax: there is a label when it is one of the classes. */
MR_DEVICE mr_vf mr_label_is_class(mr_vf label, mr_vf rest, mr_word out)
{
    const float magic = 12582912.0f; /* adding it rounds to a whole number */
    const mr_vf zero = mr_set(0.0f), whole = (label + magic) - magic;
    mr_vf there = mr_pick(label == whole, mr_set(1.0f), zero);
    there = mr_pick(rest == 0.0f, there, zero);
    there = mr_pick(label < 0.0f, zero, there);
    return mr_pick(label < (float)out, there, zero);
}

/** How much a row counts, by its label. weight: [classes]; NULL: 1. */
MR_DEVICE mr_vf mr_row_weight(MR_GLOBAL const float *weight, mr_vf label, mr_word out)
{
    const mr_vf one = mr_set(1.0f);
    mr_vf by = one;
    if (!weight) return one;
    if (out == 1) return (one - label) * weight[0] + label * weight[1];
    for (mr_word o = 0; o < out; o++) by = mr_pick(label == (float)o, mr_set(weight[o]), by);
    return by;
}

/** Residuals r[outs][MR_SUM_BLOCK] of outputs [first_out, first_out + outs), losses and labels of the rows of a tile
 * that are this thread's. y, label, rest: at the tile. weight: of classes (mr_row_weight). */
MR_DEVICE void mr_residuals_tile(MR_GLOBAL const mr_word *at, MR_GLOBAL const float *weight, mr_word first_out,
                                 mr_word outs, MR_GLOBAL const float *y, MR_GLOBAL const float *label,
                                 MR_GLOBAL const float *rest, MR_SHARED float *r, MR_SHARED float *losses,
                                 MR_SHARED float *theres)
{
    const mr_word out = at[MR_SUMS_OUT];
    const mr_vf zero = mr_set(0.0f), one = mr_set(1.0f);
    for (mr_word row = mr_local_id() * MR_LANES; row < MR_TILE; row += mr_group_size() * MR_LANES) {
        const mr_vf t = MR_LOAD(MR_GLOBAL, label + row), t_rest = MR_LOAD(MR_GLOBAL, rest + row);
        const mr_vf by = mr_row_weight(weight, t, out);
        mr_vf there, part, off, likely = one;
        if (out == 1) {
            const float delta = *(MR_GLOBAL const float *)(at + MR_SUMS_DELTA);
            mr_residual_one(at[MR_SUMS_LOSS], delta, MR_LOAD(MR_GLOBAL, y + row), t, t_rest, &off, &part, &there);
            off = mr_pick(there > 0.0f, off * by, zero);
            part = mr_pick(there > 0.0f, part * by, zero);
            MR_STORE(MR_SHARED, r + row, off);
        } else {
            there = mr_label_is_class(t, t_rest, out);
            for (mr_word o = 0; o < outs; o++) {
                const mr_vf p = MR_LOAD(MR_GLOBAL, y + (first_out + o) * MR_TILE + row);
                off = mr_pick(t == (float)(first_out + o), p - 1.0f, p);
                MR_STORE(MR_SHARED, r + o * MR_SUM_BLOCK + row, mr_pick(there > 0.0f, off * by, zero));
            }
            for (mr_word o = 0; first_out == 0 && o < out; o++)
                likely = mr_pick(t == (float)o, MR_LOAD(MR_GLOBAL, y + o * MR_TILE + row), likely);
            part = -mr_log(mr_max(likely, mr_set(MR_SUM_LIKELIHOOD_MIN)));
            part = mr_pick(there > 0.0f, part * by, zero);
        }
        MR_STORE(MR_SHARED, losses + row, part);
        MR_STORE(MR_SHARED, theres + row, there);
    }
}

MR_KERNEL(linear_sum)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word cols = at[MR_SUMS_COLS], out = at[MR_SUMS_OUT], blocks = at[MR_SUMS_BLOCKS];
    const mr_word block = mr_group_id() / blocks, first = block * MR_SUM_BLOCK, tiles = mr_block_tiles(first, rows);
    const mr_word first_out = mr_group_id() % blocks * MR_SUM_OUTS;
    const mr_word outs = out - first_out < MR_SUM_OUTS ? out - first_out : MR_SUM_OUTS;
    const mr_word tile_rows = (rows + MR_TILE - 1) / MR_TILE * MR_TILE;
    MR_SHARED float *const losses = shared + outs * MR_SUM_BLOCK, *const theres = losses + MR_SUM_BLOCK;
    MR_GLOBAL float *const partial = scratch + (size_t)block * (out * (cols + 1) + 2);
    for (mr_word tile = 0; tile < tiles; tile++) {
        const size_t row = first + tile * MR_TILE;
        mr_residuals_tile(at, 0, first_out, outs, y + row * out, label + row, label + tile_rows + row,
                          shared + tile * MR_TILE, losses + tile * MR_TILE, theres + tile * MR_TILE);
    }
    mr_barrier();
    for (mr_word i = mr_local_id(); i < outs * (cols + 1) + (first_out == 0 ? 2 : 0); i += mr_group_size()) {
        const mr_word o = i / cols, c = i % cols; /* behind the weights: o is outs or above */
        if (i < outs * cols)
            partial[(first_out + o) * cols + c] =
                mr_weigh_column(x + ((size_t)first * cols + c * MR_TILE), cols, shared + o * MR_SUM_BLOCK, tiles);
        else if (i < outs * (cols + 1))
            partial[out * cols + first_out + (i - outs * cols)] =
                mr_add_values(shared + (i - outs * cols) * MR_SUM_BLOCK, tiles);
        else
            partial[out * (cols + 1) + (i - outs * (cols + 1))] =
                mr_add_values(i == outs * (cols + 1) ? losses : theres, tiles);
    }
}

#endif
