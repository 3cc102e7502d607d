/*
 * kmeans_assign on a device. The least of |c|^2 / 2 - x c is kept block by block; the scores of all centres are never
 * stored. Few centres: kmeans_assign, a tile's inputs around the mean in shared memory. Many, on a GPU: kmeans_wide, a
 * matrix product. One feature: kmeans_line, sorted centres and the bounds between them.
 */
#ifndef MR_KERNEL_KMEANS_ASSIGN_GPU_H
#define MR_KERNEL_KMEANS_ASSIGN_GPU_H

#include "kernels/gpu_dense.h"
#include "kernels/gpu_product.h"

/** The nearest centres of MR_VECS vectors of rows. Scores go to best, numbers to index. */
MR_DEVICE void mr_near_rows(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at, int is_shared,
                            MR_GLOBAL const float *from, MR_SHARED const float *from_shared, mr_vf *best, mr_vi *index)
{
    const mr_word in = at[MR_NEAR_IN], k = at[MR_NEAR_K];
    MR_GLOBAL const float *w = (MR_GLOBAL const float *)(model + at[MR_NEAR_W]);
    MR_GLOBAL const float *const b = (MR_GLOBAL const float *)(model + at[MR_NEAR_B]);
    MR_UNROLL for (int v = 0; v < MR_VECS; v++)
    {
        best[v] = mr_set(mr_infinity());
        index[v] = mr_set_i(0);
    }
    for (mr_word first = 0; first < k; first += MR_OUTS) {
        const mr_word count = k - first < MR_OUTS ? k - first : MR_OUTS;
        mr_vf sum[MR_OUTS * MR_VECS];
        if (is_shared)
            mr_sums_shared(from_shared, w, b + first, in, sum, count);
        else
            mr_sums_global(from, w, b + first, in, sum, count);
        MR_UNROLL for (mr_word i = 0; i < MR_OUTS * MR_VECS; i++)
        {
            if (i / MR_VECS >= count) continue;
            const mr_mask wins = best[i % MR_VECS] > sum[i];
            best[i % MR_VECS] = mr_pick(wins, sum[i], best[i % MR_VECS]);
            index[i % MR_VECS] = mr_pick_i(wins, mr_set_i((int)(first + i / MR_VECS)), index[i % MR_VECS]);
        }
        w += in * count;
    }
}

MR_KERNEL(kmeans_assign)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_NEAR_TILES], in = at[MR_NEAR_IN], is_shared = at[MR_NEAR_SHIFT] != 0;
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL const float *const from =
            at[MR_NEAR_FROM] ? mr_place(scratch, at[MR_NEAR_FROM], tile, in) : x + (size_t)tile * in * MR_TILE;
        if (is_shared) mr_shift_tile(from, (MR_GLOBAL const float *)(model + at[MR_NEAR_SHIFT]), in, shared);
        MR_EACH_STEP(row)
        {
            mr_vf best[MR_VECS], square[MR_VECS];
            mr_vi index[MR_VECS];
            mr_near_rows(model, at, is_shared, from + row, shared + row, best, index);
            MR_UNROLL for (int v = 0; v < MR_VECS; v++) square[v] = mr_set(0.0f);
            for (mr_word c = 0; y && c < in; c++) {
                MR_UNROLL for (int v = 0; v < MR_VECS; v++)
                {
                    const mr_word i = c * MR_TILE + row + v * MR_LANES;
                    const mr_vf value = is_shared ? MR_LOAD(MR_SHARED, shared + i) : MR_LOAD(MR_GLOBAL, from + i);
                    square[v] = mr_fma(value, value, square[v]);
                }
            }
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)
            {
                const size_t to = (size_t)tile * MR_TILE + row + v * MR_LANES;
                if (y) MR_STORE(MR_GLOBAL, y + to, mr_max(best[v] * 2.0f + square[v], mr_set(0.0f)));
                if (class_index) MR_STORE_I(MR_GLOBAL, class_index + to, index[v]);
            }
        }
    }
}

