/* Manifests: what one commit of a model did, checked, written and read. */
#include <stdlib.h>
#include <string.h>

#include "state/header.h"

/* Bytes that a manifest has at most: what the bounds in record.h allow fits one record. */
#define FIXED_BYTES    (MR_STATE_HEADER_BYTES + 3 * (2 + MR_STATE_NAME_BYTES_MAX) + 3 * 8 + 18 * MR_WIRE_VARINT_BYTES_MAX)
#define TOPIC_BYTES    (2 + MR_STATE_TOPIC_BYTES_MAX)
#define POSITION_BYTES (1 + 5 + MR_WIRE_VARINT_BYTES_MAX)
#define RANGE_BYTES    (2 + MR_WIRE_VARINT_BYTES_MAX + 5 + MR_WIRE_VARINT_BYTES_MAX + 5)
#define UPDATE_BYTES   (3 + 5)
_Static_assert(FIXED_BYTES + MR_STATE_TOPIC_COUNT_MAX * TOPIC_BYTES + MR_STATE_POSITION_COUNT_MAX * POSITION_BYTES +
                       MR_STATE_RANGE_COUNT_MAX * RANGE_BYTES + MR_STATE_UPDATE_COUNT_MAX * UPDATE_BYTES <=
                   MR_STATE_RECORD_BYTES_MAX,
               "a manifest fits a record");

/* The topics of a commit, each once. */
struct topics {
    const char *name[MR_STATE_TOPIC_COUNT_MAX];
    size_t count;
};

/* Index of a name, which is added if it is new; MR_STATE_TOPIC_COUNT_MAX: there are too many. */
static size_t topic_index(struct topics *topics, const char *name)
{
    size_t i = 0;
    while (i < topics->count && topics->name[i] != name && strcmp(topics->name[i], name)) i++;
    if (i == topics->count && i < MR_STATE_TOPIC_COUNT_MAX) topics->name[topics->count++] = name;
    return i;
}

/* ---- checks, of what is written and of what was read ---- */

/* Whether two positions are of the same partition. Table of twice the most there are, filled by a hash. */
static bool has_twin(const struct mr_state_commit *commit)
{
    enum { SLOTS = 2 * MR_STATE_POSITION_COUNT_MAX };
    _Static_assert(MR_STATE_POSITION_COUNT_MAX < UINT16_MAX, "an index and one fit 16 bits");
    uint16_t slot[SLOTS];
    memset(slot, 0, sizeof slot);
    for (size_t i = 0; i < commit->position_count; i++) {
        const struct mr_state_position *const position = &commit->position[i];
        const size_t bytes = strlen(position->topic);
        uint32_t hash = (uint32_t)position->partition * 2654435761u + (uint32_t)bytes * 40503u +
                        (unsigned char)position->topic[bytes - 1];
        for (hash ^= hash >> 15; slot[hash % SLOTS]; hash++) {
            const struct mr_state_position *const other = &commit->position[slot[hash % SLOTS] - 1];
            if (other->partition == position->partition && !strcmp(other->topic, position->topic)) return true;
        }
        slot[hash % SLOTS] = (uint16_t)(i + 1);
    }
    return false;
}

static const char *positions_fault(const struct mr_state_commit *commit)
{
    if (commit->position_count > MR_STATE_POSITION_COUNT_MAX) return "more positions than there may be";
    for (size_t i = 0; i < commit->position_count; i++) {
        const struct mr_state_position *const position = &commit->position[i];
        const size_t bytes = position->topic ? strlen(position->topic) : 0;
        if (!bytes || bytes > MR_STATE_TOPIC_BYTES_MAX) return "a position's topic has no name, or too long a one";
        if (position->partition < 0 || position->next_offset < 0) return "a position is negative";
    }
    return has_twin(commit) ? "two positions of one partition" : NULL;
}

static const char *ranges_fault(const struct mr_state_commit *commit)
{
    size_t taken = 0;
    if (commit->range_count > MR_STATE_RANGE_COUNT_MAX || commit->update_count > MR_STATE_UPDATE_COUNT_MAX)
        return "more updates or ranges than there may be";
    for (size_t i = 0; i < commit->update_count; i++) {
        if (!commit->update[i].range_count || commit->update[i].range_count > commit->range_count - taken)
            return "the updates' ranges are not those that there are";
        taken += commit->update[i].range_count;
    }
    for (size_t i = 0; i < commit->range_count; i++) {
        const struct mr_state_range *const range = &commit->range[i];
        if (range->position >= commit->position_count) return "a range of a partition without a position";
        const int64_t next_offset = commit->position[range->position].next_offset;
        if (range->first_offset < 0 || range->first_offset > range->end_offset ||
            (range->first_offset == range->end_offset && range->first_record >= range->end_record))
            return "a range that ends before it begins";
        if (range->end_offset > next_offset || (range->end_offset == next_offset && range->end_record))
            return "a range beyond the position of its partition";
    }
    return NULL;
}

