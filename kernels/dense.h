/**
 * One dense layer over the rows of one tile, and what follows the last one: the inner loops that the SIMD kernels
 * share. Included by <op>_simd.c only.
 *
 * A block is up to 6 outputs by as many vectors of rows as keep all accumulators in registers: each weight is loaded
 * once a block and used for every vector, each vector of inputs once and used for every output. ReLU is applied to the
 * accumulators; other activations go over the block in the cache: their constants would push accumulators out of the
 * registers (measured, 16-32-8 with sigmoid: with AVX2 31 ns a row in registers, 22 from the cache; with AVX-512 2 %
 * less in registers, for five times the code).
 */
#ifndef MR_KERNELS_DENSE_H
#define MR_KERNELS_DENSE_H

#include "kernels/activate.h"
#include "kernels/pack.h"
#include "kernels/simd.h"

#define MR_SOFTMAX_REGISTERS 8

/** An activation over z[count][64] in place, for `vecs` vectors of rows. */
MR_INLINE void mr_activate_rows_as(const mr_activation activation, float *z, size_t count, size_t vecs)
{
    for (size_t o = 0; o < count; o++, z += MR_TILE_ROWS) {
        size_t v = 0;
        for (; v + 2 <= vecs; v += 2) {
            mr_vec pair[2] = {mr_load(z + v * MR_LANES), mr_load(z + (v + 1) * MR_LANES)};
            mr_activate(activation, pair, 2);
            mr_store(z + v * MR_LANES, pair[0]);
            mr_store(z + (v + 1) * MR_LANES, pair[1]);
        }
        for (; v < vecs; v++) {
            mr_vec one = mr_load(z + v * MR_LANES);
            mr_activate(activation, &one, 1);
            mr_store(z + v * MR_LANES, one);
        }
    }
}

/**
 * As mr_activate_rows_as, the activation a variable; identity and softmax leave z as it is. Never inlined: the compiler
 * would keep the constants of the polynomials in registers across the loops around it, and spill accumulators there.
 */
static __attribute__((noinline)) void mr_activate_rows(mr_activation activation, float *z, size_t count, size_t vecs)
{
    switch (activation) {
    case MR_ACT_SIGMOID:
        mr_activate_rows_as(MR_ACT_SIGMOID, z, count, vecs);
        break;
    case MR_ACT_TANH:
        mr_activate_rows_as(MR_ACT_TANH, z, count, vecs);
        break;
    case MR_ACT_RELU:
        mr_activate_rows_as(MR_ACT_RELU, z, count, vecs);
        break;
    case MR_ACT_GELU:
        mr_activate_rows_as(MR_ACT_GELU, z, count, vecs);
        break;
    case MR_ACT_IDENTITY:
    case MR_ACT_SOFTMAX:
        break;
    }
}

/** to[in][64] = x[in][64] - shift[in], for the first `vecs` vectors of rows. */
MR_INLINE void mr_shift_tile(const float *x, const float *shift, size_t in, float *to, size_t vecs)
{
    for (size_t c = 0; c < in; c++, x += MR_TILE_ROWS, to += MR_TILE_ROWS) {
        const mr_vec by = mr_set(shift[c]);
        for (size_t v = 0; v < vecs; v++) mr_store(to + v * MR_LANES, mr_load(x + v * MR_LANES) - by);
    }
}

/** sum[o][v] = b[o] + sum over c of w[c][o] * x[c][64], of N outputs by V vectors of rows. */
MR_INLINE void mr_dense_sums(const float *x, const float *w, const float *b, size_t in, mr_vec (*sum)[MR_TILE_VECS],
                             const int N, const int V)
{
    MR_EACH(o, N) MR_EACH(v, V) sum[o][v] = mr_set(b[o]);
    for (size_t c = 0; c < in; c++, x += MR_TILE_ROWS, w += N) {
        mr_vec value[MR_TILE_VECS];
        MR_EACH(v, V) value[v] = mr_load(x + v * MR_LANES);
        MR_EACH(o, N)
        {
            const mr_vec weight = mr_set(w[o]);
            MR_EACH(v, V) sum[o][v] += value[v] * weight;
        }
    }
}

/** N outputs by V vectors of rows: z[o][64] = b[o] + sum over c of w[c][o] * x[c][64], is_relu: 0 where that is
 * negative. */
