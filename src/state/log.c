/* A state topic's records, taken one by one. */
#include "state/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/log_inside.h"

#define OWN_TOPIC "give each model a state topic of its own; to go on with this one, " MR_STATE_BACK

/* The one form of what is wrong with a record. */
static mr_status refuse(const struct mr_state_log *log, int64_t offset, const char *what, const char *remedy,
                        struct mr_err *err)
{
    return mr_fail(err, MR_EINVARIANT, "state topic \"%s\" of \"%s\", offset %lld: %s: %s", log->topic, log->model,
                   (long long)offset, what, remedy);
}

mr_status mr_state_log_create(const struct mr_state_log_open *open, struct mr_state_log **log_out, struct mr_err *err)
{
    struct mr_state_log *const log = calloc(1, sizeof *log);
    *log_out = NULL;
    if (log) {
        log->topic = strdup(open->topic);
        log->model = strdup(open->model);
        log->type = open->type ? strdup(open->type) : NULL;
        log->schema_hash = open->schema_hash;
        log->wanted = open->snapshot;
        log->is_listing = open->is_listing;
    }
    if (!log || !log->topic || !log->model || (open->type && !log->type)) {
        mr_state_log_destroy(log);
        return mr_fail(err, MR_ENOMEM, "state topic \"%s\": out of memory", open->topic);
    }
    *log_out = log;
    return MR_OK;
}

void mr_state_log_destroy(struct mr_state_log *log)
{
    if (!log) return;
    for (size_t i = 0; i < log->entry_count; i++) free((void *)(uintptr_t)log->entry[i].commit);
    free(log->entry);
    mr_blob_deinit(&log->part_bytes);
    mr_blob_deinit(&log->whole_bytes);
    free(log->topic);
    free(log->model);
    free(log->type);
    free(log);
}

size_t mr_state_log_find(const struct mr_state_log *log, uint64_t snapshot)
{
    size_t i = 0;
    while (i < log->entry_count && (log->entry[i].commit->snapshot != snapshot || log->entry[i].commit->index)) i++;
    return i;
}

/* Drops what compaction would: commits upon snapshots whose keys a later one has taken. */
static void entries_drop(struct mr_state_log *log)
{
    size_t kept = 0;
    for (size_t i = 0; i < log->entry_count; i++) {
        const struct mr_state_entry *const entry = &log->entry[i];
        if (entry->commit->snapshot + MR_STATE_GENERATIONS > log->snapshot_max) {
            log->entry[kept++] = *entry;
            continue;
        }
        if (log->whole == entry->commit->snapshot) log->whole = 0;
        free((void *)(uintptr_t)entry->commit);
    }
    log->entry_count = kept;
}

/* Numbers may only grow. */
static mr_status numbers_take(struct mr_state_log *log, uint64_t seq, uint64_t snapshot, int64_t offset,
                              struct mr_err *err)
{
    if (seq < log->seq_max || snapshot < log->snapshot_max)
        return refuse(log, offset, "its numbers go back: two processes have written",
                      "find out which one was right, stop the other, and " MR_STATE_BACK, err);
    log->seq_max = seq;
    if (snapshot == log->snapshot_max) return MR_OK;
    log->snapshot_max = snapshot;
    entries_drop(log);
    return MR_OK;
}

static bool is_kept(const struct mr_state_log *log, uint64_t snapshot)
{
    return !log->is_listing && (!log->wanted || log->wanted == snapshot);
}

