/* The Kafka source: opening and closing. assign.c: which partitions; poll.c: messages; commit.c: offsets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define MESSAGE_OVERHEAD_BYTES 512 /* what librdkafka keeps beside the bytes of a queued message, rounded up */
#define FETCH_MAX_BYTES        "16777216"

static void kafka_close(struct mr_source *source);

static int64_t at_least(int64_t value, int64_t least)
{
    return value < least ? least : value;
}

/*
 * The consumer's prefetch: enough to keep the lane busy, within its share of the job's memory. Small records are bound
 * by their number, because the client keeps more beside them than in them; large ones by their bytes.
 */
static mr_status conf_limits(struct mr_source *source, rd_kafka_conf_t *conf, struct mr_err *err)
{
    const struct mr_map *properties = &source->opt->properties;
    const int64_t budget = (int64_t)source->open.memory_bytes;
    const int64_t wait_ms = source->opt->fetch_wait_max / 1000;
    const char *given_count = mr_kafka_property(properties, "queued.min.messages");
    const char *given_kbytes = mr_kafka_property(properties, "queued.max.messages.kbytes");
    char text[32], reason[256];

    source->queued_messages_max = given_count ? atoll(given_count) : at_least(budget / MESSAGE_OVERHEAD_BYTES, 1000);
    source->queued_bytes_max = given_kbytes ? atoll(given_kbytes) * 1024 : at_least(budget / 3, 1 << 20);
    const struct {
        const char *key;
        int64_t value;
    } limits[] = {
        {.key = "queued.min.messages", .value = source->queued_messages_max},
        {.key = "queued.max.messages.kbytes", .value = source->queued_bytes_max / 1024},
        {.key = "fetch.wait.max.ms", .value = mr_kafka_is_embedded(properties) && wait_ms > 5 ? 5 : wait_ms},
    };

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (mr_kafka_property(properties, limits[i].key)) continue;
        snprintf(text, sizeof text, "%lld", (long long)limits[i].value);
        if (rd_kafka_conf_set(conf, limits[i].key, text, reason, sizeof reason))
            return mr_fail(err, MR_ECONFIG, "kafka source: %s", reason);
    }
    return MR_OK;
}

/* What only the classic group protocol has: with "group.protocol": "consumer" the broker decides, and the client
 * refuses these. */
static mr_status conf_protocol(const struct mr_source *source, rd_kafka_conf_t *conf, struct mr_err *err)
{
    static const struct {
        const char *key, *value;
    } rows[] = {
        /* A member learns of a rebalance at its next heartbeat: with the usual 3 s, the second lane's join would stop
           the first for 2 s. */
        {"heartbeat.interval.ms", "250"},
        {"partition.assignment.strategy", "range,roundrobin"},
    };
    const struct mr_map *const properties = &source->opt->properties;
    const char *const protocol = mr_kafka_property(properties, "group.protocol");
    char reason[256];
    if (protocol && !strcmp(protocol, "consumer")) return MR_OK;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (mr_kafka_property(properties, rows[i].key)) continue;
        if (rd_kafka_conf_set(conf, rows[i].key, rows[i].value, reason, sizeof reason))
            return mr_fail(err, MR_ECONFIG, "kafka source: %s", reason);
    }
    return MR_OK;
}

static mr_status conf_member(struct mr_source *source, rd_kafka_conf_t *conf, struct mr_err *err)
{
    char instance[512], reason[256];

    mr_kafka_group(source->opt->group, source->open.job, source->group, sizeof source->group);
    if (rd_kafka_conf_set(conf, "group.id", source->group, reason, sizeof reason))
        return mr_fail(err, MR_ECONFIG, "kafka source: group: %s", reason);
    if (source->opt->membership != MR_MEMBER_STATIC) return MR_OK;
    mr_kafka_instance(source->open.job, source->opt->instance, source->open.lane, instance, sizeof instance);
    if (rd_kafka_conf_set(conf, "group.instance.id", instance, reason, sizeof reason)) {
        return mr_fail(err, MR_ECONFIG, "kafka source: instance: %s", reason);
    }
    return MR_OK;
}

