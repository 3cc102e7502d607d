#include "kafka/health.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "base/clock.h"

#define CLIENTS_MAX 1024 /* those beyond are not watched */

static struct watched {
    const rd_kafka_t *client; /* NULL: free */
    char name[128];
    _Atomic int64_t down_us, answered_us; /* when it was said last; 0: never */
} watched[CLIENTS_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of clients and names */

/* On librdkafka's threads. Also called for a request that ends without an answer, with the reason as code. */
static rd_kafka_resp_err_t response_received(rd_kafka_t *client, int socket, const char *broker, int32_t broker_id,
                                             int16_t key, int16_t version, int32_t number, size_t bytes,
                                             int64_t time_us, rd_kafka_resp_err_t code, void *opaque)
{
    struct watched *const one = opaque;
    (void)client, (void)socket, (void)broker, (void)broker_id, (void)key, (void)version, (void)number, (void)bytes;
    (void)time_us;
    if (!code) atomic_store_explicit(&one->answered_us, mr_clock_us(), memory_order_relaxed);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t client_gone(rd_kafka_t *client, void *opaque)
{
    struct watched *const one = opaque;
    (void)client;
    pthread_mutex_lock(&lock);
    one->client = NULL;
    pthread_mutex_unlock(&lock);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t client_made(rd_kafka_t *client, const rd_kafka_conf_t *conf, void *opaque, char *reason,
                                       size_t reason_bytes)
{
    struct watched *one = watched;
    (void)conf, (void)opaque, (void)reason, (void)reason_bytes;
    pthread_mutex_lock(&lock);
    while (one < watched + CLIENTS_MAX && one->client) one++;
    const bool is_free = one < watched + CLIENTS_MAX;
    if (is_free) {
        one->client = client;
        snprintf(one->name, sizeof one->name, "%s", rd_kafka_name(client));
        atomic_store(&one->down_us, 0);
        atomic_store(&one->answered_us, 0);
    }
    pthread_mutex_unlock(&lock);
    if (!is_free) return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_interceptor_add_on_destroy(client, "millrace-health", client_gone, one);
    return rd_kafka_interceptor_add_on_response_received(client, "millrace-health", response_received, one);
}

void mr_kafka_health_add(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_interceptor_add_on_new(conf, "millrace-health", client_made, NULL);
}

void mr_kafka_health_down(const rd_kafka_t *client)
{
    pthread_mutex_lock(&lock);
    for (struct watched *one = watched; one < watched + CLIENTS_MAX; one++) {
        if (one->client == client) atomic_store(&one->down_us, mr_clock_us());
    }
    pthread_mutex_unlock(&lock);
}

bool mr_kafka_health_is_good(char *name, size_t bytes)
{
    const struct watched *bad = NULL;
    pthread_mutex_lock(&lock);
    for (const struct watched *one = watched; one < watched + CLIENTS_MAX && !bad; one++) {
        if (one->client && atomic_load(&one->down_us) > atomic_load(&one->answered_us)) bad = one;
    }
    if (bad) snprintf(name, bytes, "%s", bad->name);
    pthread_mutex_unlock(&lock);
    return !bad;
}
