#include "verify/match.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "verify/match_inside.h"

#define SEEN_SETS     (1u << 15) /* of contents that were matched lately, by their hash: a power of two */
#define SEEN_WAYS     8          /* a set: the latest stands first, the oldest goes */
#define BUCKETS_MIN   (1u << 12)
#define UNORDERED_MAX 65536 /* pairs out of order that wait to be told */
#define LEAD_MAX      65536 /* records before the first match of a partition that are kept */
#define PAIRS_MAX     1000  /* records that are told as different; then as foreign and missing */

mr_status mr_match_create(const struct mr_match_open *open, struct mr_match **match_out, struct mr_err *err)
{
    struct mr_match *const match = calloc(1, sizeof *match);
    const size_t sources = open->source_count + 1, lanes = (size_t)open->partition_count + 1;
    *match_out = NULL;
    if (match) {
        match->open = *open;
        match->mask = BUCKETS_MIN - 1;
        match->bucket = calloc(BUCKETS_MIN, sizeof(*match->bucket));
        match->expected = calloc(sources, sizeof *match->expected);
        match->lane = calloc(lanes, sizeof *match->lane);
        match->seq = calloc(sources, sizeof *match->seq);
        match->reached = calloc(sources * lanes, sizeof *match->reached);
        match->seen = calloc((size_t)SEEN_SETS * SEEN_WAYS, sizeof *match->seen);
    }
    if (!match || !match->bucket || !match->expected || !match->lane || !match->seq || !match->reached ||
        !match->seen) {
        mr_match_destroy(match);
        return mr_fail(err, MR_ENOMEM, "no memory to compare %d partitions", (int)open->partition_count);
    }
    for (int32_t i = 0; i < open->partition_count; i++) match->lane[i].matched_last = -1;
    *match_out = match;
    return MR_OK;
}

void mr_match_destroy(struct mr_match *match)
{
    if (!match) return;
    for (uint32_t i = 0; match->expected && i < match->open.source_count; i++) {
        for (struct item *item = match->expected[i].first, *next; item; item = next) {
            next = item->next;
            mr_match_item_free(item);
        }
    }
    for (int32_t i = 0; match->lane && i < match->open.partition_count; i++) {
        for (struct item *item = match->lane[i].actual.first, *next; item; item = next) {
            next = item->next;
            mr_match_item_free(item);
        }
    }
    for (size_t i = 0; match->bucket && i <= match->mask; i++) {
        for (struct group *group = match->bucket[i], *next; group; group = next) {
            next = group->next;
            free(group);
        }
    }
    for (struct group *group = match->spare, *next; group; group = next) {
        next = group->next;
        free(group);
    }
    free(match->bucket);
    free(match->expected);
    free(match->lane);
    free(match->seq);
    free(match->reached);
    free(match->seen);
    free(match->unordered);
    free(match);
}

void mr_match_lead(struct mr_match *match, int32_t partition)
{
    match->lane[partition].leads = true;
}

void mr_match_trail(struct mr_match *match)
{
    match->trails = true;
}

/* ---- matching ---- */

static struct seen *seen_set(const struct mr_match *match, uint64_t hash)
{
    return &match->seen[((hash >> 20) & (SEEN_SETS - 1)) * SEEN_WAYS];
}

const struct seen *mr_match_seen(const struct mr_match *match, uint64_t hash)
{
    const struct seen *const set = seen_set(match, hash);
    for (size_t i = 0; i < SEEN_WAYS && set[i].source; i++)
        if (set[i].hash == hash) return &set[i];
    return NULL;
}

static void seen_note(struct mr_match *match, uint64_t hash, uint64_t partner, uint32_t source)
{
    struct seen *const set = seen_set(match, hash);
    const struct seen *const before = mr_match_seen(match, hash);
    const size_t way = before ? (size_t)(before - set) : SEEN_WAYS - 1;
    if (before && before->source != source + 1) match->is_ambiguous = true;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = (struct seen){hash, partner, source + 1};
}

static struct mr_match_place place_of(const struct item *item)
{
    return (struct mr_match_place){item->source, item->partition, item->offset, item->value, item->value_bytes};
}

static void unordered_tell(const struct mr_match *match, const struct unordered *pair)
{
    const struct mr_match_place expected = {pair->source, pair->partition, pair->source_offset, NULL, 0};
    const struct mr_match_place place = {pair->source, pair->partition, pair->offset, NULL, 0};
    match->open.fault(match->open.context, MR_MATCH_REORDERED, &expected, &place);
}

/* Those that wait, unless records have shown to be alike. */
static void unordered_flush(struct mr_match *match)
{
    for (size_t i = 0; i < match->unordered_count && !match->is_ambiguous; i++)
        unordered_tell(match, &match->unordered[i]);
    match->unordered_count = 0;
}

/* A pair out of order waits: records of one source may be tied to another's before one of that other is met. Where
 * there are as many as that without a sign of it, they are told. */
