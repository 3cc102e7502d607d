/**
 * The lists of a tile of users: their best items so far, what each has seen, and how an item gets in. Included by the
 * kernels of mf_topn and mf_topn_bf16.
 */
#ifndef MR_KERNEL_MF_LISTS_H
#define MR_KERNEL_MF_LISTS_H

#include "kernels/pack.h"
#include "kernels/simd.h"

#define MR_MF_FETCH_MAX 1024 /* seen items that are fetched before they are needed */

/** All pointers but params, order and seen into scratch. */
struct mr_lists {
    const struct mr_mf_params *params;
    const int32_t *order;
    float *least;     /* [64]: what a score must be above to get into the list: just below its last one, to which
                         another may be equal and be the item of a lower index */
    float *base;      /* [64]: added to all scores of a user at the end */
    float *best;      /* [64][cap]: the lists, highest first */
    int32_t *item;    /* [64][cap] */
    int32_t *listed;  /* [64][own_listed_max + 1]: of rows with factors of their own */
    size_t cap, rows; /* users in this tile */
    const int32_t *seen[MR_TILE_ROWS]; /* ascending */
    size_t seen_count[MR_TILE_ROWS];
};

/** Takes its part of scratch; returns what lies behind it. */
static float *mr_lists_init(struct mr_lists *lists, const struct mr_packed *model, float *scratch)
{
    const struct mr_mf_params *const params = model->params;
    lists->params = params;
    lists->order = model->order;
    lists->cap = mr_mf_list_cap(params->top);
    lists->least = scratch, scratch += MR_TILE_ROWS;
    lists->base = scratch, scratch += MR_TILE_ROWS;
    lists->best = scratch, scratch += lists->cap * MR_TILE_ROWS;
    lists->item = (int32_t *)scratch, scratch += lists->cap * MR_TILE_ROWS;
    lists->listed = (int32_t *)scratch, scratch += (params->own_listed_max + 1) * MR_TILE_ROWS;
    return scratch;
}

/** Where the factors of a user are: from[f * stride]; from NULL: they are unknown, all 0. */
struct mr_factors {
    const float *from;
    size_t stride;
};

/** Begins the list of the user in a row of the tile, and the list of what that user has seen. */
static struct mr_factors mr_lists_user(struct mr_lists *lists, const float *x, size_t row)
{
    const struct mr_mf_params *const params = lists->params;
    const float user = x[row];
    lists->base[row] = mr_mf_base(params, user, user == MR_MF_OWN ? x[MR_TILE_ROWS + row] : 0);
    lists->seen_count[row] = 0;
    lists->least[row] = user == MR_MF_UNKNOWN ? __builtin_inff() : -__builtin_inff();
    if (user == MR_MF_UNKNOWN) return (struct mr_factors){NULL, 0};
    if (user == MR_MF_OWN) {
        int32_t *const listed = lists->listed + row * (params->own_listed_max + 1);
        const float *const from = x + (2 + params->rank) * MR_TILE_ROWS + row;
        size_t count = 0;
        for (; count < params->own_listed_max && from[count * MR_TILE_ROWS] >= 0; count++)
            listed[count] = (int32_t)from[count * MR_TILE_ROWS];
        lists->seen[row] = listed;
        lists->seen_count[row] = count;
        return (struct mr_factors){x + 2 * (size_t)MR_TILE_ROWS + row, MR_TILE_ROWS};
    }
    const size_t index = (size_t)user;
    const struct mr_factors factors = {params->user_factor + index * params->rank, 1};
    if (!params->seen_first) return factors;
    lists->seen[row] = params->seen + params->seen_first[index];
    lists->seen_count[row] = (size_t)(params->seen_first[index + 1] - params->seen_first[index]);
    for (size_t i = 0; i < lists->seen_count[row] && i < MR_MF_FETCH_MAX; i += MR_ALIGN / sizeof(int32_t))
        __builtin_prefetch(lists->seen[row] + i);
    return factors;
}

/** Begins a tile of which `rows` rows are left: empty lists; `used` rows, in whole groups, of which those behind the
 * last one are nobody. */
