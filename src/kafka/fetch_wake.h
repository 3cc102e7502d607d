/** Waking a consumer's fetcher that rests because the local queue was full. */
#ifndef MR_KAFKA_FETCH_WAKE_H
#define MR_KAFKA_FETCH_WAKE_H

#include <librdkafka/rdkafka.h>

/**
 * librdkafka before 2.2.0 stops fetching when its local queue is full and looks again only after a second, unless a
 * request to the same broker wakes it; asking for the bounds of a partition is such a request. Newer ones look as often
 * as fetch.queue.backoff.ms says: then it does nothing. For who drains the queue and waits for more; takes a
 * round trip, at most a second. Any thread; errors do not matter.
 */
void mr_kafka_fetch_wake(rd_kafka_t *client, const char *topic, int32_t partition);

/** The next message of a partition that is read by itself (rd_kafka_consume_start), which its queue should have soon:
 * wakes the fetcher if it has not. NULL: nothing within wait_ms. */
rd_kafka_message_t *mr_kafka_consume_soon(rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition, int wait_ms);

#endif