static mr_status client_open(struct mr_source *source, struct mr_err *err)
{
    static const char *const resets[] = {"error", "earliest", "latest"};
    const char *message_max = mr_kafka_property(&source->opt->properties, "message.max.bytes");
    const bool wants_ends = source->open.is_bounded || source->open.events.reached;
    const bool is_large = message_max && atoll(message_max) > atoll(FETCH_MAX_BYTES);
    const struct mr_kafka_default defaults[] = {
        {.key = "enable.auto.commit", .value = "false", .is_reserved = true},
        {.key = "enable.auto.offset.store", .value = "false", .is_reserved = true},
        {.key = "enable.partition.eof", .value = wants_ends ? "true" : "false", .is_reserved = true},
        {.key = "auto.offset.reset", .value = resets[source->opt->lost_offsets], .is_reserved = true},
        {.key = "isolation.level", .value = "read_committed"},
        {.key = "topic.metadata.refresh.interval.ms", .value = "30000"},
        {.key = "fetch.message.max.bytes", .value = "1048576"},
        {.key = "fetch.max.bytes",
         .value = is_large ? message_max : FETCH_MAX_BYTES}, /* the client wants it no smaller */
        {.key = "reconnect.backoff.max.ms", .value = "1000"},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "check.crcs", .value = "true"},
        {.key = "client.id", .value = "millrace"},
        {.key = "fetch.queue.backoff.ms", .value = "5", .is_optional = true},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    rd_kafka_conf_t *conf;
    mr_status status = mr_kafka_conf_create("source", &source->opt->properties, defaults, &conf, err);

    if (status) return status;
    rd_kafka_conf_set_opaque(conf, source);
    rd_kafka_conf_set_rebalance_cb(conf, mr_kafka_rebalance);
    status = conf_limits(source, conf, err);
    if (!status) status = conf_protocol(source, conf, err);
    if (!status) status = conf_member(source, conf, err);
    if (status) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    status = mr_kafka_client_create("source", RD_KAFKA_CONSUMER, conf, &source->client, err);
    if (status) return status;
    rd_kafka_poll_set_consumer(source->client);
    source->queue = rd_kafka_queue_new(source->client);
    source->reports = rd_kafka_queue_new(source->client);
    return source->queue && source->reports ? MR_OK : mr_fail(err, MR_ENOMEM, "kafka source: out of memory");
}

/* What the patterns of the job match at start. */
static mr_status patterns_look(struct mr_source *source, struct mr_err *err)
{
    const struct rd_kafka_metadata *metadata;
    const int timeout_ms = (int)(source->opt->connect_timeout / 1000);
    const rd_kafka_resp_err_t code = rd_kafka_metadata(source->client, 1, NULL, &metadata, timeout_ms);
    if (code) return mr_fail(err, MR_EKAFKA, "kafka source: topics at %s: %s", source->servers, rd_kafka_err2str(code));
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (!mr_kafka_is_read(&source->opt->topics, metadata->topics[i].topic)) continue;
        const uint32_t topic = mr_kafka_topic_index(source, metadata->topics[i].topic);
        if (topic != UINT32_MAX) source->initial_count[topic] = metadata->topics[i].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    source->knows_topics = true;
    return MR_OK;
}

/* Topics must exist before the lane starts: a wrong name would otherwise just be silence. */
static mr_status topics_check(struct mr_source *source, struct mr_err *err)
{
    for (size_t i = 0; i < source->opt->topics.count; i++) {
        const char *name = source->opt->topics.item[i];
        int32_t count;
        if (name[0] == '^') {
            const mr_status look_status = source->knows_topics ? MR_OK : patterns_look(source, err);
            if (look_status) return look_status;
            continue;
        }
        const mr_status status = mr_kafka_partition_count(source->client, source->servers, name,
                                                          (int)(source->opt->connect_timeout / 1000), &count, err);
        if (status) return status;
        const uint32_t topic = mr_kafka_topic_index(source, name);
        if (topic != UINT32_MAX) source->initial_count[topic] = count;
        const mr_status start_status = mr_kafka_start_check(&source->start, name, count, err);
        if (start_status) return start_status;
    }
    return MR_OK;
}

static void range_add(int32_t count, int32_t *min, int32_t *max)
{
    if (count < *min || !*min) *min = count;
    if (count > *max) *max = count;
}