MR_KERNEL(kmeans_line)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_LINE_TILES], count = at[MR_LINE_COUNT];
    MR_GLOBAL const float *const center = (MR_GLOBAL const float *)(model + at[MR_LINE_CENTER]);
    MR_GLOBAL const float *const bound = (MR_GLOBAL const float *)(model + at[MR_LINE_BOUND]);
    MR_GLOBAL const mr_word *const number = model + at[MR_LINE_INDEX];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_EACH_STEP(row)
        {
            const size_t place = (size_t)tile * MR_TILE + row;
            mr_vf nearest[MR_VECS], value[MR_VECS];
            mr_vi index[MR_VECS];
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)
            {
                value[v] = MR_LOAD(MR_GLOBAL, x + place + v * MR_LANES);
                nearest[v] = mr_set(center[0]);
                index[v] = mr_set_i((int)number[0]);
            }
            for (mr_word i = 1; i < count; i++) {
                MR_UNROLL for (int v = 0; v < MR_VECS; v++)
                {
                    const mr_mask is_passed = value[v] > bound[i - 1];
                    nearest[v] = mr_pick(is_passed, mr_set(center[i]), nearest[v]);
                    index[v] = mr_pick_i(is_passed, mr_set_i((int)number[i]), index[v]);
                }
            }
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)
            {
                const mr_vf off = value[v] - nearest[v];
                if (y) MR_STORE(MR_GLOBAL, y + place + v * MR_LANES, off * off);
                if (class_index) MR_STORE_I(MR_GLOBAL, class_index + place + v * MR_LANES, index[v]);
            }
        }
    }
}

#if MR_LANES == 1
/** The nearest of the 16 best of a row, each thread's row its own number; equal ones: the lowest. */
MR_DEVICE void mr_near_reduce(MR_SHARED const float *score, MR_SHARED const mr_word *number, float *best,
                              mr_word *index)
{
    *best = mr_infinity();
    *index = 0;
    for (mr_word other = 0; other < 16; other++) {
        const float here = score[other * MR_WIDE + mr_local_id()];
        const mr_word which = number[other * MR_WIDE + mr_local_id()];
        if (here < *best || (here == *best && which < *index)) {
            *best = here;
            *index = which;
        }
    }
}

MR_KERNEL_WIDE(kmeans_wide)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word in = at[MR_NEAR_IN], k = at[MR_NEAR_K], tile = mr_group_id() * 2;
    const mr_word lane = mr_local_id() % 16, other = mr_local_id() / 16;
    const int is_two = (tile + 1) * MR_TILE < rows;
    MR_GLOBAL const float *const w = (MR_GLOBAL const float *)(model + at[MR_NEAR_W]);
    MR_GLOBAL const float *const b = (MR_GLOBAL const float *)(model + at[MR_NEAR_B]);
    MR_GLOBAL const float *const shift = (MR_GLOBAL const float *)(model + at[MR_NEAR_SHIFT]);
    MR_GLOBAL const float *const from = x + (size_t)tile * in * MR_TILE;
    float best[8];
    mr_word index[8];
    MR_UNROLL for (int i = 0; i < 8; i++)
    {
        best[i] = mr_infinity();
        index[i] = 0;
    }
    for (mr_word first = 0; first < k; first += MR_WIDE) {
        float acc[64];
        mr_product(from, is_two, w + (size_t)first * in, shift, in, shared, acc);
        MR_UNROLL for (mr_word i = 0; i < 64; i++)
        {
            const mr_word o = first + MR_WIDE_AT(other, i / 8);
            const float score = acc[i] + b[o]; /* infinite behind the last centre */
            if (score < best[i % 8]) {
                best[i % 8] = score;
                index[i % 8] = o;
            }
        }
    }
    MR_SHARED float *const score = shared;
    MR_SHARED mr_word *const number = (MR_SHARED mr_word *)(shared + 16 * MR_WIDE);
    mr_barrier();
    MR_UNROLL for (mr_word i = 0; i < 8; i++)
    {
        score[other * MR_WIDE + MR_WIDE_AT(lane, i)] = best[i];
        number[other * MR_WIDE + MR_WIDE_AT(lane, i)] = index[i];
    }
    mr_barrier();
    if (mr_local_id() >= (is_two ? MR_WIDE : MR_TILE)) return;
    float nearest, square = 0.0f;
    mr_word which;
    mr_near_reduce(score, number, &nearest, &which);
    const size_t row = (size_t)tile * MR_TILE + mr_local_id();
    MR_GLOBAL const float *column = from + (size_t)(mr_local_id() / MR_TILE) * in * MR_TILE + mr_local_id() % MR_TILE;
    for (mr_word c = 0; y && c < in; c++, column += MR_TILE) {
        const float value = *column - shift[c];
        square = mr_fma1(value, value, square);
    }
    if (y) y[row] = mr_max(nearest * 2.0f + square, 0.0f);
    if (class_index) class_index[row] = (int)which;
}
#endif

#endif
