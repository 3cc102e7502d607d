/*
 * The Kafka sink: records go to the client in batches without a copy; they stay in the outbox until their delivery
 * report. A record that the broker refuses is sent once more alone, because a refusal hits all records of a request;
 * refused again, it is settled as undeliverable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/transaction.h"
#include "millrace/sink.h"

#define CHUNK          512
#define ALONE_CAP      64       /* refused records that wait, before the list grows */
#define SOLO_AHEAD     16       /* of them, with the solo client at once: more than it has requests on their way */
#define SIZE_PROBES    8        /* records refused alone for their size, after which larger ones are not tried */
#define SIZE_HOLDS_US  10000000 /* so long: the topic's limit may be raised */
#define ASK_TIMEOUT_MS 1000
#define NOT_KNOWN      (-2) /* partition: the topic must be asked whether it has grown */

struct mr_kafka_sink_options {
    char *topic;
    struct mr_map properties;
};

/* A refused record that waits for its second try. Its bytes lie in the outbox, which lives until it is settled. */
struct alone {
    struct mr_outbox *box;
    struct mr_record *record;
    int32_t partition;
};

struct mr_sink {
    const struct mr_kafka_sink_options *opt;
    struct mr_sink_open open;
    const struct mr_map *properties;
    struct mr_transaction *transaction; /* NULL: the sink has a client of its own */
    struct mr_port port;                /* in the transaction */
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_t *solo; /* one record a request; made when a record is first refused */
    const char *servers;
    rd_kafka_topic_t *solo_topic;
    struct alone *alone; /* ring [alone_cap]: what the solo client had no room for yet */
    size_t alone_first, alone_count, alone_cap;
    size_t size_refused, size_refusals; /* the smallest record that was refused alone for its size; how many were */
    int64_t size_until_us;
    bool is_packed;                /* records are compressed: how large they are for the broker is not known here */
    int32_t partition_count, turn; /* turn: the partition of the current outbox for records that may go anywhere */
    int32_t same_count;            /* records that name a partition below it go there */
    bool same_may_grow;            /* with the topic; else what is not below goes by key, for good */
    rd_kafka_message_t chunk[CHUNK];
    struct mr_outbox **box; /* [box_cap]: those whose records have headers */
    size_t box_count, box_cap;
    struct mr_outbox *box_last; /* noted last */
    struct mr_outbox *run_box;  /* successful delivery reports come in long runs of one outbox */
    size_t run_count;
    size_t last_failed; /* where the search for the record of a failed report begins */
    bool is_closing;
    struct mr_err failure;
};

#define AT(field) offsetof(struct mr_kafka_sink_options, field)
static const struct mr_option kafka_sink_options[] = {
    {.key = "topic",
     .type = MR_OPT_STRING,
     .offset = AT(topic),
     .required = true,
     .doc = "Topic that the records are written to.",
     .example = "\"example_2\""},
    {.key = "properties",
     .type = MR_OPT_MAP,
     .offset = AT(properties),
     .check_pair = mr_kafka_property_check,
     .doc = "Any librdkafka property; without any, the source's are used."},
    {0},
};
#undef AT

static void kafka_close(struct mr_sink *sink);
static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);
static void port_delivered(struct mr_port *port, const rd_kafka_message_t *message);

static rd_kafka_t *client_of(const struct mr_sink *sink)
{
    return sink->transaction ? mr_transaction_client(sink->transaction) : sink->client;
}

static rd_kafka_topic_t *topic_of(const struct mr_sink *sink)
{
    return sink->transaction ? sink->port.topic : sink->topic;
}

