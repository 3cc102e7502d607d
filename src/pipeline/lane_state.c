#include "pipeline/lane_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "kafka/client.h"
#include "kafka/transaction.h"
#include "pipeline/lane_commit.h"
#include "pipeline/lane_learn.h"
#include "pipeline/replay.h"
#include "state/topic.h"

#define READ_TIMEOUT_MS 60000 /* of a state topic: a transaction that is open there may last for 30 s */
#define SEND_LIMIT_NS   (40 * 1000000000LL)

/* How far the input is read and committed, of one partition. */
struct known {
    char *topic;
    int32_t partition;
    int64_t offset; /* -1: nothing is committed, and none of it was taken */
    int64_t staged; /* when the transaction that is open is committed */
};

/* The state of one model that learns. */
struct kept {
    struct mr_port port;
    struct mr_lane_state *state;
    size_t model; /* index */
    uint64_t schema_hash;
    uint64_t version; /* at the last commit */
    struct mr_blob bytes;
    bool is_open;
};

struct mr_lane_state {
    struct mr_lane *lane;
    struct kept *kept; /* [kept_count] */
    size_t kept_count;
    struct known *known; /* [known_count] */
    size_t known_count, known_cap;
    struct mr_state_position *position; /* [known_cap], for a manifest */
    struct mr_state_range *range;
    struct mr_state_update *update;
    size_t range_cap, update_cap;
    struct mr_taken taken;
    struct mr_blob record;
    uint64_t run_id, seq, snapshot;
    uint32_t index;                   /* of the next commit behind the snapshot; 0: the next one writes one */
    uint64_t in, out, dead, filtered; /* since the models began, at the last commit */
    int64_t snapshot_due_ns;
    bool was_restored;
    struct mr_err failure;
};

static void delivered(struct mr_port *port, const rd_kafka_message_t *message)
{
    struct mr_lane_state *state = NULL;
    union {
        char *bytes;
        struct kept *kept;
    } owner = {.bytes = (char *)port - offsetof(struct kept, port)};
    state = owner.kept->state;
    if (!message->err || state->failure.status) return;
    mr_fail(&state->failure, message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? MR_EKAFKA : MR_ERESTART,
            "state topic \"%s\": %s", port->topic_name, rd_kafka_err2str(message->err));
}

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
    while (!state->run_id)
        if (getrandom(&state->run_id, sizeof state->run_id, 0) < 0) state->run_id = (uint64_t)mr_clock_ns();
    for (size_t i = 0; i < models->count; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        if (!model->learn) continue;
        state->kept[state->kept_count++] =
            (struct kept){.port = {.topic_name = model->job->topic, .delivered = delivered},
                          .state = state,
                          .model = i,
                          .schema_hash = mr_state_schema_hash(model->info)};
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
    for (size_t i = 0; i < state->kept_count; i++) {
        if (state->kept[i].is_open) mr_port_close(lane->exact->transaction, &state->kept[i].port);
        state->kept[i].is_open = false;
    }
}

/* -------------------------------------------------------------------------------------------------- positions */

static struct known *known_find(struct mr_lane_state *state, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < state->known_count; i++) {
        if (state->known[i].partition == partition && !strcmp(state->known[i].topic, topic)) return &state->known[i];
    }
    return NULL;
}

/* The entry of a partition, made if needed; NULL: no memory. */
static struct known *known_add(struct mr_lane_state *state, const char *topic, int32_t partition)
{
    struct known *const found = known_find(state, topic, partition);
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
    state->known[state->known_count] = (struct known){copy, partition, -1, -1};
    return &state->known[state->known_count++];
}

mr_status mr_lane_state_start(struct mr_lane *lane, const char *topic, int32_t partition, int64_t committed,
                              struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct known *const known = known_find(state, topic, partition);
    const int64_t offset = known ? known->offset : -1;
    char at[32] = "no offset", group[32] = "none";
    if (offset == committed) return MR_OK;
    if (offset >= 0) snprintf(at, sizeof at, "offset %lld", (long long)offset);
    if (committed >= 0) snprintf(group, sizeof group, "%lld", (long long)committed);
    return mr_fail(err, MR_EINVARIANT,
                   "the models have learned from %s[%d] up to %s (commit %llu), but the group's offset is %s: one of "
                   "them was changed from outside, and going on would skip records or learn them twice. `millrace "
                   "repair %s --to-state` sets the group's offsets to those of the models; a new group and new state "
                   "topics begin from nothing",
                   topic, (int)partition, at, (unsigned long long)state->seq, group, lane->run->job->path);
}

