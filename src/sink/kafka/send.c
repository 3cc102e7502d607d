/* From the outbox to the client. */
#include "sink/kafka/sink.h"

#define NOT_KNOWN (-2) /* partition: the topic must be asked whether it has grown */

static rd_kafka_headers_t *headers_make(const struct mr_record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        rd_kafka_header_add(headers, record->header[i].name, -1, record->header[i].value,
                            (ssize_t)record->header[i].value_bytes);
    }
    return headers;
}

rd_kafka_resp_err_t mr_kafka_sink_send_one(rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition,
                                           const struct mr_record *record, struct mr_outbox *box)
{
    void *opaque = record->header_count ? mr_kafka_sink_tag(record) : box;
    rd_kafka_headers_t *headers = record->header_count ? headers_make(record) : NULL;
    union {
        const char *from;
        void *to;
    } value = {record->value},
      key = {record->key}; /* the client's interface is not const; without RD_KAFKA_MSG_F_FREE it only reads */
    const rd_kafka_resp_err_t code = rd_kafka_producev(
        client, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE(value.to, record->value_bytes),
        RD_KAFKA_V_KEY(key.to, record->key_bytes),
        RD_KAFKA_V_TIMESTAMP(record->timestamp_ms < 0 ? 0 : record->timestamp_ms), RD_KAFKA_V_MSGFLAGS(0),
        RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code && headers) rd_kafka_headers_destroy(headers);
    return code;
}

static int32_t partition_choose(const struct mr_sink *sink, const struct mr_record *record)
{
    if (record->partition >= 0) {
        if (record->partition < sink->same_count) return record->partition;
        if (sink->same_may_grow) return NOT_KNOWN;
    }
    if (record->partition != MR_PARTITION_BY_BATCH && record->key)
        return RD_KAFKA_PARTITION_UA; /* the client hashes the key */
    return sink->turn;
}

/* A record that finds the client's queue full although nothing is in it is larger than the queue and can never be sent.
 */
static bool is_too_large(const struct mr_sink *sink, rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_outq_len(mr_kafka_sink_client(sink)) == 0;
}

/* What the client said when it was offered a record. True: it took it, or never will; false: it has no room, or the
 * sink failed. */
static bool offer_judge(struct mr_sink *sink, struct mr_outbox *box, struct mr_record *record, rd_kafka_resp_err_t code)
{
    if (!code) return true;
    if (is_too_large(sink, code)) {
        box->settled(box, record, MR_EDATA, MR_REASON_OUTPUT_SIZE, "larger than queue.buffering.max.kbytes");
        return true;
    }
    if (mr_kafka_sink_is_refusal(code)) {
        box->settled(box, record, MR_EDATA, mr_kafka_sink_refusal_reason(code), rd_kafka_err2str(code));
        return true;
    }
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL && sink->transaction) mr_transaction_ask(sink->transaction);
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL && !sink->failure.status &&
        !(sink->transaction && mr_transaction_failure(sink->transaction, &sink->failure))) {
        mr_fail(&sink->failure, sink->transaction ? MR_ERESTART : MR_ESINK, "kafka sink: topic \"%s\": %s",
                sink->opt->topic, rd_kafka_err2str(code));
    }
    return false;
}

/* Hands over chunk[0 .. count) for one partition; returns how many the client took or refused for good. */
static size_t chunk_produce(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t count, int32_t partition)
{
    const size_t taken =
        (size_t)rd_kafka_produce_batch(mr_kafka_sink_topic(sink), partition, 0, sink->chunk, (int)count);
    if (sink->transaction) mr_transaction_sent(sink->transaction, taken);
    if (taken == count) return count;
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_resp_err_t code = sink->chunk[i].err;
        const bool is_large = is_too_large(sink, code);
        if (!offer_judge(sink, box, &box->record[from + i], code)) return i;
        if (is_large) return i + 1; /* those behind it were not offered */
    }
    return count;
}

struct mr_sent_record mr_kafka_sink_sent_record(const struct mr_sink *sink, const struct mr_record *record)
{
    return (struct mr_sent_record){.to = sink->opt->topic,
                                   .from = record->topic,
                                   .partition = record->source_partition,
                                   .offset = record->offset,
                                   .bytes = record->value_bytes,
                                   .size = sink->is_packed ? 0 : mr_kafka_sink_record_bytes(record)};
}

/* An earlier transaction with this output in it was refused, or with one that was not larger. */
static bool is_known_refused(const struct mr_sink *sink, const struct mr_record *record)
{
    if (!sink->transaction || !mr_transaction_has_refused(sink->transaction)) return false;
    const struct mr_sent_record sent = mr_kafka_sink_sent_record(sink, record);
    return mr_transaction_knows_refused(sink->transaction, &sent);
}

/* Records without headers and timestamps, from `from` on, that go to one partition. */
static size_t run_produce(struct mr_sink *sink, struct mr_outbox *box, size_t from, int32_t partition)
{
    size_t count = 0;
    while (count < MR_KAFKA_CHUNK && from + count < box->count) {
        const struct mr_record *record = &box->record[from + count];
        rd_kafka_message_t *message = &sink->chunk[count];
        union {
            const char *from;
            void *to;
        } value = {record->value}, key = {record->key};
        if (record->header_count || record->timestamp_ms >= 0 || partition_choose(sink, record) != partition ||
            is_known_refused(sink, record))
            break;
        message->payload = value.to;
        message->len = record->value_bytes;
        message->key = key.to;
        message->key_len = record->key_bytes;
        message->_private = box;
        count++;
    }
    return chunk_produce(sink, box, from, count, partition);
}

mr_status mr_kafka_sink_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                             struct mr_err *err)
{
    size_t next = from;

    if (from == 0 && sink->partition_count) sink->turn = (sink->turn + 1) % sink->partition_count;
    while (next < box->count && !sink->failure.status) {
        struct mr_record *record = &box->record[next];
        const int32_t partition = partition_choose(sink, record);
        if (is_known_refused(sink, record)) {
            box->settled(box, record, MR_EDATA, MR_REASON_OUTPUT_SIZE, "refused by the broker");
            next++;
        } else if (partition == NOT_KNOWN) {
            if (!mr_kafka_sink_place_again(sink, record->partition)) break;
        } else if (record->header_count || record->timestamp_ms >= 0) {
            if (record->header_count && !mr_kafka_sink_box_note(sink, box)) break;
            const rd_kafka_resp_err_t code =
                mr_kafka_sink_send_one(mr_kafka_sink_client(sink), mr_kafka_sink_topic(sink), partition, record, box);
            if (!offer_judge(sink, box, record, code)) break;
            if (!code && sink->transaction) mr_transaction_sent(sink->transaction, 1);
            next++;
        } else {
            const size_t taken = run_produce(sink, box, next, partition);
            if (!taken) break; /* the client's queue is full */
            next += taken;
        }
    }
    *taken_out = next - from;
    if (sink->failure.status) {
        if (err) *err = sink->failure;
        return sink->failure.status;
    }
    return next < box->count ? MR_AGAIN : MR_OK;
}