/* When both the chunks and the manifest of a snapshot are there, it is complete. */
static mr_status snapshot_complete(struct mr_state_log *log, int64_t offset, struct mr_err *err)
{
    const struct mr_state_part *const part = &log->part;
    const size_t at = mr_state_log_find(log, part->number);
    if (!part->number || at == log->entry_count || part->has_hole || part->seen < part->count) return MR_OK;
    if (log->entry[at].has_snapshot) return MR_OK; /* the manifest of the next one comes before its chunks */
    const struct mr_state_commit *const commit = log->entry[at].commit;
    if (commit->seq != part->seq || commit->model_bytes != part->model_bytes ||
        commit->model_checksum != part->model_checksum)
        return refuse(log, offset, "a snapshot's chunks and its manifest are of two different ones", MR_STATE_BACK,
                      err);
    const bool is_kept_now = is_kept(log, part->number);
    if (is_kept_now && mr_state_checksum(log->part_bytes.data, log->part_bytes.bytes) != part->model_checksum) {
        log->part.has_hole = true;
        return refuse(log, offset, "the checksum of the model that the chunks make is wrong", MR_STATE_BACK, err);
    }
    log->entry[at].has_snapshot = true;
    /* Somebody has gone back to what was whole: nothing that is before it is needed. */
    if (commit->kind == MR_STATE_ROLLED_BACK) log->fault.status = MR_OK;
    if (!is_kept_now) return MR_OK;
    const struct mr_blob before = log->whole_bytes;
    log->whole_bytes = log->part_bytes;
    log->part_bytes = before;
    log->part_bytes.bytes = 0;
    log->whole = part->number;
    return MR_OK;
}

/* Room for a chunk, never more than the whole model. A size that only a record claims is not believed at once. */
static bool part_reserve(struct mr_blob *blob, size_t more, uint64_t model_bytes)
{
    const size_t needed = blob->bytes + more;
    uint64_t cap = 2 * (uint64_t)blob->cap;
    if (needed <= blob->cap) return true;
    if (cap < needed) cap = needed;
    if (cap > model_bytes) cap = model_bytes;
    char *const data = realloc(blob->data, (size_t)cap);
    if (!data) return false;
    blob->data = data;
    blob->cap = (size_t)cap;
    return true;
}

static mr_status chunk_put(struct mr_state_log *log, const struct mr_state_chunk *chunk, int64_t offset,
                           struct mr_err *err)
{
    struct mr_state_part *const part = &log->part;
    if (chunk->seq != part->seq || chunk->count != part->count || chunk->model_bytes != part->model_bytes ||
        chunk->model_checksum != part->model_checksum || chunk->index < part->seen)
        return refuse(log, offset, "a chunk of another snapshot than those before it", MR_STATE_BACK, err);
    if (part->has_hole || chunk->index > part->seen) {
        if (!part->has_hole) part->hole_offset = offset;
        part->has_hole = true; /* whether that matters, mr_state_log_check says */
        return MR_OK;
    }
    if (is_kept(log, part->number) && chunk->at != log->part_bytes.bytes) {
        part->has_hole = true;
        part->hole_offset = offset;
        return refuse(log, offset, "a chunk that is not where the one before it ends", MR_STATE_BACK, err);
    }
    part->seen++;
    if (!is_kept(log, part->number)) return MR_OK;
    if (!part_reserve(&log->part_bytes, chunk->data.bytes, chunk->model_bytes))
        return mr_fail(err, MR_ENOMEM, "state topic \"%s\": no memory for a model of %llu bytes", log->topic,
                       (unsigned long long)chunk->model_bytes);
    return mr_blob_put(&log->part_bytes, chunk->data.data, chunk->data.bytes) ? MR_OK : MR_ENOMEM;
}

/* A key's facts. */
struct key {
    uint32_t generation, index;
    mr_state_record kind;
};

