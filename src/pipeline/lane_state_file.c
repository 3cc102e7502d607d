/* What a lane learns without transactions, in one file with the offsets up to which it has. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipeline/lane_state_inside.h"
#include "state/snapshot_file.h"

/* Records that wait for the rest of their block come again: only from Kafka can ranges be read by themselves. */
static void pending_repeat(struct mr_lane *lane, const struct mr_state_commit *last)
{
    for (size_t i = last->range_count - mr_state_pending_count(last); i < last->range_count; i++) {
        const struct mr_state_range *const range = &last->range[i];
        const struct mr_state_position *const position = &last->position[range->position];
        struct known *const known = mr_known_find(lane->state, position->topic, position->partition);
        if (known && range->first_offset < known->offset) known->offset = known->staged = range->first_offset;
    }
}

static mr_status pending_learn(struct mr_lane *lane, const struct mr_state_commit *last, struct mr_err *err)
{
    struct mr_replay replay;
    if (!mr_state_pending_count(last)) return MR_OK;
    if (!lane->run->job->source->offsets_send) {
        pending_repeat(lane, last);
        return MR_OK;
    }
    mr_status status = mr_replay_init(&replay, lane->run, err);
    if (!status) status = mr_lane_state_pending(lane, &replay, last, err);
    mr_replay_deinit(&replay);
    return status;
}

mr_status mr_lane_state_file_restore(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_job *const job = lane->run->job;
    struct mr_state_file *file;
    const struct mr_state_model *model = NULL;
    bool is_missing = false;
    mr_status status = mr_state_file_read(job->state.file, job->name, &is_missing, &file, err);
    if (is_missing) {
        mr_log(MR_LOG_INFO, "state",
               "there is no \"%s\" yet: the models begin as the job says, at the offsets of the group",
               job->state.file);
        status = mr_kept_begin(lane, err);
        return status ? status : mr_lane_state_write(lane, err); /* where it cannot be written, nothing begins */
    }
    for (size_t i = 0; i < state->kept_count && !status; i++) {
        struct kept *const kept = &state->kept[i];
        const struct mr_model_at_work *const at = &lane->run->models.item[kept->model];
        status = mr_state_file_find(file, at->job->name, at->info->type, kept->schema_hash, &model, err);
        if (!status && !i) status = mr_lane_state_take(state, model->commit, err);
        if (!status)
            status = mr_kept_replace(lane, kept, job->state.file,
                                     (struct mr_span){model->bytes, (size_t)model->commit->model_bytes},
                                     model->commit->version_after, err);
    }
    if (!status && model) status = pending_learn(lane, model->commit, err);
    if (!status && model)
        mr_log(MR_LOG_INFO, "state", "going on from \"%s\": %llu updates, %llu records", job->state.file,
               (unsigned long long)model->commit->version_after, (unsigned long long)model->commit->in);
    mr_state_file_close(file);
    return status;
}

/* Whether anything is settled or learned that the file does not have. */
static bool has_news(const struct mr_lane_state *state)
{
    for (size_t i = 0; i < state->known_count; i++)
        if (state->known[i].staged != state->known[i].offset) return true;
    return !mr_lane_state_is_kept(state);
}

bool mr_lane_state_is_due(const struct mr_lane *lane)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_flight *const flight = &lane->flight;
    if (!flight->ready_count) return mr_clock_ns() >= state->file_due_ns && has_news(state);
    for (size_t i = 0; i < flight->ready_count; i++) {
        const char *const topic = lane->run->job->source->topic_name(lane->source, flight->ready[i].topic);
        const struct known *const known = mr_known_find(state, topic, flight->ready[i].partition);
        if (!known || known->offset < 0) return true;
    }
    return mr_clock_ns() >= state->file_due_ns;
}

bool mr_lane_state_is_settled(struct mr_lane *lane)
{
    struct mr_err err;
    return !lane->flight.ticket_count && !lane->slot_count && !lane->input && !mr_lane_state_note(lane, &err);
}

mr_status mr_lane_state_write(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_state *const state = lane->state;
    const struct mr_job *const job = lane->run->job;
    struct mr_state_model *const model = calloc(state->kept_count, sizeof *model);
    struct mr_state_commit *const commit = calloc(state->kept_count, sizeof *commit);
    char unit[MR_STATE_NAME_BYTES_MAX];
    mr_status status = model && commit ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    state->file_due_ns = mr_clock_ns() + job->state.interval * 1000;
    for (size_t i = 0; i < state->kept_count && !status; i++) {
        struct kept *const kept = &state->kept[i];
        status = mr_lane_state_commit(lane, true, unit, &commit[i], err);
        /* A file is no chain: what was learned before it does not matter, what waits does. */
        commit[i].range += state->taken.learned;
        commit[i].range_count -= state->taken.learned;
        commit[i].update_count = 0;
        if (!status) status = mr_kept_store(lane, kept, true, &commit[i], err);
        commit[i].version_before = commit[i].version_after;
        model[i] = (struct mr_state_model){&commit[i], kept->bytes.data};
    }
    if (!status)
        status = mr_state_file_write(job->state.file, job->name, model, state->kept_count, &state->record, err);
    if (!status) {
        mr_lane_state_follow(state, &commit[0]);
        mr_lane_state_committed(state);
    }
    free(model);
    free(commit);
    return status;
}
