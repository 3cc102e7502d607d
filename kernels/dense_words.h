/**
 * One dense layer over a tile whose weights and inputs are words of 2 bfloat16 or 4 int8 (reduced.h): as dense.h, with
 * an instruction that multiplies and adds all values of a word. Included by the AVX-512 kernels of mlp_bf16 and
 * mlp_int8, which define the rest:
 *
 *   MR_IN_WORD                     values in a word
 *   mr_words_dot(sum, x, w)        the instruction
 *   mr_words_pack(...)             makes the words of a tile's inputs
 *   mr_words_value(...)            a sum as a logit
 */
#ifndef MR_KERNELS_DENSE_WORDS_H
#define MR_KERNELS_DENSE_WORDS_H

#include "kernels/dense.h"
#include "kernels/reduced.h"

#define MR_WORD_OUT (2 * MR_BLOCK_OUT)

/** What a layer's inputs are, beside their words: of int8 the rows' steps and lows, [64] each; of bf16 nothing. */
struct mr_words {
    const uint32_t *word; /* [words][64] */
    const float *step, *low;
};

MR_INLINE mr_words_in mr_words_set(uint32_t word);
MR_INLINE mr_words_sum mr_words_dot(mr_words_sum sum, mr_words_in x, mr_words_in w);
MR_INLINE mr_vec mr_words_value(const struct mr_dense *layer, size_t o, const struct mr_words *x, size_t row,
                                mr_words_sum sum);

/**
 * Outputs first ... first + n - 1 (n at most N) for V vectors of rows from `row` on. N is one or two blocks of weights.
 * With two, each vector of inputs that comes from the second-level cache is used twice as often.
 */
MR_INLINE void mr_words_block(const struct mr_dense *layer, const struct mr_words *x, size_t first, size_t n,
                              size_t row, float *z, const int N, const int V, const int is_relu)
{
    const size_t count = (layer->in + MR_IN_WORD - 1) / MR_IN_WORD;
    const uint32_t *w = layer->words + first * count, *second = w + MR_BLOCK_OUT * count, *from = x->word + row;
    mr_words_sum sum[MR_WORD_OUT][MR_TILE_VECS];
    MR_EACH(o, N) MR_EACH(v, V) sum[o][v] = (mr_words_sum){0};
    for (size_t c = 0; c < count; c++, from += MR_TILE_ROWS, w += MR_BLOCK_OUT, second += MR_BLOCK_OUT) {
        mr_words_in value[MR_TILE_VECS];
        __builtin_prefetch(w + MR_WORD_OUT * count);
        __builtin_prefetch(second + MR_WORD_OUT * count);
        MR_EACH(v, V) value[v] = *(const mr_words_in *)(from + v * MR_LANES);
        MR_EACH(o, N)
        {
            const mr_words_in weight = mr_words_set(o < MR_BLOCK_OUT ? w[o] : second[o - MR_BLOCK_OUT]);
            MR_EACH(v, V) sum[o][v] = mr_words_dot(sum[o][v], value[v], weight);
        }
    }
    MR_EACH(o, N)
    {
        if ((size_t)o >= n) return;
        MR_EACH(v, V)
        {
            mr_vec out = mr_words_value(layer, first + (size_t)o, x, row + (size_t)v * MR_LANES, sum[o][v]);
            if (is_relu) mr_activate(MR_ACT_RELU, &out, 1);
            mr_store(z + (size_t)o * MR_TILE_ROWS + row + (size_t)v * MR_LANES, out);
        }
    }
}

