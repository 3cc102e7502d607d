/*
 * mf_topn_bf16: mf_topn by a first look in bfloat16 and an exact second one. The first gives each item an upper bound
 * of its score: the sum over rounded factors, and by how much rounding can have lowered it (reduced.h, mf_topn_pack.c).
 * Items whose bound is above the lowest score of a user's list are scored in float32 and offered to the list, so the
 * lists are those that float32 alone would give.
 */
#include <math.h>

#include "kernels/activate.h"
#include "kernels/kernels.h"
#include "kernels/mf_topn/mf_lists.h"
#include "kernels/mf_topn_bf16/mf_topn_bf16.h"
#include "kernels/reduced.h"

mr_score_fn MR_KERNEL_NAME(mr_mf_topn_bf16);

enum { VECS = 2, GROUP = VECS * MR_LANES, ITEMS = MR_MF_WORD_ITEMS };
#define FEW        64 /* candidates are taken together, so that their factors have arrived */
#define PART_BYTES ((size_t)192 << 10)

typedef __m512bh words __attribute__((may_alias));

struct candidate {
    uint32_t place, row;
};

struct work {
    struct mr_lists lists;
    uint32_t *word; /* [64 / GROUP][words][GROUP]: rounded factors */
    float *exact;   /* [64][whole vectors of factors] */
    float *reach;   /* [64]: times an item's, how far rounding can reach */
    size_t words, exact_cap, count;
    struct candidate candidate[FEW + ITEMS * GROUP];
};

static void work_init(struct work *work, const struct mr_packed *model, void *scratch)
{
    float *next = mr_lists_init(&work->lists, model, scratch);
    work->words = mr_mf_words(work->lists.params->rank);
    work->exact_cap = mr_mf_exact_cap(work->lists.params->rank);
    work->reach = next, next += MR_TILE_ROWS;
    work->exact = next, next += work->exact_cap * MR_TILE_ROWS;
    work->word = (uint32_t *)next;
    work->count = 0;
}

/* A user's factors, rounded and not; those of nobody are 0. */
static void user_fill(struct work *work, struct mr_factors factors, size_t row)
{
    const size_t rank = work->lists.params->rank;
    float *const exact = work->exact + row * work->exact_cap;
    uint32_t *const word = work->word + row / GROUP * GROUP * work->words + row % GROUP;
    double size = 0, off = 0;
    for (size_t f = 0; f < work->exact_cap; f++)
        exact[f] = f < rank && factors.from ? factors.from[f * factors.stride] : 0;
    for (size_t w = 0; w < work->words; w++) {
        uint32_t pair = 0;
        for (size_t f = 2 * w; f < 2 * w + 2; f++) {
            const double p = (double)exact[f], rounded = (double)mr_bf16_round(exact[f]);
            size += p * p;
            off += (p - rounded) * (p - rounded);
            pair |= (uint32_t)mr_bf16_bits(exact[f]) << 16 * (f % 2);
        }
        word[w * GROUP] = pair;
    }
    work->reach[row] = mr_mf_reach(size, off);
}

static void tile_begin(struct work *work, const float *x, size_t rows)
{
    const size_t used = (rows + GROUP - 1) / GROUP * GROUP;
    for (size_t row = 0; row < rows; row++) user_fill(work, mr_lists_user(&work->lists, x, row), row);
    for (size_t row = rows; row < used; row++) user_fill(work, (struct mr_factors){NULL, 0}, row);
    mr_lists_begin(&work->lists, rows, used);
}

/* The score of an item as float32 has it. */
MR_INLINE float exact_score(const struct work *work, size_t row, size_t item)
{
    const struct mr_mf_params *const params = work->lists.params;
    const float *p = work->exact + row * work->exact_cap, *q = params->item_factor + item * params->rank;
    size_t left = params->rank;
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (; left >= 2 * MR_LANES; left -= 2 * MR_LANES, p += 2 * MR_LANES, q += 2 * MR_LANES) {
        sum[0] = _mm512_fmadd_ps(_mm512_loadu_ps(q), _mm512_load_ps(p), sum[0]);
        sum[1] = _mm512_fmadd_ps(_mm512_loadu_ps(q + MR_LANES), _mm512_load_ps(p + MR_LANES), sum[1]);
    }
    if (left >= MR_LANES) {
        sum[0] = _mm512_fmadd_ps(_mm512_loadu_ps(q), _mm512_load_ps(p), sum[0]);
        left -= MR_LANES, p += MR_LANES, q += MR_LANES;
    }
    const __mmask16 rest = (__mmask16)((1u << left) - 1);
    if (left) sum[1] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(rest, q), _mm512_load_ps(p), sum[1]);
    const float bias = params->item_bias ? params->item_bias[item] : 0;
    return _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1])) + bias;
}

