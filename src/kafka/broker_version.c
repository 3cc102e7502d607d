#include "kafka/broker_version.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "kafka/client.h"

/* Versions by which a broker is told: Produce 10 came with 3.7 (KIP-951), EndTxn 5 with 4.0 (KIP-890). */
#define PRODUCE_OF_3_7 10
#define END_TXN_OF_4   5

void mr_broker_facts_note(struct mr_broker_facts *facts, const char *line)
{
    static const char mark[] = "ApiKey ";
    const char *const at = strstr(line, mark);
    char name[32];
    int key, least, most;
    if (!at || sscanf(at + strlen(mark), "%31s (%d) Versions %d..%d", name, &key, &least, &most) != 4) return;
    if (key == 0) facts->produce_max = most;
    if (key == 26) facts->end_txn_max = most;
    facts->is_known |= key == 0;
}

/* Lines come on the client's threads. */
struct listener {
    pthread_mutex_t lock;
    struct mr_broker_facts facts;
};

static void line_take(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    struct listener *const listener = rd_kafka_opaque(client);
    (void)level, (void)facility;
    pthread_mutex_lock(&listener->lock);
    mr_broker_facts_note(&listener->facts, text);
    pthread_mutex_unlock(&listener->lock);
}

static void error_ignore(rd_kafka_t *client, int code, const char *reason, void *opaque)
{
    (void)client, (void)code, (void)reason, (void)opaque;
}

static mr_status client_make(const struct mr_map *properties, struct listener *listener, rd_kafka_t **client_out,
                             struct mr_err *err)
{
    static const struct mr_kafka_default defaults[] = {
        {.key = "client.id", .value = "millrace"},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    char reason[256];
    rd_kafka_conf_t *conf;
    const mr_status status = mr_kafka_conf_create("broker version", properties, defaults, &conf, err);
    *client_out = NULL;
    if (status) return status;
    rd_kafka_conf_set(conf, "debug", "feature", reason, sizeof reason);
    rd_kafka_conf_set(conf, "log_level", "7", reason, sizeof reason);
    rd_kafka_conf_set_log_cb(conf, line_take);
    rd_kafka_conf_set_error_cb(conf, error_ignore); /* whoever comes next says it better */
    rd_kafka_conf_set_opaque(conf, listener);
    return mr_kafka_client_create("broker version", RD_KAFKA_PRODUCER, conf, client_out, err);
}

mr_status mr_broker_facts_ask(const struct mr_map *properties, int timeout_ms, struct mr_broker_facts *facts_out,
                              struct mr_err *err)
{
    struct listener listener = {.facts = {.produce_max = -1, .end_txn_max = -1}};
    rd_kafka_t *client;
    *facts_out = listener.facts;
    pthread_mutex_init(&listener.lock, NULL);
    const mr_status status = client_make(properties, &listener, &client, err);
    if (!status) {
        char *const id = rd_kafka_clusterid(client, timeout_ms); /* comes with metadata, which comes behind versions */
        if (id) {
            listener.facts.is_mock = !strncmp(id, "mockCluster", strlen("mockCluster"));
            rd_kafka_mem_free(client, id);
        }
        rd_kafka_destroy(client); /* its threads have ended */
        *facts_out = listener.facts;
    }
    pthread_mutex_destroy(&listener.lock);
    return status;
}

mr_broker_age mr_broker_age_of(const struct mr_broker_facts *facts)
{
    if (facts->is_mock) return MR_BROKER_MOCK;
    if (!facts->is_known) return MR_BROKER_UNKNOWN;
    if (facts->produce_max < PRODUCE_OF_3_7) return MR_BROKER_BEFORE_3_7;
    return facts->end_txn_max < END_TXN_OF_4 ? MR_BROKER_BEFORE_4 : MR_BROKER_4;
}

mr_status mr_broker_age_judge(mr_broker_age age, bool is_allowed, const char **warning_out, struct mr_err *err)
{
    *warning_out = NULL;
    switch (age) {
    case MR_BROKER_4:
    case MR_BROKER_MOCK:
        return MR_OK;
    case MR_BROKER_UNKNOWN:
        *warning_out = "exactly-once: which version the broker is could not be found out: below 3.7 a request that is "
                       "late by seconds may end up in a later transaction, and nothing shows it";
        return MR_OK;
    case MR_BROKER_BEFORE_4:
        *warning_out = "exactly-once: the broker is older than 4.0: it does not refuse an EndTxn that is late by "
                       "seconds (KAFKA-17754); millrace gives a producer up when one may be under way, which leaves "
                       "those that are late without any sign of it; prefer 4.0 or later";
        return MR_OK;
    case MR_BROKER_BEFORE_3_7:
        break;
    }
    if (!is_allowed)
        return mr_fail(err, MR_EKAFKA,
                       "exactly-once: the broker is older than 3.7: it does not refuse offsets and records of a "
                       "transaction that is over (KAFKA-15449), so that what is promised cannot be kept: use a broker "
                       "of 4.0 or later, set delivery to \"at-least-once\", or source.allow_old_brokers to true");
    *warning_out = "exactly-once: the broker is older than 3.7, and source.allow_old_brokers lets it pass: it does not "
                   "refuse offsets and records of a transaction that is over (KAFKA-15449): requests that are late by "
                   "seconds may lose or repeat records";
    return MR_OK;
}
