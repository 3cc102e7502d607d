#include "pipeline/join.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"

#define NONE        UINT32_MAX
#define DIGESTED    255 /* key_bytes of a key that stands as its digest */
#define MATCHED     MR_JOIN_SIDES
#define LISTS       (MR_JOIN_SIDES + 1)
#define LABELS_PART 8               /* of a full store: what labels may take from records */
#define TIME_MAX    (INT64_MAX / 4) /* timestamps may be anything: differences of these do not overflow */

struct entry {
    char key[MR_JOIN_KEY_BYTES];
    uint8_t key_bytes;
    uint8_t state;       /* mr_join_side, or MATCHED: kept so that a second one is known as such */
    uint32_t next_alike; /* in its bucket; of a free entry: the next free one */
    uint32_t older, newer;
    int64_t time_ms;
    double label;
};

/* In the order in which they came. */
struct list {
    uint32_t oldest, newest;
};

struct mr_join {
    struct entry *entry; /* [cap] */
    float *payload;      /* [cap][payload_floats] */
    uint32_t *bucket;    /* [mask + 1] */
    size_t mask, payload_floats;
    size_t labels_share; /* labels that may push out records */
    uint32_t free;
    struct list list[LISTS]; /* by state */
    int64_t wait_ms;
    struct mr_join_counts counts;
};

static int64_t time_clamp(int64_t time_ms)
{
    return time_ms > TIME_MAX ? TIME_MAX : time_ms < -TIME_MAX ? -TIME_MAX : time_ms;
}

static size_t bucket_count(size_t cap)
{
    size_t count = 16;
    while (count < cap) count *= 2;
    return count;
}

size_t mr_join_bytes(size_t cap, size_t payload_floats)
{
    return cap * (sizeof(struct entry) + payload_floats * sizeof(float)) + bucket_count(cap) * sizeof(uint32_t);
}

mr_status mr_join_create(size_t cap, size_t payload_floats, int64_t wait_ms, struct mr_join **join_out,
                         struct mr_err *err)
{
    struct mr_join *const join = calloc(1, sizeof *join);
    const size_t buckets = bucket_count(cap);
    size_t floats;
    *join_out = NULL;
    if (join && cap < NONE && !__builtin_mul_overflow(cap, payload_floats, &floats)) {
        join->entry = calloc(cap, sizeof *join->entry);
        join->payload = calloc(floats + 1, sizeof *join->payload);
        join->bucket = malloc(buckets * sizeof *join->bucket);
    }
    if (!join || !join->entry || !join->payload || !join->bucket) {
        mr_join_destroy(join);
        return mr_fail(err, MR_ENOMEM, "no memory for %zu records that wait for labels: lower labels.records_max", cap);
    }
    join->mask = buckets - 1;
    join->labels_share = cap / LABELS_PART;
    join->payload_floats = payload_floats;
    join->wait_ms = time_clamp(wait_ms);
    for (size_t i = 0; i < buckets; i++) join->bucket[i] = NONE;
    for (size_t i = 0; i < cap; i++) join->entry[i].next_alike = i + 1 < cap ? (uint32_t)(i + 1) : NONE;
    for (int i = 0; i < LISTS; i++) join->list[i] = (struct list){NONE, NONE};
    *join_out = join;
    return MR_OK;
}

void mr_join_destroy(struct mr_join *join)
{
    if (!join) return;
    free(join->entry);
    free(join->payload);
    free(join->bucket);
    free(join);
}

const struct mr_join_counts *mr_join_counts(const struct mr_join *join)
{
    return &join->counts;
}

static void count(_Atomic uint64_t *counter, int64_t by)
{
    const uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + (uint64_t)by, memory_order_relaxed);
}

/* ---- keys ---- */

static struct entry key_make(const struct mr_span *key)
{
    struct entry made = {.key_bytes = (uint8_t)key->bytes};
    char digest[MR_SHA256_TEXT_BYTES];
    if (key->bytes <= MR_JOIN_KEY_BYTES) {
        if (key->bytes) memcpy(made.key, key->data, key->bytes);
        return made;
    }
    mr_sha256_text(key->data, key->bytes, digest);
    memcpy(made.key, digest, sizeof made.key);
    made.key_bytes = DIGESTED;
    return made;
}