mr_status mr_lane_state_began(struct mr_lane *lane, const char *topic, int32_t partition, int64_t offset,
                              struct mr_err *err)
{
    struct known *const known = known_add(lane->state, topic, partition);
    if (!known) return mr_fail(err, MR_ENOMEM, "no memory for the positions of the input");
    if (known->staged < 0) known->staged = offset;
    return MR_OK;
}

/* ---------------------------------------------------------------------------------------------------- restoring */

/* Reads a model's topic. */
static mr_status log_read(struct mr_lane *lane, const struct kept *kept, struct mr_state_log **log_out,
                          struct mr_err *err)
{
    const struct mr_model_at_work *const model = &lane->run->models.item[kept->model];
    const struct mr_state_topic topic = {.properties = lane->run->properties,
                                         .log = {.topic = model->job->topic,
                                                 .model = model->job->name,
                                                 .type = model->info->type,
                                                 .schema_hash = kept->schema_hash},
                                         .timeout_ms = READ_TIMEOUT_MS};
    return mr_state_topic_read(&topic, log_out, err);
}

/* Puts the snapshot of a log into the place of the model. */
static mr_status snapshot_take(struct mr_lane *lane, struct kept *kept, const struct mr_state_log *log,
                               struct mr_err *err)
{
    struct mr_models *const models = &lane->run->models;
    struct mr_model_at_work *const model = &models->item[kept->model];
    struct mr_span span;
    const struct mr_state_commit *const commit = mr_state_log_model(log, &span);
    if (!commit) return mr_fail(err, MR_EINVARIANT, "topic \"%s\" holds no whole model", model->job->topic);
    const struct mr_model_bytes bytes = {model->job->topic, span.data, span.bytes};
    const mr_status status = mr_models_replace(models, kept->model, &bytes, err);
    if (!status) model->version = commit->version_after;
    return status;
}

static mr_status positions_take(struct mr_lane_state *state, const struct mr_state_commit *last, struct mr_err *err)
{
    known_clear(state);
    for (size_t i = 0; i < last->position_count; i++) {
        const struct mr_state_position *const from = &last->position[i];
        struct known *const known = known_add(state, from->topic, from->partition);
        if (!known) return mr_fail(err, MR_ENOMEM, "no memory for the positions of the input");
        known->offset = known->staged = from->next_offset;
    }
    state->seq = last->seq;
    state->snapshot = last->snapshot;
    state->index = last->index + 1;
    state->in = last->in;
    state->out = last->out;
    state->dead = last->dead;
    state->filtered = last->filtered;
    return MR_OK;
}

/* Models of one job are committed together: their logs must end with the same commit. */
static mr_status logs_compare(const struct mr_lane *lane, struct mr_state_log *const *log, struct mr_err *err)
{
    const struct mr_lane_state *const state = lane->state;
    const struct mr_state_commit *const first = mr_state_log_last(log[0]);
    for (size_t i = 1; i < state->kept_count; i++) {
        const struct mr_state_commit *const last = mr_state_log_last(log[i]);
        const unsigned long long seq = first ? first->seq : 0, other = last ? last->seq : 0;
        if (seq == other) continue;
        return mr_fail(err, MR_EINVARIANT,
                       "topic \"%s\" ends with commit %llu, topic \"%s\" with %llu: models of one job are committed "
                       "together; one of the topics was changed from outside",
                       state->kept[0].port.topic_name, seq, state->kept[i].port.topic_name, other);
    }
    return MR_OK;
}