MR_INLINE void mr_dense_block(const float *x, const float *w, const float *b, size_t in, float *z, const int N,
                              const int V, const int is_relu)
{
    mr_vec sum[MR_BLOCK_OUT][MR_TILE_VECS];
    mr_dense_sums(x, w, b, in, sum, N, V);
    MR_EACH(o, N)
    {
        if (is_relu) mr_activate(MR_ACT_RELU, sum[o], V);
        MR_EACH(v, V) mr_store(z + o * MR_TILE_ROWS + v * MR_LANES, sum[o][v]);
    }
}

/** N outputs by `vecs` vectors: V at a time, what is left one by one. */
MR_INLINE void mr_dense_rows(const float *x, const float *w, const float *b, size_t in, float *z, size_t vecs,
                             const int N, const int V, const int is_relu)
{
    size_t v = 0;
    for (; v + (size_t)V <= vecs; v += (size_t)V) {
        mr_dense_block(x + v * MR_LANES, w, b, in, z + v * MR_LANES, N, V, is_relu);
    }
    for (; v < vecs; v++) mr_dense_block(x + v * MR_LANES, w, b, in, z + v * MR_LANES, N, 1, is_relu);
}

/** A layer of one tile: z[out][64] from x[in][64], for the first `vecs` vectors of rows: ReLU applied, other
 * activations not. */
MR_INLINE void mr_dense_tile_as(const struct mr_dense *layer, const float *x, float *z, size_t vecs, const int is_relu)
{
    /* Few outputs need more vectors of rows: at least 8 sums must be under way to hide the latency of an addition. */
    enum { WIDE = MR_LANES == 16 ? 4 : 8, MIDDLE = 4, FULL = MR_REGISTERS == 32 ? 4 : 2 };
    const size_t in = layer->in;
    const float *w = layer->w;
    for (size_t first = 0; first < layer->out; first += MR_BLOCK_OUT) {
        const size_t left = layer->out - first, n = left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT;
        const float *const b = layer->b + first;
        float *const to = z + first * MR_TILE_ROWS;
        switch (n) {
        case 1:
            mr_dense_rows(x, w, b, in, to, vecs, 1, WIDE, is_relu);
            break;
        case 2:
            mr_dense_rows(x, w, b, in, to, vecs, 2, MIDDLE, is_relu);
            break;
        case 3:
            mr_dense_rows(x, w, b, in, to, vecs, 3, FULL, is_relu);
            break;
        case 4:
            mr_dense_rows(x, w, b, in, to, vecs, 4, FULL, is_relu);
            break;
        case 5:
            mr_dense_rows(x, w, b, in, to, vecs, 5, FULL, is_relu);
            break;
        default:
            mr_dense_rows(x, w, b, in, to, vecs, 6, FULL, is_relu);
        }
        w += in * n;
    }
}

/** The logits of a layer. */
static __attribute__((noinline)) void mr_logits_tile(const struct mr_dense *layer, const float *x, float *z,
                                                     size_t vecs)
{
    mr_dense_tile_as(layer, x, z, vecs, 0);
}

static __attribute__((noinline)) void mr_relu_tile(const struct mr_dense *layer, const float *x, float *z, size_t vecs)
{
    mr_dense_tile_as(layer, x, z, vecs, 1);
}

/** A layer with its activation, other than softmax. */
MR_INLINE void mr_dense_tile(const struct mr_dense *layer, const float *x, float *z, size_t vecs)
{
    if (layer->activation == MR_ACT_RELU) {
        mr_relu_tile(layer, x, z, vecs);
    } else {
        mr_logits_tile(layer, x, z, vecs);
        mr_activate_rows(layer->activation, z, layer->out, vecs);
    }
}

/** The class of each row from the logits z[out][64]; negated: they were multiplied by a negative factor. */
static __attribute__((noinline)) void mr_class_tile(const float *z, size_t out, int negated, int32_t *class_index,
                                                    size_t vecs)
{
    const mr_vec zero = {0};
    for (size_t v = 0; v < vecs; v++, z += MR_LANES, class_index += MR_LANES) {
        mr_vec best = mr_set(-__builtin_inff());
        mr_vec_i index = {0}, o_here = {0};
        if (out == 1 && !negated) index = mr_select_i(mr_greater(mr_load(z), zero), index + 1, index);
        if (out == 1 && negated) index = mr_select_i(mr_greater(zero, mr_load(z)), index + 1, index);
        for (size_t o = 0; out > 1 && o < out; o++, o_here += 1) {
            const mr_vec value = negated ? -mr_load(z + o * MR_TILE_ROWS) : mr_load(z + o * MR_TILE_ROWS);
            const mr_mask wins = mr_greater(value, best);
            best = mr_max(best, value);
            index = mr_select_i(wins, o_here, index);
        }
        *(mr_vec_i *)class_index = index;
    }
}

