/*
 * The Kafka sink: records go to the client in batches without a copy; they stay in the outbox until their delivery
 * report. A record that the broker refuses is sent once more alone, because a refusal hits all records of a request;
 * refused again, it is settled as undeliverable.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/client.h"
#include "sink/kafka/sink.h"

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

mr_status mr_kafka_sink_client_open(struct mr_sink *sink, bool is_solo, rd_kafka_t **client_out, struct mr_err *err)
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
    mr_kafka_queue_kbytes(sink->properties, sink->open.memory_bytes, kbytes);
    const mr_status status = mr_kafka_conf_create("sink", sink->properties, defaults, &conf, err);
    if (status) return status;
    char codec[32] = "";
    size_t codec_bytes = sizeof codec;
    sink->is_packed = rd_kafka_conf_get(conf, "compression.codec", codec, &codec_bytes) || strcmp(codec, "none");
    rd_kafka_conf_set_opaque(conf, sink);
    rd_kafka_conf_set_dr_msg_cb(conf, mr_kafka_sink_delivered);
    return mr_kafka_client_create("sink", RD_KAFKA_PRODUCER, conf, client_out, err);
}

static mr_status partitions_ask(struct mr_sink *sink, struct mr_err *err)
{
    return mr_kafka_partition_count(mr_kafka_sink_client(sink), sink->servers, sink->opt->topic,
                                    (int)(sink->open.connect_timeout_us / 1000), &sink->partition_count, err);
}

static mr_status own_client_open(struct mr_sink *sink, struct mr_err *err)
{
    mr_status status = mr_kafka_sink_client_open(sink, false, &sink->client, err);
    if (!status) status = partitions_ask(sink, err);
    if (!status && !(sink->topic = rd_kafka_topic_new(sink->client, sink->opt->topic, NULL)))
        status = mr_fail(err, MR_EKAFKA, "kafka sink: topic \"%s\": %s", sink->opt->topic,
                         rd_kafka_err2str(rd_kafka_last_error()));
    return status;
}

/* Within the lane's transactions: all that is sent goes through their producer. */
static mr_status port_open(struct mr_sink *sink, struct mr_err *err)
{
    sink->port = (struct mr_port){.topic_name = sink->opt->topic,
                                  .codec = sink->open.compress ? "lz4" : NULL,
                                  .delivered = mr_kafka_sink_port_delivered};
    const char *codec = mr_kafka_property(sink->properties, "compression.codec");
    if (!codec) codec = mr_kafka_property(sink->properties, "compression.type");
    sink->is_packed = codec ? strcmp(codec, "none") != 0 : sink->open.compress;
    /* First of all, for a client knows a topic as it was first told of it. */
    const mr_status status = mr_port_open(sink->transaction, &sink->port, err);
    return status ? status : partitions_ask(sink, err);
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
    if (!status) status = mr_kafka_sink_place(sink, err);
    if (sink->partition_count) sink->turn = (int32_t)(open->lane % (unsigned)sink->partition_count);
    if (status)
        kafka_close(sink);
    else
        *sink_out = sink;
    return status;
}

static void own_clients_poll(struct mr_sink *sink, int wait_ms)
{
    mr_kafka_sink_alone_send(sink);
    const bool waits_alone = sink->solo && rd_kafka_outq_len(sink->solo); /* the reports that come next come there */
    rd_kafka_poll(sink->client, waits_alone ? 0 : wait_ms);
    if (sink->solo) rd_kafka_poll(sink->solo, waits_alone ? wait_ms : 0);
    mr_kafka_sink_run_settle(sink);
    mr_kafka_sink_alone_send(sink);
    if (!sink->failure.status) mr_kafka_fatal(sink->client, "sink", &sink->failure);
}

static mr_status kafka_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    const int wait_ms = (int)((wait_us + 999) / 1000);
    if (sink->transaction) {
        mr_transaction_poll(sink->transaction, wait_ms);
        mr_kafka_sink_run_settle(sink);
        if (!sink->failure.status) mr_transaction_failure(sink->transaction, &sink->failure);
    } else {
        own_clients_poll(sink, wait_ms);
    }
    if (!sink->failure.status) return MR_OK;
    if (err) *err = sink->failure;
    return sink->failure.status;
}

const struct mr_sink_ops mr_sink_kafka = {
    .name = "kafka",
    .summary = "a Kafka topic; a record counts as delivered when all in-sync replicas have it",
    .options = kafka_sink_options,
    .options_size = sizeof(struct mr_kafka_sink_options),
    .open = kafka_open,
    .emit = mr_kafka_sink_emit,
    .poll = kafka_poll,
    .close = kafka_close,
};
