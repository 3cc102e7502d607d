/* Records that the broker refused with others of their request: each is sent once more, alone. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "sink/kafka/sink.h"

#define ALONE_CAP     64       /* refused records that wait, before the list grows */
#define SOLO_AHEAD    16       /* of them, with the solo client at once: more than it has requests on their way */
#define SIZE_PROBES   8        /* records refused alone for their size, after which larger ones are not tried */
#define SIZE_HOLDS_US 10000000 /* so long: the topic's limit may be raised */

static bool alone_grow(struct mr_sink *sink)
{
    const size_t cap = sink->alone_cap ? sink->alone_cap * 2 : ALONE_CAP;
    struct alone *grown = calloc(cap, sizeof *grown);
    if (!grown) return false;
    for (size_t i = 0; i < sink->alone_count; i++) grown[i] = sink->alone[(sink->alone_first + i) % sink->alone_cap];
    free(sink->alone);
    sink->alone = grown;
    sink->alone_cap = cap;
    sink->alone_first = 0;
    return true;
}

/* Inside a delivery report: only notes it. alone_send sends it. */
void mr_kafka_sink_alone_add(struct mr_sink *sink, struct mr_outbox *box, struct mr_record *record, int32_t partition)
{
    if (sink->alone_count == sink->alone_cap && !alone_grow(sink)) {
        if (!sink->failure.status) mr_fail(&sink->failure, MR_ENOMEM, "kafka sink: out of memory for refused records");
        return;
    }
    sink->alone[(sink->alone_first + sink->alone_count++) % sink->alone_cap] = (struct alone){box, record, partition};
}

static bool solo_open(struct mr_sink *sink)
{
    if (sink->solo_topic) return true;
    if (sink->failure.status || mr_kafka_sink_client_open(sink, true, &sink->solo, &sink->failure)) return false;
    sink->solo_topic = rd_kafka_topic_new(sink->solo, sink->opt->topic, NULL);
    if (!sink->solo_topic)
        mr_fail(&sink->failure, MR_EKAFKA, "kafka sink: topic \"%s\": %s", sink->opt->topic,
                rd_kafka_err2str(rd_kafka_last_error()));
    return sink->solo_topic;
}

/* Bytes of a field behind its length, as a batch of records holds them. */
static size_t framed_bytes(size_t bytes)
{
    size_t framed = bytes + 1;
    for (size_t rest = bytes >> 6; rest; rest >>= 7) framed++;
    return framed;
}

size_t mr_kafka_sink_record_bytes(const struct mr_record *record)
{
    size_t bytes = framed_bytes(record->value_bytes) + framed_bytes(record->key_bytes);
    for (uint32_t i = 0; i < record->header_count; i++)
        bytes += framed_bytes(strlen(record->header[i].name)) + framed_bytes(record->header[i].value_bytes);
    return bytes;
}

/* A record was refused alone, for its size. */
void mr_kafka_sink_size_note(struct mr_sink *sink, const struct mr_record *record)
{
    const size_t bytes = mr_kafka_sink_record_bytes(record);
    const int64_t now_us = mr_clock_us();
    if (sink->is_packed) return;
    if (now_us >= sink->size_until_us) sink->size_refusals = 0;
    if (!sink->size_refusals || bytes < sink->size_refused) sink->size_refused = bytes;
    if (!sink->size_refusals++) sink->size_until_us = now_us + SIZE_HOLDS_US;
}

/* Every try alone is a round trip: what others have shown to be too large is not tried. */
static bool is_known_too_large(const struct mr_sink *sink, const struct mr_record *record)
{
    return sink->size_refusals >= SIZE_PROBES && mr_kafka_sink_record_bytes(record) >= sink->size_refused &&
           mr_clock_us() < sink->size_until_us;
}

/* Sends the refused records, each in a request of its own, in their order, as far as the solo client has room: a user's
 * own limit may be small. Never waits. */
void mr_kafka_sink_alone_send(struct mr_sink *sink)
{
    while (sink->alone_count && solo_open(sink)) {
        const struct alone next = sink->alone[sink->alone_first];
        rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        if (!is_known_too_large(sink, next.record)) {
            if (rd_kafka_outq_len(sink->solo) >= SOLO_AHEAD) return;
            code = mr_kafka_sink_send_one(sink->solo, sink->solo_topic, next.partition, next.record, next.box);
        }
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_outq_len(sink->solo)) return; /* after the next report */
        sink->alone_first = (sink->alone_first + 1) % sink->alone_cap;
        sink->alone_count--;
        if (mr_kafka_sink_is_refusal(code) || code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            next.box->settled(next.box, next.record, MR_EDATA, mr_kafka_sink_refusal_reason(code),
                              rd_kafka_err2str(code));
        else if (code && !sink->failure.status)
            mr_fail(&sink->failure, MR_ESINK, "kafka sink: topic \"%s\": %s", sink->opt->topic, rd_kafka_err2str(code));
    }
}
