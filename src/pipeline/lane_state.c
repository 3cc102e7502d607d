#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "kafka/client.h"
#include "pipeline/lane_commit.h"
#include "pipeline/lane_learn.h"
#include "pipeline/lane_state_inside.h"

mr_status mr_lane_state_create(struct mr_lane *lane, struct mr_lane_state **state_out, struct mr_err *err)
{
    const struct mr_models *const models = &lane->run->models;
    struct mr_lane_state *const state = calloc(1, sizeof *state);
    *state_out = NULL;
    if (!state || !(state->kept = calloc(models->count, sizeof *state->kept))) {
        free(state);
        return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    state->lane = lane;
    state->is_file = !lane->exact;
    state->run_id = mr_state_run_id();
    for (size_t i = 0; i < models->count; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        if (!model->learn) continue;
        state->kept[state->kept_count++] = (struct kept){.model = i, .schema_hash = mr_state_schema_hash(model->info)};
    }
    *state_out = state;
    return MR_OK;
}

static void known_clear(struct mr_lane_state *state)
{
    for (size_t i = 0; i < state->known_count; i++) free(state->known[i].topic);
    state->known_count = 0;
}

void mr_lane_state_destroy(struct mr_lane_state *state)
{
    if (!state) return;
    known_clear(state);
    free(state->mismatch.topic);
    for (size_t i = 0; i < state->kept_count; i++) mr_blob_deinit(&state->kept[i].bytes);
    mr_blob_deinit(&state->record);
    mr_taken_deinit(&state->taken);
    free(state->known);
    free(state->position);
    free(state->range);
    free(state->update);
    free(state->kept);
    free(state);
}

struct mr_taken *mr_lane_state_taken(struct mr_lane_state *state)
{
    return &state->taken;
}

void mr_lane_state_close(struct mr_lane *lane)
{
    struct mr_lane_state *const state = lane->state;
    for (size_t i = 0; i < state->kept_count; i++) mr_state_writer_close(&state->kept[i].writer);
}

struct known *mr_known_find(struct mr_lane_state *state, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < state->known_count; i++) {
        if (state->known[i].partition == partition && !strcmp(state->known[i].topic, topic)) return &state->known[i];
    }
    return NULL;
}

/* The entry of a partition, made if needed; NULL: no memory. */
static struct known *known_add(struct mr_lane_state *state, const char *topic, int32_t partition)
{
    struct known *const found = mr_known_find(state, topic, partition);
    if (found) return found;
    if (state->known_count == state->known_cap) {
        const size_t cap = state->known_cap ? 2 * state->known_cap : 16;
        struct known *const grown = realloc(state->known, cap * sizeof *grown);
        if (grown) state->known = grown;
        struct mr_state_position *const position = realloc(state->position, cap * sizeof *position);
        if (position) state->position = position;
        if (!grown || !position) return NULL;
        state->known_cap = cap;
    }
    char *const copy = strdup(topic);
    if (!copy) return NULL;
    state->known[state->known_count] = (struct known){copy, partition, -1, -1, INT64_MIN};
    return &state->known[state->known_count++];
}

/* Whether the same contradiction was found when the models were read before: then nobody is just committing. */
static bool is_again(struct mr_lane_state *state, const char *topic, int32_t partition, int64_t offset,
                     int64_t committed)
{
    struct known *const last = &state->mismatch;
    if (last->topic && !strcmp(last->topic, topic) && last->partition == partition && last->offset == offset &&
        last->staged == committed)
        return true;
    free(last->topic);
    *last = (struct known){strdup(topic), partition, offset, committed, INT64_MIN};
    return !last->topic;
}

/*
 * A file says where this process goes on; that is before the group's offset, which was committed since. When a
 * partition comes back to the process, the models have what was settled of it; only what another process has read
 * meanwhile is left to that one, and to its models.
 */
