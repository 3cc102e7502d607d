/*
 * mf_topn on a device, in three launches. mf_users: the factors of the users of a tile, as rows of a matrix product.
 * mf_topn: users by items, block by block; a score is kept only where it is above the lowest of its user's list. On a
 * GPU a work-group takes 128 users and every so many-th block of 128 items, on a CPU device a tile of users and all
 * items. mf_merge: one list of those that the groups have for a user, and what all of a user's scores have in common.
 *
 * Better is: a higher score, or the same and an item with a lower number, as in the reference; so nothing depends on
 * the order in which items come, or on how many groups share them.
 */
#ifndef MR_KERNEL_MF_TOPN_GPU_H
#define MR_KERNEL_MF_TOPN_GPU_H

#include "kernels/gpu_dense.h"
#include "kernels/gpu_product.h"

MR_KERNEL(mf_users)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_REC_TILES], cols = at[MR_REC_COLS], rank = at[MR_REC_RANK];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL const float *const from = x + (size_t)tile * cols * MR_TILE;
        MR_GLOBAL float *const to = mr_place(scratch, at[MR_REC_FACTORS], tile, rank);
        for (mr_word row = mr_local_id(); row < MR_TILE; row += mr_group_size()) {
            const float user = tile * MR_TILE + row < rows ? from[row] : MR_REC_UNKNOWN;
            MR_GLOBAL const float *const table = (MR_GLOBAL const float *)(model + at[MR_REC_USERS]);
            mr_word f = 0;
            if (user >= 0.0f) {
                MR_GLOBAL const float *const own = table + (mr_word)user * at[MR_REC_STRIDE];
                for (; f + 4 <= rank; f += 4) {
                    const mr_f4 four = MR_LOAD4(MR_GLOBAL, own + f);
                    to[f * MR_TILE + row] = four.x;
                    to[(f + 1) * MR_TILE + row] = four.y;
                    to[(f + 2) * MR_TILE + row] = four.z;
                    to[(f + 3) * MR_TILE + row] = four.w;
                }
                for (; f < rank; f++) to[f * MR_TILE + row] = own[f];
            }
            for (; f < rank; f++)
                to[f * MR_TILE + row] = user == MR_REC_OWN ? from[(size_t)(2 + f) * MR_TILE + row] : 0.0f;
        }
    }
}

/** A list of the best for one user: score[top] and item[top], MR_TILE apart, the best first. */
struct mr_list {
    MR_GLOBAL float *score;
    MR_GLOBAL int *item;
    mr_word top;
};

/** The list of a row of a tile, of group number `part` of those that share the users. */
MR_DEVICE struct mr_list mr_list_of(MR_GLOBAL float *scratch, MR_GLOBAL const mr_word *at, mr_word tile, mr_word part,
                                    mr_word row)
{
    struct mr_list list;
    list.top = at[MR_REC_TOP];
    list.score =
        mr_place(scratch, at[MR_REC_LISTS], tile, at[MR_REC_PARTS] * 2 * list.top) + part * 2 * list.top * MR_TILE;
    list.score += row;
    list.item = (MR_GLOBAL int *)(list.score + list.top * MR_TILE);
    return list;
}

MR_DEVICE void mr_list_clear(const struct mr_list *list)
{
    for (mr_word n = 0; n < list->top; n++) {
        list->score[n * MR_TILE] = -mr_infinity();
        list->item[n * MR_TILE] = -1;
    }
}

/** Puts an item where it belongs, when it is better than the last one, which then falls off. */
MR_DEVICE void mr_list_put(const struct mr_list *list, float score, int item)
{
    mr_word n = list->top - 1;
    for (; n; n--) {
        const float above = list->score[(n - 1) * MR_TILE];
        const int item_above = list->item[(n - 1) * MR_TILE];
        if (above > score || (above == score && item_above < item)) break;
        list->score[n * MR_TILE] = above;
        list->item[n * MR_TILE] = item_above;
    }
    list->score[n * MR_TILE] = score;
    list->item[n * MR_TILE] = item;
}

