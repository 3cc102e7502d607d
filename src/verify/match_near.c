/* Records of which only numbers differ, or the partition that they stand in: tied when nothing is left that has the
 * same bytes and place. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "verify/match_inside.h"

#define SETTLE_MIN 16384 /* records that wait on each side, unless all are settled */
#define TRIES_MAX  64    /* records with equal bytes around their numbers that one is held against */

typedef enum { NOT_NEAR, NEAR, FAR } nearness;

/* What else than bytes in their place is tied. */
typedef enum {
    BY_NUMBERS,          /* numbers are near */
    BY_NUMBERS_REPEATED, /* though the bytes were tied to something else before */
    BY_MOVE,             /* in another partition */
} tie_by;

static nearness numbers_compare(const struct item *expected, const struct mr_match_number *actual, size_t count)
{
    nearness worst = NEAR;
    if (expected->number_count != count) return NOT_NEAR;
    for (size_t i = 0; i < count; i++) {
        const struct mr_match_number *const want = &expected->number[i];
        if (isnan(want->value) && isnan(actual[i].value)) continue;
        const double off = fabs(want->value - actual[i].value);
        if (!(off <= want->off_most)) return NOT_NEAR;
        if (off > want->off) worst = FAR;
    }
    return worst;
}

/* Finds what must be equal in a record; with its numbers where that is asked for. */
static bool item_split(const struct mr_match *match, struct item *item, const struct mr_match_number **numbers_out,
                       size_t *count_out)
{
    uint64_t hash = 0;
    if (item->is_split && !numbers_out) return item->has_alike;
    const struct mr_match_number *numbers = NULL;
    size_t count = 0;
    item->is_split = true;
    item->has_alike = item->value && match->open.split(match->open.split_context, item->value, item->value_bytes, &hash,
                                                       &numbers, &count);
    item->alike = XXH3_64bits_withSeed(&hash, sizeof hash, item->rest);
    if (numbers_out) *numbers_out = numbers, *count_out = count;
    return item->has_alike;
}

/* Whether a record can be tied so, and by what then: the last of all is by all bytes, but not by place. */
static bool alike_find(const struct mr_match *match, struct item *item, tie_by by)
{
    if (by != BY_MOVE) return item_split(match, item, NULL, NULL);
    item->alike = item->value ? XXH3_64bits_withSeed(item->value, item->value_bytes, item->rest) : item->rest;
    return true;
}

/* Expected records by what must be equal, each chain in the order of the sources. */
struct chains {
    struct item **first, **last;
    size_t mask;
};

static bool chains_make(struct mr_match *match, struct chains *chains, tie_by by)
{
    size_t buckets = SETTLE_MIN;
    while (buckets < match->expected_count) buckets *= 2;
    *chains =
        (struct chains){calloc(buckets, sizeof(*chains->first)), calloc(buckets, sizeof(*chains->last)), buckets - 1};
    if (!chains->first || !chains->last) return false;
    for (uint32_t i = 0; i < match->open.source_count; i++) {
        for (struct item *item = match->expected[i].first; item; item = item->next) {
            item->next_near = NULL;
            if ((by != BY_MOVE && !item->number_count) || !alike_find(match, item, by)) continue;
            const size_t at = item->alike & chains->mask;
            *(chains->last[at] ? &chains->last[at]->next_near : &chains->first[at]) = item;
            chains->last[at] = item;
        }
    }
    return true;
}

/* Whether these bytes were tied to other ones than those that the expected record has. */
static bool is_duplicate(const struct mr_match *match, const struct item *actual, const struct item *expected)
{
    const struct seen *const seen = mr_match_seen(match, actual->hash);
    return seen && seen->partner != expected->hash;
}

/* Takes the first expected record out of the chains that an actual one is near. */
static struct item *near_take(struct mr_match *match, const struct chains *chains, struct item *actual, tie_by by,
                              nearness *nearness_out)
{
    const struct mr_match_number *numbers = NULL;
    size_t count = 0;
    if (!alike_find(match, actual, by)) return NULL;
    struct item **link = &chains->first[actual->alike & chains->mask], *before = NULL;
    for (int tries = 0; *link && tries < TRIES_MAX; before = *link, link = &(*link)->next_near) {
        struct item *const item = *link;
        if (item->alike != actual->alike) continue;
        if (by != BY_MOVE && item->partition != actual->partition && item->partition != MR_MATCH_ANY) continue;
        tries++;
        if (by != BY_NUMBERS_REPEATED && is_duplicate(match, actual, item)) continue;
        if (by != BY_MOVE && !numbers && !item_split(match, actual, &numbers, &count)) return NULL;
        *nearness_out = by == BY_MOVE ? NEAR : numbers_compare(item, numbers, count);
        if (*nearness_out == NOT_NEAR) continue;
        *link = item->next_near;
        struct item **const last = &chains->last[actual->alike & chains->mask];
        if (*last == item) *last = before;
        return item;
    }
    return NULL;
}

static struct item *unmatched_from(struct item *item)
{
    while (item && item->is_matched) item = item->next;
    return item;
}

static size_t near_tie(struct mr_match *match, const struct chains *chains, struct lane *lane, tie_by by)
{
    size_t tied = 0;
    for (struct item *item = unmatched_from(lane->actual.first), *next; item; item = next) {
        nearness how = NOT_NEAR;
        struct item *const expected = near_take(match, chains, item, by, &how);
        next = unmatched_from(item->next); /* what is matched may go, once what is before it is */
        if (!expected) continue;
        tied++;
        match->moved += by == BY_MOVE;
        match->near += by != BY_MOVE;
        match->far += how == FAR;
        match->repeated += by == BY_NUMBERS_REPEATED;
        match->is_ambiguous |= (match->open.is_bare && by != BY_MOVE) || by == BY_NUMBERS_REPEATED;
        mr_match_tie(match, item, expected);
    }
    return tied;
}

static bool settle(struct mr_match *match, size_t waiting_min, tie_by by)
{
    struct chains chains;
    size_t waiting = 0, tied = 0;
    if (match->expected_count < waiting_min) return false;
    for (int32_t i = 0; i < match->open.partition_count; i++) waiting += match->lane[i].actual.unmatched;
    if (waiting < waiting_min) return false;
    const bool is_made = chains_make(match, &chains, by);
    for (int32_t i = 0; i < match->open.partition_count && is_made; i++)
        tied += near_tie(match, &chains, &match->lane[i], by);
    free(chains.first);
    free(chains.last);
    return tied;
}

bool mr_match_settle(struct mr_match *match, bool is_all)
{
    return match->open.split && settle(match, is_all ? 1 : SETTLE_MIN, BY_NUMBERS);
}

void mr_match_settle_repeated(struct mr_match *match)
{
    if (match->near) settle(match, 1, BY_NUMBERS_REPEATED);
}

void mr_match_settle_moved(struct mr_match *match)
{
    if (match->open.may_move) settle(match, 1, BY_MOVE);
}
