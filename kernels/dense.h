/**
 * One dense layer over the rows of one tile, and what follows the last one: the inner loops that the SIMD kernels
 * share. Included by <op>_simd.c only.
 *
 * A block is up to 6 outputs by as many vectors of rows as keep all accumulators in registers: each weight is loaded
 * once a block and used for every vector, each vector of inputs once and used for every output.
 */
#ifndef MR_KERNELS_DENSE_H
#define MR_KERNELS_DENSE_H

#include "kernels/activate.h"
#include "kernels/pack.h"
#include "kernels/simd.h"

/** Applies a folded activation, other than softmax, to count x vecs vectors in place: z[o][64]. */
MR_INLINE void mr_activate(mr_activation activation, float *z, size_t count, size_t vecs)
{
#define EACH(expression)                                                                                               \
    for (size_t o = 0; o < count; o++) {                                                                               \
        for (size_t v = 0; v < vecs; v++) {                                                                            \
            float *const at = z + o * MR_TILE_ROWS + v * MR_LANES;                                                     \
            const mr_vec value = mr_load(at);                                                                          \
            mr_store(at, expression);                                                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    break
    switch (activation) {
    case MR_ACT_SIGMOID:
        EACH(mr_sigmoid_folded(value));
    case MR_ACT_TANH:
        EACH(mr_tanh_folded(value));
    case MR_ACT_RELU:
        EACH(mr_relu(value));
    case MR_ACT_GELU:
        EACH(mr_gelu(value));
    case MR_ACT_IDENTITY:
    case MR_ACT_SOFTMAX:
        break;
    }
#undef EACH
}

/** N outputs by V vectors of rows: z[o][64] = b[o] + sum over c of w[c][o] * x[c][64]. */
MR_INLINE void mr_dense_block(const float *x, const float *w, const float *b, size_t in, float *z, const int N,
                              const int V)
{
    mr_vec sum[MR_BLOCK_OUT][MR_TILE_VECS];
    MR_UNROLL for (int o = 0; o < N; o++) MR_UNROLL for (int v = 0; v < V; v++) sum[o][v] = mr_set(b[o]);
    for (size_t c = 0; c < in; c++, x += MR_TILE_ROWS, w += N) {
        mr_vec value[MR_TILE_VECS];
        MR_UNROLL for (int v = 0; v < V; v++) value[v] = mr_load(x + v * MR_LANES);
        MR_UNROLL for (int o = 0; o < N; o++)
        {
            const mr_vec weight = mr_set(w[o]);
            MR_UNROLL for (int v = 0; v < V; v++) sum[o][v] += value[v] * weight;
        }
    }
    MR_UNROLL for (int o = 0; o < N; o++) MR_UNROLL for (int v = 0; v < V; v++)
        mr_store(z + o * MR_TILE_ROWS + v * MR_LANES, sum[o][v]);
}

/** N outputs by `vecs` vectors: V at a time, what is left one by one. */
MR_INLINE void mr_dense_rows(const float *x, const float *w, const float *b, size_t in, float *z, size_t vecs,
                             const int N, const int V)
{
    size_t v = 0;
    for (; v + (size_t)V <= vecs; v += (size_t)V) mr_dense_block(x + v * MR_LANES, w, b, in, z + v * MR_LANES, N, V);
    for (; v < vecs; v++) mr_dense_block(x + v * MR_LANES, w, b, in, z + v * MR_LANES, N, 1);
}

/** The logits of one tile: z[out][64] from x[in][64], for the first `vecs` vectors of rows. */
MR_INLINE void mr_dense_tile(const struct mr_dense *layer, const float *x, float *z, size_t vecs)
{
    const size_t in = layer->in;
    const float *w = layer->w;
    for (size_t first = 0; first < layer->out; first += MR_BLOCK_OUT) {
        const size_t left = layer->out - first;
        const float *const b = layer->b + first;
        float *const to = z + first * MR_TILE_ROWS;
        /* Few outputs need more vectors of rows: at least 8 sums must be under way to hide the latency of an addition.
         */
        enum { WIDE = MR_LANES == 16 ? 4 : 8, MIDDLE = 4, FULL = MR_REGISTERS == 32 ? 4 : 2 };
        switch (left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT) {
        case 1:
            mr_dense_rows(x, w, b, in, to, vecs, 1, WIDE);
            break;
        case 2:
            mr_dense_rows(x, w, b, in, to, vecs, 2, MIDDLE);
            break;
        case 3:
            mr_dense_rows(x, w, b, in, to, vecs, 3, FULL);
            break;
        case 4:
            mr_dense_rows(x, w, b, in, to, vecs, 4, FULL);
            break;
        case 5:
            mr_dense_rows(x, w, b, in, to, vecs, 5, FULL);
            break;
        default:
            mr_dense_rows(x, w, b, in, to, vecs, 6, FULL);
        }
        w += in * (left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT);
    }
}

/** The class of each row from the logits z[out][64]; sign: of the factor that was folded into them. */
MR_INLINE void mr_class_tile(const float *z, size_t out, float sign, int32_t *class_index, size_t vecs)
{
    for (size_t v = 0; v < vecs; v++, z += MR_LANES, class_index += MR_LANES) {
        mr_vec best = mr_set(out == 1 ? 0.0f : -__builtin_inff());
        mr_vec_i index = {0};
        for (size_t o = 0; o < out; o++) {
            const mr_vec value = mr_load(z + o * MR_TILE_ROWS) * sign;
            const mr_vec_i wins = value > best;
            best = mr_select(wins, value, best);
            index = mr_select_i(wins, (mr_vec_i){0} + (int32_t)(out == 1 ? 1 : o), index);
        }
        *(mr_vec_i *)class_index = index;
    }
}

/** Softmax over the folded logits z[out][64], into y[out][64]; z may be y. */
MR_INLINE void mr_softmax_tile(const float *z, size_t out, float *y, size_t vecs)
{
    for (size_t v = 0; v < vecs; v++, z += MR_LANES, y += MR_LANES) {
        mr_vec max = mr_load(z), sum = {0};
        for (size_t o = 1; o < out; o++) {
            const mr_vec value = mr_load(z + o * MR_TILE_ROWS);
            max = mr_select(value > max, value, max);
        }
        for (size_t o = 0; o < out; o++) {
            const mr_vec t = mr_load(z + o * MR_TILE_ROWS) - max;
            /* Below 2^-125 the power would be subnormal: 0. (A NaN is not below.) */
            const mr_vec power = (mr_vec)((mr_vec_i)mr_exp2(mr_at_least(t, -125.0f)) & ~(t < -125.0f));
            sum += power;
            mr_store(y + o * MR_TILE_ROWS, power);
        }
        const mr_vec factor = 1.0f / sum;
        for (size_t o = 0; o < out; o++) mr_store(y + o * MR_TILE_ROWS, mr_load(y + o * MR_TILE_ROWS) * factor);
    }
}

/** The last layer of one tile: logits, class, final activation; y and class_index as in mr_score_fn, at this tile. */
MR_INLINE void mr_last_tile(const struct mr_dense *layer, const float *x, float *y, int32_t *class_index,
                            float *scratch, size_t vecs)
{
    float *const z = y ? y : scratch;
    mr_dense_tile(layer, x, z, vecs);
    if (class_index) {
        mr_class_tile(z, layer->out, layer->activation == MR_ACT_SIGMOID ? -1.0f : 1.0f, class_index, vecs);
    }
    if (!y) return;
    if (layer->activation == MR_ACT_SOFTMAX) {
        mr_softmax_tile(y, layer->out, y, vecs);
    } else {
        mr_activate(layer->activation, y, layer->out, vecs);
    }
}

/** Vectors of a tile that hold rows, when `rows` are left from its start. */
MR_INLINE size_t mr_tile_vecs(size_t rows)
{
    return rows >= MR_TILE_ROWS ? MR_TILE_VECS : (rows + MR_LANES - 1) / MR_LANES;
}

#endif
