/** What Kafka source, sink and tools share: properties, errors, log lines, the embedded broker's address. */
#ifndef MR_KAFKA_CLIENT_H
#define MR_KAFKA_CLIENT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "millrace/option.h"

/** A property that millrace sets unless the user does. */
struct mr_kafka_default {
    const char *key;
    const char *value;
    bool is_reserved; /* the user must not set it: the program's promises rest on it */
    bool is_ours;     /* what the user says is for the job's other clients */
    bool is_optional; /* older librdkafka does not know it: skip it silently there */
};

/**
 * Makes a configuration from the user's properties and the defaults (an array that ends with a NULL key).
 * "bootstrap.servers": "embedded" becomes the address of this process's embedded broker, which is started if needed.
 * what: "source", "sink", ... for messages. On success the caller owns *conf_out (rd_kafka_new takes it over).
 * Errors: MR_ECONFIG names the property, its value unless it is secret, and what librdkafka says of it.
 */
mr_status mr_kafka_conf_create(const char *what, const struct mr_map *properties,
                               const struct mr_kafka_default *defaults, rd_kafka_conf_t **conf_out, struct mr_err *err);

/**
 * Whether librdkafka knows a property and takes that value: for option tables (check_pair). Starts nothing.
 * MR_ECONFIG names the nearest property, or says what librdkafka thinks of the value.
 */
mr_status mr_kafka_property_check(const char *key, const char *value, struct mr_err *err);

/** Value that the user gave a property, or NULL. */
const char *mr_kafka_property(const struct mr_map *properties, const char *key);

/** The same of a property that is a whole number; fallback where the user gave none. */
int64_t mr_kafka_property_whole(const struct mr_map *properties, const char *key, int64_t fallback);

/** "<job>-<instance>-<lane>": what a lane is called in its group and in its transactions; instance NULL: the host's
 * name. */
void mr_kafka_instance(const char *job, const char *instance, unsigned lane, char *name, size_t bytes);

/** The group that a job reads with: the one that it names, or "millrace-<job>"; given NULL or empty: it names none. */
void mr_kafka_group(const char *given, const char *job, char *name, size_t bytes);

/** "<job>-trainer": the transactional.id of what writes the models of a job, wherever it runs: one at a time, a second
 * one fences the first. */
void mr_kafka_trainer(const char *job, char *name, size_t bytes);

/** queue.buffering.max.kbytes of a producer with so much memory, as text: at least one message of the largest size
 * that the properties allow must fit. */
void mr_kafka_queue_kbytes(const struct mr_map *properties, size_t memory_bytes, char text[32]);

/** Whether the properties name the embedded broker. */
bool mr_kafka_is_embedded(const struct mr_map *properties);

/** Whether a property's value must never be printed. Unknown keys that look like a secret count as one. */
bool mr_kafka_is_secret(const char *key);

/** Creates a client; conf is consumed in every case. MR_EKAFKA with librdkafka's reason. */
mr_status mr_kafka_client_create(const char *what, rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **client_out,
                                 struct mr_err *err);

/**
 * Partition count of a topic, asking the broker and waiting up to timeout_ms for one to answer.
 * MR_EKAFKA: no broker answered (the text names the addresses). MR_EINPUT: the topic does not exist, with the remedy.
 */
mr_status mr_kafka_partition_count(rd_kafka_t *client, const char *servers, const char *topic, int timeout_ms,
                                   int32_t *count_out, struct mr_err *err);

/** Whether a broker will not allow it however often it is asked: rights, or a setting that it does not take. */
bool mr_kafka_is_denied(rd_kafka_resp_err_t code);

/** Status for an error that a client call or a delivery report gave. */
mr_status mr_kafka_status(rd_kafka_resp_err_t code);

/** The first fatal error of a client, or MR_OK. MR_EFENCED when another instance took its place. */
mr_status mr_kafka_fatal(rd_kafka_t *client, const char *what, struct mr_err *err);

#endif
