/* Ranges of the inputs that commits name: read again, decoded, and what came of their records told. */
#include <assert.h>

#include "verify/inside.h"

static bool is_before(int64_t a, uint32_t a_byte, int64_t b, uint32_t b_byte)
{
    return a < b || (a == b && a_byte < b_byte);
}

mr_status mr_verify_slot_tell(struct mr_verify *verify, struct mr_err *err)
{
    const mr_status status = mr_offline_score(verify->offline, err);
    return status ? status : mr_offline_encode(verify->offline, verify->read.message, err);
}

/* Appends the messages of an input up to an offset and a byte of the message there; cursor_out: its first record. */
static mr_status input_read(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                            struct mr_cursor *cursor_out, struct mr_err *err)
{
    struct mr_message_list *const list = &verify->read;
    const size_t first = list->count;
    const mr_status status =
        mr_range_read(verify->reader, input->name, input->partition, input->next, end_byte ? end + 1 : end, list, err);
    verify->offline->cut = NULL;
    *cursor_out = (struct mr_cursor){.message = first, .byte = input->byte};
    if (status) return status;
    for (size_t i = first; i < list->count; i++) list->message[i].topic = input->topic;
    verify->proof->messages += list->count - first - (end_byte && list->count > first);
    struct mr_message *const last = list->count > first ? &list->message[list->count - 1] : NULL;
    if (last && end_byte && last->offset == end && last->value && end_byte < last->value_bytes) {
        last->value_bytes = end_byte;
        verify->offline->cut = last->value + end_byte;
    }
    if (last && list->message[first].offset != input->next) cursor_out->byte = 0;
    input->next = end;
    input->byte = end_byte;
    return MR_OK;
}

/* Decodes what was read into the slot, behind the rows that are in it, as far as they fit. */
static mr_status list_decode(struct mr_verify *verify, struct mr_cursor *cursor, struct mr_err *err)
{
    const struct mr_message_list *const list = &verify->read;
    bool has_moved = true;
    mr_status status = MR_OK;
    while (!status && has_moved && cursor->message < list->count) {
        const struct mr_cursor before = *cursor;
        status = mr_offline_decode(verify->offline, list->message, cursor, list->count, err);
        has_moved = cursor->message != before.message || cursor->byte != before.byte;
    }
    return status;
}

/* The same with all of it: it was learned from at once. */
static mr_status input_decode(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                              struct mr_err *err)
{
    const int64_t from = input->next;
    struct mr_cursor cursor;
    mr_status status = input_read(verify, input, end, end_byte, &cursor, err);
    if (!status) status = list_decode(verify, &cursor, err);
    if (!status && cursor.message < verify->read.count)
        status = mr_fail(err, MR_EINVARIANT, "%s[%d] from offset %lld: more records than a batch holds", input->name,
                         (int)input->partition, (long long)from);
    return status;
}

/* Tells what became of an input up to there, slot by slot; *rows: and so many rows. */
static mr_status input_tell(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                            size_t *rows, struct mr_err *err)
{
    struct mr_offline *const offline = verify->offline;
    const int64_t chunk = (int64_t)offline->slot.row_cap;
    mr_status status = MR_OK;
    while (!status && is_before(input->next, input->byte, end, end_byte)) {
        const bool is_last = end - input->next <= chunk;
        struct mr_cursor cursor;
        mr_message_list_clear(&verify->read);
        status = input_read(verify, input, is_last ? end : input->next + chunk, is_last ? end_byte : 0, &cursor, err);
        while (!status && cursor.message < verify->read.count) {
            mr_offline_clear(offline);
            status = list_decode(verify, &cursor, err);
            if (!status) status = mr_offline_parts(offline, verify->read.message, err);
            *rows += offline->slot.rows.row_count;
            if (!status) status = mr_verify_slot_tell(verify, err);
        }
    }
    return status;
}

mr_status mr_verify_gap_tell(struct mr_verify *verify, struct mr_verify_input *input, int64_t end, uint32_t end_byte,
                             struct mr_err *err)
{
    const int64_t from = input->next;
    size_t rows = 0;
    const mr_status status = input_tell(verify, input, end, end_byte, &rows, err);
    if (rows)
        mr_proof_found(verify->proof, MR_FOUND_NOT_LEARNED, input->name, input->partition, from,
                       "%zu records up to offset %lld were learned from by no update", rows, (long long)end);
    return status;
}

