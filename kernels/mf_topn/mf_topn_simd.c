/*
 * mf_topn with SIMD: a tile of 64 users against blocks of 6 items, as a dense layer whose outputs are never stored
 * unless one of them is above the lowest score that its user's list holds. Such items are rare once the lists are
 * filled: about top * ln(items / top) a user.
 */
#include "kernels/dense.h"
#include "kernels/kernels.h"

mr_score_fn MR_KERNEL_NAME(mr_mf_topn);

/* An item that was above the lowest score of its user's list. Taken a few at a time: lists of different users do not
 * wait for each other then, and the multiply-adds are not interrupted for each. */
struct waiting {
    float score;
    uint32_t place; /* in the layer */
    uint32_t row;
};
#define WAITING_FEW 64

/* ITEMS x VECS accumulators fill the registers; a group is the users that they hold. */
enum { VECS = MR_LANES == 4 && MR_REGISTERS == 32 ? 4 : 2, ITEMS = MR_BLOCK_OUT, GROUP = VECS * MR_LANES };
#define FETCH_MAX  1024 /* seen items that are fetched before they are needed */
#define PART_BYTES ((size_t)192 << 10)

/* What a tile of users works in, all of it in scratch but the pointers. */
struct work {
    const struct mr_mf_params *params;
    const int32_t *order;
    float *factor;    /* [64 / GROUP][rank][GROUP] */
    float *score;     /* [ITEMS][GROUP]: a block that holds an item for somebody's list */
    float *least;     /* [64]: what a score must be above to get into the list: just below its last one, to which
                         another may be equal and be the item of a lower index */
    float *base;      /* [64]: added to all scores of a user at the end */
    float *best;      /* [64][cap]: the lists, highest first */
    int32_t *item;    /* [64][cap] */
    int32_t *listed;  /* [64][own_listed_max + 1]: of rows with factors of their own */
    size_t cap, rows; /* users in this tile */
    size_t waiting_count;
    struct waiting waiting[WAITING_FEW + ITEMS * GROUP + 1];
    const int32_t *seen[MR_TILE_ROWS]; /* ascending */
    size_t seen_count[MR_TILE_ROWS];
};

static void work_init(struct work *work, const struct mr_packed *model, void *scratch)
{
    const struct mr_mf_params *const params = model->params;
    float *next = scratch;
    work->params = params;
    work->order = model->order;
    work->cap = mr_mf_list_cap(params->top);
    work->factor = next, next += params->rank * MR_TILE_ROWS;
    work->score = next, next += MR_BLOCK_OUT * MR_TILE_ROWS;
    work->least = next, next += MR_TILE_ROWS;
    work->base = next, next += MR_TILE_ROWS;
    work->best = next, next += work->cap * MR_TILE_ROWS;
    work->item = (int32_t *)next, next += work->cap * MR_TILE_ROWS;
    work->listed = (int32_t *)next;
    work->waiting_count = 0;
}

/* Factors, and where the list of seen items begins, of the user in a row of the tile. */
static void user_begin(struct work *work, const float *x, size_t row)
{
    const struct mr_mf_params *const params = work->params;
    const float user = x[row];
    float *const factor = work->factor + row / GROUP * GROUP * params->rank + row % GROUP;
    work->base[row] = mr_mf_base(params, user, user == MR_MF_OWN ? x[MR_TILE_ROWS + row] : 0);
    work->seen_count[row] = 0;
    work->least[row] = user == MR_MF_UNKNOWN ? __builtin_inff() : -__builtin_inff();
    if (user == MR_MF_UNKNOWN) {
        for (size_t f = 0; f < params->rank; f++) factor[f * GROUP] = 0;
    } else if (user == MR_MF_OWN) {
        int32_t *const listed = work->listed + row * (params->own_listed_max + 1);
        const float *const from = x + (2 + params->rank) * MR_TILE_ROWS + row;
        size_t count = 0;
        for (size_t f = 0; f < params->rank; f++) factor[f * GROUP] = x[(2 + f) * MR_TILE_ROWS + row];
        for (; count < params->own_listed_max && from[count * MR_TILE_ROWS] >= 0; count++)
            listed[count] = (int32_t)from[count * MR_TILE_ROWS];
        work->seen[row] = listed;
        work->seen_count[row] = count;
    } else {
        const size_t index = (size_t)user;
        const float *const from = params->user_factor + index * params->rank;
        for (size_t f = 0; f < params->rank; f++) factor[f * GROUP] = from[f];
        if (!params->seen_first) return;
        work->seen[row] = params->seen + params->seen_first[index];
        work->seen_count[row] = (size_t)(params->seen_first[index + 1] - params->seen_first[index]);
        for (size_t i = 0; i < work->seen_count[row] && i < FETCH_MAX; i += MR_ALIGN / sizeof(int32_t))
            __builtin_prefetch(work->seen[row] + i);
    }
}