/** Has the user of this row, whose columns start at x, seen an item? */
MR_DEVICE int mr_item_is_seen(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at, MR_GLOBAL const float *x,
                              int item)
{
    if (*x == MR_REC_OWN) { /* ascending, ended by -1 */
        MR_GLOBAL const float *const listed = x + (size_t)(2 + at[MR_REC_RANK]) * MR_TILE;
        for (mr_word i = 0; i < at[MR_REC_OWN_MAX]; i++) {
            const float one = listed[(size_t)i * MR_TILE];
            if (one < 0.0f || one > (float)item) return 0;
            if (one == (float)item) return 1;
        }
        return 0;
    }
    if (!at[MR_REC_SEEN_FIRST]) return 0;
    MR_GLOBAL const mr_word *const first = model + at[MR_REC_SEEN_FIRST] + (mr_word)*x;
    MR_GLOBAL const mr_word *seen = model + at[MR_REC_SEEN] + first[0];
    mr_word count = first[1] - first[0];
    if (!count) return 0;
    while (count > 1) {
        const mr_word middle = count / 2;
        if (seen[middle] <= (mr_word)item) seen += middle;
        count -= middle;
    }
    return *seen == (mr_word)item;
}

/** Takes the item that stands at `place` if it belongs into the list. Returns what later scores must reach. */
MR_DEVICE float mr_list_take(const struct mr_list *list, MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at,
                             MR_GLOBAL const float *x, float score, mr_word place)
{
    const mr_word last = (list->top - 1) * MR_TILE;
    const int item = (int)model[at[MR_REC_ORDER] + place];
    if ((list->score[last] == score && list->item[last] < item) || mr_item_is_seen(model, at, x, item))
        return list->score[last];
    mr_list_put(list, score, item);
    return list->score[last];
}

/** What the first score of a row must reach: nobody, and users of whom nothing is known, take none. */
MR_DEVICE float mr_list_least(int is_there, float user)
{
    return is_there && user != MR_REC_UNKNOWN ? -mr_infinity() : mr_infinity();
}

#if MR_LANES == 1

/** Items whose scores go through shared memory together: as many floats as slices of the product. */
#define MR_REC_QUARTER 32

/** Which quarters of a block hold a score for somebody's list, as bits, of those that this thread has. */
MR_DEVICE mr_word mr_block_score(MR_GLOBAL const float *b, MR_SHARED const float *least, mr_word lane, mr_word other,
                                 float *acc)
{
    mr_word hits = 0;
    MR_UNROLL for (mr_word i = 0; i < 64; i++)
    {
        acc[i] += b[MR_WIDE_AT(other, i / 8)];
        if (acc[i] >= least[MR_WIDE_AT(lane, i % 8)]) hits |= 1u << (i / 32 * 2 + other / 8);
    }
    return hits;
}

/**
 * Scores of one user for the items from `place` on: which of them reach the list is asked first, and those are taken
 * one by one, so that neighbouring threads take theirs at the same time. Returns what later scores must reach.
 */
MR_DEVICE float mr_quarter_take(const struct mr_list *list, MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at,
                                MR_GLOBAL const float *x, MR_SHARED const float *score, float least, mr_word place)
{
    mr_word wanted = 0;
    MR_UNROLL for (mr_word i = 0; i < MR_REC_QUARTER; i++) wanted |= (mr_word)(score[i * MR_WIDE] >= least) << i;
    for (; wanted; wanted &= wanted - 1) {
        const mr_word i = mr_first_bit(wanted);
        if (score[i * MR_WIDE] >= least) least = mr_list_take(list, model, at, x, score[i * MR_WIDE], place + i);
    }
    return least;
}

