/** Whether librdkafka would make the clients that a job needs: for `millrace check`. */
#ifndef MR_KAFKA_TRIAL_H
#define MR_KAFKA_TRIAL_H

#include "kafka/timeouts.h"

/** What kind of client. */
typedef enum { MR_TRIAL_CONSUMER, MR_TRIAL_PRODUCER, MR_TRIAL_TRANSACTIONS } mr_trial;

/**
 * Makes such a client from these properties and drops it. No network: it knows no broker, and what secures connections
 * is left out (files of keys may lie on another machine). timeouts: of transactions; NULL for the other kinds.
 * MR_ECONFIG: librdkafka's reason.
 */
mr_status mr_kafka_trial(mr_trial kind, const struct mr_map *properties, const struct mr_timeouts *timeouts,
                         struct mr_err *err);

#endif