static uint32_t *bucket_of(const struct mr_join *join, const struct entry *key)
{
    uint64_t hash = key->key_bytes, word;
    _Static_assert(MR_JOIN_KEY_BYTES % sizeof word == 0, "keys are hashed by words");
    for (size_t i = 0; i < MR_JOIN_KEY_BYTES; i += sizeof word) {
        memcpy(&word, key->key + i, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 29;
    }
    return &join->bucket[hash & join->mask];
}

static uint32_t find(const struct mr_join *join, const struct entry *key)
{
    uint32_t at = *bucket_of(join, key);
    while (at != NONE && (join->entry[at].key_bytes != key->key_bytes ||
                          memcmp(join->entry[at].key, key->key, MR_JOIN_KEY_BYTES) != 0))
        at = join->entry[at].next_alike;
    return at;
}

/* ---- entries ---- */

static void list_append(struct mr_join *join, uint32_t at, uint8_t state)
{
    struct list *const list = &join->list[state];
    struct entry *const entry = &join->entry[at];
    entry->state = state;
    entry->older = list->newest;
    entry->newer = NONE;
    *(list->newest == NONE ? &list->oldest : &join->entry[list->newest].newer) = at;
    list->newest = at;
    if (state != MATCHED) count(&join->counts.waiting[state], 1);
}

static void list_remove(struct mr_join *join, uint32_t at)
{
    const struct entry *const entry = &join->entry[at];
    struct list *const list = &join->list[entry->state];
    *(entry->older == NONE ? &list->oldest : &join->entry[entry->older].newer) = entry->newer;
    *(entry->newer == NONE ? &list->newest : &join->entry[entry->newer].older) = entry->older;
    if (entry->state != MATCHED) count(&join->counts.waiting[entry->state], -1);
}

/* Frees an entry; counter (by side; NULL: none) says why. */
static void entry_drop(struct mr_join *join, uint32_t at, _Atomic uint64_t *counter)
{
    struct entry *const entry = &join->entry[at];
    uint32_t *link = bucket_of(join, entry);
    if (counter && entry->state != MATCHED) count(&counter[entry->state], 1);
    list_remove(join, at);
    while (*link != at) link = &join->entry[*link].next_alike;
    *link = entry->next_alike;
    entry->next_alike = join->free;
    join->free = at;
}

/*
 * Room for one more: what was matched goes first. Then a record pushes out the older of the oldest record and the
 * oldest label; a label pushes out a label, or a record while labels have less than their share: more, and the labels
 * of records that were pushed out, which wait for nothing, would push out one record after another. False: there is no
 * room.
 */
static bool room_make(struct mr_join *join, mr_join_side side)
{
    const uint32_t record = join->list[MR_JOIN_RECORD].oldest, label = join->list[MR_JOIN_LABEL].oldest;
    uint32_t at = join->list[MATCHED].oldest;
    if (join->free != NONE) return true;
    if (at == NONE && side == MR_JOIN_LABEL)
        at = join->counts.waiting[MR_JOIN_LABEL] < join->labels_share ? record : label;
    else if (at == NONE)
        at = record == NONE || (label != NONE && join->entry[label].time_ms < join->entry[record].time_ms) ? label
                                                                                                           : record;
    if (at == NONE) return false;
    entry_drop(join, at, join->counts.evicted);
    return true;
}

static uint32_t entry_add(struct mr_join *join, const struct entry *key, int64_t time_ms, mr_join_side side)
{
    const uint32_t at = join->free;
    struct entry *const entry = &join->entry[at];
    uint32_t *const bucket = bucket_of(join, key);
    join->free = entry->next_alike;
    memcpy(entry->key, key->key, sizeof entry->key);
    entry->key_bytes = key->key_bytes;
    entry->time_ms = time_ms;
    entry->next_alike = *bucket;
    *bucket = at;
    list_append(join, at, (uint8_t)side);
    return at;
}

/* What comes from one side. *at_out: its entry (WAITS), or that of the other side (MATCHED). */
static mr_join_verdict arrive(struct mr_join *join, mr_join_side side, const struct mr_span *span, int64_t time_ms,
                              uint32_t *at_out)
{
    const struct entry key = key_make(span);
    time_ms = time_clamp(time_ms);
    const uint32_t at = *at_out = find(join, &key);
    if (at != NONE) {
        const struct entry *const there = &join->entry[at];
        const bool is_other = there->state != MATCHED && there->state != (uint8_t)side;
        if (time_ms - there->time_ms > join->wait_ms) {
            entry_drop(join, at, join->counts.expired); /* its time is over: the key is free again */
        } else if (is_other && there->time_ms - time_ms <= join->wait_ms) {
            list_remove(join, at);
            list_append(join, at, MATCHED);
            count(&join->counts.matched, 1);
            return MR_JOIN_MATCHED;
        } else {
            count(is_other ? &join->counts.expired[side] : &join->counts.duplicate[side], 1);
            return MR_JOIN_REFUSED;
        }
    }
    if (!room_make(join, side)) {
        count(&join->counts.evicted[side], 1);
        return MR_JOIN_REFUSED;
    }
    *at_out = entry_add(join, &key, time_ms, side);
    return MR_JOIN_WAITS;
}

mr_join_verdict mr_join_record(struct mr_join *join, const struct mr_span *key, int64_t time_ms, float **payload_out,
                               double *label_out)
{
    uint32_t at;
    const mr_join_verdict verdict = arrive(join, MR_JOIN_RECORD, key, time_ms, &at);
    if (verdict == MR_JOIN_WAITS) *payload_out = join->payload + at * join->payload_floats;
    if (verdict == MR_JOIN_MATCHED) *label_out = join->entry[at].label;
    return verdict;
}

mr_join_verdict mr_join_label(struct mr_join *join, const struct mr_span *key, int64_t time_ms, double label,
                              const float **payload_out)
{
    uint32_t at;
    const mr_join_verdict verdict = arrive(join, MR_JOIN_LABEL, key, time_ms, &at);
    if (verdict == MR_JOIN_WAITS) join->entry[at].label = label;
    if (verdict == MR_JOIN_MATCHED) *payload_out = join->payload + at * join->payload_floats;
    return verdict;
}

/* Drops the oldest of a list while nothing of a clock's time can be theirs. */
static void list_expire(struct mr_join *join, int state, int64_t clock_ms)
{
    const struct list *const list = &join->list[state];
    const int64_t least_ms = time_clamp(clock_ms) - join->wait_ms;
    while (list->oldest != NONE && join->entry[list->oldest].time_ms < least_ms)
        entry_drop(join, list->oldest, join->counts.expired);
}

void mr_join_expire(struct mr_join *join, const int64_t clock_ms[MR_JOIN_SIDES])
{
    const int64_t record_ms = clock_ms[MR_JOIN_RECORD], label_ms = clock_ms[MR_JOIN_LABEL];
    list_expire(join, MR_JOIN_RECORD, label_ms);
    list_expire(join, MR_JOIN_LABEL, record_ms);
    list_expire(join, MATCHED, record_ms < label_ms ? record_ms : label_ms);
}
