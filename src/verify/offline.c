#include "verify/offline.h"

#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "codec/rows.h"
#include "pipeline/decode.h"
#include "pipeline/lane.h"

/* Names of topics for the encoder. */
struct mr_source {
    char *const *topic;
    size_t topic_count;
};

static const char *topic_name(const struct mr_source *source, uint32_t topic)
{
    return topic < source->topic_count ? source->topic[topic] : "?";
}

mr_status mr_offline_create(struct mr_job *job, char *const *topics, size_t topic_count, const struct mr_offline_to *to,
                            struct mr_offline **offline_out, struct mr_err *err)
{
    const struct mr_until until = {0};
    struct mr_offline *const offline = calloc(1, sizeof *offline);
    *offline_out = NULL;
    if (!offline) return mr_fail(err, MR_ENOMEM, "out of memory");
    offline->job = job;
    offline->to = *to;
    job->cross_check = 0;
    job->emit.records_max = 1;
    mr_status status = mr_run_create(job, &until, &offline->run, err);
    if (!status) status = mr_slot_init(&offline->slot, offline->run, (size_t)job->batch.records_max, err);
    if (!status) status = job->codec->create(job->codec_options, &offline->run->layout->schema, &offline->decoder, err);
    if (!status)
        status = mr_encoder_create(job, offline->run->layout, offline->run->models.info, &offline->encoder, err);
    if (!status) {
        const size_t bytes = mr_lane_arena_bytes(job), count = (size_t)job->batch.records_max;
        offline->box = (struct mr_outbox){.record = calloc(count, sizeof *offline->box.record),
                                          .record_cap = count,
                                          .arena = malloc(bytes),
                                          .arena_cap = bytes};
        offline->source = malloc(sizeof *offline->source);
        if (!offline->box.record || !offline->box.arena || !offline->source)
            status = mr_fail(err, MR_ENOMEM, "out of memory");
    }
    if (!status) {
        *offline->source = (struct mr_source){topics, topic_count};
        offline->source_ops = *job->source;
        offline->source_ops.topic_name = topic_name;
    }
    if (status)
        mr_offline_destroy(offline);
    else
        *offline_out = offline;
    return status;
}

void mr_offline_destroy(struct mr_offline *offline)
{
    if (!offline) return;
    mr_encoder_destroy(offline->encoder);
    if (offline->run) {
        offline->job->codec->destroy(offline->decoder);
        mr_slot_deinit(&offline->slot, offline->run);
    }
    mr_run_destroy(offline->run);
    free(offline->box.record);
    free(offline->box.arena);
    free(offline->source);
    free(offline);
}

/* Tells of what was rejected. */
static mr_status rejects_tell(struct mr_offline *offline, const struct mr_message *messages, struct mr_err *err)
{
    struct mr_rows *const rows = &offline->slot.rows;
    mr_status status = MR_OK;
    for (size_t i = 0; i < rows->reject_count && !status; i++) {
        const struct mr_reject *const reject = &rows->reject[i];
        const struct mr_message *const message = &messages[reject->message];
        const struct mr_offline_dead dead = {
            .message = message,
            .value = message->value ? message->value + reject->first : NULL,
            .value_bytes = reject->bytes,
            .reason = reject->reason,
            .is_output = reject->reason == MR_REASON_OUTPUT_SIZE,
            .field = reject->field == MR_FIELD_NONE ? NULL : offline->run->layout->schema.field[reject->field].path};
        offline->count.dead++;
        status = offline->to.dead(offline->to.context, &dead, err);
    }
    rows->reject_count = 0;
    return status;
}

void mr_offline_clear(struct mr_offline *offline)
{
    struct mr_rows *const rows = &offline->slot.rows;
    rows->row_count = rows->reject_count = 0;
    rows->row_cap = offline->slot.row_cap;
}

/* An array that was cut is not one that breaks off there. */
static void cut_heed(struct mr_offline *offline, const struct mr_message *messages, struct mr_cursor *cursor,
                     size_t limit)
{
    struct mr_rows *const rows = &offline->slot.rows;
    if (!offline->cut) return;
    if (cursor->message < limit && messages[cursor->message].value &&
        messages[cursor->message].value + cursor->byte == offline->cut)
        *cursor = (struct mr_cursor){.message = cursor->message + 1};
    const struct mr_reject *const last = rows->reject_count ? &rows->reject[rows->reject_count - 1] : NULL;
    if (last && messages[last->message].value && messages[last->message].value + last->first == offline->cut)
        rows->reject_count--;
}

mr_status mr_offline_decode(struct mr_offline *offline, const struct mr_message *messages, struct mr_cursor *cursor,
                            size_t limit, struct mr_err *err)
{
    struct mr_rows *const rows = &offline->slot.rows;
    const struct mr_decode_input input = {.run = offline->run, .decoder = offline->decoder, .messages = messages};
    const size_t rows_before = rows->row_count;
    rows->reject_count = 0;
    const size_t filtered = mr_decode(&input, &offline->slot, cursor, limit);
    cut_heed(offline, messages, cursor, limit);
    offline->count.filtered += filtered;
    offline->count.in += filtered + (rows->row_count - rows_before) + rows->reject_count;
    return rejects_tell(offline, messages, err);
}

mr_status mr_offline_parts(struct mr_offline *offline, const struct mr_message *messages, struct mr_err *err)
{
    const struct mr_decode_input input = {.run = offline->run, .decoder = offline->decoder, .messages = messages};
    offline->slot.rows.reject_count = 0;
    offline->slot.rows.reject_cap = 2 * offline->slot.row_cap;
    mr_decode_parts(&input, &offline->slot);
    return rejects_tell(offline, messages, err);
}

mr_status mr_offline_score(struct mr_offline *offline, struct mr_err *err)
{
    struct mr_slot *const slot = &offline->slot;
    struct mr_models *const models = &offline->run->models;
    mr_rows_tail_zero(&slot->rows);
    const mr_status status = mr_models_score(models, &slot->queues, &slot->rows, slot->scores, err);
    return status ? status : mr_models_wait(models, &slot->queues, &slot->rows, slot->scores, err);
}

mr_status mr_offline_encode(struct mr_offline *offline, const struct mr_message *messages, struct mr_err *err)
{
    struct mr_rows *const rows = &offline->slot.rows;
    struct mr_outbox *const box = &offline->box;
    const struct mr_encode_input input = {.messages = messages,
                                          .scores = offline->slot.scores,
                                          .source_ops = &offline->source_ops,
                                          .source = offline->source};
    mr_status status = MR_OK;
    size_t row = 0;
    while (row < rows->row_count && !status) {
        box->count = box->arena_used = 0;
        mr_encode(offline->encoder, &input, rows, &row, box); /* one row a record; what it rejects is before them */
        for (size_t i = 0; i < box->count && !status; i++) {
            offline->count.out += box->record[i].row_count;
            status = offline->to.output(offline->to.context, &box->record[i], row - (box->count - i), err);
        }
        if (!status && rows->reject_count) status = rejects_tell(offline, messages, err);
    }
    return status;
}