static mr_status client_open(struct mr_sink *sink, bool is_solo, rd_kafka_t **client_out, struct mr_err *err)
{
    /* The solo client has no limit of its own: what it sends stands in outboxes, and those are counted. */
    const char *solo_kbytes = "2097151", *solo_messages = "10000000";
    char linger_ms[32], kbytes[32];
    const struct mr_kafka_default defaults[] = {
        {.key = "linger.ms", .value = linger_ms},
        {.key = "compression.codec", .value = sink->open.compress ? "lz4" : "none", .is_optional = true},
        {.key = "queue.buffering.max.kbytes", .value = is_solo ? solo_kbytes : kbytes},
        {.key = "queue.buffering.max.messages", .value = is_solo ? solo_messages : "1000000"},
        {.key = "batch.num.messages", .value = is_solo ? "1" : "100000", .is_reserved = is_solo},
        {.key = "enable.idempotence", .value = "true"},
        {.key = "delivery.report.only.error", .value = "false", .is_reserved = true}, /* every record is waited for */
        {.key = "message.timeout.ms", .value = "0"},
        {.key = "reconnect.backoff.max.ms", .value = "1000"},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "partitioner", .value = "murmur2_random"},
        {.key = "client.id", .value = "millrace"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    rd_kafka_conf_t *conf;
    snprintf(linger_ms, sizeof linger_ms, "%g", is_solo ? 0.0 : (double)sink->open.linger_us / 1000.0);
    /* At least one message of the largest size must fit. */
    const char *message_max = mr_kafka_property(sink->properties, "message.max.bytes");
    const size_t least = message_max && atoll(message_max) > 0 ? (size_t)atoll(message_max) / 1024 + 1 : 1024;
    snprintf(kbytes, sizeof kbytes, "%zu",
             sink->open.memory_bytes / 1024 < least ? least : sink->open.memory_bytes / 1024);
    const mr_status status = mr_kafka_conf_create("sink", sink->properties, defaults, &conf, err);
    if (status) return status;
    char codec[32] = "";
    size_t codec_bytes = sizeof codec;
    sink->is_packed = rd_kafka_conf_get(conf, "compression.codec", codec, &codec_bytes) || strcmp(codec, "none");
    rd_kafka_conf_set_opaque(conf, sink);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    return mr_kafka_client_create("sink", RD_KAFKA_PRODUCER, conf, client_out, err);
}

/*
 * Whether records go to the partitions that they name. A topic with more partitions than its input can keep each
 * record's: that is done where it is asked for by name, not by default, which would leave partitions empty.
 */
static mr_status same_decide(struct mr_sink *sink, struct mr_err *err)
{
    const struct mr_sink_open *open = &sink->open;
    const char *topic = sink->opt->topic;
    const int32_t least = open->source_partitions_min, most = open->source_partitions_max, own = sink->partition_count;

    if (open->partition_rule == MR_PARTITION_ALWAYS && most > own) {
        return mr_fail(err, MR_ECONFIG,
                       "emit.partition \"same\": topic \"%s\" has %d partitions, the input has %d: give it as many "
                       "(kafka-topics --bootstrap-server %s --alter --topic %s --partitions %d), or set emit.partition "
                       "to \"key\" or \"sticky\"",
                       topic, own, most, sink->servers, topic, most);
    }
    sink->same_may_grow = open->partition_rule == MR_PARTITION_ALWAYS || (least == own && most == own);
    sink->same_count = sink->same_may_grow ? own : 0;
    if (!sink->same_may_grow && most && !open->lane) {
        mr_log(MR_LOG_WARN, "kafka",
               "topic \"%s\" has %d partitions, the input has %d: all records go by key, or by batch where they have "
               "none, and the order of an input partition is not kept; give it as many, or set emit.partition",
               topic, own, least == own ? most : least);
    }
    return MR_OK;
}

static mr_status partitions_ask(struct mr_sink *sink, struct mr_err *err)
{
    return mr_kafka_partition_count(client_of(sink), sink->servers, sink->opt->topic,
                                    (int)(sink->open.connect_timeout_us / 1000), &sink->partition_count, err);
}

static mr_status own_client_open(struct mr_sink *sink, struct mr_err *err)
{
    mr_status status = client_open(sink, false, &sink->client, err);
    if (!status) status = partitions_ask(sink, err);
    if (!status && !(sink->topic = rd_kafka_topic_new(sink->client, sink->opt->topic, NULL)))
        status = mr_fail(err, MR_EKAFKA, "kafka sink: topic \"%s\": %s", sink->opt->topic,
                         rd_kafka_err2str(rd_kafka_last_error()));
    return status;
}

/* Within the lane's transactions: all that is sent goes through their producer. */
static mr_status port_open(struct mr_sink *sink, struct mr_err *err)
{
    sink->port = (struct mr_port){
        .topic_name = sink->opt->topic, .codec = sink->open.compress ? "lz4" : NULL, .delivered = port_delivered};
    /* First of all, for a client knows a topic as it was first told of it. */
    const mr_status status = mr_port_open(sink->transaction, &sink->port, err);
    return status ? status : partitions_ask(sink, err);
}

static mr_status kafka_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    struct mr_sink *sink = calloc(1, sizeof *sink);
    mr_status status = sink ? MR_OK : mr_fail(err, MR_ENOMEM, "kafka sink: out of memory");

    *sink_out = NULL;
    if (status) return status;
    sink->opt = open->options;
    sink->open = *open;
    sink->transaction = open->transaction;
    sink->properties = sink->opt->properties.count || !open->properties ? &sink->opt->properties : open->properties;
    sink->servers = mr_kafka_property(sink->properties, "bootstrap.servers");
    if (!sink->servers)
        status = mr_fail(err, MR_ECONFIG,
                         "kafka sink: properties: bootstrap.servers is missing, and the source has none to share");
    if (!status) status = sink->transaction ? port_open(sink, err) : own_client_open(sink, err);
    if (!status) status = same_decide(sink, err);
    if (sink->partition_count) sink->turn = (int32_t)(open->lane % (unsigned)sink->partition_count);
    if (status)
        kafka_close(sink);
    else
        *sink_out = sink;
    return status;
}