/* What was learned behind the snapshot, and what waits to be learned. */
static mr_status behind_learn(struct mr_lane *lane, const struct mr_state_log *log, struct mr_err *err)
{
    const struct mr_state_target target = {.by = MR_STATE_AT_LAST};
    const struct mr_state_commit *const last = mr_state_log_last(log);
    struct mr_replay replay;
    struct mr_state_point point;
    mr_status status = mr_state_log_seek(log, &target, &point, err);
    if (status || (!point.behind_count && !mr_state_pending_count(last))) return status;
    status = mr_replay_init(&replay, lane->run, err);
    for (size_t i = 0; i < point.behind_count && !status; i++)
        status = mr_replay_commit(&replay, point.behind[i].commit, point.behind[i].commit->update_count, err);
    if (!status) status = mr_replay_pending(&replay, last, &lane->block, err);
    if (!status && mr_state_pending_count(last)) {
        const struct mr_state_range *const first = last->range + (last->range_count - mr_state_pending_count(last));
        mr_lane_block_restore(lane, last->position[first->position].partition, first->first_offset);
    }
    mr_replay_deinit(&replay);
    return status;
}

/* The models must be, bit for bit, what they were when the last commit was made. */
static mr_status checksum_check(struct mr_lane *lane, struct kept *kept, const struct mr_state_commit *last,
                                struct mr_err *err)
{
    const struct mr_model_at_work *const model = &lane->run->models.item[kept->model];
    char unit[256];
    kept->version = model->version;
    if (model->version != last->version_after)
        return mr_fail(err, MR_EINVARIANT, "topic \"%s\": %llu updates make version %llu of \"%s\", not %llu",
                       model->job->topic, (unsigned long long)last->update_count, (unsigned long long)model->version,
                       model->job->name, (unsigned long long)last->version_after);
    if (!last->model_checksum) return MR_OK;
    const mr_status status = model->learn->store(model->model, &kept->bytes, err);
    if (status || mr_state_checksum(kept->bytes.data, kept->bytes.bytes) == last->model_checksum) return status;
    mr_units_describe(&lane->run->units, unit, sizeof unit);
    if (strncmp(unit, last->unit, strlen(last->unit)) != 0) {
        mr_log(MR_LOG_WARN, "state",
               "%s: learned again on %s, the weights differ in their last bits from those of %s; going on with these",
               model->job->name, unit, last->unit);
        return MR_OK;
    }
    return mr_fail(err, MR_EINVARIANT,
                   "topic \"%s\": what \"%s\" had learned at commit %llu does not come out again: the input or the "
                   "program is not what it was",
                   model->job->topic, model->job->name, (unsigned long long)last->seq);
}

static mr_status logs_take(struct mr_lane *lane, struct mr_state_log *const *log, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_state_commit *const last = mr_state_log_last(log[0]);
    const int64_t started_ns = mr_clock_ns();
    mr_status status = logs_compare(lane, log, err);
    lane->run->models.begins_late = lane->run->learns_by_offsets;
    if (status || !last) {
        for (size_t i = 0; i < state->kept_count && !status && state->was_restored; i++) {
            status = mr_models_replace(&lane->run->models, state->kept[i].model, NULL, err);
            lane->run->models.item[state->kept[i].model].version = state->kept[i].version = 0;
        }
        return status;
    }
    status = positions_take(state, last, err);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = snapshot_take(lane, &state->kept[i], log[i], err);
    if (last->version_after) lane->run->models.begins_late = false;
    if (!status) status = behind_learn(lane, log[0], err);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = checksum_check(lane, &state->kept[i], mr_state_log_last(log[i]), err);
    if (!status)
        mr_log(MR_LOG_INFO, "state", "going on from commit %llu: %llu updates, %llu records (%.0f ms)",
               (unsigned long long)last->seq, (unsigned long long)last->version_after, (unsigned long long)last->in,
               (double)(mr_clock_ns() - started_ns) / 1e6);
    return status;
}

