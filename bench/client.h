/** What the benchmark programs share: librdkafka with the settings that cost least, topics, clocks, CPU time by thread.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_PARTITIONS_MAX 64

/** Ends the program with exit code 1 and "error: ..." on stderr. A benchmark has no other way out. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Monotonic and wall-clock nanoseconds. */
int64_t bench_now_ns(void);
int64_t bench_wall_ns(void);

/** Sets one property or dies. */
void bench_set(rd_kafka_conf_t *conf, const char *key, const char *value);

/**
 * A consumer that prefetches without ever meeting the fetch back-off of one second (librdkafka < 2.2 stalls a full
 * queue), or, with low_latency, one that waits at most 5 ms for a fetch to fill. assign() it; no group protocol, no
 * commits.
 */
rd_kafka_t *bench_consumer_open(const char *brokers, int low_latency);

/** A producer with batches of up to 900 kB, filled for at most linger_ms ("50", "0.5"). dr may be NULL. */
rd_kafka_t *bench_producer_open(const char *brokers, const char *linger_ms,
                                void (*dr)(rd_kafka_t *, const rd_kafka_message_t *, void *));

/** Number of partitions of a topic that must exist. */
int bench_partition_count(rd_kafka_t *client, const char *topic);

/** Low and high watermark of a partition. */
void bench_watermarks(rd_kafka_t *client, const char *topic, int partition, int64_t *low_out, int64_t *high_out);

/** Creates a topic with time stamps of the broker (LogAppendTime) and waits until its partitions have leaders. */
void bench_topic_create(const char *brokers, const char *topic, int partitions);

/** Deletes a topic; no error when there is none. */
void bench_topic_delete(const char *brokers, const char *topic);

/** Prints {"name": CPU nanoseconds, ...} of this process's threads, those of one name summed, as one JSON object. */
void bench_threads_print(FILE *out);

#endif
