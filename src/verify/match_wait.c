/* Records that wait for their other half: kept in groups of the same content. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "verify/match_inside.h"

void mr_match_item_free(struct item *item)
{
    if (!item) return;
    free(item->value);
    free(item->number);
    free(item);
}

static uint64_t rest_hash(const struct mr_match_record *record, uint64_t hash)
{
    return record->key ? XXH3_64bits_withSeed(record->key, record->key_bytes, hash) : hash;
}

uint64_t mr_match_content(const struct mr_match_record *record, int32_t partition)
{
    const uint64_t head[4] = {record->rest, record->value ? record->value_bytes : UINT64_MAX,
                              record->key ? record->key_bytes : UINT64_MAX, (uint64_t)partition};
    uint64_t hash = XXH3_64bits(head, sizeof head);
    if (record->value) hash = XXH3_64bits_withSeed(record->value, record->value_bytes, hash);
    return rest_hash(record, hash);
}

struct group **mr_match_group_find(struct mr_match *match, uint64_t hash, bool is_actual)
{
    struct group **at = &match->bucket[hash & match->mask];
    while (*at && ((*at)->hash != hash || (*at)->is_actual != is_actual)) at = &(*at)->next;
    return at;
}

/* Twice the buckets; without memory it stays as it is. */
static void buckets_grow(struct mr_match *match)
{
    const size_t mask = 2 * match->mask + 1;
    struct group **const grown = calloc(mask + 1, sizeof(*grown));
    if (!grown) return;
    for (size_t i = 0; i <= match->mask; i++) {
        for (struct group *group = match->bucket[i], *next; group; group = next) {
            next = group->next;
            group->next = grown[group->hash & mask];
            grown[group->hash & mask] = group;
        }
    }
    free(match->bucket);
    match->bucket = grown;
    match->mask = mask;
}

bool mr_match_group_add(struct mr_match *match, struct item *item, bool is_actual)
{
    struct group *group = *mr_match_group_find(match, item->hash, is_actual);
    if (group) {
        group->last->next_alike = item;
        group->last = item;
        return true;
    }
    if (match->group_count > match->mask) buckets_grow(match);
    group = match->spare ? match->spare : malloc(sizeof *group);
    if (!group) return false;
    if (match->spare) match->spare = group->next;
    struct group **const bucket = &match->bucket[item->hash & match->mask];
    *group = (struct group){.next = *bucket, .hash = item->hash, .first = item, .last = item, .is_actual = is_actual};
    *bucket = group;
    match->group_count++;
    return true;
}

void mr_match_group_remove(struct mr_match *match, const struct item *item, bool is_actual)
{
    struct group **const at = mr_match_group_find(match, item->hash, is_actual);
    struct group *const group = *at;
    assert(group);
    struct item **link = &group->first, *before = NULL;
    while (*link != item) {
        before = *link;
        assert(before); /* it is in its group */
        link = &before->next_alike;
    }
    *link = item->next_alike;
    if (group->last == item) group->last = before;
    if (group->first) return;
    *at = group->next;
    group->next = match->spare;
    match->spare = group;
    match->group_count--;
}

struct item *mr_match_item_make(const struct mr_match_record *record, uint64_t hash)
{
    struct item *const item = malloc(sizeof *item);
    if (!item) return NULL;
    *item = (struct item){.hash = hash,
                          .offset = record->offset,
                          .source = record->source,
                          .partition = record->partition,
                          .content = record->hash,
                          .version = record->version,
                          .value_bytes = record->value_bytes,
                          .rest = rest_hash(record, XXH3_64bits(&record->rest, sizeof record->rest)),
                          .number_count = record->number_count};
    if (record->value) item->value = malloc(record->value_bytes + 1);
    if (record->number_count) item->number = malloc(record->number_count * sizeof *item->number);
    if ((record->value && !item->value) || (record->number_count && !item->number)) {
        mr_match_item_free(item);
        return NULL;
    }
    if (item->value && record->value_bytes) memcpy(item->value, record->value, record->value_bytes);
    if (item->number) memcpy(item->number, record->number, record->number_count * sizeof *item->number);
    return item;
}
