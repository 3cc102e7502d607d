#include "pipeline/decode.h"

#include "pipeline/parts.h"

size_t mr_decode(const struct mr_decode_input *input, struct mr_slot *slot, struct mr_cursor *cursor, size_t limit)
{
    const struct mr_job *const job = input->run->job;
    struct mr_rows *const rows = &slot->rows;
    size_t filtered = 0;
    while (cursor->message < limit && rows->row_count < rows->row_cap && rows->reject_count < slot->row_cap) {
        size_t end = cursor->message;
        if (!input->messages[end].value) {
            if (job->record.tombstones == MR_TOMBSTONE_DEAD)
                rows->reject[rows->reject_count++] =
                    (struct mr_reject){.message = (uint32_t)end, .reason = MR_REASON_TOMBSTONE, .field = MR_FIELD_NONE};
            else
                filtered++;
            *cursor = (struct mr_cursor){end + 1, 0};
            continue;
        }
        while (end < limit && input->messages[end].value) end++;
        rows->reject_cap = slot->row_cap; /* the rest is for rows that fail later: in message parts, in the encoder */
        job->codec->decode(input->decoder, input->messages, end, cursor, rows);
        rows->reject_cap = 2 * slot->row_cap;
    }
    return filtered;
}

void mr_decode_parts(const struct mr_decode_input *input, struct mr_slot *slot)
{
    const struct mr_job *const job = input->run->job;
    const struct mr_parts_input parts = {.messages = input->messages,
                                         .source_ops = job->source,
                                         .source = input->source,
                                         .model_ops = job->model[0].ops,
                                         .model = input->run->models.item[0].model,
                                         .scratch = slot->read_scratch,
                                         .captures_json = job->codec->captures_json};
    mr_parts_fill(input->run->layout, &parts, &slot->rows);
}