mr_status mr_lane_state_restore(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    struct mr_state_log **const log = calloc(state->kept_count, sizeof(*log));
    mr_status status = log ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    known_clear(state);
    mr_taken_reset(&state->taken);
    lane->block.rows.row_count = 0;
    lane->block.has_position = false;
    lane->block.end_offset = 0;
    state->failure = (struct mr_err){0};
    state->seq = state->snapshot = state->index = 0;
    state->in = state->out = state->dead = state->filtered = 0;
    state->snapshot_due_ns = 0;
    for (size_t i = 0; i < state->kept_count && !status; i++) status = log_read(lane, &state->kept[i], &log[i], err);
    MR_TEST_HOOK("restore.read");
    if (!status) status = logs_take(lane, log, err);
    for (size_t i = 0; log && i < state->kept_count; i++) mr_state_log_destroy(log[i]);
    free(log);
    state->was_restored = true;
    for (size_t i = 0; i < state->kept_count && !status; i++) {
        status = mr_port_open(lane->exact->transaction, &state->kept[i].port, err);
        state->kept[i].is_open = !status;
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------------ sending */

/* Positions of the input as they will be after this transaction. */
static mr_status positions_stage(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_flight *const flight = &lane->flight;
    for (size_t i = 0; i < flight->ready_count; i++) {
        const char *const topic = lane->run->job->source->topic_name(lane->source, flight->ready[i].topic);
        struct known *const known = known_add(state, topic, flight->ready[i].partition);
        if (!known) return mr_fail(err, MR_ENOMEM, "no memory for the positions of the input");
        known->staged = flight->ready[i].next_offset;
    }
    for (size_t i = 0; i < state->known_count; i++) {
        const struct known *const known = &state->known[i];
        state->position[i] = (struct mr_state_position){known->topic, known->partition, known->staged};
    }
    return MR_OK;
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
            const struct known *const known = known_find(state, topic, from->partition);
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

static mr_status record_send(struct mr_lane *lane, struct kept *kept, const char *key, struct mr_err *err)
{
    struct mr_transaction *const transaction = lane->exact->transaction;
    struct mr_lane_state *const state = lane->state;
    union {
        const char *from;
        void *to;
    } key_bytes = {.from = key};
    const int64_t deadline_ns = mr_clock_ns() + SEND_LIMIT_NS;
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_producev(
                mr_transaction_client(transaction), RD_KAFKA_V_RKT(kept->port.topic), RD_KAFKA_V_PARTITION(0),
                RD_KAFKA_V_VALUE(state->record.data, state->record.bytes), RD_KAFKA_V_KEY(key_bytes.to, strlen(key)),
                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)) == RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           mr_clock_ns() < deadline_ns && !state->failure.status)
        mr_transaction_poll(transaction, 10);
    if (!code) {
        mr_transaction_sent(transaction, 1);
        return MR_OK;
    }
    if (mr_transaction_failure(transaction, err)) return err->status;
    return mr_fail(err, code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? MR_EKAFKA : MR_ERESTART,
                   "state topic \"%s\": %s", kept->port.topic_name, rd_kafka_err2str(code));
}

static mr_status model_send(struct mr_lane *lane, struct kept *kept, struct mr_state_commit *commit, bool is_snapshot,
                            struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_model_at_work *const model = &lane->run->models.item[kept->model];
    char key[MR_STATE_KEY_BYTES];
    commit->model = model->job->name;
    commit->type = model->info->type;
    commit->schema_hash = kept->schema_hash;
    commit->version_before = kept->version;
    commit->version_after = model->version;
    commit->model_bytes = kept->bytes.bytes;
    commit->model_checksum = kept->bytes.bytes ? mr_state_checksum(kept->bytes.data, kept->bytes.bytes) : 0;
    mr_status status = mr_state_commit_encode(commit, &state->record, err);
    mr_state_key_print(key, commit->model, commit->snapshot, MR_STATE_MANIFEST, commit->index);
    if (!status) status = record_send(lane, kept, key, err);
    const uint32_t chunks = is_snapshot ? mr_state_chunk_count(commit->model_bytes, MR_STATE_RECORD_BYTES_MAX) : 0;
    for (uint32_t i = 0; i < chunks && !status; i++) {
        status = mr_state_chunk_encode(commit, kept->bytes.data, MR_STATE_RECORD_BYTES_MAX, i, &state->record, err);
        mr_state_key_print(key, commit->model, commit->snapshot, MR_STATE_CHUNK, i);
        if (!status) status = record_send(lane, kept, key, err);
    }
    return status;
}

#define CHECKSUM_BYTES_MAX (4u << 20) /* larger models are stored only when their snapshot is due */

/* Stores the models that are written whole now, or small enough to be compared at every commit. Their bytes in all. */
static mr_status models_store(struct mr_lane *lane, bool is_snapshot, size_t *bytes_out, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    mr_status status = MR_OK;
    *bytes_out = 0;
    for (size_t i = 0; i < state->kept_count && !status; i++) {
        struct kept *const kept = &state->kept[i];
        const struct mr_model_at_work *const model = &lane->run->models.item[kept->model];
        const bool is_large = kept->bytes.cap > CHECKSUM_BYTES_MAX;
        kept->bytes.bytes = 0;
        if (is_snapshot || !is_large) status = model->learn->store(model->model, &kept->bytes, err);
        *bytes_out += kept->bytes.bytes;
    }
    return status;
}

/* All that was sent must have arrived before the offsets follow. */
static mr_status arrival_wait(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_transaction *const transaction = lane->exact->transaction;
    struct mr_lane_state *const state = lane->state;
    const int64_t deadline_ns = mr_clock_ns() + SEND_LIMIT_NS;
    uint64_t sent, arrived;
    for (;;) {
        mr_transaction_counts(transaction, &sent, &arrived);
        if (state->failure.status) {
            if (err) *err = state->failure;
            return state->failure.status;
        }
        if (sent == arrived) return MR_OK;
        const mr_status status = mr_transaction_failure(transaction, err);
        if (status) return status;
        if (mr_clock_ns() >= deadline_ns || atomic_load(&lane->run->state) == MR_RUN_ABORT)
            return mr_fail(err, MR_ERESTART, "%llu state records were not acknowledged in time",
                           (unsigned long long)(sent - arrived));
        mr_transaction_poll(transaction, 5);
    }
}

mr_status mr_lane_state_send(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_stats *const stats = &lane->stats;
    const bool is_snapshot = !state->index || mr_clock_ns() >= state->snapshot_due_ns;
    char unit[MR_STATE_NAME_BYTES_MAX];
    size_t bytes;
    mr_status status = positions_stage(lane, err);
    if (!status) status = ranges_fill(lane, err);
    if (!status) status = models_store(lane, is_snapshot, &bytes, err);
    if (status) return status;
    mr_units_describe(&lane->run->units, unit, sizeof unit);
    struct mr_state_commit commit = {.unit = unit,
                                     .run_id = state->run_id,
                                     .kind = MR_STATE_LEARNED,
                                     .time_ms = mr_clock_epoch_ms(),
                                     .seq = state->seq + 1,
                                     .seq_before = state->seq,
                                     .snapshot = is_snapshot ? state->snapshot + 1 : state->snapshot,
                                     .index = is_snapshot ? 0 : state->index,
                                     .in = state->in + mr_stats_get(&stats->records_in) - lane->exact->in,
                                     .out = state->out + mr_stats_get(&stats->records_out) - lane->exact->out,
                                     .dead = state->dead + mr_stats_get(&stats->records_dead) - lane->exact->dead,
                                     .filtered = state->filtered + mr_stats_get(&stats->records_filtered) -
                                                 lane->exact->filtered,
                                     .position = state->position,
                                     .position_count = state->known_count,
                                     .range = state->range,
                                     .range_count = state->taken.range_count,
                                     .update = state->update,
                                     .update_count = state->taken.update_count};
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = model_send(lane, &state->kept[i], &commit, is_snapshot, err);
    MR_TEST_HOOK("state.sent");
    if (!status) status = arrival_wait(lane, err);
    if (status) return status;
    state->in = commit.in;
    state->out = commit.out;
    state->dead = commit.dead;
    state->filtered = commit.filtered;
    state->seq = commit.seq;
    state->snapshot = commit.snapshot;
    state->index = commit.index + 1;
    if (is_snapshot)
        state->snapshot_due_ns =
            mr_clock_ns() + (int64_t)((double)bytes * 1e9 / (double)lane->run->job->state.bytes_per_s);
    return MR_OK;
}

void mr_lane_state_committed(struct mr_lane_state *state)
{
    for (size_t i = 0; i < state->known_count; i++) state->known[i].offset = state->known[i].staged;
    for (size_t i = 0; i < state->kept_count; i++)
        state->kept[i].version = state->lane->run->models.item[state->kept[i].model].version;
    mr_taken_commit(&state->taken);
}
