#include "pipeline/replay.h"

#include "codec/rows.h"
#include "pipeline/block.h"
#include "pipeline/decode.h"

mr_status mr_replay_init(struct mr_replay *replay, struct mr_run *run, struct mr_err *err)
{
    const struct mr_job *const job = run->job;
    *replay = (struct mr_replay){.run = run};
    mr_status status = mr_range_reader_create(run->properties, &replay->reader, err);
    if (!status) status = mr_slot_init(&replay->slot, run, (size_t)job->batch.records_max, err);
    if (!status) status = job->codec->create(job->codec_options, &run->layout->schema, &replay->decoder, err);
    if (status) mr_replay_deinit(replay);
    return status;
}

void mr_replay_deinit(struct mr_replay *replay)
{
    if (!replay->run) return;
    mr_message_list_deinit(&replay->list);
    replay->run->job->codec->destroy(replay->decoder);
    mr_slot_deinit(&replay->slot, replay->run);
    mr_range_reader_destroy(replay->reader);
    *replay = (struct mr_replay){0};
}

/* Where the messages of a range begin in the list, and how much of its last one belongs to it. */
static mr_status range_read(struct mr_replay *replay, const struct mr_state_commit *commit,
                            const struct mr_state_range *range, size_t *first_out, struct mr_err *err)
{
    const struct mr_state_position *const position = &commit->position[range->position];
    const int64_t end = range->end_offset + (range->end_record ? 1 : 0);
    struct mr_message_list *const list = &replay->list;
    *first_out = list->count;
    const mr_status status =
        mr_range_read(replay->reader, position->topic, position->partition, range->first_offset, end, list, err);
    if (status || !range->end_record || list->count == *first_out) return status;
    struct mr_message *const last = &list->message[list->count - 1];
    if (last->offset == range->end_offset && range->end_record < last->value_bytes)
        last->value_bytes = range->end_record;
    return MR_OK;
}

static void slot_clear(struct mr_slot *slot)
{
    slot->rows.row_count = slot->rows.reject_count = 0;
    slot->rows.row_cap = slot->row_cap;
}

/* Decodes what stands in the list from the cursor on, until the slot is full. */
static void list_decode(struct mr_replay *replay, struct mr_cursor *cursor)
{
    struct mr_slot *const slot = &replay->slot;
    const struct mr_decode_input input = {
        .run = replay->run, .decoder = replay->decoder, .messages = replay->list.message};
    while (cursor->message < replay->list.count && slot->rows.row_count < slot->rows.row_cap) {
        slot->rows.reject_count = 0; /* they were told when they came */
        mr_decode(&input, slot, cursor, replay->list.count);
    }
    slot->rows.reject_count = 0;
}

static void parts_decode(struct mr_replay *replay)
{
    const struct mr_decode_input input = {
        .run = replay->run, .decoder = replay->decoder, .messages = replay->list.message};
    mr_decode_parts(&input, &replay->slot);
}

mr_status mr_replay_decode(struct mr_replay *replay, const struct mr_state_commit *commit,
                           const struct mr_state_range *ranges, size_t count, struct mr_err *err)
{
    mr_status status = MR_OK;
    mr_message_list_clear(&replay->list);
    slot_clear(&replay->slot);
    for (size_t i = 0; i < count && !status; i++) {
        size_t first;
        status = range_read(replay, commit, &ranges[i], &first, err);
        struct mr_cursor cursor = {.message = first, .byte = ranges[i].first_record};
        if (status) break;
        list_decode(replay, &cursor);
        if (cursor.message < replay->list.count) return MR_END;
    }
    if (!status) parts_decode(replay);
    return status;
}

