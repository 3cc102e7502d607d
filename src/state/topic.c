#include "state/topic.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/fetch_wake.h"

#define PARTITION      0
#define CONFIG_WAIT_NS 3000000000LL
#define STEP_MS        100 /* between two looks at the deadline */
#define ASK_WAIT_MS    2000
#define ASK_PAUSE_NS   20000000
#define TAKE_COUNT_MAX 256 /* records of one poll of a follower */
#define CREATE_COMMAND                                                                                                 \
    "kafka-topics --bootstrap-server %s --create --topic %s%s --partitions 1 --config cleanup.policy=compact"

/* One reading of a topic. */
struct reader {
    const char *name, *servers;
    rd_kafka_t *client; /* read_committed */
    rd_kafka_topic_t *topic;
    bool is_started;
    bool is_at_end;
    int64_t next_offset; /* behind what was read, markers of transactions included; -1: nothing yet */
};

struct mr_state_follower {
    struct reader reader;
    struct mr_state_log *log;
    char *name, *servers;
    uint64_t snapshot; /* number of the last one that was told */
};

static mr_status client_make(const struct mr_map *properties, const char *isolation, rd_kafka_t **client_out,
                             struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {
        {.key = "isolation.level", .value = isolation, .is_ours = true},
        {.key = "enable.partition.eof", .value = "true", .is_ours = true},
        {.key = "enable.auto.commit", .value = "false"},
        {.key = "auto.offset.reset", .value = "error"},
        {.key = "fetch.wait.max.ms", .value = "20"}, /* each end of the topic is answered so much later */
        {.key = "queued.max.messages.kbytes", .value = "16384"},
        {.key = "fetch.queue.backoff.ms", .value = "5", .is_optional = true}, /* see kafka/fetch_wake.h */
        {.key = "reconnect.backoff.max.ms", .value = "1000"},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "check.crcs", .value = "true"},
        {.key = "client.id", .value = "millrace-state"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    rd_kafka_conf_t *conf;
    *client_out = NULL;
    const mr_status status = mr_kafka_conf_create("state topic", properties, defaults, &conf, err);
    return status ? status : mr_kafka_client_create("state topic", RD_KAFKA_CONSUMER, conf, client_out, err);
}

/* ---- what the topic is ---- */

static mr_status partitions_check(rd_kafka_t *client, const struct reader *reader, int timeout_ms, struct mr_err *err)
{
    int32_t count;
    const mr_status status = mr_kafka_partition_count(client, reader->servers, reader->name, timeout_ms, &count, err);
    if (status == MR_EINPUT)
        return mr_fail(err, MR_EINPUT, "state topic \"%s\" does not exist at %s: create it first (" CREATE_COMMAND ")",
                       reader->name, reader->servers, reader->servers, reader->name, "");
    if (status || count == 1) return status;
    return mr_fail(
        err, MR_ECONFIG,
        "state topic \"%s\" has %d partitions: the order of a model's commits needs exactly one. Create another "
        "(" CREATE_COMMAND "), and name it in models[].topic",
        reader->name, count, reader->servers, reader->name, ".2");
}

static int left_ms(int64_t deadline_ns)
{
    const int64_t left = (deadline_ns - mr_clock_ns()) / 1000000;
    return left < 1 ? 1 : left > 600000 ? 600000 : (int)left;
}

/* The value of a topic's setting; else why it is not told. */
static rd_kafka_resp_err_t setting_read(rd_kafka_event_t *event, const char *key, char *out, size_t cap)
{
    size_t count = 0, entries = 0;
    const rd_kafka_DescribeConfigs_result_t *const result = rd_kafka_event_DescribeConfigs_result(event);
    const rd_kafka_ConfigResource_t **const resource =
        result ? rd_kafka_DescribeConfigs_result_resources(result, &count) : NULL;
    if (!count) return rd_kafka_event_error(event);
    if (rd_kafka_ConfigResource_error(resource[0])) return rd_kafka_ConfigResource_error(resource[0]);
    const rd_kafka_ConfigEntry_t **const entry = rd_kafka_ConfigResource_configs(resource[0], &entries);
    for (size_t i = 0; i < entries; i++) {
        const char *const value = rd_kafka_ConfigEntry_value(entry[i]);
        if (strcmp(rd_kafka_ConfigEntry_name(entry[i]), key) || !value) continue;
        snprintf(out, cap, "%s", value);
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    return RD_KAFKA_RESP_ERR__NOENT;
}

static rd_kafka_resp_err_t setting_ask(rd_kafka_t *client, const char *topic, const char *key, int timeout_ms,
                                       char *out, size_t cap)
{
    rd_kafka_queue_t *const queue = rd_kafka_queue_new(client);
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t *const options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, NULL, 0);
    rd_kafka_DescribeConfigs(client, &resource, 1, options, queue);
    rd_kafka_event_t *const event = rd_kafka_queue_poll(queue, timeout_ms + STEP_MS);
    const rd_kafka_resp_err_t code = event ? setting_read(event, key, out, cap) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (event) rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_queue_destroy(queue);
    return code;
}

/* Warns of a topic that grows for ever, or forgets. A broker that does not tell may still keep the topic well; one that
 * has not heard of it yet, as its leader has, is asked again. */
static void policy_check(rd_kafka_t *client, const struct reader *reader, int64_t deadline_ns)
{
    const struct timespec pause = {.tv_nsec = ASK_PAUSE_NS};
    char policy[64];
    rd_kafka_resp_err_t code;
    while ((code = setting_ask(client, reader->name, "cleanup.policy", left_ms(deadline_ns), policy, sizeof policy)) ==
               RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
           mr_clock_ns() < deadline_ns)
        nanosleep(&pause, NULL);
    if (code) mr_log(MR_LOG_DEBUG, "state", "%s: its cleanup.policy: %s", reader->name, rd_kafka_err2str(code));
    if (code || !strcmp(policy, "compact")) return;
    mr_log(MR_LOG_WARN, "state",
           "topic \"%s\" has cleanup.policy=%s: until `kafka-configs --bootstrap-server %s --alter --topic %s "
           "--add-config cleanup.policy=compact` changes it, %s",
           reader->name, policy, reader->servers, reader->name,
           strstr(policy, "delete") ? "what a model has learned is deleted with time" : "it grows for ever");
}

/* Asks for the end of the topic again and again: a client that has just been made may not know the leader yet. Not
 * rd_kafka_query_watermark_offsets: it may answer wrongly after an error (source/kafka/bounds.c). */
static mr_status end_ask(rd_kafka_t *client, const struct reader *reader, int64_t deadline_ns, int64_t *end_out,
                         struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = ASK_PAUSE_NS};
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *const entry = rd_kafka_topic_partition_list_add(list, reader->name, PARTITION);
    rd_kafka_resp_err_t code;
    for (;;) {
        const int wait_ms = left_ms(deadline_ns);
        entry->offset = RD_KAFKA_OFFSET_END; /* in the place of a time */
        code = rd_kafka_offsets_for_times(client, list, wait_ms < ASK_WAIT_MS ? wait_ms : ASK_WAIT_MS);
        if (!code) code = entry->err;
        if (!code && entry->offset < 0) code = RD_KAFKA_RESP_ERR__BAD_MSG;
        if (!code || mr_clock_ns() >= deadline_ns) break;
        mr_log(MR_LOG_DEBUG, "state", "%s: its end: %s", reader->name, rd_kafka_err2str(code));
        nanosleep(&pause, NULL);
    }
    *end_out = entry->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code ? mr_fail(err, MR_EKAFKA, "state topic \"%s\" at %s: its end is not to be had: %s", reader->name,
                          reader->servers, rd_kafka_err2str(code))
                : MR_OK;
}

