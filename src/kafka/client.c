#include "kafka/client.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "kafka/embedded.h"
#include "kafka/health.h"

#define NEWS_INTERVAL_US 5000000
#define AUTO_CREATE      "allow.auto.create.topics"

const char *mr_kafka_property(const struct mr_map *properties, const char *key)
{
    return mr_map_get(properties, key);
}

int64_t mr_kafka_property_whole(const struct mr_map *properties, const char *key, int64_t fallback)
{
    const char *const given = mr_kafka_property(properties, key);
    return given ? atoll(given) : fallback;
}

void mr_kafka_instance(const char *job, const char *instance, unsigned lane, char *name, size_t bytes)
{
    char host[128] = "host";
    gethostname(host, sizeof host - 1);
    snprintf(name, bytes, "%s-%s-%u", job, instance ? instance : host, lane);
}

void mr_kafka_group(const char *given, const char *job, char *name, size_t bytes)
{
    const bool is_given = given && *given;
    snprintf(name, bytes, "%s%s", is_given ? "" : "millrace-", is_given ? given : job);
}

void mr_kafka_trainer(const char *job, char *name, size_t bytes)
{
    snprintf(name, bytes, "%s-trainer", job);
}

void mr_kafka_queue_kbytes(const struct mr_map *properties, size_t memory_bytes, char text[32])
{
    const char *const message_max = mr_kafka_property(properties, "message.max.bytes");
    const size_t least = message_max && atoll(message_max) > 0 ? (size_t)atoll(message_max) / 1024 + 1 : 1024;
    const size_t budget = memory_bytes / 1024;
    snprintf(text, 32, "%zu", budget < least ? least : budget);
}

bool mr_kafka_is_embedded(const struct mr_map *properties)
{
    const char *servers = mr_kafka_property(properties, "bootstrap.servers");
    return servers && !strcmp(servers, "embedded");
}

bool mr_kafka_is_secret(const char *key)
{
    static const char *const marks[] = {"pass",  "secret",   "token", "pem",  "jaas",
                                        "oauth", "username", ".key",  "_key", NULL};
    for (size_t i = 0; marks[i]; i++) {
        if (strcasestr(key, marks[i])) return true;
    }
    return false;
}

/* librdkafka's own lines. It does not print property values; its addresses and client ids are not secrets. */
static void log_line(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    const mr_log_level mapped = level <= 3   ? MR_LOG_ERROR
                                : level == 4 ? MR_LOG_WARN
                                : level <= 6 ? MR_LOG_INFO
                                             : MR_LOG_DEBUG;
    /* A lost connection is an everyday event that the client mends: the error callback tells when it matters. */
    const bool is_transport = strstr(facility, "FAIL") || strstr(facility, "ERROR");
    (void)client;
    if (strstr(text, "allow.auto.create.topics"))
        return; /* the embedded broker speaks an old Metadata version: nothing to do about it */
    if (strstr(text, "and will be ignored by this"))
        return; /* source and sinks share properties: each takes those that are its own */
    mr_log(is_transport ? MR_LOG_DEBUG : mapped, "kafka", "%s", text);
}

/* While a broker is away every client of every lane says so several times a second: one line of each kind in 5 s is
 * enough. */
static bool is_news(int code)
{
    static _Atomic int64_t quiet_until_us[4];
    _Atomic int64_t *until_us = &quiet_until_us[code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ? 0
                                                : code == RD_KAFKA_RESP_ERR__TRANSPORT      ? 1
                                                : code == RD_KAFKA_RESP_ERR__RESOLVE        ? 2
                                                                                            : 3];
    const int64_t now_us = mr_clock_us();
    int64_t before_us = atomic_load(until_us);
    if (until_us == &quiet_until_us[3]) return true; /* anything else is rare and worth a line */
    return now_us >= before_us && atomic_compare_exchange_strong(until_us, &before_us, now_us + NEWS_INTERVAL_US);
}

static void log_error(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    (void)opaque;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[256];
        rd_kafka_fatal_error(client, text, sizeof text);
        mr_log(MR_LOG_ERROR, "kafka", "%s: %s", rd_kafka_name(client), text);
    } else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        mr_kafka_health_down(client);
        mr_log(is_news(code) ? MR_LOG_WARN : MR_LOG_DEBUG, "kafka", "%s: no broker can be reached; trying on",
               rd_kafka_name(client));
    } else {
        mr_log(is_news(code) ? MR_LOG_WARN : MR_LOG_DEBUG, "kafka", "%s: %s", rd_kafka_name(client), reason);
    }
}

static mr_status conf_set(const char *what, rd_kafka_conf_t *conf, const char *key, const char *value,
                          struct mr_err *err)
{
    char reason[256];
    const rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, key, value, reason, sizeof reason);
    if (result == RD_KAFKA_CONF_OK) return MR_OK;
    return mr_fail(err, MR_ECONFIG, "kafka %s: property \"%s\" = \"%s\": %s (librdkafka %s)", what, key,
                   mr_kafka_is_secret(key) ? "[set]" : value, mr_kafka_is_secret(key) ? "not accepted" : reason,
                   rd_kafka_version_str());
}