static void order_check(struct mr_match *match, const struct item *actual)
{
    uint64_t *const reached =
        &match->reached[(size_t)actual->source * (size_t)match->open.partition_count + (size_t)actual->partition];
    const struct unordered pair = {actual->source, actual->partition, actual->source_offset, actual->offset};
    if (actual->seq >= *reached) {
        *reached = actual->seq + 1;
        return;
    }
    if (match->is_ambiguous) return;
    if (!match->unordered) match->unordered = malloc(UNORDERED_MAX * sizeof *match->unordered);
    if (match->unordered_count == UNORDERED_MAX) unordered_flush(match);
    if (match->unordered)
        match->unordered[match->unordered_count++] = pair;
    else
        unordered_tell(match, &pair);
}

/* Lets go of what is matched at the beginning of a partition. */
static void lane_pop(struct mr_match *match, struct lane *lane)
{
    struct list *const list = &lane->actual;
    while (list->first && list->first->is_matched) {
        struct item *const item = list->first;
        order_check(match, item);
        list->first = item->next;
        if (!list->first) list->last = NULL;
        list->count--;
        mr_match_item_free(item);
    }
}

static void wanted_change(struct mr_match *match, int32_t partition, bool is_more)
{
    size_t *const wanted = partition == MR_MATCH_ANY ? &match->wanted_any : &match->lane[partition].wanted;
    *wanted += is_more ? 1 : (size_t)-1;
}

static void expected_unlink(struct mr_match *match, struct item *item)
{
    struct list *const list = &match->expected[item->source];
    *(item->before ? &item->before->next : &list->first) = item->next;
    *(item->next ? &item->next->before : &list->last) = item->before;
    list->count--;
    match->expected_count--;
}

/* Notes the match in the actual record. */
static void pair(struct mr_match *match, struct item *actual, uint64_t seq, uint32_t source, int64_t source_offset,
                 uint64_t hash)
{
    struct lane *const lane = &match->lane[actual->partition];
    actual->seq = seq;
    actual->source = source;
    actual->source_offset = source_offset;
    actual->is_matched = true;
    free(actual->value);
    actual->value = NULL;
    lane->actual.unmatched--;
    if (actual->offset > lane->matched_last) lane->matched_last = actual->offset;
    match->matched++;
    seen_note(match, actual->hash, hash, source);
    if (match->open.paired)
        match->open.paired(match->open.context,
                           &(struct mr_match_pair){source, actual->partition, seq, source_offset, actual->offset,
                                                   actual->content, actual->version});
    if (lane->leads) { /* what is before it, is of an earlier time */
        struct list *const list = &lane->actual;
        lane->leads = false;
        while (list->first != actual) {
            struct item *const item = list->first;
            if (!item->is_matched) {
                mr_match_group_remove(match, item, true);
                list->unmatched--;
                match->before++;
            }
            list->first = item->next;
            list->count--;
            mr_match_item_free(item);
        }
    }
    lane_pop(match, lane);
}

mr_status mr_match_expect(struct mr_match *match, const struct mr_match_record *record, struct mr_err *err)
{
    const uint64_t hash = mr_match_content(record, record->partition);
    const uint64_t seq = match->seq[record->source]++;
    struct list *const list = &match->expected[record->source];
    struct group *const there = *mr_match_group_find(match, hash, true);
    if (there) {
        struct item *const actual = there->first;
        mr_match_group_remove(match, actual, true);
        pair(match, actual, seq, record->source, record->offset, hash);
        return MR_OK;
    }
    struct item *const item = mr_match_item_make(record, hash);
    if (!item || !mr_match_group_add(match, item, false)) {
        mr_match_item_free(item);
        return mr_fail(err, MR_ENOMEM, "no memory for records that are expected");
    }
    item->seq = seq;
    item->before = list->last;
    *(list->last ? &list->last->next : &list->first) = item;
    list->last = item;
    list->count++;
    match->expected_count++;
    wanted_change(match, item->partition, true);
    return MR_OK;
}

/* Before the first match of a partition: forgets the oldest record. */
static void lead_drop(struct mr_match *match, struct lane *lane)
{
    struct list *const list = &lane->actual;
    struct item *const item = list->first;
    mr_match_group_remove(match, item, true);
    list->first = item->next;
    list->count--;
    list->unmatched--;
    match->before++;
    mr_match_item_free(item);
}

mr_status mr_match_actual(struct mr_match *match, const struct mr_match_record *record, struct mr_err *err)
{
    struct lane *const lane = &match->lane[record->partition];
    struct list *const list = &lane->actual;
    const uint64_t hash = mr_match_content(record, record->is_placed ? record->partition : MR_MATCH_ANY);
    struct group *const there = *mr_match_group_find(match, hash, false);
    struct item *const item = mr_match_item_make(record, hash);
    if (!item || (!there && !mr_match_group_add(match, item, true))) {
        mr_match_item_free(item);
        return mr_fail(err, MR_ENOMEM, "no memory for records that were read");
    }
    *(list->last ? &list->last->next : &list->first) = item;
    list->last = item;
    list->count++;
    list->unmatched++;
    if (!there) item->is_repeated = mr_match_seen(match, hash); /* by the end it may be forgotten */
    if (!there && lane->leads && list->unmatched > LEAD_MAX) lead_drop(match, lane);
    if (!there) return MR_OK;
    struct item *const expected = there->first;
    mr_match_group_remove(match, expected, false);
    expected_unlink(match, expected);
    wanted_change(match, expected->partition, false);
    pair(match, item, expected->seq, expected->source, expected->offset, hash);
    mr_match_item_free(expected);
    return MR_OK;
}