static mr_status kafka_partition_range(struct mr_source *source, int32_t *min_out, int32_t *max_out, struct mr_err *err)
{
    const struct rd_kafka_metadata *metadata;
    const int timeout_ms = (int)(source->opt->connect_timeout / 1000);
    bool has_pattern = false;

    *min_out = *max_out = 0;
    for (size_t i = 0; i < source->opt->topics.count; i++) has_pattern |= source->opt->topics.item[i][0] == '^';
    if (!has_pattern) {
        for (uint32_t i = 0; i < source->topic_count; i++) range_add(source->initial_count[i], min_out, max_out);
        return MR_OK;
    }
    const rd_kafka_resp_err_t code = rd_kafka_metadata(source->client, 1, NULL, &metadata, timeout_ms);
    if (code) return mr_fail(err, MR_EKAFKA, "kafka source: topics at %s: %s", source->servers, rd_kafka_err2str(code));
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (topic->partition_cnt && mr_kafka_is_read(&source->opt->topics, topic->topic))
            range_add(topic->partition_cnt, min_out, max_out);
    }
    rd_kafka_metadata_destroy(metadata);
    return MR_OK;
}

/* Whether the broker is librdkafka's mock cluster, which names itself. */
static bool is_mock(struct mr_source *source)
{
    char *id = rd_kafka_clusterid(source->client, 1000);
    const bool is_named = id && !strncmp(id, "mockCluster", strlen("mockCluster"));
    if (id) rd_kafka_mem_free(source->client, id);
    return is_named || mr_kafka_is_embedded(&source->opt->properties);
}

rd_kafka_resp_err_t mr_kafka_subscribe(struct mr_source *source)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->opt->topics.count);
    for (size_t i = 0; i < source->opt->topics.count; i++)
        rd_kafka_topic_partition_list_add(list, source->opt->topics.item[i], RD_KAFKA_PARTITION_UA);
    const rd_kafka_resp_err_t code = rd_kafka_subscribe(source->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static mr_status kafka_join(struct mr_source *source, struct mr_err *err)
{
    /*
     * The embedded broker takes 3 s for a group's first join (librdkafka 2.0.2), waits for static members that never
     * come back, and refuses commits while a group changes: there, in this process or another, each lane takes its
     * share itself. Asked for dynamic members, it gets them.
     */
    const bool is_asked = source->opt->membership == MR_MEMBER_DYNAMIC || source->opt->membership == MR_MEMBER_NONE;
    source->keeps_offsets = !is_mock(source); /* those of transactions: the embedded one forgets them */
    const bool is_alone = !is_asked && !source->keeps_offsets;
    if (is_alone && !source->open.lane)
        mr_log(MR_LOG_INFO, "kafka", "embedded broker: this process reads all partitions, whoever else does");
    if (is_alone || source->opt->membership == MR_MEMBER_NONE) {
        const mr_status status =
            mr_kafka_pattern_check(source->opt, false, err); /* only here is it known what the broker is */
        return status ? status : mr_kafka_assign_share(source, err);
    }
    source->unassigned_us = mr_clock_us();
    source->is_member = true;
    const rd_kafka_resp_err_t code = mr_kafka_subscribe(source);
    return code ? mr_fail(err, MR_EKAFKA, "kafka source: subscribe: %s", rd_kafka_err2str(code)) : MR_OK;
}

static bool kafka_has_joined(const struct mr_source *source)
{
    return source->has_assignment;
}

static mr_status kafka_lane_count_max(const void *options, unsigned *count_out, struct mr_err *err)
{
    const struct mr_kafka_source_options *opt = options;
    const struct mr_kafka_default defaults[] = {{.key = "client.id", .value = "millrace"},
                                                {.key = "log_level", .value = "3"},
                                                {.key = "socket.nagle.disable", .value = "true"},
                                                {0}};
    const char *servers = mr_kafka_property(&opt->properties, "bootstrap.servers");
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;

    *count_out = 0;
    mr_status status = mr_kafka_conf_create("source", &opt->properties, defaults, &conf, err);
    if (!status) status = mr_kafka_client_create("source", RD_KAFKA_CONSUMER, conf, &client, err);
    if (status) return status;
    for (size_t i = 0; i < opt->topics.count && !status; i++) {
        int32_t count = 0;
        if (opt->topics.item[i][0] == '^') { /* may match any number */
            *count_out = UINT32_MAX / 2;
            continue;
        }
        status = mr_kafka_partition_count(client, servers, opt->topics.item[i], (int)(opt->connect_timeout / 1000),
                                          &count, err);
        *count_out += (unsigned)count;
    }
    rd_kafka_destroy(client);
    return status;
}

static mr_status kafka_open(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err)
{
    struct mr_source *source = calloc(1, sizeof *source);
    mr_status status = source ? MR_OK : mr_fail(err, MR_ENOMEM, "kafka source: out of memory");

    *source_out = NULL;
    if (status) return status;
    source->opt = open->options;
    source->open = *open;
    source->servers = mr_kafka_property(&source->opt->properties, "bootstrap.servers");
    source->raw_cap = 65536;
    source->raw = malloc(source->raw_cap * sizeof(rd_kafka_message_t *));
    if (!source->raw) status = mr_fail(err, MR_ENOMEM, "kafka source: out of memory");
    if (!status)
        status = mr_kafka_properties_check(&source->opt->properties, err); /* again: -X may have changed them */
    if (!status) status = mr_kafka_start_parse(source->opt->start, &source->start, err);
    if (!status) status = client_open(source, err);
    if (!status) status = topics_check(source, err);
    if (status)
        kafka_close(source);
    else
        *source_out = source;
    return status;
}

static void kafka_release(struct mr_source *source, struct mr_message *messages, size_t count)
{
    (void)source;
    for (size_t i = 0; i < count; i++) rd_kafka_message_destroy(messages[i].handle);
}

static const char *kafka_topic_name(const struct mr_source *source, uint32_t topic)
{
    return topic < source->topic_count ? source->topic[topic] : "?";
}

static int64_t kafka_timestamp_ms(const struct mr_source *source, const struct mr_message *message)
{
    rd_kafka_timestamp_type_t type;
    const int64_t time_ms = rd_kafka_message_timestamp(message->handle, &type);
    (void)source;
    return type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : time_ms;
}

static bool kafka_header(const struct mr_source *source, const struct mr_message *message, const char *name,
                         struct mr_span *value_out)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t bytes;
    (void)source;
    if (rd_kafka_message_headers(message->handle, &headers) || rd_kafka_header_get_last(headers, name, &value, &bytes))
        return false;
    *value_out = (struct mr_span){value, bytes};
    return true;
}

