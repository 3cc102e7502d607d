/**
 * Dense layers over tiles, for the kernels that keep a tile's activations in shared memory. Each thread reads and
 * writes rows of its own only, so nothing waits for anybody.
 */
#ifndef MR_KERNELS_GPU_DENSE_H
#define MR_KERNELS_GPU_DENSE_H

#include "kernels/gpu_activate.h"

/** The rows of a tile that are this thread's, a step at a time. */
#define MR_EACH_STEP(row)                                                                                              \
    for (mr_word row = mr_local_id() * MR_STEP_ROWS; row < MR_TILE; row += mr_group_size() * MR_STEP_ROWS)

/*
 * The sums of a block have names, s<output><vector>: an array whose loops are unrolled late, or not at all, by a
 * driver's compiler would lie in memory (PoCL 3.1: 4 times slower).
 */
#if MR_VECS == 1
#define MR_EACH_VEC(X, o) X(o, 0)
#elif MR_VECS == 2
#define MR_EACH_VEC(X, o) X(o, 0) X(o, 1)
#else
#define MR_EACH_VEC(X, o) X(o, 0) X(o, 1) X(o, 2) X(o, 3)
#endif
#define MR_EACH_OUT_1(X, vecs) vecs(X, 0)
#define MR_EACH_OUT_2(X, vecs) MR_EACH_OUT_1(X, vecs) vecs(X, 1)
#define MR_EACH_OUT_3(X, vecs) MR_EACH_OUT_2(X, vecs) vecs(X, 2)
#define MR_EACH_OUT_4(X, vecs) MR_EACH_OUT_3(X, vecs) vecs(X, 3)
#define MR_EACH_OUT_5(X, vecs) MR_EACH_OUT_4(X, vecs) vecs(X, 4)
#define MR_EACH_OUT_6(X, vecs) MR_EACH_OUT_5(X, vecs) vecs(X, 5)
#define MR_FIRST_VEC(X, o)     X(o, 0)

#define MR_SUM_START(o, v)  mr_vf s##o##v = mr_set(b[o]);
#define MR_SUM_VALUE(o, v)  const mr_vf x##v = MR_LOAD(MR_SUM_SPACE, x + v * MR_LANES);
#define MR_SUM_WEIGHT(o, v) const mr_vf w##o = mr_set(w[o]);
#define MR_SUM_ADD(o, v)    s##o##v = mr_fma(x##v, w##o, s##o##v);
#define MR_SUM_KEEP(o, v)   sum[o * MR_VECS + v] = s##o##v;
#define MR_SUM_BLOCK_OF(N)                                                                                             \
    case N: {                                                                                                          \
        MR_EACH_OUT_##N(MR_SUM_START, MR_EACH_VEC) for (mr_word c = 0; c < in; c++, x += MR_TILE, w += N){             \
            MR_EACH_VEC(MR_SUM_VALUE, 0) MR_EACH_OUT_##N(MR_SUM_WEIGHT, MR_FIRST_VEC)                                  \
                MR_EACH_OUT_##N(MR_SUM_ADD, MR_EACH_VEC)} MR_EACH_OUT_##N(MR_SUM_KEEP, MR_EACH_VEC) break;             \
    }
#define MR_SUM_BLOCKS                                                                                                  \
    switch (count) {                                                                                                   \
        MR_SUM_BLOCK_OF(1)                                                                                             \
        MR_SUM_BLOCK_OF(2)                                                                                             \
        MR_SUM_BLOCK_OF(3)                                                                                             \
        MR_SUM_BLOCK_OF(4)                                                                                             \
        MR_SUM_BLOCK_OF(5)                                                                                             \
        MR_SUM_BLOCK_OF(6)                                                                                             \
    default:                                                                                                           \
        break;                                                                                                         \
    }

/**
 * sum[o][v] = b[o] + sum over c of w[c][o] * x[c][64], of `count` (at most MR_OUTS) outputs by MR_VECS vectors; the
 * others stay as they are. One function for each address space that x may be in.
 */
#define MR_SUM_SPACE MR_GLOBAL
MR_DEVICE void mr_sums_global(MR_GLOBAL const float *x, MR_GLOBAL const float *w, MR_GLOBAL const float *b, mr_word in,
                              mr_vf *sum, mr_word count){MR_SUM_BLOCKS}
#undef MR_SUM_SPACE
#define MR_SUM_SPACE MR_SHARED
MR_DEVICE void mr_sums_shared(MR_SHARED const float *x, MR_GLOBAL const float *w, MR_GLOBAL const float *b, mr_word in,
                              mr_vf *sum, mr_word count)
{
    MR_SUM_BLOCKS
}
#undef MR_SUM_SPACE

/** Puts `count` outputs by MR_VECS vectors where they belong and applies the activation to them, in place: registers
 * that the polynomials need would be missing in the sums. */