static __attribute__((noinline)) void candidates_take(struct work *work)
{
    const size_t count = work->count;
    work->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct candidate one = work->candidate[i];
        mr_list_offer(&work->lists, one.row, one.place,
                      exact_score(work, one.row, (size_t)work->lists.order[one.place]));
    }
}

/* The users whose bits are set want the item at a place. */
MR_INLINE void candidates_add(struct work *work, size_t place, size_t row, unsigned users)
{
    if (!users) return;
    const size_t rank = work->lists.params->rank;
    const float *const q = work->lists.params->item_factor + (size_t)work->lists.order[place] * rank;
    for (size_t f = 0; f < rank; f += MR_ALIGN / sizeof *q) __builtin_prefetch(q + f);
    __builtin_prefetch(q + rank - 1);
    for (; users; users &= users - 1)
        work->candidate[work->count++] =
            (struct candidate){(uint32_t)place, (uint32_t)(row + (size_t)__builtin_ctz(users))};
}

/* ITEMS items from `first` on for V vectors of the group of users from `row` on. Behind the last item there are places
 * with a bound of -infinity. */
MR_INLINE void block_look(struct work *work, const struct mr_dense *layer, size_t first, size_t row, const int V)
{
    const uint32_t *x = work->word + row * work->words, *w = layer->words + first * work->words;
    const float *const least = work->lists.least + row;
    __m512 sum[ITEMS][VECS];
    unsigned users = 0;
    MR_EACH(v, V)
    {
        const __m512 reach = _mm512_load_ps(work->reach + row + v * MR_LANES);
        MR_EACH(o, ITEMS)
        sum[o][v] = _mm512_fmadd_ps(reach, _mm512_set1_ps(layer->factor[first + (size_t)o]),
                                    _mm512_set1_ps(layer->b[first + (size_t)o]));
    }
    for (size_t c = 0; c < work->words; c++, x += GROUP, w += ITEMS) {
        words value[VECS];
        MR_EACH(v, V) value[v] = *(const words *)(x + v * MR_LANES);
        MR_EACH(o, ITEMS)
        {
            const words weight = (words)_mm512_set1_epi32((int)w[o]);
            MR_EACH(v, V) sum[o][v] = _mm512_dpbf16_ps(sum[o][v], value[v], weight);
        }
    }
    MR_EACH(v, V)
    {
        __m512 most = sum[0][v];
        MR_UNROLL for (int o = 1; o < ITEMS; o++) most = _mm512_max_ps(sum[o][v], most);
        users |= (unsigned)_mm512_cmp_ps_mask(most, _mm512_load_ps(least + v * MR_LANES), _CMP_GT_OQ) << v * MR_LANES;
    }
    if (!users) return;
    MR_EACH(o, ITEMS)
    {
        users = 0;
        MR_EACH(v, V)
        users |= (unsigned)_mm512_cmp_ps_mask(sum[o][v], _mm512_load_ps(least + v * MR_LANES), _CMP_GT_OQ)
                 << v * MR_LANES;
        candidates_add(work, first + (size_t)o, row, users);
    }
    if (work->count >= FEW) candidates_take(work);
}

/* Items go by in parts that stay in the second-level cache while all groups of users are taken past them. */
static void tile_look(struct work *work, const struct mr_dense *layer)
{
    const size_t blocks = PART_BYTES / (work->words * ITEMS * sizeof(uint32_t)), step = (blocks ? blocks : 1) * ITEMS;
    for (size_t first = 0; first < layer->out; first += step) {
        const size_t end = layer->out - first < step ? layer->out : first + step;
        for (size_t row = 0; row < work->lists.rows; row += GROUP) {
            if (work->lists.rows - row <= MR_LANES)
                for (size_t at = first; at < end; at += ITEMS) block_look(work, layer, at, row, 1);
            else
                for (size_t at = first; at < end; at += ITEMS) block_look(work, layer, at, row, VECS);
        }
    }
    candidates_take(work);
}

void MR_KERNEL_NAME(mr_mf_topn_bf16)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                     void *scratch, size_t rows)
{
    struct work work;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    work_init(&work, model, scratch);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        tile_begin(&work, x, rows - row < MR_TILE_ROWS ? rows - row : MR_TILE_ROWS);
        tile_look(&work, &model->layer[0]);
        mr_lists_end(&work.lists, x, model->popular, y, class_index);
        x += model->in * MR_TILE_ROWS;
        if (y) y += model->out * MR_TILE_ROWS;
        if (class_index) class_index += model->out * MR_TILE_ROWS;
    }
}
