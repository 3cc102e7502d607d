/*
 * The Kafka sink: records go to the client in batches without a copy; they stay in the outbox until their delivery
 * report. A record that the broker refuses is sent once more alone, because a refusal hits all records of a request;
 * refused again, it is settled as undeliverable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/client.h"
#include "millrace/sink.h"

#define CHUNK          512
#define SOLO_TRIES_MAX 1000 /* of 10 ms */
#define ASK_TIMEOUT_MS 1000
#define NOT_KNOWN      (-2) /* partition: the topic must be asked whether it has grown */

struct mr_kafka_sink_options {
    char *topic;
    struct mr_map properties;
};

struct mr_sink {
    const struct mr_kafka_sink_options *opt;
    struct mr_sink_open open;
    const struct mr_map *properties;
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_t *solo; /* one record a request; made when a record is first refused */
    const char *servers;
    int32_t partition_count, turn; /* turn: the partition of the current outbox for records that may go anywhere */
    int32_t same_count;            /* records that name a partition below it go there */
    bool same_may_grow;            /* with the topic; else what is not below goes by key, for good */
    rd_kafka_message_t chunk[CHUNK];
    struct mr_outbox *run_box; /* successful delivery reports come in long runs of one outbox */
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

static mr_status client_open(struct mr_sink *sink, bool is_solo, rd_kafka_t **client_out, struct mr_err *err)
{
    /* The solo client has no limit of its own: what it sends stands in outboxes, and those are counted. */
    const char *solo_kbytes = "2097151", *solo_messages = "10000000";
    char linger_ms[32], kbytes[32];
    const struct mr_kafka_default defaults[] = {
        {.key = "linger.ms", .value = linger_ms},
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

static mr_status kafka_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    struct mr_sink *sink = calloc(1, sizeof *sink);
    mr_status status = sink ? MR_OK : mr_fail(err, MR_ENOMEM, "kafka sink: out of memory");

    *sink_out = NULL;
    if (status) return status;
    sink->opt = open->options;
    sink->open = *open;
    sink->properties = sink->opt->properties.count || !open->properties ? &sink->opt->properties : open->properties;
    sink->servers = mr_kafka_property(sink->properties, "bootstrap.servers");
    if (!sink->servers)
        status = mr_fail(err, MR_ECONFIG,
                         "kafka sink: properties: bootstrap.servers is missing, and the source has none to share");
    if (!status) status = client_open(sink, false, &sink->client, err);
    if (!status) {
        status = mr_kafka_partition_count(sink->client, sink->servers, sink->opt->topic,
                                          (int)(open->connect_timeout_us / 1000), &sink->partition_count, err);
    }
    if (!status && !(sink->topic = rd_kafka_topic_new(sink->client, sink->opt->topic, NULL))) {
        status = mr_fail(err, MR_EKAFKA, "kafka sink: topic \"%s\": %s", sink->opt->topic,
                         rd_kafka_err2str(rd_kafka_last_error()));
    }
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
    return code == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_outq_len(sink->client) == 0;
}

static void run_settle(struct mr_sink *sink)
{
    if (sink->run_count) sink->run_box->settled_ok(sink->run_box, sink->run_count);
    sink->run_count = 0;
}

static bool is_record_of(const struct mr_record *record, const rd_kafka_message_t *message)
{
    if (message->payload) return record->value == message->payload;
    return !record->value && record->key == message->key &&
           record->row_count; /* a null, which only dead letters have */
}

/* The record that a failed message was made from. Reports come in the order of the records, so the search begins behind
 * the last one. */
static struct mr_record *record_of(struct mr_sink *sink, struct mr_outbox *box, const rd_kafka_message_t *message)
{
    for (size_t i = 0; i < box->count; i++) {
        struct mr_record *record = &box->record[(sink->last_failed + 1 + i) % box->count];
        if (!is_record_of(record, message)) continue;
        sink->last_failed = (size_t)(record - box->record);
        return record;
    }
    return NULL;
}

static rd_kafka_resp_err_t produce_one(rd_kafka_t *client, const char *topic, int32_t partition,
                                       const struct mr_record *record, void *opaque)
{
    rd_kafka_headers_t *headers = record->header_count ? rd_kafka_headers_new(record->header_count) : NULL;
    for (uint32_t i = 0; i < record->header_count; i++) {
        rd_kafka_header_add(headers, record->header[i].name, -1, record->header[i].value,
                            (ssize_t)record->header[i].value_bytes);
    }
    union {
        const char *from;
        void *to;
    } value = {record->value},
      key = {record->key}; /* the client's interface is not const; without RD_KAFKA_MSG_F_FREE it only reads */
    const rd_kafka_resp_err_t code = rd_kafka_producev(
        client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_VALUE(value.to, record->value_bytes), RD_KAFKA_V_KEY(key.to, record->key_bytes),
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

static void retry_alone(struct mr_sink *sink, struct mr_outbox *box, struct mr_record *record, int32_t partition)
{
    if (!sink->solo && client_open(sink, true, &sink->solo, &sink->failure)) return;
    rd_kafka_resp_err_t code;
    int tries = SOLO_TRIES_MAX; /* a user's own limit may be small */
    while ((code = produce_one(sink->solo, sink->opt->topic, partition, record, box)) ==
               RD_KAFKA_RESP_ERR__QUEUE_FULL &&
           tries--) {
        rd_kafka_poll(sink->solo, 10);
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        mr_fail(&sink->failure, MR_ESINK, "kafka sink: topic \"%s\": no room to send records alone", sink->opt->topic);
    else if (code)
        box->settled(box, record, MR_EDATA, refusal_reason(code), rd_kafka_err2str(code));
}

/* A delivery report. Runs inside rd_kafka_poll on the lane's thread. */
static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct mr_sink *sink = opaque;
    struct mr_outbox *box = message->_private;

    if (!message->err) {
        if (box != sink->run_box) {
            run_settle(sink);
            sink->run_box = box;
        }
        sink->run_count++;
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
    if (sink->is_closing) return; /* neither retried nor told: it is not committed and will be repeated */
    struct mr_record *record = record_of(sink, box, message);
    if (!record)
        mr_fail(&sink->failure, MR_EINVARIANT, "kafka sink: a delivery report for a record that was not sent");
    else if (is_refusal(message->err) && client == sink->client)
        retry_alone(sink, box, record, message->partition);
    else if (is_refusal(message->err))
        box->settled(box, record, MR_EDATA, refusal_reason(message->err), rd_kafka_err2str(message->err));
    else if (!sink->failure.status) {
        mr_fail(&sink->failure, MR_ESINK,
                "kafka sink: topic \"%s\": %s; nothing past the last delivered record was committed", sink->opt->topic,
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
    const mr_status status = mr_kafka_partition_count(sink->client, sink->servers, topic, ASK_TIMEOUT_MS, &count, &err);

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
    if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL && !sink->failure.status) {
        mr_fail(&sink->failure, MR_ESINK, "kafka sink: topic \"%s\": %s", sink->opt->topic, rd_kafka_err2str(code));
    }
    return false;
}

/* Hands over chunk[0 .. count) for one partition; returns how many the client took or refused for good. */
static size_t chunk_produce(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t count, int32_t partition)
{
    const size_t taken = (size_t)rd_kafka_produce_batch(sink->topic, partition, 0, sink->chunk, (int)count);
    if (taken == count) return count;
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_resp_err_t code = sink->chunk[i].err;
        const bool is_large = is_too_large(sink, code);
        if (!offer_judge(sink, box, &box->record[from + i], code)) return i;
        if (is_large) return i + 1; /* those behind it were not offered */
    }
    return count;
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
        if (record->header_count || record->timestamp_ms >= 0 || partition_choose(sink, record) != partition) break;
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
        if (partition == NOT_KNOWN) {
            if (!growth_resolve(sink, record->partition)) break;
        } else if (record->header_count || record->timestamp_ms >= 0) {
            const rd_kafka_resp_err_t code = produce_one(sink->client, sink->opt->topic, partition, record, box);
            if (!offer_judge(sink, box, record, code)) break;
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

static mr_status kafka_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    rd_kafka_poll(sink->client, (int)((wait_us + 999) / 1000));
    if (sink->solo) rd_kafka_poll(sink->solo, 0);
    run_settle(sink);
    if (!sink->failure.status) mr_kafka_fatal(sink->client, "sink", &sink->failure);
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
    if (sink->topic) rd_kafka_topic_destroy(sink->topic);
    client_close(sink->client);
    client_close(sink->solo);
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
