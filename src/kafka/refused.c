#include "kafka/refused.h"

#include <stdlib.h>

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

bool mr_refused_add(struct mr_refused *refused, const struct mr_sent_record *record)
{
    if (!refused->mark && !(refused->mark = calloc(MR_REFUSED_MAX, sizeof *refused->mark))) return false;
    if (refused->count == MR_REFUSED_MAX) {
        refused->first = (refused->first + 1) % MR_REFUSED_MAX;
        refused->count--;
    }
    refused->mark[(refused->first + refused->count++) % MR_REFUSED_MAX] = mark_of(record);
    return true;
}

bool mr_refused_has(const struct mr_refused *refused, const struct mr_sent_record *record)
{
    if (!refused->count) return false;
    const uint64_t mark = mark_of(record);
    for (size_t i = 0; i < refused->count; i++) {
        if (refused->mark[(refused->first + i) % MR_REFUSED_MAX] == mark) return true;
    }
    return false;
}

void mr_refused_deinit(struct mr_refused *refused)
{
    free(refused->mark);
    *refused = (struct mr_refused){0};
}