/* A record that finds the client's queue full although nothing is in it is larger than the queue and can never be sent.
 */
static bool is_too_large(const struct mr_sink *sink, rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_outq_len(client_of(sink)) == 0;
}

static void run_settle(struct mr_sink *sink)
{
    if (sink->run_count) sink->run_box->settled_ok(sink->run_box, sink->run_count);
    sink->run_count = 0;
}

/*
 * What a message carries through the client: its outbox, or, if it has headers, its record, marked by the lowest bit.
 */
union tag {
    const void *pointer;
    uintptr_t bits;
};

static void *record_tag(const struct mr_record *record)
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
static bool box_note(struct mr_sink *sink, struct mr_outbox *box)
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

static rd_kafka_headers_t *headers_make(const struct mr_record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        rd_kafka_header_add(headers, record->header[i].name, -1, record->header[i].value,
                            (ssize_t)record->header[i].value_bytes);
    }
    return headers;
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

static rd_kafka_resp_err_t produce_one(rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition,
                                       const struct mr_record *record, struct mr_outbox *box)
{
    void *opaque = record->header_count ? record_tag(record) : box;
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

static bool is_refusal(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE ||
           code == RD_KAFKA_RESP_ERR_INVALID_MSG || code == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
           code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE || code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP;
}

static mr_reason refusal_reason(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_INVALID_RECORD || code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP
               ? MR_REASON_REFUSED
               : MR_REASON_OUTPUT_SIZE;
}

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
static void alone_add(struct mr_sink *sink, struct mr_outbox *box, struct mr_record *record, int32_t partition)
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
    if (sink->failure.status || client_open(sink, true, &sink->solo, &sink->failure)) return false;
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

/* Grows with what a record takes in a request of its own, whichever fields take it. */
static size_t record_bytes(const struct mr_record *record)
{
    size_t bytes = framed_bytes(record->value_bytes) + framed_bytes(record->key_bytes);
    for (uint32_t i = 0; i < record->header_count; i++)
        bytes += framed_bytes(strlen(record->header[i].name)) + framed_bytes(record->header[i].value_bytes);
    return bytes;
}

/* A record was refused alone, for its size. */
static void size_note(struct mr_sink *sink, const struct mr_record *record)
{
    const size_t bytes = record_bytes(record);
    const int64_t now_us = mr_clock_us();
    if (sink->is_packed) return;
    if (now_us >= sink->size_until_us) sink->size_refusals = 0;
    if (!sink->size_refusals || bytes < sink->size_refused) sink->size_refused = bytes;
    if (!sink->size_refusals++) sink->size_until_us = now_us + SIZE_HOLDS_US;
}

/* Every try alone is a round trip: what others have shown to be too large is not tried. */
static bool is_known_too_large(const struct mr_sink *sink, const struct mr_record *record)
{
    return sink->size_refusals >= SIZE_PROBES && record_bytes(record) >= sink->size_refused &&
           mr_clock_us() < sink->size_until_us;
}

/* Sends the refused records, each in a request of its own, in their order, as far as the solo client has room: a user's
 * own limit may be small. Never waits. */
static void alone_send(struct mr_sink *sink)
{
    while (sink->alone_count && solo_open(sink)) {
        const struct alone next = sink->alone[sink->alone_first];
        rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        if (!is_known_too_large(sink, next.record)) {
            if (rd_kafka_outq_len(sink->solo) >= SOLO_AHEAD) return;
            code = produce_one(sink->solo, sink->solo_topic, next.partition, next.record, next.box);
        }
        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_outq_len(sink->solo)) return; /* after the next report */
        sink->alone_first = (sink->alone_first + 1) % sink->alone_cap;
        sink->alone_count--;
        if (is_refusal(code) || code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            next.box->settled(next.box, next.record, MR_EDATA, refusal_reason(code), rd_kafka_err2str(code));
        else if (code && !sink->failure.status)
            mr_fail(&sink->failure, MR_ESINK, "kafka sink: topic \"%s\": %s", sink->opt->topic, rd_kafka_err2str(code));
    }
}

/* Reports of records that arrived come in long runs of one outbox. */
static void arrived(struct mr_sink *sink, struct mr_outbox *box)
{
    if (box != sink->run_box) {
        run_settle(sink);
        sink->run_box = box;
    }
    sink->run_count++;
}

/* A delivery report. Runs inside rd_kafka_poll on the lane's thread. */
static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
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
    else if (is_refusal(message->err) && client == sink->client)
        alone_add(sink, box, record, message->partition);
    else if (is_refusal(message->err)) {
        if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) size_note(sink, record);
        box->settled(box, record, MR_EDATA, refusal_reason(message->err), rd_kafka_err2str(message->err));
    } else if (!sink->failure.status) {
        mr_fail(&sink->failure, MR_ESINK,
                "kafka sink: topic \"%s\": %s; nothing past the last delivered record was committed", sink->opt->topic,
                rd_kafka_err2str(message->err));
    }
}

