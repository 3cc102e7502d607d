/* What a lane learns, in topics: within its transactions. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "pipeline/lane_commit.h"
#include "pipeline/lane_state_inside.h"
#include "pipeline/recall.h"

#define CHECKSUM_BYTES_MAX (4u << 20) /* larger models are stored only when their snapshot is due */

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

/* What was learned behind the snapshot. */
static mr_status behind_learn(struct mr_lane *lane, struct mr_replay *replay, const struct mr_state_log *log,
                              struct mr_err *err)
{
    const struct mr_state_target target = {.by = MR_STATE_AT_LAST};
    struct mr_state_point point;
    mr_status status = mr_state_log_seek(log, &target, &point, err);
    if (status || !point.behind_count) return status;
    status = mr_replay_init(replay, lane->run, err);
    return status ? status : mr_recall_learn(replay, &point, err);
}

/* What waits to be learned. */
static mr_status pending_take(struct mr_lane *lane, struct mr_replay *replay, const struct mr_state_commit *last,
                              struct mr_err *err)
{
    mr_status status = MR_OK;
    if (!mr_state_pending_count(last)) return MR_OK;
    if (!replay->run) status = mr_replay_init(replay, lane->run, err);
    return status ? status : mr_lane_state_pending(lane, replay, last, err);
}

static mr_status logs_take(struct mr_lane *lane, struct mr_state_log *const *log, int64_t started_ns,
                           struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_state_commit *const last = mr_state_log_last(log[0]);
    struct mr_replay replay = {0};
    mr_status status = logs_compare(lane, log, err);
    if (!status && !last) return mr_kept_begin(lane, err);
    if (status) return status;
    status = mr_lane_state_take(state, last, err);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = mr_recall_take(lane->run, state->kept[i].model, log[i], 0, err);
    if (!status) status = behind_learn(lane, &replay, log[0], err);
    for (size_t i = 0; i < state->kept_count && !status; i++) {
        struct kept *const kept = &state->kept[i];
        kept->version = lane->run->models.item[kept->model].version;
        status = mr_recall_check(lane->run, kept->model, mr_state_log_last(log[i]), &kept->bytes, err);
    }
    if (!status) status = pending_take(lane, &replay, last, err);
    mr_replay_deinit(&replay);
    if (!status)
        mr_log(MR_LOG_INFO, "state", "going on from commit %llu: %llu updates, %llu records (%.0f ms)",
               (unsigned long long)last->seq, (unsigned long long)last->version_after, (unsigned long long)last->in,
               (double)(mr_clock_ns() - started_ns) / 1e6);
    return status;
}

mr_status mr_lane_state_topics_restore(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const int64_t started_ns = mr_clock_ns();
    struct mr_state_log **const log = calloc(state->kept_count, sizeof(*log));
    mr_status status = log ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    state->failure = (struct mr_err){0};
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = mr_recall_read(lane->run, state->kept[i].model, 0, &log[i], err);
    MR_TEST_HOOK("restore.read");
    if (!status) status = logs_take(lane, log, started_ns, err);
    for (size_t i = 0; log && i < state->kept_count; i++) mr_state_log_destroy(log[i]);
    free(log);
    for (size_t i = 0; i < state->kept_count && !status; i++)
        status = mr_state_writer_open(&state->kept[i].writer, lane->exact->transaction,
                                      lane->run->models.item[state->kept[i].model].job->topic, &state->failure, err);
    return status;
}

static bool is_late(const void *context)
{
    return mr_lane_commit_is_late(context);
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
    if (!status) status = mr_state_write_wait(lane->exact->transaction, &state->failure, is_late, lane, err);
    if (status) return status;
    mr_lane_state_follow(state, &commit);
    if (is_snapshot)
        state->snapshot_due_ns =
            mr_clock_ns() + (int64_t)((double)bytes * 1e9 / (double)lane->run->job->state.bytes_per_s);
    return MR_OK;
}