static void mr_lists_begin(struct mr_lists *lists, size_t rows, size_t used)
{
    lists->rows = rows;
    for (size_t row = rows; row < used; row++) lists->least[row] = __builtin_inff();
    for (size_t i = 0; i < rows * lists->cap; i++) {
        lists->best[i] = -__builtin_inff();
        lists->item[i] = -1;
    }
}

/* Puts a score into a list where it belongs; the last falls off. */
MR_INLINE void mr_list_insert(float *best, int32_t *items, size_t top, float score, int32_t item)
{
#if defined(__AVX512F__)
    if (top <= 16) { /* one register: all that are lower move up by one lane at once. A tenth of
                        the whole kernel's time at 1,682 items */
        const __m512 old = _mm512_load_ps(best), score_all = _mm512_set1_ps(score);
        const __m512i old_items = _mm512_load_si512(items), item_all = _mm512_set1_epi32(item);
        const __mmask16 equal = _mm512_cmp_ps_mask(old, score_all, _CMP_EQ_OQ);
        const unsigned before = _mm512_cmp_ps_mask(old, score_all, _CMP_GT_OQ) |
                                (unsigned)_mm512_mask_cmplt_epi32_mask(equal, old_items, item_all);
        const __mmask16 others = (__mmask16) ~(1u << __builtin_popcount(before));
        _mm512_store_ps(best, _mm512_mask_expand_ps(score_all, others, old));
        _mm512_store_si512(items, _mm512_mask_expand_epi32(item_all, others, old_items));
        return;
    }
#endif
    if (best[top - 1] == score && items[top - 1] < item) return;
    size_t at = top - 1;
    for (; at && (best[at - 1] < score || (best[at - 1] == score && items[at - 1] > item)); at--) {
        best[at] = best[at - 1];
        items[at] = items[at - 1];
    }
    best[at] = score;
    items[at] = item;
}

/* The next number below a finite one or -infinity, of which that is itself. */
MR_INLINE float mr_number_below(float value)
{
    union {
        float value;
        uint32_t bits;
    } it = {value};
    if (value == 0) return -0x1p-149f;
    if (it.bits != 0xff800000u) it.bits += value > 0 ? UINT32_MAX : 1;
    return it.value;
}

/* Binary search without branches on what is found: those could not be foreseen. */
MR_INLINE bool mr_is_seen(const int32_t *seen, size_t count, int32_t item)
{
    if (!count) return false;
    while (count > 1) {
        const size_t half = count / 2;
        seen += half & -(size_t)(seen[half] <= item);
        count -= half;
    }
    return *seen == item;
}

/** Offers the item at a place of the order to a user's list. */
MR_INLINE void mr_list_offer(struct mr_lists *lists, size_t row, size_t place, float score)
{
    if (!(score > lists->least[row])) return;
    const int32_t item = lists->order[place];
    if (mr_is_seen(lists->seen[row], lists->seen_count[row], item)) return;
    float *const best = lists->best + row * lists->cap;
    mr_list_insert(best, lists->item + row * lists->cap, lists->params->top, score, item);
    lists->least[row] = mr_number_below(best[lists->params->top - 1]);
}

/** Writes the lists of a tile; y and class_index as in mr_score_fn, at this tile. */
static void mr_lists_end(const struct mr_lists *lists, const float *x, const int32_t *popular, float *y,
                         int32_t *class_index)
{
    const struct mr_mf_params *const params = lists->params;
    for (size_t row = 0; row < lists->rows; row++) {
        const bool is_unknown = x[row] == MR_MF_UNKNOWN;
        const float *const best = lists->best + row * lists->cap;
        const int32_t *const items = is_unknown ? popular : lists->item + row * lists->cap;
        for (size_t n = 0; n < params->top; n++) {
            const int32_t item = items[n];
            if (class_index) class_index[n * MR_TILE_ROWS + row] = item;
            if (!y) continue;
            float score = is_unknown ? 0 : best[n];
            if (is_unknown && item >= 0 && params->item_bias) score = params->item_bias[item];
            y[n * MR_TILE_ROWS + row] = item < 0 ? __builtin_nanf("") : score + lists->base[row];
        }
    }
}

#endif