/** The logits of a layer, z[out][64], of whole pairs of vectors: rows behind the last one are computed, too. */
MR_INLINE void mr_words_tile_as(const struct mr_dense *layer, const struct mr_words *x, float *z, size_t vecs,
                                const int is_relu)
{
    const size_t rows = vecs * MR_LANES;
    size_t first = 0;
    for (; first + MR_BLOCK_OUT < layer->out; first += MR_WORD_OUT) {
        const size_t left = layer->out - first, n = left < MR_WORD_OUT ? left : MR_WORD_OUT;
        for (size_t row = 0; row < rows; row += (size_t)2 * MR_LANES)
            mr_words_block(layer, x, first, n, row, z + first * MR_TILE_ROWS, MR_WORD_OUT, 2, is_relu);
    }
    if (first >= layer->out) return;
    if (vecs > 2)
        mr_words_block(layer, x, first, layer->out - first, 0, z + first * MR_TILE_ROWS, MR_BLOCK_OUT, 4, is_relu);
    else
        mr_words_block(layer, x, first, layer->out - first, 0, z + first * MR_TILE_ROWS, MR_BLOCK_OUT, 2, is_relu);
}

static __attribute__((noinline)) void mr_words_logits(const struct mr_dense *layer, const struct mr_words *x, float *z,
                                                      size_t vecs)
{
    mr_words_tile_as(layer, x, z, vecs, 0);
}

static __attribute__((noinline)) void mr_words_relu(const struct mr_dense *layer, const struct mr_words *x, float *z,
                                                    size_t vecs)
{
    mr_words_tile_as(layer, x, z, vecs, 1);
}

/** What a tile works in; see scratch_floats in reduced_pack.c. */
struct mr_words_scratch {
    float *hidden[2], *logits, *shifted, *step, *low;
    uint32_t *word;
};

MR_INLINE struct mr_words_scratch mr_words_scratch(const struct mr_packed *model, void *scratch)
{
    const size_t hidden = model->hidden_width_max * MR_TILE_ROWS;
    float *const at = scratch, *const logits = at + 2 * hidden, *const row = logits + model->out * MR_TILE_ROWS;
    float *const word = row + 2 * (size_t)MR_TILE_ROWS;
    return (struct mr_words_scratch){.hidden = {at, at + hidden},
                                     .logits = logits,
                                     .step = row,
                                     .low = row + MR_TILE_ROWS,
                                     .word = (uint32_t *)word,
                                     .shifted = word + (model->width_max + MR_BF16_IN_WORD - 1) / MR_BF16_IN_WORD *
                                                           MR_TILE_ROWS};
}

static struct mr_words mr_words_pack(const float *x, size_t in, const struct mr_words_scratch *to, size_t vecs);

/** All layers of a tile; y and class_index as in mr_score_fn, at this tile. */
MR_INLINE void mr_words_forward(const struct mr_packed *model, const float *x, float *y, int32_t *class_index,
                                const struct mr_words_scratch *work, size_t vecs)
{
    for (size_t i = 0; i < model->layer_count; i++) {
        const struct mr_dense *const layer = &model->layer[i];
        const bool is_last = i + 1 == model->layer_count;
        float *const z = !is_last ? work->hidden[i % 2] : y ? y : work->logits;
        if (layer->words) {
            const struct mr_words words = mr_words_pack(x, layer->in, work, vecs);
            if (layer->activation == MR_ACT_RELU && !is_last)
                mr_words_relu(layer, &words, z, vecs);
            else
                mr_words_logits(layer, &words, z, vecs);
            if (layer->activation != MR_ACT_RELU && !is_last) mr_activate_rows(layer->activation, z, layer->out, vecs);
        } else if (is_last) {
            mr_logits_tile(layer, x, z, vecs);
        } else {
            mr_dense_tile(layer, x, z, vecs);
        }
        if (is_last) mr_finish_tile(layer, z, y != 0, class_index, vecs);
        x = z;
    }
}

/** The kernel, but for its name. */
MR_INLINE void mr_words_score(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                              void *scratch, size_t rows)
{
    const struct mr_words_scratch work = mr_words_scratch(model, scratch);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        const size_t vecs = mr_tile_vecs(rows - row), whole = (vecs + 1) / 2 * 2;
        if (model->shift) mr_shift_tile(x, model->shift, model->in, work.shifted, whole);
        mr_words_forward(model, model->shift ? work.shifted : x, y, class_index, &work, whole);
        x += model->in * MR_TILE_ROWS;
        if (y) y += model->out * MR_TILE_ROWS;
        if (class_index) class_index += MR_TILE_ROWS;
    }
}

#endif