static int64_t file_start(struct known *known, int64_t committed)
{
    const int64_t own = known->staged;
    if (known->began == INT64_MIN) {
        known->began = committed;
        return known->offset;
    }
    return committed > own && committed > known->began ? committed : own;
}

/* At most once nothing is read again: what was read behind the file's offset is gone for the models. */
static void loss_tell(const struct mr_lane *lane, const struct known *known, int64_t committed)
{
    if (known->offset < 0 || known->offset >= committed || known->staged > known->offset) return;
    mr_log(
        MR_LOG_WARN, "state",
        "%s[%d]: the models in \"%s\" have learned up to offset %lld, the group has read up to %lld: what is between "
        "was answered at most once, and is not learned from (state.interval says how much that can be)",
        known->topic, (int)known->partition, lane->run->job->state.file, (long long)known->offset,
        (long long)committed);
}

mr_status mr_lane_state_start(struct mr_lane *lane, const char *topic, int32_t partition, int64_t committed,
                              int64_t *offset_out, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    struct known *const known = mr_known_find(state, topic, partition);
    const int64_t offset = known ? known->offset : -1;
    if (state->is_file && known && lane->run->job->delivery == MR_DELIVERY_AT_LEAST_ONCE)
        *offset_out = file_start(known, committed);
    else if (state->is_file && known)
        loss_tell(lane, known, committed);
    if (state->is_file || offset == committed) return MR_OK;
    const struct mr_mismatch mismatch = {topic, partition, offset, committed};
    if (!is_again(state, topic, partition, offset, committed)) return mr_mismatch_again(&mismatch, err);
    return mr_mismatch_refuse(lane, &mismatch, err);
}

mr_status mr_lane_state_began(struct mr_lane *lane, const char *topic, int32_t partition, int64_t offset,
                              struct mr_err *err)
{
    struct known *const known = known_add(lane->state, topic, partition);
    if (!known) return mr_fail(err, MR_ENOMEM, "no memory for the positions of the input");
    if (known->staged < 0) known->staged = offset;
    return MR_OK;
}

mr_status mr_lane_state_note(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_flight *const flight = &lane->flight;
    for (size_t i = 0; i < flight->ready_count; i++) {
        const char *const topic = lane->run->job->source->topic_name(lane->source, flight->ready[i].topic);
        struct known *const known = known_add(state, topic, flight->ready[i].partition);
        if (!known) return mr_fail(err, MR_ENOMEM, "no memory for the positions of the input");
        known->staged = flight->ready[i].next_offset;
    }
    return MR_OK;
}

/* Positions of the input as they will be after this commit. */
static mr_status positions_fill(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const mr_status status = mr_lane_state_note(lane, err);
    for (size_t i = 0; i < state->known_count; i++) {
        const struct known *const known = &state->known[i];
        state->position[i] = (struct mr_state_position){known->topic, known->partition, known->staged};
    }
    return status;
}

/* The ranges that were taken, with their partitions as positions. */
static mr_status ranges_fill(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_taken *const taken = &state->taken;
    size_t at = 0;
    if (taken->range_count > state->range_cap) {
        struct mr_state_range *const grown = realloc(state->range, taken->range_cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "no memory for the ranges of a commit");
        state->range = grown;
        state->range_cap = taken->range_cap;
    }
    if (taken->update_count > state->update_cap) {
        struct mr_state_update *const grown = realloc(state->update, taken->update_cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "no memory for the updates of a commit");
        state->update = grown;
        state->update_cap = taken->update_cap;
    }
    for (size_t i = 0; i < taken->range_count; i++) {
        const struct mr_taken_range *const from = &taken->range[i];
        const char *const topic = lane->run->job->source->topic_name(lane->source, from->topic);
        if (at >= state->known_count || state->known[at].partition != from->partition ||
            strcmp(state->known[at].topic, topic) != 0) {
            const struct known *const known = mr_known_find(state, topic, from->partition);
            if (!known)
                return mr_fail(err, MR_EINVARIANT, "records of %s[%d] have no position", topic, from->partition);
            at = (size_t)(known - state->known);
        }
        state->range[i] = (struct mr_state_range){.position = (uint32_t)at,
                                                  .first_offset = from->first_offset,
                                                  .first_record = from->first_byte,
                                                  .end_offset = from->end_offset,
                                                  .end_record = from->end_byte};
    }
    for (size_t i = 0; i < taken->update_count; i++)
        state->update[i] = (struct mr_state_update){taken->update[i].range_count, taken->update[i].rows};
    return MR_OK;
}

