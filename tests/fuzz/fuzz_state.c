/*
 * Any bytes as a state topic: records of a flag byte, the key's length, the value's in two bytes, then both. Flag 1: a
 * tombstone; 2: the value gets the right magic, format and checksum, so that what is behind them is reached.
 * Whatever is taken for a commit must be one that can be written again and is the same then.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "state/header.h"
#include "state/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define TOMBSTONE 1u
#define MENDED    2u

static void commit_again(const struct mr_state_commit *commit)
{
    struct mr_state_commit *read;
    struct mr_blob one = {0}, two = {0};
    struct mr_err err;
    if (mr_state_commit_encode(commit, &one, &err) || mr_state_commit_decode(one.data, one.bytes, &read, &err))
        __builtin_trap();
    if (mr_state_commit_encode(read, &two, &err) || one.bytes != two.bytes || memcmp(one.data, two.data, one.bytes))
        __builtin_trap();
    if (mr_state_pending_count(read) > read->range_count) __builtin_trap();
    free(read);
    mr_blob_deinit(&one);
    mr_blob_deinit(&two);
}

/* A copy of its own size, so that a sanitizer sees a read behind it. */
static unsigned char *value_copy(const uint8_t *from, size_t bytes, unsigned flags)
{
    unsigned char *const value = malloc(bytes + !bytes);
    memcpy(value, from, bytes);
    if (!(flags & MENDED) || bytes < MR_STATE_HEADER_BYTES) return value;
    const unsigned char kind = value[5];
    struct mr_blob blob = {(char *)value, bytes, bytes};
    mr_state_header_begin(&blob, (mr_state_record)kind);
    blob.bytes = bytes;
    mr_state_header_end(&blob);
    return value;
}

static void log_use(const struct mr_state_log *log)
{
    static const struct mr_state_position position = {"clicks", 0, 100};
    struct mr_state_point point;
    struct mr_span model;
    struct mr_err err;
    size_t count;
    const mr_status whole = mr_state_log_check(log, &err);
    const struct mr_state_entry *const entry = mr_state_log_entries(log, &count);
    const struct mr_state_commit *const kept = mr_state_log_model(log, &model);
    if (kept && mr_state_checksum(model.data, model.bytes) != kept->model_checksum) __builtin_trap();
    if (!whole && count && (!kept || kept->snapshot != entry[count - 1].commit->snapshot)) __builtin_trap();
    for (size_t i = 0; i < count; i++) {
        const struct mr_state_target seq = {.by = MR_STATE_AT_SEQ, .number = entry[i].commit->seq},
                                     version = {.by = MR_STATE_AT_VERSION,
                                                .number = entry[i].commit->version_after - 1};
        commit_again(entry[i].commit);
        if (!mr_state_log_seek(log, &seq, &point, &err) && point.snapshot + point.behind_count != &entry[i])
            __builtin_trap();
        if (!mr_state_log_seek(log, &version, &point, &err) && !point.snapshot->has_snapshot) __builtin_trap();
    }
    const struct mr_state_target offsets = {.by = MR_STATE_AT_OFFSETS, .position = &position, .position_count = 1};
    (void)mr_state_log_seek(log, &offsets, &point, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_state_log *log;
    struct mr_err err;
    mr_status status = mr_state_log_create(&(struct mr_state_log_open){.topic = "fuzz", .model = "m/1"}, &log, &err);
    for (int64_t offset = 0; !status && bytes >= 4; offset++) {
        const size_t key_bytes = data[1], room = bytes - 4;
        size_t value_bytes = (size_t)data[2] | (size_t)data[3] << 8;
        if (key_bytes > room) break;
        if (value_bytes > room - key_bytes) value_bytes = room - key_bytes;
        const unsigned flags = data[0];
        const uint8_t *const key = data + 4;
        unsigned char *const value = flags & TOMBSTONE ? NULL : value_copy(key + key_bytes, value_bytes, flags);
        status = mr_state_log_take(log, key, key_bytes, value, value_bytes, offset, &err);
        if (status == MR_EINVARIANT) status = MR_OK; /* left out */
        if (!status) log_use(log);
        free(value);
        data += 4 + key_bytes + value_bytes;
        bytes -= 4 + key_bytes + value_bytes;
    }
    mr_state_log_destroy(log);
    return 0;
}
