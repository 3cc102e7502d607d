/**
 * oracle: the tests' own view of a topic. Sends numbered records, and says afterwards what became of each of them. It
 * shares no code with millrace; librdkafka only.
 *
 * Every record that it sends carries the header "oracle" with its kind and number, such as "g:123":
 *   g  good: must be answered        b  bad: must be a dead letter, bytes unchanged
 *   n  null: must be neither         l  its answer is larger than the output topic takes: must be a dead letter
 * Record N has the Temperature of a regime's middle, so its class is N mod 6, whatever the model's last digits are.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define HEADER_NAME   "oracle"
#define CLASS_COUNT   6
#define STRANGER_ID   1000000000 /* numbers from here on belong to aborted transactions: they must never be answered */
#define MESSAGE_BYTES (12 << 20)

struct options {
    const char *servers, *topic, *in, *out, *dead, *group, *transaction, *kinds;
    long count, first, bad_every, large_every, large_bytes, null_every, partitions;
    long transaction_records, aborted_records; /* 0: 500 and 100 */
    long recent;                               /* records before this number need no answer */
    long duplicates_max;                       /* -1: any number */
    double rate;
    bool keys, is_ordered, is_once, is_partial, has_tombstones;
};

/** Ends the program with exit code 2 after a message. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/** A client; extra: pairs of property and value, ended by NULL. */
rd_kafka_t *client_open(const struct options *opt, rd_kafka_type_t type, const char *const *extra);

/** Partitions of a topic; ends the program when it does not exist. */
int32_t partition_count(rd_kafka_t *client, const char *topic);

/** Called for each record of a topic, in the order of each partition. */
typedef void record_fn(void *context, const rd_kafka_message_t *message);

/** Reads a topic from its beginning to the end that it has now, committed records only; waits for transactions that are
 * open there to end, but with --partial. */
void topic_read(const struct options *opt, const char *topic, record_fn *take, void *context);

int produce(const struct options *opt);
int check(const struct options *opt);

#endif
