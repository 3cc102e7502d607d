/*
 * Items made ready for mf_topn: as a dense layer with one output an item, those first that are likely to be among the
 * best of somebody. Lists then hold high scores early, and few items more get into them.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/mf_topn_bf16/mf_topn_bf16.h"
#include "kernels/pack.h"
#include "kernels/reduced.h"
#include "millrace/batch.h"

#define LIST_STEP       16
#define USER_SAMPLE_MAX 4096

size_t mr_mf_list_cap(size_t top)
{
    return (top + LIST_STEP - 1) / LIST_STEP * LIST_STEP;
}

/* See mf_lists.h: thresholds, bases, lists, listed items; and struct work of the kernels: factors and a block of
 * scores, or factors in words and as they are, and how far rounding reaches. */
static size_t scratch_floats(mr_op op, const struct mr_mf_params *params)
{
    const size_t lists = 2 + 2 * mr_mf_list_cap(params->top) + params->own_listed_max + 1;
    const size_t work = op == MR_OP_MF_TOPN ? params->rank + MR_BLOCK_OUT
                                            : mr_mf_words(params->rank) + mr_mf_exact_cap(params->rank) + 1;
    return (lists + work) * MR_TILE_ROWS;
}

struct rank {
    double key;
    int32_t item;
};

static int rank_compare(const void *a, const void *b)
{
    const struct rank *const one = a, *const two = b;
    if (one->key != two->key) return one->key > two->key ? -1 : 1;
    return one->item < two->item ? -1 : 1;
}

/* Mean square of a user's factor, from a sample. */
static double factor_square(const struct mr_mf_params *params)
{
    const size_t step = params->users / USER_SAMPLE_MAX + 1;
    double sum = 0;
    size_t count = 0;
    for (size_t user = 0; user < params->users; user += step) {
        for (size_t f = 0; f < params->rank; f++) {
            const double p = (double)params->user_factor[user * params->rank + f];
            sum += p * p;
            count++;
        }
    }
    return sum / (double)count;
}

/* Items by the score that a user to whom they appeal would give them: two standard deviations above the mean. */
static void order_fill(const struct mr_mf_params *params, struct rank *rank, int32_t *order)
{
    const double square = factor_square(params);
    for (size_t i = 0; i < params->items; i++) {
        double sum = 0;
        for (size_t f = 0; f < params->rank; f++) {
            const double q = (double)params->item_factor[i * params->rank + f];
            sum += q * q;
        }
        const double bias = params->item_bias ? (double)params->item_bias[i] : 0;
        rank[i] = (struct rank){bias + 3 * sqrt(sum * square), (int32_t)i};
    }
    qsort(rank, params->items, sizeof *rank, rank_compare);
    for (size_t i = 0; i < params->items; i++) order[i] = rank[i].item;
}

/* What a user gets of whom nothing is known: the items by their biases. -1 behind the last one. */
static void popular_fill(const struct mr_mf_params *params, struct rank *rank, int32_t *popular)
{
    for (size_t i = 0; i < params->items; i++)
        rank[i] = (struct rank){params->item_bias ? (double)params->item_bias[i] : 0, (int32_t)i};
    qsort(rank, params->items, sizeof *rank, rank_compare);
    for (size_t n = 0; n < params->top; n++) popular[n] = n < params->items ? rank[n].item : -1;
}

/* As the dense layers of pack.h: blocks of MR_BLOCK_OUT items, the factors of a block together. */
static void items_pack(const struct mr_mf_params *params, const int32_t *order, float *w, float *b)
{
    for (size_t first = 0; first < params->items; first += MR_BLOCK_OUT) {
        const size_t left = params->items - first, n = left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT;
        for (size_t o = 0; o < n; o++) {
            const size_t item = (size_t)order[first + o];
            const float *const from = params->item_factor + item * params->rank;
            for (size_t f = 0; f < params->rank; f++) w[f * n + o] = from[f];
            b[first + o] = params->item_bias ? params->item_bias[item] : 0;
        }
        w += params->rank * n;
    }
}