static bool is_name(const char *text)
{
    const size_t bytes = text ? strlen(text) : 0;
    return bytes && bytes <= MR_STATE_NAME_BYTES_MAX;
}

/* What does not fit together in a commit; NULL: nothing. */
static const char *commit_fault(const struct mr_state_commit *commit)
{
    const bool is_back = commit->kind == MR_STATE_ROLLED_BACK;
    if (!is_name(commit->model) || !is_name(commit->type)) return "no name of the model or its type, or too long a one";
    if (!commit->unit || strlen(commit->unit) > MR_STATE_NAME_BYTES_MAX)
        return "no name of the unit, or too long a one";
    if (!commit->seq || commit->seq_before >= commit->seq) return "its number is not above its predecessor's";
    if (commit->kind != MR_STATE_LEARNED && !is_back) return "of no known kind";
    if (!commit->snapshot) return "it builds upon no snapshot";
    if (!commit->index && (!commit->model_bytes || !commit->model_checksum))
        return "a snapshot without a model's bytes";
    if (commit->model_bytes > MR_STATE_MODEL_BYTES_MAX) return "a model of more bytes than there may be";
    if (!is_back && (commit->version_after < commit->version_before ||
                     commit->version_after - commit->version_before != commit->update_count))
        return "its versions differ by another number than that of its updates";
    if (is_back && (commit->index || commit->update_count)) return "a roll-back with updates, or without a snapshot";
    const char *const fault = positions_fault(commit);
    return fault ? fault : ranges_fault(commit);
}

size_t mr_state_pending_count(const struct mr_state_commit *commit)
{
    size_t taken = 0;
    for (size_t i = 0; i < commit->update_count; i++) taken += commit->update[i].range_count;
    return commit->range_count - taken;
}

/* ---- writing ---- */

#define HAS_FIRST_RECORD 1u
#define HAS_END_RECORD   2u

static void ranges_put(struct mr_blob *out, const struct mr_state_commit *commit)
{
    int64_t end[MR_STATE_POSITION_COUNT_MAX]; /* of the range before, of the same partition */
    for (size_t i = 0; i < commit->position_count; i++) end[i] = commit->position[i].next_offset;
    for (size_t i = 0; i < commit->range_count; i++) {
        const struct mr_state_range *const range = &commit->range[i];
        mr_wire_put(out, (uint64_t)range->position << 2 | (range->first_record ? HAS_FIRST_RECORD : 0) |
                             (range->end_record ? HAS_END_RECORD : 0));
        mr_wire_put_signed(out, range->first_offset - end[range->position]);
        mr_wire_put(out, (uint64_t)(range->end_offset - range->first_offset));
        if (range->first_record) mr_wire_put(out, range->first_record);
        if (range->end_record) mr_wire_put(out, range->end_record);
        end[range->position] = range->end_offset;
    }
}

static void facts_put(struct mr_blob *out, const struct mr_state_commit *commit)
{
    mr_wire_put_text(out, commit->model, strlen(commit->model));
    mr_wire_put_text(out, commit->type, strlen(commit->type));
    mr_wire_put_text(out, commit->unit, strlen(commit->unit));
    mr_wire_put_fixed(out, commit->schema_hash, 8);
    mr_wire_put_fixed(out, commit->run_id, 8);
    mr_wire_put_fixed(out, commit->model_checksum, 8);
    mr_wire_put(out, commit->kind);
    mr_wire_put_signed(out, commit->time_ms);
    mr_wire_put(out, commit->seq);
    mr_wire_put(out, commit->seq_before);
    mr_wire_put(out, commit->version_before);
    mr_wire_put(out, commit->version_after);
    mr_wire_put(out, commit->snapshot);
    mr_wire_put(out, commit->index);
    mr_wire_put(out, commit->in);
    mr_wire_put(out, commit->out);
    mr_wire_put(out, commit->dead);
    mr_wire_put(out, commit->filtered);
    mr_wire_put(out, commit->model_bytes);
}