void mr_lane_state_reset(struct mr_lane *lane)
{
    struct mr_lane_state *const state = lane->state;
    known_clear(state);
    mr_taken_reset(&state->taken);
    lane->block.rows.row_count = 0;
    lane->block.has_position = false;
    lane->block.end_offset = 0;
    lane->run->models.begins_late = lane->run->learns_by_offsets;
    state->seq = state->snapshot = state->index = 0;
    state->counts = (struct mr_counts){0};
    state->base = mr_stats_counts(&lane->stats);
    state->snapshot_due_ns = 0;
}

mr_status mr_lane_state_take(struct mr_lane_state *state, const struct mr_state_commit *last, struct mr_err *err)
{
    for (size_t i = 0; i < last->position_count; i++) {
        const struct mr_state_position *const from = &last->position[i];
        struct known *const known = known_add(state, from->topic, from->partition);
        if (!known) return mr_fail(err, MR_ENOMEM, "no memory for the positions of the input");
        known->offset = known->staged = from->next_offset;
    }
    if (last->version_after) state->lane->run->models.begins_late = false;
    mr_lane_state_follow(state, last);
    return MR_OK;
}

mr_status mr_kept_replace(struct mr_lane *lane, struct kept *kept, const char *name, struct mr_span bytes,
                          uint64_t version, struct mr_err *err)
{
    struct mr_models *const models = &lane->run->models;
    const struct mr_model_bytes from = {name, bytes.data, bytes.bytes, version};
    mr_models_lock(models); /* other models may be followed meanwhile */
    const mr_status status = mr_models_replace(models, kept->model, &from, err);
    mr_models_unlock(models);
    if (!status) kept->version = version;
    return status;
}

mr_status mr_kept_begin(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    mr_status status = MR_OK;
    for (size_t i = 0; i < state->kept_count && !status && state->was_restored; i++) {
        status = mr_models_replace(&lane->run->models, state->kept[i].model, NULL, err);
        state->kept[i].version = 0;
    }
    return status;
}

/* The records that wait are told again until they are learned from. */
static mr_status pending_note(struct mr_lane *lane, const struct mr_state_commit *last, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = last->range_count - mr_state_pending_count(last); i < last->range_count && !status; i++) {
        const struct mr_state_range *const from = &last->range[i];
        const struct mr_taken_range range = {.partition = last->position[from->position].partition,
                                             .first_offset = from->first_offset,
                                             .first_byte = from->first_record,
                                             .end_offset = from->end_offset,
                                             .end_byte = from->end_record};
        status = mr_taken_restore(&lane->state->taken, &range, err);
    }
    return status;
}

mr_status mr_lane_state_pending(struct mr_lane *lane, struct mr_replay *replay, const struct mr_state_commit *last,
                                struct mr_err *err)
{
    const size_t count = mr_state_pending_count(last);
    if (!count) return MR_OK;
    const struct mr_state_range *const first = last->range + (last->range_count - count);
    const struct mr_state_range *const end = last->range + (last->range_count - 1);
    mr_status status = mr_lane_block_holds(lane, first->first_offset, end->end_offset + (end->end_record ? 1 : 0))
                           ? mr_replay_pending(replay, last, &lane->block, err)
                           : MR_END;
    if (!status) {
        mr_lane_block_restore(lane, last->position[first->position].partition, first->first_offset);
        return pending_note(lane, last, err);
    }
    if (status != MR_END) return status;
    mr_log(MR_LOG_WARN, "state",
           "batch is not what it was: records that waited for the rest of their block are learned from as they are");
    status = mr_replay_pieces(replay, last, &lane->state->taken, err);
    if (lane->state->is_file) mr_taken_commit(&lane->state->taken);
    return status;
}

