#include "kafka/trial.h"

#include <stdio.h>
#include <string.h>

#include "kafka/client.h"

#define REASON_BYTES 512

/* Of no use without a network, or worse than that. Ends with a dot: all that begin so. */
static bool is_left_out(const char *key)
{
    static const char *const keys[] = {"sasl.",
                                       "ssl.",
                                       "https.",
                                       "security.protocol",
                                       "enable.ssl.certificate.verification",
                                       "enable.sasl.oauthbearer.unsecure.jwt",
                                       "plugin.library.paths",
                                       "bootstrap.servers",
                                       "metadata.broker.list",
                                       "transactional.id",
                                       "group.id",
                                       "group.instance.id",
                                       "debug"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const size_t bytes = strlen(keys[i]);
        if (!strncmp(key, keys[i], bytes) && (keys[i][bytes - 1] == '.' || !key[bytes])) return true;
    }
    return false;
}

/* Why a topic cannot be made is told in the log alone: behind the topic's name. */
static void log_take(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    static const char name_end[] = "\"trial\": ";
    const char *const found = strstr(text, name_end);
    (void)level;
    if (client && !strcmp(facility, "TOPICCONF") && found)
        snprintf(rd_kafka_opaque(client), REASON_BYTES, "%s", found + sizeof name_end - 1);
}

/* What the run gives a client, as far as other properties have to fit it; the user's come behind it. */
static void defaults_set(rd_kafka_conf_t *conf, mr_trial kind, const struct mr_timeouts *timeouts)
{
    char transaction_ms[32], socket_ms[32];
    if (kind == MR_TRIAL_CONSUMER)
        rd_kafka_conf_set(conf, "group.id", "trial", NULL, 0);
    else
        rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
    if (kind == MR_TRIAL_PRODUCER) rd_kafka_conf_set(conf, "message.timeout.ms", "0", NULL, 0);
    if (kind != MR_TRIAL_TRANSACTIONS) return;
    snprintf(transaction_ms, sizeof transaction_ms, "%lld", (long long)timeouts->transaction_ms);
    snprintf(socket_ms, sizeof socket_ms, "%lld", (long long)timeouts->socket_ms);
    rd_kafka_conf_set(conf, "transactional.id", "trial", NULL, 0);
    rd_kafka_conf_set(conf, "transaction.timeout.ms", transaction_ms, NULL, 0);
    rd_kafka_conf_set(conf, "socket.timeout.ms", socket_ms, NULL, 0);
}

/* What a topic needs is looked at when there is one. */
static void topic_try(rd_kafka_t *client, char reason[REASON_BYTES])
{
    rd_kafka_topic_t *const topic = rd_kafka_topic_new(client, "trial", NULL);
    if (topic)
        rd_kafka_topic_destroy(topic);
    else if (!*reason)
        snprintf(reason, REASON_BYTES, "%s", rd_kafka_err2str(rd_kafka_last_error()));
}

mr_status mr_kafka_trial(mr_trial kind, const struct mr_map *properties, const struct mr_timeouts *timeouts,
                         struct mr_err *err)
{
    static const char *const names[] = {"consumer", "producer", "producer with transactions"};
    char reason[REASON_BYTES] = "";
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, log_take);
    rd_kafka_conf_set_opaque(conf, reason);
    defaults_set(conf, kind, timeouts);
    for (size_t i = 0; i < properties->count; i++) {
        const struct mr_pair *const pair = &properties->item[i];
        /* A value alone that is wrong has its finding (mr_kafka_property_check). */
        if (!is_left_out(pair->key)) rd_kafka_conf_set(conf, pair->key, pair->value, NULL, 0);
    }
    rd_kafka_t *const client =
        rd_kafka_new(kind == MR_TRIAL_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (client) {
        if (kind != MR_TRIAL_CONSUMER) topic_try(client, reason);
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        if (!*reason) return MR_OK;
    } else {
        rd_kafka_conf_destroy(conf);
    }
    return mr_fail(err, MR_ECONFIG, "librdkafka makes no %s of these: %s", names[kind], reason);
}