static mr_status conf_set_defaults(const char *what, const struct mr_map *properties,
                                   const struct mr_kafka_default *defaults, rd_kafka_conf_t *conf, struct mr_err *err)
{
    for (const struct mr_kafka_default *row = defaults; row->key; row++) {
        const bool is_given = mr_kafka_property(properties, row->key) != NULL;
        if (is_given && row->is_reserved && strcasecmp(mr_kafka_property(properties, row->key), row->value) != 0) {
            return mr_fail(err, MR_ECONFIG,
                           "kafka %s: property \"%s\" is set by millrace (%s) and its promises rest on it: remove it",
                           what, row->key, row->value);
        }
        if (is_given && !row->is_ours) continue;
        if (row->is_optional) {
            char reason[256];
            rd_kafka_conf_set(conf, row->key, row->value, reason, sizeof reason);
            continue;
        }
        const mr_status status = conf_set(what, conf, row->key, row->value, err);
        if (status) return status;
    }
    return MR_OK;
}

static bool is_ours(const struct mr_kafka_default *defaults, const char *key)
{
    const struct mr_kafka_default *row = defaults;
    while (row->key && strcmp(row->key, key) != 0) row++;
    return row->key && row->is_ours;
}

mr_status mr_kafka_conf_create(const char *what, const struct mr_map *properties,
                               const struct mr_kafka_default *defaults, rd_kafka_conf_t **conf_out, struct mr_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    mr_status status = MR_OK;

    *conf_out = NULL;
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_error_cb(conf, log_error);
    mr_kafka_health_add(conf);
    status = conf_set_defaults(what, properties, defaults, conf, err);
    for (size_t i = 0; i < properties->count && !status; i++) {
        const char *value = properties->item[i].value;
        if (is_ours(defaults, properties->item[i].key)) continue;
        if (!strcmp(properties->item[i].key, "bootstrap.servers") && !strcmp(value, "embedded")) {
            status = mr_kafka_embedded_start(&value, err);
        }
        if (!status) status = conf_set(what, conf, properties->item[i].key, value, err);
    }
    /* Where nobody can create a topic, asking for one does; from librdkafka 2.3 on a consumer has to say so. */
    if (!status && mr_kafka_is_embedded(properties) && !mr_kafka_property(properties, AUTO_CREATE))
        status = conf_set(what, conf, AUTO_CREATE, "true", err);
    if (status) {
        rd_kafka_conf_destroy(conf);
        return status;
    }
    *conf_out = conf;
    return MR_OK;
}

mr_status mr_kafka_client_create(const char *what, rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **client_out,
                                 struct mr_err *err)
{
    char reason[512];
    *client_out = rd_kafka_new(type, conf, reason, sizeof reason);
    if (*client_out) return MR_OK;
    rd_kafka_conf_destroy(conf);
    return mr_fail(err, MR_ECONFIG, "kafka %s: %s", what, reason);
}

mr_status mr_kafka_partition_count(rd_kafka_t *client, const char *servers, const char *topic, int timeout_ms,
                                   int32_t *count_out, struct mr_err *err)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    mr_status status = MR_OK;
    const rd_kafka_resp_err_t code =
        handle ? rd_kafka_metadata(client, 0, handle, &metadata, timeout_ms) : rd_kafka_last_error();

    *count_out = 0;
    if (code || !metadata) {
        status = mr_fail(err, MR_EKAFKA,
                         "no Kafka broker answered at %s within %g s (%s): is it running, and is the address right?",
                         servers, timeout_ms / 1000.0, rd_kafka_err2str(code));
    } else if (metadata->topic_cnt != 1 || metadata->topics[0].err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        status =
            mr_fail(err, MR_EINPUT,
                    "topic \"%s\" does not exist at %s: create it first (kafka-topics --bootstrap-server %s --create "
                    "--topic %s --partitions 4)",
                    topic, servers, servers, topic);
    } else if (metadata->topics[0].err && metadata->topics[0].err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) {
        status = mr_fail(err, MR_EKAFKA, "topic \"%s\" at %s: %s", topic, servers,
                         rd_kafka_err2str(metadata->topics[0].err));
    } else {
        *count_out = metadata->topics[0].partition_cnt;
    }
    if (metadata) rd_kafka_metadata_destroy(metadata);
    if (handle) rd_kafka_topic_destroy(handle);
    return status;
}

bool mr_kafka_is_denied(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT || code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ||
           code == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION;
}

mr_status mr_kafka_status(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return MR_OK;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        return MR_EFENCED;
    default:
        return MR_EKAFKA;
    }
}

mr_status mr_kafka_fatal(rd_kafka_t *client, const char *what, struct mr_err *err)
{
    char reason[384];
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(client, reason, sizeof reason);
    if (!code) return MR_OK;
    if (mr_kafka_status(code) == MR_EFENCED) {
        return mr_fail(
            err, MR_EFENCED,
            "kafka %s: another process runs with the same identity and has taken this one's place (%s): stop one of "
            "them, or give each its own source.instance",
            what, reason);
    }
    return mr_fail(err, MR_EKAFKA, "kafka %s: %s", what, reason);
}