void mr_match_tie(struct mr_match *match, struct item *actual, struct item *expected)
{
    mr_match_group_remove(match, expected, false);
    mr_match_group_remove(match, actual, true);
    expected_unlink(match, expected);
    wanted_change(match, expected->partition, false);
    pair(match, actual, expected->seq, expected->source, expected->offset, expected->hash);
    mr_match_item_free(expected);
}

size_t mr_match_wanted(const struct mr_match *match, int32_t partition)
{
    return match->lane[partition].wanted + match->wanted_any;
}

size_t mr_match_waiting(const struct mr_match *match, int32_t partition)
{
    return match->lane[partition].actual.unmatched;
}

size_t mr_match_open_count(const struct mr_match *match, uint32_t source)
{
    return match->expected[source].count;
}

/* ---- the end ---- */

/* Expected records that are accounted for elsewhere are not missing. */
static void excused_drop(struct mr_match *match)
{
    for (uint32_t i = 0; match->open.is_excused && i < match->open.source_count; i++) {
        for (struct item *item = match->expected[i].first, *next; item; item = next) {
            const struct mr_match_place place = place_of(item);
            next = item->next;
            if (!match->open.is_excused(match->open.context, &place)) continue;
            expected_unlink(match, item);
            mr_match_group_remove(match, item, false);
            wanted_change(match, item->partition, false);
            mr_match_item_free(item);
        }
    }
}

/* The oldest expected record that is left for a partition. */
static struct item *left_find(const struct mr_match *match, int32_t partition)
{
    for (uint32_t i = 0; i < match->open.source_count; i++) {
        for (struct item *item = match->expected[i].first; item; item = item->next)
            if (item->partition == partition || item->partition == MR_MATCH_ANY) return item;
    }
    return NULL;
}

/* An actual record that nothing expects. */
static void left_tell(struct mr_match *match, struct lane *lane, struct item *actual)
{
    const struct mr_match_place place = place_of(actual);
    if (lane->leads) {
        match->before++;
        return;
    }
    if (match->trails && actual->offset > lane->matched_last) {
        match->behind++;
        return;
    }
    if (actual->is_repeated || mr_match_seen(match, actual->hash)) {
        match->open.fault(match->open.context, MR_MATCH_DUPLICATED, NULL, &place);
        return;
    }
    struct item *const expected = match->pairs++ < PAIRS_MAX ? left_find(match, actual->partition) : NULL;
    if (!expected) {
        match->open.fault(match->open.context, MR_MATCH_FOREIGN, NULL, &place);
        return;
    }
    const struct mr_match_place wanted = place_of(expected);
    match->open.fault(match->open.context, MR_MATCH_DIFFERENT, &wanted, &place);
    expected_unlink(match, expected);
    mr_match_group_remove(match, expected, false);
    wanted_change(match, expected->partition, false);
    mr_match_item_free(expected);
}

void mr_match_end(struct mr_match *match)
{
    mr_match_settle(match, true);
    mr_match_settle_repeated(match);
    mr_match_settle_moved(match);
    excused_drop(match);
    for (int32_t i = 0; i < match->open.partition_count; i++) {
        struct lane *const lane = &match->lane[i];
        while (lane->actual.first) {
            struct item *const item = lane->actual.first;
            if (item->is_matched) {
                lane_pop(match, lane);
                continue;
            }
            left_tell(match, lane, item);
            mr_match_group_remove(match, item, true);
            lane->actual.first = item->next;
            if (!item->next) lane->actual.last = NULL;
            lane->actual.count--;
            lane->actual.unmatched--;
            mr_match_item_free(item);
        }
    }
    for (uint32_t i = 0; i < match->open.source_count; i++) {
        for (struct item *item = match->expected[i].first; item; item = item->next) {
            const struct mr_match_place place = place_of(item);
            match->open.fault(match->open.context, MR_MATCH_MISSING, &place, NULL);
        }
    }
    unordered_flush(match);
}

uint64_t mr_match_count(const struct mr_match *match)
{
    return match->matched;
}

uint64_t mr_match_near_count(const struct mr_match *match)
{
    return match->near;
}

uint64_t mr_match_far_count(const struct mr_match *match)
{
    return match->far;
}

uint64_t mr_match_repeated_count(const struct mr_match *match)
{
    return match->repeated;
}

uint64_t mr_match_moved_count(const struct mr_match *match)
{
    return match->moved;
}

uint64_t mr_match_before_count(const struct mr_match *match)
{
    return match->before;
}

uint64_t mr_match_behind_count(const struct mr_match *match)
{
    return match->behind;
}

bool mr_match_is_ambiguous(const struct mr_match *match)
{
    return match->is_ambiguous;
}
