#include "kafka/trial.h"

#include <string.h>

#include "kafka/client.h"

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

static void log_drop(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    (void)client, (void)level, (void)facility, (void)text;
}

mr_status mr_kafka_trial(mr_trial kind, const struct mr_map *properties, struct mr_err *err)
{
    static const char *const names[] = {"consumer", "producer", "producer with transactions"};
    char reason[512] = "";
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, log_drop);
    if (kind == MR_TRIAL_CONSUMER)
        rd_kafka_conf_set(conf, "group.id", "trial", NULL, 0);
    else
        rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
    if (kind == MR_TRIAL_TRANSACTIONS) rd_kafka_conf_set(conf, "transactional.id", "trial", NULL, 0);
    if (kind == MR_TRIAL_PRODUCER) rd_kafka_conf_set(conf, "message.timeout.ms", "0", NULL, 0);
    for (size_t i = 0; i < properties->count; i++) {
        const struct mr_pair *const pair = &properties->item[i];
        /* A value alone that is wrong has its finding (mr_kafka_property_check). */
        if (!is_left_out(pair->key)) rd_kafka_conf_set(conf, pair->key, pair->value, NULL, 0);
    }
    rd_kafka_t *const client =
        rd_kafka_new(kind == MR_TRIAL_CONSUMER ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (client) {
        rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return MR_OK;
    }
    rd_kafka_conf_destroy(conf);
    return mr_fail(err, MR_ECONFIG, "librdkafka makes no %s of these: %s", names[kind], reason);
}