#define MR_PUT(name, SPACE)                                                                                            \
    MR_DEVICE void name(SPACE float *to, mr_vf *sum, mr_word count, mr_word activation)                                \
    {                                                                                                                  \
        MR_UNROLL for (mr_word i = 0; i < MR_OUTS * MR_VECS; i++)                                                      \
        {                                                                                                              \
            if (i / MR_VECS >= count) continue;                                                                        \
            if (activation == MR_GPU_RELU) sum[i] = mr_max(sum[i], mr_set(0.0f));                                      \
            MR_STORE(SPACE, to + i / MR_VECS * MR_TILE + i % MR_VECS * MR_LANES, sum[i]);                              \
        }                                                                                                              \
        if (activation == MR_GPU_RELU || activation == MR_GPU_IDENTITY) return;                                        \
        for (mr_word o = 0; o < count; o++, to += MR_TILE) {                                                           \
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)                                                                \
            {                                                                                                          \
                const mr_vf z = MR_LOAD(SPACE, to + v * MR_LANES);                                                     \
                MR_STORE(SPACE, to + v * MR_LANES, mr_activate(activation, z));                                        \
            }                                                                                                          \
        }                                                                                                              \
    }
MR_PUT(mr_put_global, MR_GLOBAL)
MR_PUT(mr_put_shared, MR_SHARED)

/** A layer of one tile, from global or shared memory to global or shared memory. */
MR_DEVICE void mr_dense_layer(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *layer, mr_word activation,
                              int is_from_shared, MR_GLOBAL const float *from, MR_SHARED const float *from_shared,
                              int is_to_shared, MR_GLOBAL float *to, MR_SHARED float *to_shared)
{
    const mr_word in = layer[MR_LAYER_IN], out = layer[MR_LAYER_OUT];
    MR_GLOBAL const float *w = (MR_GLOBAL const float *)(model + layer[MR_LAYER_W]);
    MR_GLOBAL const float *const b = (MR_GLOBAL const float *)(model + layer[MR_LAYER_B]);
    for (mr_word first = 0; first < out; first += MR_OUTS) {
        const mr_word count = out - first < MR_OUTS ? out - first : MR_OUTS;
        MR_EACH_STEP(row)
        {
            mr_vf sum[MR_OUTS * MR_VECS];
            if (is_from_shared)
                mr_sums_shared(from_shared + row, w, b + first, in, sum, count);
            else
                mr_sums_global(from + row, w, b + first, in, sum, count);
            if (is_to_shared)
                mr_put_shared(to_shared + first * MR_TILE + row, sum, count, activation);
            else
                mr_put_global(to + first * MR_TILE + row, sum, count, activation);
        }
        w += in * count;
    }
}

/** The classes of MR_VECS vectors of rows from their logits z[out][64]; negated: a negative factor is in them. */
MR_DEVICE void mr_class_rows(MR_GLOBAL const float *z, mr_word out, int negated, MR_GLOBAL int *class_index)
{
    mr_vf best[MR_VECS];
    mr_vi index[MR_VECS];
    MR_UNROLL for (int v = 0; v < MR_VECS; v++)
    {
        best[v] = mr_set(out == 1 ? 0.0f : -mr_infinity());
        index[v] = mr_set_i(0);
    }
    for (mr_word o = 0; o < out; o++) {
        MR_UNROLL for (int v = 0; v < MR_VECS; v++)
        {
            const mr_vf logit = MR_LOAD(MR_GLOBAL, z + o * MR_TILE + v * MR_LANES);
            const mr_vf value = negated ? -logit : logit;
            const mr_mask wins = value > best[v];
            best[v] = mr_pick(wins, value, best[v]);
            index[v] = mr_pick_i(wins, mr_set_i(out == 1 ? 1 : (int)o), index[v]);
        }
    }
    MR_UNROLL for (int v = 0; v < MR_VECS; v++) MR_STORE_I(MR_GLOBAL, class_index + v * MR_LANES, index[v]);
}

/** Softmax over folded logits y[out][64] in place, of MR_VECS vectors of rows. */
MR_DEVICE void mr_softmax_rows(MR_GLOBAL float *y, mr_word out)
{
    mr_vf most[MR_VECS], sum[MR_VECS];
    MR_UNROLL for (int v = 0; v < MR_VECS; v++)
    {
        most[v] = MR_LOAD(MR_GLOBAL, y + v * MR_LANES);
        sum[v] = mr_set(0.0f);
    }
    for (mr_word o = 1; o < out; o++) {
        MR_UNROLL for (int v = 0; v < MR_VECS; v++) most[v] =
            mr_max(MR_LOAD(MR_GLOBAL, y + o * MR_TILE + v * MR_LANES), most[v]);
    }
    for (mr_word o = 0; o < out; o++) {
        MR_UNROLL for (int v = 0; v < MR_VECS; v++)
        {
            MR_GLOBAL float *const at = y + o * MR_TILE + v * MR_LANES;
            const mr_vf power = mr_exp2_of_negative(MR_LOAD(MR_GLOBAL, at) - most[v]);
            sum[v] += power;
            MR_STORE(MR_GLOBAL, at, power);
        }
    }
    MR_UNROLL for (int v = 0; v < MR_VECS; v++) sum[v] = 1.0f / sum[v];
    for (mr_word o = 0; o < out; o++) {
        MR_UNROLL for (int v = 0; v < MR_VECS; v++)
        {
            MR_GLOBAL float *const at = y + o * MR_TILE + v * MR_LANES;
            MR_STORE(MR_GLOBAL, at, MR_LOAD(MR_GLOBAL, at) * sum[v]);
        }
    }
}