/** t = 2^t for t <= 0; 0 where that would be subnormal, below 2^-125. NaN stays NaN. */
MR_INLINE void mr_exp2_of_negative(mr_vec *t, const int G)
{
    mr_vec power[MR_GROUP_MAX];
    MR_EACH(i, G) power[i] = mr_max(t[i], mr_set(-125.0f));
    mr_exp2(power, G);
    MR_EACH(i, G) t[i] = mr_select(mr_greater(mr_set(-125.0f), t[i]), mr_set(0.0f), power[i]);
}

/** Softmax over N folded logits of one vector of rows, y[N][64] in place: all of them in registers. */
MR_INLINE void mr_softmax_registers(float *y, const int N)
{
    mr_vec t[MR_SOFTMAX_REGISTERS], max, sum;
    MR_EACH(o, N) t[o] = mr_load(y + o * MR_TILE_ROWS);
    max = t[0];
    MR_EACH(o, N) max = mr_max(t[o], max);
    MR_EACH(o, N) t[o] -= max;
    MR_UNROLL for (int o = 0; o + 1 < N; o += 2) mr_exp2_of_negative(t + o, 2);
    if (N % 2) mr_exp2_of_negative(t + N - 1, 1);
    sum = t[0];
    MR_UNROLL for (int o = 1; o < N; o++) sum += t[o];
    const mr_vec factor = 1.0f / sum;
    MR_EACH(o, N) mr_store(y + o * MR_TILE_ROWS, t[o] * factor);
}

/** As mr_softmax_registers, for any number of logits: they stay in the cache. */
MR_INLINE void mr_softmax_memory(float *y, size_t out)
{
    mr_vec max = mr_load(y), sum = {0};
    for (size_t o = 1; o < out; o++) max = mr_max(mr_load(y + o * MR_TILE_ROWS), max);
    for (size_t o = 0; o < out; o++) {
        mr_vec t = mr_load(y + o * MR_TILE_ROWS) - max;
        mr_exp2_of_negative(&t, 1);
        sum += t;
        mr_store(y + o * MR_TILE_ROWS, t);
    }
    const mr_vec factor = 1.0f / sum;
    for (size_t o = 0; o < out; o++) mr_store(y + o * MR_TILE_ROWS, mr_load(y + o * MR_TILE_ROWS) * factor);
}

/** Softmax over the folded logits y[out][64], in place. */
static __attribute__((noinline)) void mr_softmax_tile(float *y, size_t out, size_t vecs)
{
#define IN_REGISTERS(N)                                                                                                \
    case N:                                                                                                            \
        for (size_t v = 0; v < vecs; v++) mr_softmax_registers(y + v * MR_LANES, N);                                   \
        break
    switch (out) {
        IN_REGISTERS(2);
        IN_REGISTERS(3);
        IN_REGISTERS(4);
        IN_REGISTERS(5);
        IN_REGISTERS(6);
        IN_REGISTERS(7);
        IN_REGISTERS(8);
    default:
        for (size_t v = 0; v < vecs; v++) mr_softmax_memory(y + v * MR_LANES, out);
    }
#undef IN_REGISTERS
}

/** What follows the logits z[out][64] of the last layer: the class, unless class_index is NULL, and with wants_y its
 * activation in place. */
MR_INLINE void mr_finish_tile(const struct mr_dense *layer, float *z, bool wants_y, int32_t *class_index, size_t vecs)
{
    if (class_index) mr_class_tile(z, layer->out, layer->activation == MR_ACT_SIGMOID, class_index, vecs);
    if (!wants_y) return;
    if (layer->activation == MR_ACT_SOFTMAX) {
        mr_softmax_tile(z, layer->out, vecs);
    } else {
        mr_activate_rows(layer->activation, z, layer->out, vecs);
    }
}

/** The last layer of one tile: logits, class, final activation; y and class_index as in mr_score_fn, at this tile. */
MR_INLINE void mr_last_tile(const struct mr_dense *layer, const float *x, float *y, int32_t *class_index,
                            float *scratch, size_t vecs)
{
    if (y && !class_index) {
        mr_dense_tile(layer, x, y, vecs);
        if (layer->activation == MR_ACT_SOFTMAX) mr_softmax_tile(y, layer->out, vecs);
        return;
    }
    float *const z = y ? y : scratch;
    mr_logits_tile(layer, x, z, vecs);
    mr_finish_tile(layer, z, y != 0, class_index, vecs);
}

#endif