struct mr_verify_input *mr_verify_range_input(const struct mr_verify *verify, const struct mr_state_commit *commit,
                                              const struct mr_state_range *range)
{
    const struct mr_state_position *const position = &commit->position[range->position];
    const uint32_t at = mr_verify_input_find(verify, position->topic, position->partition);
    return at == MR_PART_NONE ? NULL : &verify->input[at];
}

static mr_status learned_twice(struct mr_verify *verify, const struct mr_state_commit *commit,
                               const struct mr_verify_input *input, const struct mr_state_range *range)
{
    mr_proof_found(verify->proof, MR_FOUND_LEARNED_TWICE, input->name, input->partition, range->first_offset,
                   "commit %llu has learned from it, and up to offset %lld it was learned from before",
                   (unsigned long long)commit->seq, (long long)input->next);
    return MR_END;
}

/* What lies before the first range of each partition; first of all, because the slot is used for it. */
static mr_status gaps_work(struct mr_verify *verify, const struct mr_state_commit *commit,
                           const struct mr_state_range *range, size_t count, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < count && !status; i++) {
        struct mr_verify_input *const input = mr_verify_range_input(verify, commit, &range[i]);
        size_t before = 0;
        if (!input)
            return mr_fail(err, MR_EINVARIANT, "commit %llu: a range of no input", (unsigned long long)commit->seq);
        while (range[before].position != range[i].position) before++;
        if (before < i) continue; /* it goes on where that one ends */
        if (is_before(range[i].first_offset, range[i].first_record, input->next, input->byte))
            return learned_twice(verify, commit, input, &range[i]);
        status = mr_verify_gap_tell(verify, input, range[i].first_offset, range[i].first_record, err);
    }
    return status;
}

/* One range into the slot, behind what is in it; before it what lies between it and the one before: no rows. */
static mr_status range_decode(struct mr_verify *verify, const struct mr_state_commit *commit,
                              struct mr_verify_input *input, const struct mr_state_range *range, struct mr_err *err)
{
    const size_t rows = verify->offline->slot.rows.row_count;
    mr_status status = MR_OK;
    if (is_before(range->first_offset, range->first_record, input->next, input->byte))
        return learned_twice(verify, commit, input, range);
    const int64_t from = input->next;
    if (is_before(input->next, input->byte, range->first_offset, range->first_record))
        status = input_decode(verify, input, range->first_offset, range->first_record, err);
    if (!status && verify->offline->slot.rows.row_count > rows) {
        mr_proof_found(verify->proof, MR_FOUND_NOT_LEARNED, input->name, input->partition, from,
                       "%zu records up to offset %lld were learned from by no update",
                       verify->offline->slot.rows.row_count - rows, (long long)range->first_offset);
        return MR_END;
    }
    return status ? status : input_decode(verify, input, range->end_offset, range->end_record, err);
}

mr_status mr_verify_ranges_decode(struct mr_verify *verify, const struct mr_state_commit *commit,
                                  const struct mr_state_range *range, size_t count, struct mr_verify_input **input_out,
                                  struct mr_err *err)
{
    mr_status status = gaps_work(verify, commit, range, count, err);
    *input_out = NULL;
    mr_message_list_clear(&verify->read);
    mr_offline_clear(verify->offline);
    for (size_t i = 0; i < count && !status; i++) {
        *input_out = mr_verify_range_input(verify, commit, &range[i]);
        assert(*input_out); /* as gaps_work has seen */
        status = range_decode(verify, commit, *input_out, &range[i], err);
    }
    return status ? status : mr_offline_parts(verify->offline, verify->read.message, err);
}

mr_status mr_verify_ranges_tell(struct mr_verify *verify, const struct mr_state_commit *commit,
                                const struct mr_state_range *range, size_t count, struct mr_err *err)
{
    size_t rows = 0;
    mr_status status = MR_OK;
    for (size_t i = 0; i < count && !status; i++) {
        struct mr_verify_input *const input = mr_verify_range_input(verify, commit, &range[i]);
        if (!input)
            return mr_fail(err, MR_EINVARIANT, "commit %llu: a range of no input", (unsigned long long)commit->seq);
        if (is_before(range[i].first_offset, range[i].first_record, input->next, input->byte))
            return learned_twice(verify, commit, input, &range[i]);
        status = mr_verify_gap_tell(verify, input, range[i].first_offset, range[i].first_record, err);
        if (!status) status = input_tell(verify, input, range[i].end_offset, range[i].end_record, &rows, err);
    }
    return status;
}