/** What follows the last layer of a tile: classes from the logits, and, when they stand in y, the final activation. */
MR_DEVICE void mr_finish_tile(mr_word out, mr_word activation, MR_GLOBAL float *z, int is_y, MR_GLOBAL int *class_index)
{
    MR_EACH_STEP(row)
    {
        if (class_index) mr_class_rows(z + row, out, activation == MR_GPU_SIGMOID, class_index + row);
        if (is_y && activation == MR_GPU_SOFTMAX) mr_softmax_rows(z + row, out);
        if (!is_y || activation == MR_GPU_SOFTMAX || activation == MR_GPU_IDENTITY) continue;
        for (mr_word o = 0; o < out; o++) {
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)
            {
                MR_GLOBAL float *const at = z + o * MR_TILE + row + v * MR_LANES;
                MR_STORE(MR_GLOBAL, at, mr_activate(activation, MR_LOAD(MR_GLOBAL, at)));
            }
        }
    }
}

/** to[cols][64] = from[cols][64] - shift[cols], this thread's rows. */
MR_DEVICE void mr_shift_tile(MR_GLOBAL const float *from, MR_GLOBAL const float *shift, mr_word cols,
                             MR_SHARED float *to)
{
    MR_EACH_STEP(row)
    {
        for (mr_word c = 0; c < cols; c++) {
            MR_UNROLL for (int v = 0; v < MR_VECS; v++)
            {
                const mr_word at = c * MR_TILE + row + v * MR_LANES;
                MR_STORE(MR_SHARED, to + at, MR_LOAD(MR_GLOBAL, from + at) - shift[c]);
            }
        }
    }
}

/** Tiles at a place in scratch (gpu_model.h): the one with number `tile`, of so many columns. */
MR_DEVICE MR_GLOBAL float *mr_place(MR_GLOBAL float *scratch, mr_word place, mr_word tile, mr_word cols)
{
    return scratch + ((size_t)(place - 1) + (size_t)tile * cols) * MR_TILE;
}

/** A step of a dense network: its layers on the tiles of this work-group. */
MR_DEVICE void mr_dense_tiles(MR_GLOBAL const float *x, MR_GLOBAL const mr_word *model, MR_GLOBAL float *y,
                              MR_GLOBAL int *class_index, MR_GLOBAL float *scratch, mr_word rows, mr_word step,
                              MR_SHARED float *shared)
{
    MR_GLOBAL const mr_word *const at = model + step, *const layers = at + MR_DENSE_WORDS;
    const mr_word tiles = at[MR_DENSE_TILES], count = at[MR_DENSE_LAYERS], is_last = at[MR_DENSE_IS_LAST];
    const mr_word in = layers[MR_LAYER_IN];
    MR_GLOBAL const mr_word *const last = layers + (count - 1) * MR_LAYER_WORDS;
    const mr_word out = last[MR_LAYER_OUT];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL const float *const from =
            at[MR_DENSE_FROM] ? mr_place(scratch, at[MR_DENSE_FROM], tile, in) : x + (size_t)tile * in * MR_TILE;
        const int is_y = is_last && y;
        MR_GLOBAL float *const to =
            is_y ? y + (size_t)tile * out * MR_TILE : mr_place(scratch, at[MR_DENSE_TO], tile, out);
        MR_SHARED float *here = shared, *there = shared + at[MR_DENSE_SHARED_COLS] * MR_TILE;
        int is_here = 0;
        if (at[MR_DENSE_SHIFT]) {
            mr_shift_tile(from, (MR_GLOBAL const float *)(model + at[MR_DENSE_SHIFT]), in, here);
            is_here = 1;
        }
        for (mr_word i = 0; i < count; i++) {
            MR_GLOBAL const mr_word *const layer = layers + i * MR_LAYER_WORDS;
            const int is_end = i + 1 == count;
            mr_dense_layer(model, layer, is_end && is_last ? MR_GPU_IDENTITY : layer[MR_LAYER_ACTIVATION], is_here,
                           from, here, !is_end, to, there);
            MR_SHARED float *const swap = here;
            here = there;
            there = swap;
            is_here = 1;
        }
        if (is_last)
            mr_finish_tile(out, last[MR_LAYER_ACTIVATION], to, is_y,
                           class_index ? class_index + (size_t)tile * MR_TILE : 0);
    }
}

#endif