static void kafka_close(struct mr_source *source)
{
    if (!source) return;
    if (source->client) {
        source->is_closing = true;
        /* One that was fenced out of its group has nothing to leave, and waits for ever to have left it (2.0.2). */
        const bool is_fenced = rd_kafka_fatal_error(source->client, NULL, 0);
        if (!is_fenced) rd_kafka_consumer_close(source->client);
        mr_kafka_partitions_clear(source);
        if (source->queue) rd_kafka_queue_destroy(source->queue);
        if (source->reports) rd_kafka_queue_destroy(source->reports);
        rd_kafka_destroy_flags(source->client, is_fenced ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE : 0);
    }
    for (uint32_t i = 0; i < source->topic_count; i++) free(source->topic[i]);
    if (source->rest) rd_kafka_topic_partition_list_destroy(source->rest);
    if (source->offer) rd_kafka_topic_partition_list_destroy(source->offer);
    free(source->partition);
    mr_part_free(&source->owned);
    free(source->raw);
    free(source);
}

const struct mr_source_ops mr_source_kafka = {
    .name = "kafka",
    .summary = "Kafka topics, read as a member of a consumer group",
    .options = mr_kafka_source_options,
    .options_size = sizeof(struct mr_kafka_source_options),
    .repeats = true,
    .check = mr_kafka_source_check,
    .lane_count_max = kafka_lane_count_max,
    .open = kafka_open,
    .partition_range = kafka_partition_range,
    .join = kafka_join,
    .has_joined = kafka_has_joined,
    .poll = mr_kafka_poll,
    .release = kafka_release,
    .commit = mr_kafka_commit,
    .offsets_send = mr_kafka_offsets_send,
    .lag = mr_kafka_lag,
    .topic_name = kafka_topic_name,
    .timestamp_ms = kafka_timestamp_ms,
    .header = kafka_header,
    .close = kafka_close,
};