mr_status mr_state_commit_encode(const struct mr_state_commit *commit, struct mr_blob *out, struct mr_err *err)
{
    struct topics topics = {.count = 0};
    size_t text_bytes = 0;
    const char *fault = commit_fault(commit);
    for (size_t i = 0; i < commit->position_count && !fault; i++) {
        if (topic_index(&topics, commit->position[i].topic) == MR_STATE_TOPIC_COUNT_MAX) fault = "too many topics";
    }
    if (fault)
        return mr_fail(err, MR_EINVARIANT, "state of \"%.200s\", commit %llu: %s", commit->model ? commit->model : "",
                       (unsigned long long)commit->seq, fault);
    for (size_t i = 0; i < topics.count; i++) text_bytes += TOPIC_BYTES;
    out->bytes = 0;
    if (!mr_blob_reserve(out, FIXED_BYTES + text_bytes + commit->position_count * POSITION_BYTES +
                                  commit->range_count * RANGE_BYTES + commit->update_count * UPDATE_BYTES))
        return mr_fail(err, MR_ENOMEM, "state of \"%s\": no memory for a manifest", commit->model);
    mr_state_header_begin(out, MR_STATE_MANIFEST);
    mr_wire_put(out, topics.count); /* all counts first: the reader takes memory once */
    mr_wire_put(out, commit->position_count);
    mr_wire_put(out, commit->update_count);
    mr_wire_put(out, commit->range_count);
    facts_put(out, commit);
    for (size_t i = 0; i < topics.count; i++) mr_wire_put_text(out, topics.name[i], strlen(topics.name[i]));
    for (size_t i = 0; i < commit->position_count; i++) {
        const struct mr_state_position *const position = &commit->position[i];
        mr_wire_put(out, topic_index(&topics, position->topic));
        mr_wire_put(out, (uint64_t)position->partition);
        mr_wire_put(out, (uint64_t)position->next_offset);
    }
    for (size_t i = 0; i < commit->update_count; i++) {
        mr_wire_put(out, commit->update[i].range_count);
        mr_wire_put(out, commit->update[i].rows);
    }
    ranges_put(out, commit);
    mr_state_header_end(out);
    return MR_OK;
}

/* ---- reading ---- */

/* The one allocation of a commit that is read. */
struct read_commit {
    struct mr_state_commit commit; /* first: what the caller frees */
    const char *topic[MR_STATE_TOPIC_COUNT_MAX];
    char *text; /* where the next string goes */
};

/* How much there is of what a manifest counts. */
struct counts {
    size_t topics, positions, updates, ranges;
};

static void counts_take(struct mr_wire *in, struct counts *counts)
{
    counts->topics = (size_t)mr_wire_get_max(in, MR_STATE_TOPIC_COUNT_MAX);
    counts->positions = (size_t)mr_wire_get_max(in, MR_STATE_POSITION_COUNT_MAX);
    counts->updates = (size_t)mr_wire_get_max(in, MR_STATE_UPDATE_COUNT_MAX);
    counts->ranges = (size_t)mr_wire_get_max(in, MR_STATE_RANGE_COUNT_MAX);
}

static const char *text_take(struct mr_wire *in, struct read_commit *to, size_t max)
{
    size_t bytes;
    const char *const from = mr_wire_text(in, max, &bytes);
    char *const text = to->text;
    if (!from || memchr(from, 0, bytes)) {
        in->is_bad = true;
        return "";
    }
    memcpy(text, from, bytes);
    text[bytes] = 0;
    to->text += bytes + 1;
    return text;
}

static void facts_take(struct mr_wire *in, struct read_commit *to)
{
    struct mr_state_commit *const commit = &to->commit;
    commit->model = text_take(in, to, MR_STATE_NAME_BYTES_MAX);
    commit->type = text_take(in, to, MR_STATE_NAME_BYTES_MAX);
    commit->unit = text_take(in, to, MR_STATE_NAME_BYTES_MAX);
    commit->schema_hash = mr_wire_fixed(in, 8);
    commit->run_id = mr_wire_fixed(in, 8);
    commit->model_checksum = mr_wire_fixed(in, 8);
    commit->kind = (mr_state_kind)mr_wire_get_max(in, MR_STATE_ROLLED_BACK);
    commit->time_ms = mr_wire_get_signed(in);
    commit->seq = mr_wire_get(in);
    commit->seq_before = mr_wire_get(in);
    commit->version_before = mr_wire_get(in);
    commit->version_after = mr_wire_get(in);
    commit->snapshot = mr_wire_get(in);
    commit->index = (uint32_t)mr_wire_get_max(in, UINT32_MAX);
    commit->in = mr_wire_get(in);
    commit->out = mr_wire_get(in);
    commit->dead = mr_wire_get(in);
    commit->filtered = mr_wire_get(in);
    commit->model_bytes = mr_wire_get_max(in, MR_STATE_MODEL_BYTES_MAX);
}