/* Looks at the topic with a client that sees open transactions, too. *end_out: behind its last record of any kind. */
static mr_status topic_look(const struct mr_map *properties, const struct reader *reader, int64_t deadline_ns,
                            int64_t *end_out, struct mr_err *err)
{
    rd_kafka_t *client;
    mr_status status = client_make(properties, "read_uncommitted", &client, err);
    if (status) return status;
    status = partitions_check(client, reader, left_ms(deadline_ns), err);
    if (!status && !mr_kafka_is_embedded(properties)) {
        const int64_t limit_ns = mr_clock_ns() + CONFIG_WAIT_NS;
        policy_check(client, reader, limit_ns < deadline_ns ? limit_ns : deadline_ns);
    }
    if (!status) status = end_ask(client, reader, deadline_ns, end_out, err);
    rd_kafka_destroy(client);
    return status;
}

/* ---- reading ---- */

static void reader_close(struct reader *reader)
{
    if (reader->is_started) rd_kafka_consume_stop(reader->topic, PARTITION);
    if (reader->topic) rd_kafka_topic_destroy(reader->topic);
    if (reader->client) rd_kafka_destroy(reader->client);
    *reader = (struct reader){0};
}

static mr_status reader_open(struct reader *reader, const struct mr_map *properties, int timeout_ms, struct mr_err *err)
{
    mr_status status = client_make(properties, "read_committed", &reader->client, err);
    reader->next_offset = -1;
    /* Where the topic is must be known first: a client that begins without looks again only after half a second. */
    if (!status) status = partitions_check(reader->client, reader, timeout_ms, err);
    if (status) return status;
    reader->topic = rd_kafka_topic_new(reader->client, reader->name, NULL);
    if (!reader->topic || rd_kafka_consume_start(reader->topic, PARTITION, RD_KAFKA_OFFSET_BEGINNING))
        return mr_fail(err, MR_EKAFKA, "state topic \"%s\" at %s: it cannot be read: %s", reader->name, reader->servers,
                       rd_kafka_err2str(rd_kafka_last_error()));
    reader->is_started = true;
    return MR_OK;
}

