/* From the delivery report to the outbox, and to the record of a message that did not arrive. */
#include <stdlib.h>

#include "kafka/client.h"
#include "sink/kafka/sink.h"

/*
 * What a message carries through the client: its outbox, or, if it has headers, its record, marked by the lowest bit.
 */
union tag {
    const void *pointer;
    uintptr_t bits;
};

void *mr_kafka_sink_tag(const struct mr_record *record)
{
    union {
        uintptr_t bits;
        void *pointer;
    } tag = {.bits = (union tag){.pointer = record}.bits | 1};
    return tag.pointer;
}

static struct mr_record *record_tagged(const void *opaque)
{
    union {
        uintptr_t bits;
        struct mr_record *record;
    } tag = {.bits = (union tag){.pointer = opaque}.bits & ~(uintptr_t)1};
    return (union tag){.pointer = opaque}.bits & 1 ? tag.record : NULL;
}

static bool is_within(const struct mr_outbox *box, const struct mr_record *record)
{
    return box && record >= box->record && record < box->record + box->record_cap;
}

static struct mr_outbox *box_of(const struct mr_sink *sink, const struct mr_record *record)
{
    if (is_within(sink->run_box, record)) return sink->run_box;
    for (size_t i = 0; i < sink->box_count; i++) {
        if (is_within(sink->box[i], record)) return sink->box[i];
    }
    return NULL;
}

/* Outboxes are few, and used again and again. */
bool mr_kafka_sink_box_note(struct mr_sink *sink, struct mr_outbox *box)
{
    if (sink->box_last == box) return true;
    sink->box_last = box;
    for (size_t i = 0; i < sink->box_count; i++) {
        if (sink->box[i] == box) return true;
    }
    if (sink->box_count == sink->box_cap) {
        const size_t cap = sink->box_cap ? 2 * sink->box_cap : 16;
        struct mr_outbox **grown = realloc(sink->box, cap * sizeof(*grown));
        if (!grown) {
            mr_fail(&sink->failure, MR_ENOMEM, "kafka sink: out of memory");
            return false;
        }
        sink->box = grown;
        sink->box_cap = cap;
    }
    sink->box[sink->box_count++] = box;
    return true;
}

/* The record that a failed message was made from. Reports come in the order of the records, so the search begins behind
 * the last one. Records without a value have headers, and are known by them. */
static struct mr_record *record_of(struct mr_sink *sink, struct mr_outbox *box, const rd_kafka_message_t *message)
{
    for (size_t i = 0; i < box->count; i++) {
        struct mr_record *record = &box->record[(sink->last_failed + 1 + i) % box->count];
        if (record->value != message->payload) continue;
        sink->last_failed = (size_t)(record - box->record);
        return record;
    }
    return NULL;
}

bool mr_kafka_sink_is_refusal(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE ||
           code == RD_KAFKA_RESP_ERR_INVALID_MSG || code == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
           code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE || code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
}

mr_reason mr_kafka_sink_refusal_reason(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_INVALID_RECORD || code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
               ? MR_REASON_REFUSED
               : MR_REASON_OUTPUT_SIZE;
}

void mr_kafka_sink_run_settle(struct mr_sink *sink)
{
    if (sink->run_count) sink->run_box->settled_ok(sink->run_box, sink->run_count);
    sink->run_count = 0;
}

/* Reports of records that arrived come in long runs of one outbox. */
static void arrived(struct mr_sink *sink, struct mr_outbox *box)
{
    if (box != sink->run_box) {
        mr_kafka_sink_run_settle(sink);
        sink->run_box = box;
    }
    sink->run_count++;
}

/* A delivery report. Runs inside rd_kafka_poll on the lane's thread. */
void mr_kafka_sink_delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct mr_sink *sink = opaque;
    struct mr_record *record = record_tagged(message->_private);
    struct mr_outbox *box = record ? box_of(sink, record) : message->_private;

    if (!message->err) {
        arrived(sink, box);
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
    if (sink->is_closing) return; /* neither retried nor told: it is not committed and will be repeated */
    if (!record) record = record_of(sink, box, message);
    if (!record)
        mr_fail(&sink->failure, MR_EINVARIANT, "kafka sink: a delivery report for a record that was not sent");
    else if (mr_kafka_sink_is_refusal(message->err) && client == sink->client)
        mr_kafka_sink_alone_add(sink, box, record, message->partition);
    else if (mr_kafka_sink_is_refusal(message->err)) {
        if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) mr_kafka_sink_size_note(sink, record);
        box->settled(box, record, MR_EDATA, mr_kafka_sink_refusal_reason(message->err), rd_kafka_err2str(message->err));
    } else if (!sink->failure.status) {
        mr_fail(&sink->failure, MR_ESINK,
                "kafka sink: topic \"%s\": %s; nothing past the last delivered record was committed", sink->opt->topic,
                rd_kafka_err2str(message->err));
    }
}

/* A delivery report within transactions: a record that did not arrive is the end of its transaction. */
void mr_kafka_sink_port_delivered(struct mr_port *port, const rd_kafka_message_t *message)
{
    union {
        char *bytes;
        struct mr_sink *sink;
    } owner = {.bytes = (char *)port - offsetof(struct mr_sink, port)};
    struct mr_sink *const sink = owner.sink;
    struct mr_record *record = record_tagged(message->_private);
    struct mr_outbox *const box = record ? box_of(sink, record) : message->_private;

    if (!message->err) {
        arrived(sink, box);
        return;
    }
    if (!record) record = record_of(sink, box, message);
    if (record && mr_kafka_sink_is_refusal(message->err)) {
        const struct mr_sent_record sent = mr_kafka_sink_sent_record(sink, record);
        mr_transaction_refused(sink->transaction, &sent, rd_kafka_err2str(message->err));
    } else if (mr_kafka_is_denied(message->err) || /* says more than what the transaction says of it */
               (!sink->failure.status && !mr_transaction_failure(sink->transaction, &sink->failure))) {
        const mr_status status = mr_kafka_status(message->err);
        mr_fail(&sink->failure, status == MR_EFENCED || mr_kafka_is_denied(message->err) ? status : MR_ERESTART,
                "kafka sink: topic \"%s\": %s; its transaction is not committed", sink->opt->topic,
                rd_kafka_err2str(message->err));
    }
}