/* A layer with an output an item; w NULL: out of memory, or sizes overflow. */
static struct mr_dense exact_layer(const struct mr_mf_params *params, const int32_t *order)
{
    struct mr_dense layer = {.in = params->rank, .out = params->items};
    size_t count, bytes;
    if (__builtin_mul_overflow(params->rank + 1, params->items, &count) ||
        __builtin_mul_overflow(count, sizeof(float), &bytes) || bytes > SIZE_MAX - MR_ALIGN)
        return layer;
    float *const w = aligned_alloc(MR_ALIGN, (bytes + MR_ALIGN) / MR_ALIGN * MR_ALIGN);
    if (!w) return layer;
    items_pack(params, order, w, w + params->rank * params->items);
    layer.w = w;
    layer.b = w + params->rank * params->items;
    return layer;
}

/* An item's words, what its scores begin with and how far rounding reaches: see mf_topn_bf16.h. */
static void item_round(const struct mr_mf_params *params, size_t item, uint32_t *word, float *begin, float *reach)
{
    const float *const q = params->item_factor + item * params->rank;
    const double bias = params->item_bias ? (double)params->item_bias[item] : 0;
    /* Room for what the sums of both looks are rounded by. */
    const double room = (2 * (double)params->rank + 16) * (double)FLT_EPSILON;
    double size = 0, off = 0;
    for (size_t f = 0; f < params->rank; f++) {
        const double rounded = (double)mr_bf16_round(q[f]);
        size += rounded * rounded;
        off += ((double)q[f] - rounded) * ((double)q[f] - rounded);
        word[f / 2 * MR_MF_WORD_ITEMS] |= (uint32_t)mr_bf16_bits(q[f]) << 16 * (f % 2);
    }
    *begin = (float)(bias + room * fabs(bias) + 1e-30);
    *reach = (float)((sqrt(off) + sqrt(size) / 512 + room * (sqrt(size) + sqrt(off))) * 1.0001);
}

/* As exact_layer, in words of two factors; whole blocks: places behind the last item have a bound of -infinity. */
static struct mr_dense rounded_layer(const struct mr_mf_params *params, const int32_t *order)
{
    const size_t outs = (params->items + MR_MF_WORD_ITEMS - 1) / MR_MF_WORD_ITEMS * MR_MF_WORD_ITEMS;
    const size_t words = mr_mf_words(params->rank);
    struct mr_dense layer = {.in = params->rank, .out = params->items};
    size_t count, bytes;
    if (__builtin_mul_overflow(words + 2, outs, &count) || __builtin_mul_overflow(count, sizeof(uint32_t), &bytes) ||
        bytes > SIZE_MAX - MR_ALIGN)
        return layer;
    uint32_t *const word = aligned_alloc(MR_ALIGN, (bytes + MR_ALIGN) / MR_ALIGN * MR_ALIGN);
    if (!word) return layer;
    memset(word, 0, bytes);
    float *const begin = (float *)(word + words * outs), *const reach = begin + outs;
    for (size_t place = 0; place < outs; place++) {
        if (place < params->items)
            item_round(params, (size_t)order[place],
                       word + place / MR_MF_WORD_ITEMS * MR_MF_WORD_ITEMS * words + place % MR_MF_WORD_ITEMS,
                       &begin[place], &reach[place]);
        else
            begin[place] = -INFINITY;
    }
    layer.w = (const float *)word;
    layer.words = word;
    layer.b = begin;
    layer.factor = reach;
    return layer;
}

struct mr_packed *mr_mf_topn_pack(mr_op op, const struct mr_mf_params *params)
{
    struct mr_packed *const model = calloc(1, sizeof *model + sizeof model->layer[0]);
    struct rank *const rank = malloc(params->items * sizeof *rank);
    int32_t *const own = calloc(params->items + params->top, sizeof *own);
    struct mr_dense layer = {.w = NULL};
    if (model && rank && own) {
        order_fill(params, rank, own);
        popular_fill(params, rank, own + params->items);
        layer = op == MR_OP_MF_TOPN ? exact_layer(params, own) : rounded_layer(params, own);
    }
    free(rank);
    if (!layer.w) {
        free(own);
        free(model);
        return NULL;
    }
    *model = (struct mr_packed){.in = mr_mf_topn_cols(params),
                                .out = params->top,
                                .own = own,
                                .order = own,
                                .popular = own + params->items,
                                .scratch_floats = scratch_floats(op, params),
                                .layer_count = 1};
    model->layer[0] = layer;
    return model;
}