MR_KERNEL_WIDE(mf_topn)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word parts = at[MR_REC_PARTS], rank = at[MR_REC_RANK], blocks = (at[MR_REC_COUNT] + MR_WIDE - 1) / MR_WIDE;
    const mr_word tile = mr_group_id() / parts * 2, part = mr_group_id() % parts, thread = mr_local_id();
    const mr_word lane = thread % 16, other = thread / 16, own_tile = tile + thread / MR_TILE;
    const int is_two = (tile + 1) * MR_TILE < rows, has_list = thread < (is_two ? MR_WIDE : MR_TILE);
    MR_GLOBAL const float *const w = (MR_GLOBAL const float *)(model + at[MR_REC_ITEMS]);
    MR_GLOBAL const float *const b = (MR_GLOBAL const float *)(model + at[MR_REC_ITEM_BIAS]);
    MR_GLOBAL const float *const user = x + (size_t)own_tile * at[MR_REC_COLS] * MR_TILE + thread % MR_TILE;
    MR_SHARED float *const least = shared + MR_WIDE_SHARED;
    MR_SHARED mr_word *const hit = (MR_SHARED mr_word *)(least + MR_WIDE); /* [4]: the last block with a hit, plus 1 */
    const struct mr_list list = mr_list_of(scratch, at, own_tile, part, thread % MR_TILE);
    if (has_list) mr_list_clear(&list);
    if (thread < MR_WIDE)
        least[thread] = mr_list_least(has_list && tile * MR_TILE + thread < rows, has_list ? *user : MR_REC_UNKNOWN);
    if (thread < 4) hit[thread] = 0;
    for (mr_word block = part; block < blocks; block += parts) {
        float acc[64];
        mr_product(mr_place(scratch, at[MR_REC_FACTORS], tile, rank), is_two, w + block * MR_WIDE * rank, 0, rank,
                   shared, acc);
        const mr_word hits = mr_block_score(b + block * MR_WIDE, least, lane, other, acc);
        if (hits & 3u) hit[other / 8] = block + 1;
        if (hits & 12u) hit[2 + other / 8] = block + 1;
        mr_barrier();
        MR_UNROLL for (mr_word quarter = 0; quarter < 4; quarter++)
        {
            if (hit[quarter] == block + 1) { /* for all threads or none */
                if (other / 8 == quarter % 2) {
                    MR_UNROLL for (mr_word i = 0; i < 32; i++)
                        shared[(other % 8 * 4 + i / 8) * MR_WIDE + MR_WIDE_AT(lane, i % 8)] = acc[quarter / 2 * 32 + i];
                }
                mr_barrier();
                if (has_list)
                    least[thread] = mr_quarter_take(&list, model, at, user, shared + thread, least[thread],
                                                    block * MR_WIDE + quarter * MR_REC_QUARTER);
                mr_barrier();
            }
        }
    }
}

#else

/** Scores of a block, `count` items from `place` on, in shared memory: those that belong into a list. */
MR_DEVICE void mr_block_take(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at, MR_GLOBAL const float *x,
                             MR_GLOBAL float *scratch, mr_word tile, mr_word row, mr_word place, mr_word count,
                             MR_SHARED const float *score, MR_SHARED float *least)
{
    for (mr_word i = 0; i < MR_STEP_ROWS; i++) {
        const struct mr_list list = mr_list_of(scratch, at, tile, 0, row + i);
        for (mr_word o = 0; o < count; o++) {
            if (score[o * MR_STEP_ROWS + i] >= least[row + i])
                least[row + i] = mr_list_take(&list, model, at, x + row + i, score[o * MR_STEP_ROWS + i], place + o);
        }
    }
}

/** Items [first, end) for MR_STEP_ROWS users of a tile. */
MR_DEVICE void mr_chunk_take(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at, MR_GLOBAL const float *x,
                             MR_GLOBAL float *scratch, mr_word tile, mr_word row, mr_word first, mr_word end,
                             MR_SHARED float *shared)
{
    const mr_word rank = at[MR_REC_RANK];
    MR_GLOBAL const float *const factors = mr_place(scratch, at[MR_REC_FACTORS], tile, rank);
    MR_GLOBAL const float *const w = (MR_GLOBAL const float *)(model + at[MR_REC_ITEMS]);
    MR_GLOBAL const float *const b = (MR_GLOBAL const float *)(model + at[MR_REC_ITEM_BIAS]);
    MR_SHARED float *const least = shared, *const score = shared + MR_TILE;
    for (mr_word place = first; place < end; place += MR_OUTS) {
        const mr_word count = end - place < MR_OUTS ? end - place : MR_OUTS;
        mr_vf sum[MR_OUTS * MR_VECS];
        mr_mask hits = mr_set_i(0);
        mr_sums_global(factors + row, w + (size_t)place * rank, b + place, rank, sum, count);
        MR_UNROLL for (mr_word i = 0; i < MR_OUTS * MR_VECS; i++)
        {
            if (i / MR_VECS >= count) continue;
            hits |= sum[i] >= MR_LOAD(MR_SHARED, least + row + i % MR_VECS * MR_LANES);
        }
        if (!mr_any(hits)) continue;
        MR_UNROLL for (mr_word i = 0; i < MR_OUTS * MR_VECS; i++)
        {
            if (i / MR_VECS >= count) continue;
            MR_STORE(MR_SHARED, score + i / MR_VECS * MR_STEP_ROWS + i % MR_VECS * MR_LANES, sum[i]);
        }
        mr_block_take(model, at, x, scratch, tile, row, place, count, score, least);
    }
}

