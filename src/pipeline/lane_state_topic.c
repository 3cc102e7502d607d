/* What a lane learns, in topics: within its transactions. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "pipeline/lane_commit.h"
#include "pipeline/lane_state_inside.h"
#include "state/topic.h"

#define READ_TIMEOUT_MS    60000      /* of a state topic: a transaction that is open there may last for 30 s */
#define CHECKSUM_BYTES_MAX (4u << 20) /* larger models are stored only when their snapshot is due */

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
    const char *const topic = lane->run->models.item[kept->model].job->topic;
    struct mr_span span;
    const struct mr_state_commit *const commit = mr_state_log_model(log, &span);
    if (!commit) return mr_fail(err, MR_EINVARIANT, "topic \"%s\" holds no whole model", topic);
    return mr_kept_replace(lane, kept, topic, span, commit->version_after, err);
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
                       lane->run->models.item[state->kept[0].model].job->topic, seq,
                       lane->run->models.item[state->kept[i].model].job->topic, other);
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
    if (!status) status = mr_lane_state_pending(lane, &replay, last, err);
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
    if (!status && !last) return mr_kept_begin(lane, err);
    if (status) return status;
    status = mr_lane_state_take(state, last, err);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = snapshot_take(lane, &state->kept[i], log[i], err);
    if (!status) status = behind_learn(lane, log[0], err);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = checksum_check(lane, &state->kept[i], mr_state_log_last(log[i]), err);
    if (!status)
        mr_log(MR_LOG_INFO, "state", "going on from commit %llu: %llu updates, %llu records (%.0f ms)",
               (unsigned long long)last->seq, (unsigned long long)last->version_after, (unsigned long long)last->in,
               (double)(mr_clock_ns() - started_ns) / 1e6);
    return status;
}

mr_status mr_lane_state_topics_restore(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    struct mr_state_log **const log = calloc(state->kept_count, sizeof(*log));
    mr_status status = log ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    state->failure = (struct mr_err){0};
    for (size_t i = 0; i < state->kept_count && !status; i++) status = log_read(lane, &state->kept[i], &log[i], err);
    MR_TEST_HOOK("restore.read");
    if (!status) status = logs_take(lane, log, err);
    for (size_t i = 0; log && i < state->kept_count; i++) mr_state_log_destroy(log[i]);
    free(log);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = mr_state_writer_open(&state->kept[i].writer, lane->exact->transaction,
                                      lane->run->models.item[state->kept[i].model].job->topic, &state->failure, err);
    return status;
}

static bool is_aborted(const void *context)
{
    const struct mr_run *const run = context;
    return atomic_load(&run->state) == MR_RUN_ABORT;
}

/* Models that are written whole now are stored, and such as are small enough to be compared at every commit. */
static bool is_stored(const struct kept *kept, bool is_snapshot)
{
    return is_snapshot || kept->bytes.cap <= CHECKSUM_BYTES_MAX;
}

mr_status mr_lane_state_send(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const bool is_snapshot = !state->index || mr_clock_ns() >= state->snapshot_due_ns;
    char unit[MR_STATE_NAME_BYTES_MAX];
    struct mr_state_commit commit;
    size_t bytes = 0;
    mr_status status = mr_lane_state_commit(lane, is_snapshot, unit, &commit, err);
    for (size_t i = 0; i < state->kept_count && !status; i++) {
        struct kept *const kept = &state->kept[i];
        status = mr_kept_store(lane, kept, is_stored(kept, is_snapshot), &commit, err);
        if (!status)
            status = mr_state_write(&kept->writer, &commit, kept->bytes.data, is_snapshot, &state->record, err);
        bytes += kept->bytes.bytes;
    }
    MR_TEST_HOOK("state.sent");
    /* All that was sent must have arrived before the offsets follow. */
    if (!status) status = mr_state_write_wait(lane->exact->transaction, &state->failure, is_aborted, lane->run, err);
    if (status) return status;
    mr_lane_state_follow(state, &commit);
    if (is_snapshot)
        state->snapshot_due_ns =
            mr_clock_ns() + (int64_t)((double)bytes * 1e9 / (double)lane->run->job->state.bytes_per_s);
    return MR_OK;
}
