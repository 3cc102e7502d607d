#include "kafka/fetch_wake.h"

#define FETCH_BACKOFF_VERSION 0x02020000 /* from here on fetch.queue.backoff.ms exists */
#define WAKE_TIMEOUT_MS       1000
#define SOON_MS               5

void mr_kafka_fetch_wake(rd_kafka_t *client, const char *topic, int32_t partition)
{
    int64_t low, high;
    if (rd_kafka_version() < FETCH_BACKOFF_VERSION)
        rd_kafka_query_watermark_offsets(client, topic, partition, &low, &high, WAKE_TIMEOUT_MS);
}

rd_kafka_message_t *mr_kafka_consume_soon(rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition, int wait_ms)
{
    rd_kafka_message_t *const message = rd_kafka_consume(topic, partition, wait_ms < SOON_MS ? wait_ms : SOON_MS);
    if (message || wait_ms <= SOON_MS) return message;
    mr_kafka_fetch_wake(client, rd_kafka_topic_name(topic), partition);
    return rd_kafka_consume(topic, partition, wait_ms - SOON_MS);
}