/* Learns from the slot, if there is anything in it. */
static mr_status slot_learn(struct mr_replay *replay, struct mr_err *err)
{
    struct mr_models *const models = &replay->run->models;
    struct mr_slot *const slot = &replay->slot;
    if (!slot->rows.row_count) return MR_OK;
    mr_rows_tail_zero(&slot->rows);
    models->begins_late = false;
    mr_status status = mr_models_score(models, &slot->queues, &slot->rows, slot->scores, err);
    if (!status) status = mr_models_wait(models, &slot->queues, &slot->rows, slot->scores, err);
    if (!status) status = mr_models_learn(models, &slot->queues, &slot->rows, slot->scores, MR_LEARN_ALL, err);
    return status;
}

static mr_status update_learn(struct mr_replay *replay, const struct mr_state_commit *commit,
                              const struct mr_state_range *ranges, const struct mr_state_update *update,
                              struct mr_err *err)
{
    const struct mr_rows *const rows = &replay->slot.rows;
    mr_status status = mr_replay_decode(replay, commit, ranges, update->range_count, err);
    if (status == MR_END)
        return mr_fail(err, MR_ECONFIG,
                       "commit %llu of \"%s\" has learned from %u records at once, which must be done again, and "
                       "batch.records_max is %zu: set it to %u at least, as it was, until the model has been written "
                       "whole behind that commit (`millrace model list` shows where; state.bytes_per_s says how often)",
                       (unsigned long long)commit->seq, commit->model, (unsigned)update->rows, replay->slot.row_cap,
                       (unsigned)update->rows);
    if (!status && update->rows && rows->row_count != update->rows)
        status =
            mr_fail(err, MR_EINVARIANT,
                    "commit %llu of \"%s\" has learned from %u records, but its ranges, from %s[%d] offset %lld on, "
                    "hold %zu: the input is not what it was",
                    (unsigned long long)commit->seq, commit->model, (unsigned)update->rows,
                    commit->position[ranges->position].topic, (int)commit->position[ranges->position].partition,
                    (long long)ranges->first_offset, rows->row_count);
    return status ? status : slot_learn(replay, err);
}

mr_status mr_replay_commit(struct mr_replay *replay, const struct mr_state_commit *commit, size_t update_count,
                           struct mr_err *err)
{
    const struct mr_state_range *range = commit->range;
    mr_status status = MR_OK;
    for (size_t i = 0; i < update_count && !status; i++) {
        status = update_learn(replay, commit, range, &commit->update[i], err);
        range += commit->update[i].range_count;
    }
    return status;
}

static mr_status range_learn(struct mr_replay *replay, const struct mr_state_commit *commit,
                             const struct mr_state_range *range, struct mr_taken *taken, struct mr_err *err)
{
    struct mr_cursor cursor = {.byte = range->first_record};
    size_t first;
    mr_message_list_clear(&replay->list);
    mr_status status = range_read(replay, commit, range, &first, err);
    while (!status && cursor.message < replay->list.count) {
        const struct mr_cursor from = cursor;
        slot_clear(&replay->slot);
        list_decode(replay, &cursor);
        parts_decode(replay);
        status = slot_learn(replay, err);
        if (!status) status = mr_taken_add(taken, replay->list.message, from, cursor, err);
        if (!status) status = mr_taken_learn(taken, replay->slot.rows.row_count, err);
    }
    return status;
}

mr_status mr_replay_pieces(struct mr_replay *replay, const struct mr_state_commit *commit, struct mr_taken *taken,
                           struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = commit->range_count - mr_state_pending_count(commit); i < commit->range_count && !status; i++)
        status = range_learn(replay, commit, &commit->range[i], taken, err);
    return status;
}

mr_status mr_replay_pending(struct mr_replay *replay, const struct mr_state_commit *commit, struct mr_block *block,
                            struct mr_err *err)
{
    const size_t count = mr_state_pending_count(commit);
    if (!count) return MR_OK;
    const mr_status status =
        mr_replay_decode(replay, commit, commit->range + (commit->range_count - count), count, err);
    if (status) return status;
    if (replay->slot.rows.row_count > block->rows.row_cap - block->rows.row_count) return MR_END;
    mr_block_add(block, &replay->slot.rows);
    return MR_OK;
}