MR_KERNEL(mf_topn)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_REC_TILES], count = at[MR_REC_COUNT], chunk = at[MR_REC_CHUNK];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL const float *const from = x + (size_t)tile * at[MR_REC_COLS] * MR_TILE;
        for (mr_word row = 0; row < MR_TILE; row++) {
            const struct mr_list list = mr_list_of(scratch, at, tile, 0, row);
            mr_list_clear(&list);
            shared[row] = mr_list_least(tile * MR_TILE + row < rows, from[row]);
        }
        for (mr_word first = 0; first < count; first += chunk) {
            const mr_word end = count - first < chunk ? count : first + chunk;
            for (mr_word row = 0; row < MR_TILE && tile * MR_TILE + row < rows; row += MR_STEP_ROWS)
                mr_chunk_take(model, at, from, scratch, tile, row, first, end, shared);
        }
    }
}

#endif

/** The lists of a user as one, in place of the first. */
MR_DEVICE struct mr_list mr_lists_merge(MR_GLOBAL float *scratch, MR_GLOBAL const mr_word *at, mr_word tile,
                                        mr_word row)
{
    const struct mr_list all = mr_list_of(scratch, at, tile, 0, row);
    const mr_word last = (all.top - 1) * MR_TILE;
    for (mr_word part = 1; part < at[MR_REC_PARTS]; part++) {
        const struct mr_list list = mr_list_of(scratch, at, tile, part, row);
        for (mr_word n = 0; n < list.top; n++) {
            const float score = list.score[n * MR_TILE], least = all.score[last];
            const int item = list.item[n * MR_TILE];
            if (item < 0 || !(score > least || (score == least && item < all.item[last]))) break; /* nor the later */
            mr_list_put(&all, score, item);
        }
    }
    return all;
}

/** What all scores of a user have in common, as mr_mf_base(). x: the columns of the row. */
MR_DEVICE float mr_user_base(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at, MR_GLOBAL const float *x)
{
    const float mean = *(MR_GLOBAL const float *)(at + MR_REC_MEAN);
    if (*x == MR_REC_UNKNOWN) return mean;
    if (!at[MR_REC_USER_BIAS]) return 0.0f;
    if (*x == MR_REC_OWN) return mean + x[MR_TILE];
    return mean + ((MR_GLOBAL const float *)(model + at[MR_REC_USER_BIAS]))[(mr_word)*x];
}

MR_KERNEL(mf_merge)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_REC_TILES], top = at[MR_REC_TOP];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        for (mr_word row = mr_local_id(); row < MR_TILE && tile * MR_TILE + row < rows; row += mr_group_size()) {
            MR_GLOBAL const float *const user = x + (size_t)tile * at[MR_REC_COLS] * MR_TILE + row;
            const int is_unknown = *user == MR_REC_UNKNOWN;
            const float base = mr_user_base(model, at, user);
            struct mr_list list = mr_list_of(scratch, at, tile, 0, row);
            if (!is_unknown) list = mr_lists_merge(scratch, at, tile, row);
            for (mr_word n = 0; n < top; n++) {
                const size_t to = ((size_t)tile * top + n) * MR_TILE + row;
                const int item = is_unknown ? (int)model[at[MR_REC_POPULAR] + n] : list.item[n * MR_TILE];
                const float score =
                    is_unknown ? ((MR_GLOBAL const float *)(model + at[MR_REC_BIASES]))[n] : list.score[n * MR_TILE];
                if (class_index) class_index[to] = item;
                if (y) y[to] = item < 0 ? mr_nan() : score + base;
            }
        }
    }
}

#endif