static struct mr_sent_record sent_record(const struct mr_sink *sink, const struct mr_record *record)
{
    return (struct mr_sent_record){.to = sink->opt->topic,
                                   .from = record->topic,
                                   .partition = record->source_partition,
                                   .offset = record->offset,
                                   .bytes = record->value_bytes};
}

/* A delivery report within transactions: a record that did not arrive is the end of its transaction. */
static void port_delivered(struct mr_port *port, const rd_kafka_message_t *message)
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
    if (record && is_refusal(message->err)) {
        const struct mr_sent_record sent = sent_record(sink, record);
        mr_transaction_refused(sink->transaction, &sent, rd_kafka_err2str(message->err));
    } else if (!sink->failure.status) {
        mr_fail(&sink->failure, mr_kafka_status(message->err) == MR_EFENCED ? MR_EFENCED : MR_ERESTART,
                "kafka sink: topic \"%s\": %s; its transaction is not committed", sink->opt->topic,
                rd_kafka_err2str(message->err));
    }
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

/*
 * A record comes from a partition that this topic did not have: the input has grown. If the topic has too, nothing
 * changes; if not, records of the partitions that it lacks go by key from now on, also when it grows later, so that
 * they do not change their place twice. False: no broker said.
 */
static bool growth_resolve(struct mr_sink *sink, int32_t wanted)
{
    const char *topic = sink->opt->topic;
    struct mr_err err;
    int32_t count;
    const mr_status status =
        mr_kafka_partition_count(client_of(sink), sink->servers, topic, ASK_TIMEOUT_MS, &count, &err);

    if (status == MR_EINPUT) sink->failure = err; /* it is gone */
    if (status) return false;
    if (count > sink->partition_count)
        mr_log(MR_LOG_INFO, "kafka", "topic \"%s\" has grown: %d partitions, now %d", topic, sink->partition_count,
               count);
    if (count < sink->partition_count) count = sink->partition_count; /* topics do not shrink */
    sink->partition_count = sink->same_count = count;
    if (wanted < count) return true;
    sink->same_may_grow = false;
    mr_log(MR_LOG_WARN, "kafka",
           "the input has grown, topic \"%s\" has %d partitions: records of input partitions 0 to %d stay in theirs, "
           "those of the new ones go by key, or by batch; give it as many and start again, or set emit.partition",
           topic, count, count - 1);
    return true;
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
    if (is_refusal(code)) {
        box->settled(box, record, MR_EDATA, refusal_reason(code), rd_kafka_err2str(code));
        return true;
    }
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
    const size_t taken = (size_t)rd_kafka_produce_batch(topic_of(sink), partition, 0, sink->chunk, (int)count);
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

/* An earlier transaction with this output in it was refused. */
static bool is_known_refused(const struct mr_sink *sink, const struct mr_record *record)
{
    const struct mr_sent_record sent = sent_record(sink, record);
    return sink->transaction && mr_transaction_knows_refused(sink->transaction, &sent);
}

/* Records without headers and timestamps, from `from` on, that go to one partition. */
static size_t run_produce(struct mr_sink *sink, struct mr_outbox *box, size_t from, int32_t partition)
{
    size_t count = 0;
    while (count < CHUNK && from + count < box->count) {
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

static mr_status kafka_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
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
            if (!growth_resolve(sink, record->partition)) break;
        } else if (record->header_count || record->timestamp_ms >= 0) {
            if (record->header_count && !box_note(sink, box)) break;
            const rd_kafka_resp_err_t code = produce_one(client_of(sink), topic_of(sink), partition, record, box);
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

static void own_clients_poll(struct mr_sink *sink, int wait_ms)
{
    alone_send(sink);
    const bool waits_alone = sink->solo && rd_kafka_outq_len(sink->solo); /* the reports that come next come there */
    rd_kafka_poll(sink->client, waits_alone ? 0 : wait_ms);
    if (sink->solo) rd_kafka_poll(sink->solo, waits_alone ? wait_ms : 0);
    run_settle(sink);
    alone_send(sink);
    if (!sink->failure.status) mr_kafka_fatal(sink->client, "sink", &sink->failure);
}

static mr_status kafka_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    const int wait_ms = (int)((wait_us + 999) / 1000);
    if (sink->transaction) {
        mr_transaction_poll(sink->transaction, wait_ms);
        run_settle(sink);
        if (!sink->failure.status) mr_transaction_failure(sink->transaction, &sink->failure);
    } else {
        own_clients_poll(sink, wait_ms);
    }
    if (!sink->failure.status) return MR_OK;
    if (err) *err = sink->failure;
    return sink->failure.status;
}

static void client_close(rd_kafka_t *client)
{
    if (!client) return;
    /* Whatever is still queued was not acknowledged and will not be committed: a restart sends it again. */
    rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_poll(client, 0);
    rd_kafka_destroy(client);
}

static void kafka_close(struct mr_sink *sink)
{
    if (!sink) return;
    sink->is_closing = true;
    if (sink->port.topic_name) mr_port_close(sink->transaction, &sink->port);
    if (sink->topic) rd_kafka_topic_destroy(sink->topic);
    if (sink->solo_topic) rd_kafka_topic_destroy(sink->solo_topic);
    client_close(sink->client);
    client_close(sink->solo);
    free(sink->box);
    free(sink->alone);
    free(sink);
}

const struct mr_sink_ops mr_sink_kafka = {
    .name = "kafka",
    .summary = "a Kafka topic; a record counts as delivered when all in-sync replicas have it",
    .options = kafka_sink_options,
    .options_size = sizeof(struct mr_kafka_sink_options),
    .open = kafka_open,
    .emit = kafka_emit,
    .poll = kafka_poll,
    .close = kafka_close,
};
