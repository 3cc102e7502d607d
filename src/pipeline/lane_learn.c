#include "pipeline/lane_learn.h"

#include <string.h>

#include "pipeline/lane_state.h"

size_t mr_lane_poll_cap(const struct mr_lane *lane, const struct mr_raw *raw)
{
    const struct mr_block *const block = &lane->block;
    const int64_t left = block->end_offset - block->position.next_offset;
    return lane->run->learns_by_offsets && left > 0 && (uint64_t)left < raw->cap ? (size_t)left : raw->cap;
}

/* Where the block of a message ends. A source without offsets has blocks of records_max rows alone. */
static int64_t block_end(const struct mr_lane *lane, int64_t offset)
{
    const int64_t count = lane->run->job->batch.records_max;
    return offset < 0 || offset > INT64_MAX - 2 * count ? INT64_MAX : (offset / count + 1) * count;
}

static mr_status partition_check(const struct mr_lane *lane, const struct mr_message *message, struct mr_err *err)
{
    const struct mr_position *const known = &lane->block.position;
    const struct mr_source_ops *const ops = lane->run->job->source;
    if (message->partition == known->partition && message->topic == known->topic) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "batch.by: \"offsets\" learns the same each time from one partition only: records of %s[%d] came "
                   "among those of %s[%d]; set batch.by to \"arrival\"",
                   ops->topic_name(lane->source, message->topic), (int)message->partition,
                   ops->topic_name(lane->source, known->topic), (int)known->partition);
}

/* What was taken is learned from: `rows` rows, or none. */
static mr_status learned_note(struct mr_lane *lane, size_t rows, struct mr_err *err)
{
    struct mr_taken *const taken = lane->state ? mr_lane_state_taken(lane->state) : NULL;
    const mr_status status = taken ? mr_taken_learn(taken, rows, err) : MR_OK;
    if (!status && taken && !lane->exact) mr_taken_commit(taken); /* a file does not tell how it was learned */
    return status;
}

static mr_status block_learn(struct mr_lane *lane, struct mr_queues *queues, struct mr_err *err)
{
    const size_t rows = lane->block.rows.row_count;
    const mr_status status = mr_block_learn(&lane->block, &lane->run->models, queues, MR_LEARN_ALL, err);
    return status ? status : learned_note(lane, rows, err);
}

bool mr_lane_block_holds(const struct mr_lane *lane, int64_t first_offset, int64_t end_offset)
{
    return lane->run->learns_by_offsets && end_offset <= block_end(lane, first_offset);
}

void mr_lane_block_restore(struct mr_lane *lane, int32_t partition, int64_t first_offset)
{
    struct mr_block *const block = &lane->block;
    block->position = (struct mr_position){.topic = 0, .partition = partition}; /* there is only one */
    block->end_offset = block_end(lane, first_offset);
    block->has_position = true;
}

mr_status mr_lane_block_begin(struct mr_lane *lane, struct mr_slot *slot, size_t *limit_out, struct mr_err *err)
{
    struct mr_block *const block = &lane->block;
    const struct mr_raw *const raw = slot->raw;
    const struct mr_message *const first = &raw->message[raw->cursor.message];
    mr_status status = MR_OK;
    size_t limit = raw->cursor.message;

    *limit_out = raw->count;
    if (!lane->run->learns_by_offsets) return MR_OK;
    if (!block->has_position)
        block->position = (struct mr_position){.topic = first->topic, .partition = first->partition};
    if (!block->has_position || first->offset >= block->end_offset) {
        status = block_learn(lane, &slot->queues, err);
        block->end_offset = block_end(lane, first->offset);
        block->has_position = true;
    }
    while (!status && limit < raw->count && raw->message[limit].offset < block->end_offset)
        status = partition_check(lane, &raw->message[limit++], err);
    slot->rows.row_cap = block->rows.row_cap - block->rows.row_count;
    *limit_out = limit;
    return status;
}

/* Learns from the rows of a slot as they are. */
static mr_status slot_learn(struct mr_lane *lane, struct mr_slot *slot, unsigned which, struct mr_err *err)
{
    const mr_status status = mr_models_learn(&lane->run->models, &slot->queues, &slot->rows, slot->scores, which, err);
    return status ? status : learned_note(lane, slot->rows.row_count, err);
}

static bool learns_from(const struct mr_lane *lane, uint32_t topic)
{
    const struct mr_strings *const topics = &lane->run->job->record.learn_topics;
    const char *const name = lane->run->job->source->topic_name(lane->source, topic);
    for (size_t i = 0; i < topics->count; i++) {
        if (!strcmp(topics->item[i], name)) return true;
    }
    return false;
}

/* Learns from the rows of some topics alone: from the slot as it is where all are of them, else from a copy of those
 * that are. */
static mr_status topics_learn(struct mr_lane *lane, struct mr_slot *slot, struct mr_err *err)
{
    const struct mr_rows *const rows = &slot->rows;
    const struct mr_message *const message = slot->raw->message;
    size_t count = 0;
    for (size_t first = 0, end; first < rows->row_count; first = end) { /* runs of rows of one topic */
        const uint32_t topic = message[rows->message[first]].topic;
        for (end = first + 1; end < rows->row_count && message[rows->message[end]].topic == topic;) end++;
        if (!learns_from(lane, topic)) continue;
        if (end - first == rows->row_count && !lane->run->models.begins_late)
            return slot_learn(lane, slot, MR_LEARN_ALL, err);
        mr_block_add_some(&lane->block, rows, first, end);
        count += end - first;
    }
    return count ? block_learn(lane, &slot->queues, err) : MR_OK;
}

mr_status mr_lane_learn(struct mr_lane *lane, struct mr_slot *slot, size_t limit, struct mr_err *err)
{
    struct mr_block *const block = &lane->block;
    const struct mr_raw *const raw = slot->raw;
    mr_status status = MR_OK;
    if (lane->state)
        status = mr_taken_add(mr_lane_state_taken(lane->state), raw->message, slot->from, raw->cursor, err);
    if (status) return status;
    if (lane->run->learns_by_topics) return topics_learn(lane, slot, err);
    if (!lane->run->learns_by_offsets)
        return slot_learn(lane, slot, lane->labels ? MR_LEARN_UNLABELLED : MR_LEARN_ALL, err);
    const bool is_at_limit = raw->cursor.message == limit;
    if (is_at_limit) block->position.next_offset = raw->message[limit - 1].offset + 1;
    const bool is_complete = slot->rows.row_count == slot->rows.row_cap ||
                             (is_at_limit && (limit < raw->count || block->position.next_offset == block->end_offset));
    if (is_complete && !block->rows.row_count && !lane->run->models.begins_late) /* the slot has all of it: no copy */
        return slot_learn(lane, slot, MR_LEARN_ALL, err);
    mr_block_add(block, &slot->rows);
    return is_complete ? block_learn(lane, &slot->queues, err) : MR_OK;
}

mr_status mr_lane_learn_rest(struct mr_lane *lane, struct mr_err *err)
{
    return mr_block_learn(&lane->block, &lane->run->models, &lane->slot[0].queues, MR_LEARN_ALL, err);
}
