#include "kafka/epoch_watch.h"

#include "base/test_hook.h"

/* Keys of Kafka's protocol. */
enum {
    KEY_PRODUCE = 0,
    KEY_ADD_PARTITIONS_TO_TXN = 24,
    KEY_ADD_OFFSETS_TO_TXN = 25,
    KEY_END_TXN = 26,
    KEY_TXN_OFFSET_COMMIT = 28,
};

static bool is_control(int16_t key)
{
    return key == KEY_ADD_PARTITIONS_TO_TXN || key == KEY_ADD_OFFSETS_TO_TXN || key == KEY_END_TXN ||
           key == KEY_TXN_OFFSET_COMMIT;
}

/* On librdkafka's threads. */
static rd_kafka_resp_err_t request_sent(rd_kafka_t *client, int socket, const char *broker, int32_t broker_id,
                                        int16_t key, int16_t version, int32_t number, size_t bytes, void *opaque)
{
    struct mr_epoch_watch *const watch = opaque;
    (void)client, (void)socket, (void)broker, (void)broker_id, (void)version, (void)number, (void)bytes;
    if (key == KEY_END_TXN) atomic_fetch_add(&watch->ends_sent, 1);
    if (key == KEY_END_TXN) MR_TEST_HOOK("commit.end-sent");
    if (key == KEY_PRODUCE) MR_TEST_HOOK("batch.sent");
    if (is_control(key)) atomic_fetch_add(&watch->unanswered, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Also called for a request that ends without an answer, with the reason as code. */
static rd_kafka_resp_err_t response_received(rd_kafka_t *client, int socket, const char *broker, int32_t broker_id,
                                             int16_t key, int16_t version, int32_t number, size_t bytes,
                                             int64_t time_us, rd_kafka_resp_err_t code, void *opaque)
{
    struct mr_epoch_watch *const watch = opaque;
    (void)client, (void)socket, (void)broker, (void)broker_id, (void)version, (void)number, (void)bytes, (void)time_us;
    if (code && (is_control(key) || key == KEY_PRODUCE)) atomic_store(&watch->is_dirty, true);
    if (is_control(key)) atomic_fetch_sub(&watch->unanswered, 1);
    if (key == KEY_END_TXN) MR_TEST_HOOK("commit.end-answered");
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t client_made(rd_kafka_t *client, const rd_kafka_conf_t *conf, void *opaque, char *reason,
                                       size_t reason_bytes)
{
    (void)conf, (void)reason, (void)reason_bytes;
    rd_kafka_interceptor_add_on_request_sent(client, "millrace-epoch", request_sent, opaque);
    return rd_kafka_interceptor_add_on_response_received(client, "millrace-epoch", response_received, opaque);
}

void mr_epoch_watch_add(struct mr_epoch_watch *watch, rd_kafka_conf_t *conf)
{
    rd_kafka_conf_interceptor_add_on_new(conf, "millrace-epoch", client_made, watch);
}

void mr_epoch_watch_reset(struct mr_epoch_watch *watch)
{
    atomic_store(&watch->ends_sent, 0);
    atomic_store(&watch->unanswered, 0);
    atomic_store(&watch->is_dirty, false);
}

void mr_epoch_watch_begin(struct mr_epoch_watch *watch)
{
    atomic_store(&watch->ends_sent, 0);
}

bool mr_epoch_watch_is_dirty(const struct mr_epoch_watch *watch)
{
    return atomic_load(&watch->is_dirty) || atomic_load(&watch->unanswered) > 0 || atomic_load(&watch->ends_sent) > 1;
}