/* Takes one message into the log; errors that pass by themselves are waited for. */
static mr_status message_take(struct reader *reader, const rd_kafka_message_t *message, struct mr_state_log *log,
                              struct mr_err *err)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        reader->next_offset = message->offset + 1;
        reader->is_at_end = false;
        return mr_state_log_take(log, message->key, message->key_len, message->payload, message->len, message->offset,
                                 err);
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        reader->next_offset = message->offset;
        reader->is_at_end = true; /* told once: nothing more that is committed */
        return MR_OK;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
        return MR_OK;
    default:
        return mr_fail(err, MR_EKAFKA, "state topic \"%s\" at %s: %s", reader->name, reader->servers,
                       rd_kafka_message_errstr(message));
    }
}

/* Reads up to an offset. */
static mr_status log_fill(struct reader *reader, int64_t end, int64_t deadline_ns, struct mr_state_log *log,
                          struct mr_err *err)
{
    mr_status status = MR_OK;
    while (!status && reader->next_offset < end) {
        const int wait_ms = left_ms(deadline_ns);
        rd_kafka_message_t *const message =
            mr_kafka_consume_soon(reader->client, reader->topic, PARTITION, wait_ms < STEP_MS ? wait_ms : STEP_MS);
        if (message) {
            status = message_take(reader, message, log, err);
            rd_kafka_message_destroy(message);
            if (status == MR_EINVARIANT) status = MR_OK; /* the log keeps it for its check: more may come behind it */
        } else if (mr_clock_ns() >= deadline_ns) {
            status =
                reader->next_offset < 0
                    ? mr_fail(err, MR_EKAFKA, "state topic \"%s\" at %s: no answer in time", reader->name,
                              reader->servers)
                    : mr_fail(err, MR_ERETRY,
                              "state topic \"%s\": read to offset %lld, it goes to %lld: a transaction there is still "
                              "open. Wait until the broker ends it (transaction.timeout.ms of its producer), or stop "
                              "the process that holds it",
                              reader->name, (long long)reader->next_offset, (long long)end);
        }
    }
    return status;
}

/* The end that was asked for may lie within a transaction that was under way then and is committed now: the rest of it
 * stands behind that end. Reads on while the log is not whole, to where nothing more is. */
static mr_status log_complete(struct reader *reader, int64_t deadline_ns, struct mr_state_log *log, struct mr_err *err)
{
    mr_status status = mr_state_log_check(log, err);
    while (status == MR_EINVARIANT && !reader->is_at_end && mr_clock_ns() < deadline_ns) {
        struct mr_err why;
        rd_kafka_message_t *const message = mr_kafka_consume_soon(reader->client, reader->topic, PARTITION, STEP_MS);
        if (!message) continue;
        const mr_status taken = message_take(reader, message, log, &why);
        rd_kafka_message_destroy(message);
        if (taken && taken != MR_EINVARIANT) {
            if (err) *err = why;
            return taken;
        }
        if (!reader->is_at_end) status = mr_state_log_check(log, err);
    }
    return status;
}

