#include "kafka/embedded.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>

#include "base/log.h"

static struct {
    pthread_mutex_t lock;
    rd_kafka_t *client; /* the mock cluster lives inside a client */
    rd_kafka_mock_cluster_t *cluster;
} embedded = {.lock = PTHREAD_MUTEX_INITIALIZER};

static mr_status embedded_open(struct mr_err *err)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set(conf, "client.id", "millrace-embedded-broker", NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
    embedded.client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (!embedded.client) {
        rd_kafka_conf_destroy(conf);
        return mr_fail(err, MR_EKAFKA, "embedded broker: %s", reason);
    }
    embedded.cluster = rd_kafka_mock_cluster_new(embedded.client, 1);
    if (!embedded.cluster) {
        rd_kafka_destroy(embedded.client);
        embedded.client = NULL;
        return mr_fail(err, MR_EKAFKA, "embedded broker: could not listen on the loopback address");
    }
    mr_log(MR_LOG_INFO, "broker",
           "embedded broker at %s: for demos and tests only; it keeps at most 5 MiB a partition, in memory, and "
           "promises nothing",
           rd_kafka_mock_cluster_bootstraps(embedded.cluster));
    return MR_OK;
}

mr_status mr_kafka_embedded_start(const char **servers_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&embedded.lock);
    if (!embedded.cluster) status = embedded_open(err);
    if (!status) *servers_out = rd_kafka_mock_cluster_bootstraps(embedded.cluster);
    pthread_mutex_unlock(&embedded.lock);
    return status;
}

mr_status mr_kafka_embedded_topic(const char *topic, int32_t partition_count, struct mr_err *err)
{
    const char *servers;
    const mr_status status = mr_kafka_embedded_start(&servers, err);
    if (status) return status;
    const rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(embedded.cluster, topic, partition_count, 1);
    if (code) return mr_fail(err, MR_EKAFKA, "embedded broker: topic \"%s\": %s", topic, rd_kafka_err2str(code));
    return MR_OK;
}

struct rd_kafka_mock_cluster_s *mr_kafka_embedded_cluster(void)
{
    pthread_mutex_lock(&embedded.lock);
    rd_kafka_mock_cluster_t *cluster = embedded.cluster;
    pthread_mutex_unlock(&embedded.lock);
    return cluster;
}

void mr_kafka_embedded_stop(void)
{
    pthread_mutex_lock(&embedded.lock);
    if (embedded.cluster) rd_kafka_mock_cluster_destroy(embedded.cluster);
    if (embedded.client) rd_kafka_destroy(embedded.client);
    embedded.cluster = NULL;
    embedded.client = NULL;
    pthread_mutex_unlock(&embedded.lock);
}