static void tile_begin(struct work *work, const float *x, size_t rows)
{
    const struct mr_mf_params *const params = work->params;
    work->rows = rows < MR_TILE_ROWS ? rows : MR_TILE_ROWS;
    const size_t used = (work->rows + GROUP - 1) / GROUP * GROUP;
    for (size_t row = 0; row < work->rows; row++) user_begin(work, x, row);
    for (size_t row = work->rows; row < used; row++) { /* nobody */
        work->least[row] = __builtin_inff();
        for (size_t f = 0; f < params->rank; f++)
            work->factor[(row / GROUP * params->rank + f) * GROUP + row % GROUP] = 0;
    }
    for (size_t i = 0; i < work->rows * work->cap; i++) {
        work->best[i] = -__builtin_inff();
        work->item[i] = -1;
    }
}

/* Puts a score into a list where it belongs; the last falls off. */
MR_INLINE void list_insert(float *best, int32_t *items, size_t top, float score, int32_t item)
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
MR_INLINE float number_below(float value)
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
MR_INLINE bool is_seen(const int32_t *seen, size_t count, int32_t item)
{
    if (!count) return false;
    while (count > 1) {
        const size_t half = count / 2;
        seen += half & -(size_t)(seen[half] <= item);
        count -= half;
    }
    return *seen == item;
}

/* Puts the items that wait into the lists of their users, in their order. */
static __attribute__((noinline)) void waiting_take(struct work *work)
{
    const size_t top = work->params->top, cap = work->cap, count = work->waiting_count;
    work->waiting_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct waiting one = work->waiting[i];
        if (!(one.score > work->least[one.row])) continue; /* the list has risen meanwhile */
        const int32_t item = work->order[one.place];
        if (is_seen(work->seen[one.row], work->seen_count[one.row], item)) continue;
        float *const best = work->best + one.row * cap;
        list_insert(best, work->item + one.row * cap, top, one.score, item);
        work->least[one.row] = number_below(best[top - 1]);
    }
}

/* What is above the least of its user in a stored block: n items from `first`, users whose bits are set from `row` on.
 */
MR_INLINE void block_take(struct work *work, size_t first, size_t row, size_t n, uint64_t users)
{
    struct waiting *next = work->waiting + work->waiting_count;
    for (; users; users &= users - 1) {
        const size_t lane = (size_t)__builtin_ctzll(users);
        const float least = work->least[row + lane];
        const float *score = work->score + lane;
        for (size_t o = 0; o < n; o++, score += GROUP) {
            *next = (struct waiting){*score, (uint32_t)(first + o), (uint32_t)(row + lane)};
            next += *score > least;
        }
    }
    work->waiting_count = (size_t)(next - work->waiting);
    if (work->waiting_count >= WAITING_FEW) waiting_take(work);
}

/* N items, of which the first has number `first`, for V vectors
 * of the group of users from `row` on. */
