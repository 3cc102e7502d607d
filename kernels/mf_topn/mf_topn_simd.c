/*
 * mf_topn with SIMD: a tile of 64 users against blocks of 6 items, as a dense layer whose outputs are never stored
 * unless one of them is above the lowest score that its user's list holds. Such items are rare once the lists are
 * filled: about top * ln(items / top) a user.
 */
#include "kernels/dense.h"
#include "kernels/kernels.h"
#include "kernels/mf_topn/mf_lists.h"

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
#define PART_BYTES ((size_t)192 << 10)

/* What a tile of users works in. */
struct work {
    struct mr_lists lists;
    float *factor; /* [64 / GROUP][rank][GROUP] */
    float *score;  /* [ITEMS][GROUP]: a block that holds an item for somebody's list */
    size_t waiting_count;
    struct waiting waiting[WAITING_FEW + ITEMS * GROUP + 1];
};

static void work_init(struct work *work, const struct mr_packed *model, void *scratch)
{
    work->factor = mr_lists_init(&work->lists, model, scratch);
    work->score = work->factor + work->lists.params->rank * MR_TILE_ROWS;
    work->waiting_count = 0;
}

/* The factors of the user in a row of the tile; those of nobody are 0. */
static void user_fill(struct work *work, struct mr_factors factors, size_t row)
{
    const size_t rank = work->lists.params->rank;
    float *const to = work->factor + row / GROUP * GROUP * rank + row % GROUP;
    for (size_t f = 0; f < rank; f++) to[f * GROUP] = factors.from ? factors.from[f * factors.stride] : 0;
}

static void tile_begin(struct work *work, const float *x, size_t rows)
{
    const size_t used = (rows + GROUP - 1) / GROUP * GROUP;
    for (size_t row = 0; row < rows; row++) user_fill(work, mr_lists_user(&work->lists, x, row), row);
    for (size_t row = rows; row < used; row++) user_fill(work, (struct mr_factors){NULL, 0}, row);
    mr_lists_begin(&work->lists, rows, used);
}

/* Puts the items that wait into the lists of their users, in their order. */
static __attribute__((noinline)) void waiting_take(struct work *work)
{
    const size_t count = work->waiting_count;
    work->waiting_count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct waiting one = work->waiting[i];
        mr_list_offer(&work->lists, one.row, one.place, one.score);
    }
}

/* What is above the least of its user in a stored block: n items from `first`, users whose bits are set from `row` on.
 */
MR_INLINE void block_take(struct work *work, size_t first, size_t row, size_t n, uint64_t users)
{
    struct waiting *next = work->waiting + work->waiting_count;
    for (; users; users &= users - 1) {
        const size_t lane = (size_t)__builtin_ctzll(users);
        const float least = work->lists.least[row + lane];
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
    const size_t rank = work->lists.params->rank;
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
        users |= (uint64_t)mr_mask_bits(mr_greater(most, mr_load(work->lists.least + row + v * MR_LANES)))
                 << v * MR_LANES;
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
        for (size_t row = 0; row < work->lists.rows; row += GROUP) {
            if (VECS > 1 && work->lists.rows - row <= MR_LANES)
                group_take(work, layer, first, end, row, 1);
            else
                group_take(work, layer, first, end, row, VECS);
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
        tile_begin(&work, x, rows - row < MR_TILE_ROWS ? rows - row : MR_TILE_ROWS);
        top_tile(&work, &model->layer[0]);
        waiting_take(&work);
        mr_lists_end(&work.lists, x, model->popular, y, class_index);
        x += model->in * MR_TILE_ROWS;
        if (y) y += model->out * MR_TILE_ROWS;
        if (class_index) class_index += model->out * MR_TILE_ROWS;
    }
}