static mr_status chunk_take(struct mr_state_log *log, const struct key *key, const void *value, size_t bytes,
                            int64_t offset, struct mr_err *err)
{
    struct mr_state_chunk chunk;
    struct mr_err why;
    struct mr_state_part *const part = &log->part;
    if (mr_state_chunk_decode(value, bytes, &chunk, &why)) return refuse(log, offset, why.text, MR_STATE_BACK, err);
    if (chunk.model.bytes != strlen(log->model) || memcmp(chunk.model.data, log->model, chunk.model.bytes))
        return refuse(log, offset, "a chunk of another model", OWN_TOPIC, err);
    if (key->index != chunk.index || key->generation != chunk.snapshot % MR_STATE_GENERATIONS)
        return refuse(log, offset, "a chunk under another one's key", MR_STATE_BACK, err);
    mr_status status = numbers_take(log, chunk.seq, chunk.snapshot, offset, err);
    if (status) return status;
    if (chunk.snapshot != part->number) {
        *part = (struct mr_state_part){.number = chunk.snapshot,
                                       .seq = chunk.seq,
                                       .model_bytes = chunk.model_bytes,
                                       .model_checksum = chunk.model_checksum,
                                       .count = chunk.count};
        log->part_bytes.bytes = 0;
    }
    status = chunk_put(log, &chunk, offset, err);
    return status ? status : snapshot_complete(log, offset, err);
}

/* Whether a manifest may stand in this log, under this key. */
static mr_status manifest_check(const struct mr_state_log *log, const struct key *key,
                                const struct mr_state_commit *commit, int64_t offset, struct mr_err *err)
{
    const struct mr_state_entry *const last = log->entry_count ? &log->entry[log->entry_count - 1] : NULL;
    if (strcmp(commit->model, log->model)) return refuse(log, offset, "a manifest of another model", OWN_TOPIC, err);
    if (log->type && strcmp(commit->type, log->type))
        return mr_fail(
            err, MR_EDATA,
            "state topic \"%s\" of \"%s\", offset %lld: the model is a %.60s there, the job says %s: name a new "
            "topic in models[].topic, or put the type back",
            log->topic, log->model, (long long)offset, commit->type, log->type);
    if (log->schema_hash && commit->schema_hash != log->schema_hash)
        return mr_fail(
            err, MR_EDATA,
            "state topic \"%s\" of \"%s\", offset %lld: the model there has other features, labels or outputs "
            "than the job: put the job's record section back, or name a new topic in models[].topic",
            log->topic, log->model, (long long)offset);
    if (key->index != commit->index || key->generation != commit->snapshot % MR_STATE_GENERATIONS)
        return refuse(log, offset, "a manifest under another one's key", MR_STATE_BACK, err);
    if (last && (last->commit->seq >= commit->seq ||
                 (last->commit->snapshot == commit->snapshot && last->commit->index >= commit->index)))
        return refuse(log, offset, "its numbers go back: two processes have written", MR_STATE_BACK, err);
    return MR_OK;
}

static mr_status manifest_take(struct mr_state_log *log, const struct key *key, const void *value, size_t bytes,
                               int64_t offset, struct mr_err *err)
{
    struct mr_state_commit *commit;
    struct mr_err why;
    mr_status status = mr_state_commit_decode(value, bytes, &commit, &why);
    if (status == MR_ENOMEM) return mr_fail(err, status, "state topic \"%s\": %s", log->topic, why.text);
    if (status) return refuse(log, offset, why.text, MR_STATE_BACK, err);
    status = manifest_check(log, key, commit, offset, err);
    if (!status) status = numbers_take(log, commit->seq, commit->snapshot, offset, err);
    if (!status && log->entry_count == log->entry_cap) {
        const size_t cap = log->entry_cap ? 2 * log->entry_cap : 64;
        struct mr_state_entry *const entry = realloc(log->entry, cap * sizeof *entry);
        if (!entry) status = mr_fail(err, MR_ENOMEM, "state topic \"%s\": out of memory", log->topic);
        if (entry) log->entry = entry, log->entry_cap = cap;
    }
    if (status) {
        free(commit);
        return status;
    }
    log->entry[log->entry_count++] = (struct mr_state_entry){.commit = commit, .offset = offset};
    return commit->index ? MR_OK : snapshot_complete(log, offset, err);
}