static void positions_take(struct mr_wire *in, struct read_commit *to, const struct counts *counts,
                           struct mr_state_position *position)
{
    for (size_t i = 0; i < counts->topics; i++) to->topic[i] = text_take(in, to, MR_STATE_TOPIC_BYTES_MAX);
    for (size_t i = 0; i < counts->positions; i++) {
        const uint64_t topic = mr_wire_get(in);
        in->is_bad |= topic >= counts->topics;
        position[i].topic = in->is_bad ? "" : to->topic[topic];
        position[i].partition = (int32_t)mr_wire_get_max(in, INT32_MAX);
        position[i].next_offset = (int64_t)mr_wire_get_max(in, INT64_MAX);
    }
}

static void ranges_take(struct mr_wire *in, const struct counts *counts, const struct mr_state_position *position,
                        struct mr_state_range *range)
{
    int64_t end[MR_STATE_POSITION_COUNT_MAX];
    for (size_t i = 0; i < counts->positions; i++) end[i] = position[i].next_offset;
    for (size_t i = 0; i < counts->ranges && !in->is_bad; i++) {
        const uint64_t word = mr_wire_get(in), at = word >> 2;
        const int64_t apart = mr_wire_get_signed(in);
        const uint64_t length = mr_wire_get_max(in, INT64_MAX);
        range[i] = (struct mr_state_range){.position = (uint32_t)at};
        in->is_bad |= at >= counts->positions ||
                      __builtin_add_overflow(end[in->is_bad ? 0 : at], apart, &range[i].first_offset) ||
                      __builtin_add_overflow(range[i].first_offset, (int64_t)length, &range[i].end_offset);
        if (word & HAS_FIRST_RECORD) range[i].first_record = (uint32_t)mr_wire_get_max(in, UINT32_MAX);
        if (word & HAS_END_RECORD) range[i].end_record = (uint32_t)mr_wire_get_max(in, UINT32_MAX);
        if (!in->is_bad) end[at] = range[i].end_offset;
    }
}

/* Memory for a commit, its arrays and its strings. The counts are within their bounds: no sum overflows. */
static struct read_commit *commit_allocate(const struct counts *counts, size_t record_bytes)
{
    struct mr_state_position *position;
    struct mr_state_range *range;
    struct mr_state_update *update;
    const size_t texts = 3 + counts->topics;
    char *const memory =
        calloc(1, sizeof(struct read_commit) + counts->positions * sizeof *position + counts->ranges * sizeof *range +
                      counts->updates * sizeof *update + record_bytes + texts);
    if (!memory) return NULL;
    struct read_commit *const to = (struct read_commit *)(void *)memory;
    position = (struct mr_state_position *)(void *)(to + 1);
    range = (struct mr_state_range *)(void *)(position + counts->positions);
    update = (struct mr_state_update *)(void *)(range + counts->ranges);
    to->commit = (struct mr_state_commit){.position = position,
                                          .range = range,
                                          .update = update,
                                          .position_count = counts->positions,
                                          .range_count = counts->ranges,
                                          .update_count = counts->updates};
    to->text = (char *)(update + counts->updates);
    return to;
}

mr_status mr_state_commit_decode(const void *bytes, size_t count, struct mr_state_commit **commit_out,
                                 struct mr_err *err)
{
    struct mr_wire in;
    struct counts counts;
    *commit_out = NULL;
    const mr_status status = mr_state_header_open(bytes, count, MR_STATE_MANIFEST, &in, err);
    if (status) return status;
    counts_take(&in, &counts);
    struct read_commit *const to = in.is_bad ? NULL : commit_allocate(&counts, (size_t)(in.end - in.at));
    if (in.is_bad) return mr_fail(err, MR_EDATA, "a manifest whose counts are out of bounds");
    if (!to) return mr_fail(err, MR_ENOMEM, "no memory for a manifest of %zu bytes", count);
    struct mr_state_position *const position = (struct mr_state_position *)(uintptr_t)to->commit.position;
    struct mr_state_update *const update = (struct mr_state_update *)(uintptr_t)to->commit.update;
    facts_take(&in, to);
    positions_take(&in, to, &counts, position);
    for (size_t i = 0; i < counts.updates; i++) {
        update[i].range_count = (uint32_t)mr_wire_get_max(&in, UINT32_MAX);
        update[i].rows = (uint32_t)mr_wire_get_max(&in, UINT32_MAX);
    }
    ranges_take(&in, &counts, position, (struct mr_state_range *)(uintptr_t)to->commit.range);
    const char *const fault = in.is_bad         ? "its fields end too early, or are out of bounds"
                              : in.at != in.end ? "it has bytes behind its fields"
                                                : commit_fault(&to->commit);
    if (fault) {
        mr_fail(err, MR_EDATA, "a manifest that is none: %s", fault);
        free(to);
        return MR_EDATA;
    }
    *commit_out = &to->commit;
    return MR_OK;
}
