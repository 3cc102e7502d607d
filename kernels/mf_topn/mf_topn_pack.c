/*
 * Items made ready for mf_topn: as a dense layer with one output an item, those first that are likely to be among the
 * best of somebody. Lists then hold high scores early, and few items more get into them.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/pack.h"
#include "millrace/batch.h"

#define LIST_STEP       16
#define USER_SAMPLE_MAX 4096

size_t mr_mf_list_cap(size_t top)
{
    return (top + LIST_STEP - 1) / LIST_STEP * LIST_STEP;
}

/* See struct work in mf_topn_simd.c: factors, a block of scores, thresholds, lists, listed items. */
static size_t scratch_floats(const struct mr_mf_params *params)
{
    const size_t words = params->rank + MR_BLOCK_OUT + 2 + 2 * mr_mf_list_cap(params->top) + params->own_listed_max + 1;
    return words * MR_TILE_ROWS;
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

struct mr_packed *mr_mf_topn_pack(const struct mr_mf_params *params)
{
    size_t count, bytes;
    if (__builtin_mul_overflow(params->rank + 1, params->items, &count) ||
        __builtin_mul_overflow(count, sizeof(float), &bytes) || bytes > SIZE_MAX - MR_ALIGN)
        return NULL;
    struct mr_packed *const model = calloc(1, sizeof *model + sizeof model->layer[0]);
    struct rank *const rank = malloc(params->items * sizeof *rank);
    float *const w = aligned_alloc(MR_ALIGN, (bytes + MR_ALIGN) / MR_ALIGN * MR_ALIGN);
    int32_t *const own = calloc(params->items + params->top, sizeof *own);
    if (!model || !rank || !w || !own) {
        free(own);
        free(w);
        free(rank);
        free(model);
        return NULL;
    }
    *model = (struct mr_packed){.in = mr_mf_topn_cols(params),
                                .out = params->top,
                                .own = own,
                                .order = own,
                                .popular = own + params->items,
                                .scratch_floats = scratch_floats(params),
                                .layer_count = 1};
    model->layer[0] =
        (struct mr_dense){.in = params->rank, .out = params->items, .w = w, .b = w + params->rank * params->items};
    order_fill(params, rank, own);
    popular_fill(params, rank, own + params->items);
    items_pack(params, own, w, w + params->rank * params->items);
    free(rank);
    return model;
}