/* A record that was deleted: what it was part of is no longer whole. */
static void tombstone_take(struct mr_state_log *log, const struct key *key, int64_t offset)
{
    const uint64_t newest = log->snapshot_max;
    for (size_t i = 0; i < log->entry_count; i++) {
        struct mr_state_entry *const entry = &log->entry[i];
        const uint64_t snapshot = entry->commit->snapshot;
        if (snapshot % MR_STATE_GENERATIONS != key->generation) continue;
        if (key->kind == MR_STATE_CHUNK && !entry->commit->index) entry->has_snapshot = false;
        if (entry->commit->index > key->index && key->kind == MR_STATE_MANIFEST) break;
        if (log->whole == snapshot && (key->kind == MR_STATE_CHUNK || !key->index)) log->whole = 0;
        if (key->kind == MR_STATE_CHUNK || entry->commit->index != key->index) continue;
        free((void *)(uintptr_t)entry->commit);
        memmove(entry, entry + 1, (log->entry_count - i - 1) * sizeof *entry);
        log->entry_count--;
        break;
    }
    if (key->kind == MR_STATE_CHUNK && log->part.number == newest && newest % MR_STATE_GENERATIONS == key->generation &&
        key->index < log->part.seen) {
        log->part.has_hole = true;
        log->part.seen = key->index;
        log->part.hole_offset = offset;
    }
}

static mr_status record_take(struct mr_state_log *log, const void *key, size_t key_bytes, const void *value,
                             size_t value_bytes, int64_t offset, struct mr_err *err)
{
    struct mr_span model;
    struct key found;
    if (!mr_state_key_read(key, key_bytes, &model, &found.generation, &found.kind, &found.index)) {
        log->has_strangers = true;
        return refuse(log, offset, "its key is no state record's", OWN_TOPIC, err);
    }
    if (model.bytes != strlen(log->model) || memcmp(model.data, log->model, model.bytes)) {
        log->has_strangers = true;
        if (!*log->stranger)
            snprintf(log->stranger, sizeof log->stranger, "%.*s", (int)(model.bytes < 200 ? model.bytes : 200),
                     model.data);
        return refuse(log, offset, "its key is another model's", OWN_TOPIC, err);
    }
    if (!value) {
        tombstone_take(log, &found, offset);
        return MR_OK;
    }
    return found.kind == MR_STATE_CHUNK ? chunk_take(log, &found, value, value_bytes, offset, err)
                                        : manifest_take(log, &found, value, value_bytes, offset, err);
}

mr_status mr_state_log_take(struct mr_state_log *log, const void *key, size_t key_bytes, const void *value,
                            size_t value_bytes, int64_t offset, struct mr_err *err)
{
    struct mr_err why;
    const mr_status status = record_take(log, key, key_bytes, value, value_bytes, offset, &why);
    if (!status) return MR_OK;
    if (status == MR_EINVARIANT && !log->fault.status) log->fault = why;
    *err = why;
    return status;
}

void mr_state_log_numbers(const struct mr_state_log *log, uint64_t *seq_out, uint64_t *snapshot_out)
{
    *seq_out = log->seq_max;
    *snapshot_out = log->snapshot_max;
}

const struct mr_state_entry *mr_state_log_entries(const struct mr_state_log *log, size_t *count_out)
{
    *count_out = log->entry_count;
    return log->entry;
}

const struct mr_state_commit *mr_state_log_last(const struct mr_state_log *log)
{
    return log->entry_count ? log->entry[log->entry_count - 1].commit : NULL;
}

const struct mr_state_commit *mr_state_log_model(const struct mr_state_log *log, struct mr_span *bytes_out)
{
    const size_t at = log->whole ? mr_state_log_find(log, log->whole) : log->entry_count;
    *bytes_out = (struct mr_span){0};
    if (at == log->entry_count) return NULL;
    *bytes_out = (struct mr_span){log->whole_bytes.data, log->whole_bytes.bytes};
    return log->entry[at].commit;
}