mr_status mr_lane_state_restore(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    mr_lane_state_reset(lane);
    const mr_status status =
        state->is_file ? mr_lane_state_file_restore(lane, err) : mr_lane_state_topics_restore(lane, err);
    state->was_restored = true;
    return status;
}

mr_status mr_lane_state_commit(struct mr_lane *lane, bool is_snapshot, char *unit, struct mr_state_commit *commit_out,
                               struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_counts now = mr_stats_counts(&lane->stats);
    mr_status status = positions_fill(lane, err);
    if (!status) status = ranges_fill(lane, err);
    mr_units_kind(&lane->run->units, unit, MR_STATE_NAME_BYTES_MAX);
    *commit_out = (struct mr_state_commit){.unit = unit,
                                           .run_id = state->run_id,
                                           .kind = MR_STATE_LEARNED,
                                           .time_ms = mr_clock_epoch_ms(),
                                           .seq = state->seq + 1,
                                           .seq_before = state->seq,
                                           .snapshot = is_snapshot ? state->snapshot + 1 : state->snapshot,
                                           .index = is_snapshot ? 0 : state->index,
                                           .in = state->counts.in + now.in - state->base.in,
                                           .out = state->counts.out + now.out - state->base.out,
                                           .dead = state->counts.dead + now.dead - state->base.dead,
                                           .filtered = state->counts.filtered + now.filtered - state->base.filtered,
                                           .position = state->position,
                                           .position_count = state->known_count,
                                           .range = state->range,
                                           .range_count = state->taken.range_count,
                                           .update = state->update,
                                           .update_count = state->taken.update_count};
    return status;
}

mr_status mr_kept_store(struct mr_lane *lane, struct kept *kept, bool is_stored, struct mr_state_commit *commit,
                        struct mr_err *err)
{
    const struct mr_model_at_work *const model = &lane->run->models.item[kept->model];
    kept->bytes.bytes = 0;
    const mr_status status = is_stored ? model->learn->store(model->model, &kept->bytes, err) : MR_OK;
    commit->model = model->job->name;
    commit->type = model->info->type;
    commit->schema_hash = kept->schema_hash;
    commit->version_before = kept->version;
    commit->version_after = model->version;
    commit->model_bytes = kept->bytes.bytes;
    commit->model_checksum = kept->bytes.bytes ? mr_state_checksum(kept->bytes.data, kept->bytes.bytes) : 0;
    return status;
}

uint64_t mr_lane_state_messages(const struct mr_lane_state *state)
{
    return state->messages;
}

void mr_lane_state_follow(struct mr_lane_state *state, const struct mr_state_commit *commit)
{
    state->counts = (struct mr_counts){commit->in, commit->out, commit->dead, commit->filtered};
    state->seq = commit->seq;
    state->snapshot = commit->snapshot;
    state->index = commit->index + 1;
}

bool mr_lane_state_is_kept(const struct mr_lane_state *state)
{
    for (size_t i = 0; i < state->kept_count; i++)
        if (state->kept[i].version != state->lane->run->models.item[state->kept[i].model].version) return false;
    return true;
}

void mr_lane_state_committed(struct mr_lane_state *state)
{
    state->base = mr_stats_counts(&state->lane->stats);
    state->messages = mr_stats_get(&state->lane->stats.messages_in) - mr_flight_messages(&state->lane->flight);
    for (size_t i = 0; i < state->known_count; i++) state->known[i].offset = state->known[i].staged;
    for (size_t i = 0; i < state->kept_count; i++)
        state->kept[i].version = state->lane->run->models.item[state->kept[i].model].version;
    mr_taken_commit(&state->taken);
}
