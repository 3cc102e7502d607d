#include "kafka/refused.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a, 64 bits. Two records of 65,536 share a mark once in 8 billion times; then one more is a dead letter. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *const byte = bytes;
    for (size_t i = 0; i < count; i++) hash = (hash ^ byte[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t mark_of(const struct mr_sent_record *record)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = record->to; *c; c++) hash = mix(hash, c, 1);
    hash = mix(hash, &record->from, sizeof record->from);
    hash = mix(hash, &record->partition, sizeof record->partition);
    hash = mix(hash, &record->offset, sizeof record->offset);
    return mix(hash, &record->bytes, sizeof record->bytes);
}

static void limit_note(struct mr_refused *refused, const struct mr_sent_record *record, int64_t now_us)
{
    size_t at = 0;
    while (at < refused->limit_count && strcmp(refused->limit[at].to, record->to)) at++;
    if (at == MR_LIMIT_MAX || !record->size) return;
    const bool is_new = at == refused->limit_count || now_us >= refused->limit[at].until_us;
    if (at == refused->limit_count) refused->limit_count++;
    if (!is_new && refused->limit[at].size <= record->size) return;
    refused->limit[at].to = record->to;
    refused->limit[at].size = record->size;
    refused->limit[at].until_us = now_us + MR_LIMIT_HOLDS_US;
}

static bool is_over_limit(const struct mr_refused *refused, const struct mr_sent_record *record, int64_t now_us)
{
    for (size_t i = 0; i < refused->limit_count && record->size; i++) {
        if (!strcmp(refused->limit[i].to, record->to))
            return record->size >= refused->limit[i].size && now_us < refused->limit[i].until_us;
    }
    return false;
}

bool mr_refused_add(struct mr_refused *refused, const struct mr_sent_record *record, int64_t now_us)
{
    if (!refused->mark && !(refused->mark = calloc(MR_REFUSED_MAX, sizeof *refused->mark))) return false;
    if (refused->count == MR_REFUSED_MAX) {
        refused->first = (refused->first + 1) % MR_REFUSED_MAX;
        refused->count--;
    }
    refused->mark[(refused->first + refused->count++) % MR_REFUSED_MAX] = mark_of(record);
    limit_note(refused, record, now_us);
    return true;
}

bool mr_refused_has(const struct mr_refused *refused, const struct mr_sent_record *record, int64_t now_us)
{
    if (is_over_limit(refused, record, now_us)) return true;
    if (!refused->count) return false;
    const uint64_t mark = mark_of(record);
    for (size_t i = 0; i < refused->count; i++) {
        if (refused->mark[(refused->first + i) % MR_REFUSED_MAX] == mark) return true;
    }
    return false;
}

void mr_refused_clear(struct mr_refused *refused)
{
    refused->count = 0;
}

void mr_refused_deinit(struct mr_refused *refused)
{
    free(refused->mark);
    *refused = (struct mr_refused){0};
}