MR_INLINE void top_block(struct work *work, const float *w, const float *b, size_t first, size_t row, const int N,
                         const int V)
{
    const size_t rank = work->params->rank;
    const float *x = work->factor + row * rank;
    mr_vec sum[ITEMS][VECS];
    uint64_t users = 0;
    MR_EACH(o, N) MR_EACH(v, V) sum[o][v] = mr_set(b[o]);
    for (size_t f = 0; f < rank; f++, x += GROUP, w += N) {
        mr_vec value[VECS];
        MR_EACH(v, V) value[v] = mr_load(x + v * MR_LANES);
        MR_EACH(o, N)
        {
            const mr_vec weight = mr_set(w[o]);
            MR_EACH(v, V) sum[o][v] += value[v] * weight;
        }
    }
    MR_EACH(v, V)
    {
        mr_vec most = sum[0][v];
        MR_UNROLL for (int o = 1; o < N; o++) most = mr_max(sum[o][v], most);
        users |= (uint64_t)mr_mask_bits(mr_greater(most, mr_load(work->least + row + v * MR_LANES))) << v * MR_LANES;
    }
    if (!users) return;
    MR_EACH(o, N) MR_EACH(v, V) mr_store(work->score + o * GROUP + v * MR_LANES, sum[o][v]);
    block_take(work, first, row, (size_t)N, users);
}

/* Fewer items than a block, the last of all. */
static void rest_take(struct work *work, const float *w, const float *b, size_t first, size_t row, size_t n)
{
    switch (n) {
    case 1:
        top_block(work, w, b, first, row, 1, VECS);
        break;
    case 2:
        top_block(work, w, b, first, row, 2, VECS);
        break;
    case 3:
        top_block(work, w, b, first, row, 3, VECS);
        break;
    case 4:
        top_block(work, w, b, first, row, 4, VECS);
        break;
    case 5:
        top_block(work, w, b, first, row, 5, VECS);
        break;
    default:
        break;
    }
}

/* Items [first, end) for one group of users; first is a multiple of ITEMS. */
MR_INLINE void group_take(struct work *work, const struct mr_dense *layer, size_t first, size_t end, size_t row,
                          const int V)
{
    const float *w = layer->w + first * layer->in;
    for (; first + ITEMS <= end; first += ITEMS, w += layer->in * ITEMS)
        top_block(work, w, layer->b + first, first, row, ITEMS, V);
    rest_take(work, w, layer->b + first, first, row, end - first);
}

/* Items go by in parts that stay in the second-level cache while all groups of users are taken past them. */
static void top_tile(struct work *work, const struct mr_dense *layer)
{
    const size_t blocks = PART_BYTES / (layer->in * ITEMS * sizeof(float)), step = (blocks ? blocks : 1) * ITEMS;
    for (size_t first = 0; first < layer->out; first += step) {
        const size_t end = layer->out - first < step ? layer->out : first + step;
        for (size_t row = 0; row < work->rows; row += GROUP) {
            if (VECS > 1 && work->rows - row <= MR_LANES)
                group_take(work, layer, first, end, row, 1);
            else
                group_take(work, layer, first, end, row, VECS);
        }
    }
}

static void tile_end(struct work *work, const float *x, const int32_t *popular, float *y, int32_t *class_index)
{
    const struct mr_mf_params *const params = work->params;
    waiting_take(work);
    for (size_t row = 0; row < work->rows; row++) {
        const bool is_unknown = x[row] == MR_MF_UNKNOWN;
        const float *const best = work->best + row * work->cap;
        const int32_t *const items = is_unknown ? popular : work->item + row * work->cap;
        for (size_t n = 0; n < params->top; n++) {
            const int32_t item = items[n];
            if (class_index) class_index[n * MR_TILE_ROWS + row] = item;
            if (!y) continue;
            float score = is_unknown ? 0 : best[n];
            if (is_unknown && item >= 0 && params->item_bias) score = params->item_bias[item];
            y[n * MR_TILE_ROWS + row] = item < 0 ? __builtin_nanf("") : score + work->base[row];
        }
    }
}

void MR_KERNEL_NAME(mr_mf_topn)(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,
                                void *scratch, size_t rows)
{
    struct work work;
    mr_kernel_ran = MR_QUOTE(MR_VARIANT);
    work_init(&work, model, scratch);
    for (size_t row = 0; row < rows; row += MR_TILE_ROWS) {
        tile_begin(&work, x, rows - row);
        top_tile(&work, &model->layer[0]);
        tile_end(&work, x, model->popular, y, class_index);
        x += model->in * MR_TILE_ROWS;
        if (y) y += model->out * MR_TILE_ROWS;
        if (class_index) class_index += model->out * MR_TILE_ROWS;
    }
}