/* Makes a log of all that is there now. reader: zeroed but for its names. */
static mr_status topic_fill(const struct mr_state_topic *topic, struct reader *reader, struct mr_state_log **log_out,
                            struct mr_err *err)
{
    const int64_t deadline_ns = mr_clock_ns() + (int64_t)topic->timeout_ms * 1000000;
    int64_t end;
    *log_out = NULL;
    mr_status status = topic_look(topic->properties, reader, deadline_ns, &end, err);
    if (!status) status = mr_state_log_create(&topic->log, log_out, err);
    if (!status) status = reader_open(reader, topic->properties, left_ms(deadline_ns), err);
    if (!status && end > 0) status = log_fill(reader, end, deadline_ns, *log_out, err);
    if (!status) status = log_complete(reader, deadline_ns, *log_out, err);
    if (status == MR_EINVARIANT && topic->takes_broken) status = MR_OK;
    if (!status) return MR_OK;
    reader_close(reader);
    mr_state_log_destroy(*log_out);
    *log_out = NULL;
    return status;
}

static const char *servers_of(const struct mr_state_topic *topic)
{
    const char *const servers = mr_kafka_property(topic->properties, "bootstrap.servers");
    return servers ? servers : "no bootstrap.servers";
}

mr_status mr_state_topic_read(const struct mr_state_topic *topic, struct mr_state_log **log_out, struct mr_err *err)
{
    struct reader reader = {.name = topic->log.topic, .servers = servers_of(topic)};
    const mr_status status = topic_fill(topic, &reader, log_out, err);
    if (!status) reader_close(&reader);
    return status;
}

/* ---- following ---- */

mr_status mr_state_follow_open(const struct mr_state_topic *topic, struct mr_state_follower **follower_out,
                               struct mr_err *err)
{
    struct mr_state_follower *const follower = calloc(1, sizeof *follower);
    mr_status status = MR_ENOMEM;
    *follower_out = NULL;
    if (follower) {
        follower->name = strdup(topic->log.topic);
        follower->servers = strdup(servers_of(topic));
    }
    if (follower && follower->name && follower->servers) {
        follower->reader = (struct reader){.name = follower->name, .servers = follower->servers};
        status = topic_fill(topic, &follower->reader, &follower->log, err);
    } else {
        mr_fail(err, MR_ENOMEM, "state topic \"%s\": out of memory", topic->log.topic);
    }
    if (status) {
        mr_state_follow_close(follower);
        return status;
    }
    struct mr_span bytes;
    const struct mr_state_commit *const commit = mr_state_log_model(follower->log, &bytes);
    follower->snapshot = commit ? commit->snapshot : 0;
    *follower_out = follower;
    return MR_OK;
}

const struct mr_state_log *mr_state_follow_log(const struct mr_state_follower *follower)
{
    return follower->log;
}

mr_status mr_state_follow_poll(struct mr_state_follower *follower, int timeout_ms, struct mr_err *err)
{
    mr_status status = MR_OK;
    for (unsigned taken = 0; taken < TAKE_COUNT_MAX; taken++) {
        rd_kafka_message_t *const message = rd_kafka_consume(follower->reader.topic, PARTITION, taken ? 0 : timeout_ms);
        struct mr_span bytes;
        if (!message) return MR_AGAIN;
        status = message_take(&follower->reader, message, follower->log, err);
        rd_kafka_message_destroy(message);
        if (status) return status;
        const struct mr_state_commit *const commit = mr_state_log_model(follower->log, &bytes);
        if (!commit || commit->snapshot == follower->snapshot) continue;
        follower->snapshot = commit->snapshot;
        return MR_OK;
    }
    return MR_AGAIN;
}

void mr_state_follow_close(struct mr_state_follower *follower)
{
    if (!follower) return;
    reader_close(&follower->reader);
    mr_state_log_destroy(follower->log);
    free(follower->name);
    free(follower->servers);
    free(follower);
}
