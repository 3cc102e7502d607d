/** Reads a model's state topic from Kafka: once to its end, or following it. */
#ifndef MR_STATE_TOPIC_H
#define MR_STATE_TOPIC_H

#include "millrace/option.h"
#include "state/log.h"

/** For timeout_ms, where nobody asks for another: a transaction may be open in the topic for 30 s. */
#define MR_STATE_READ_TIMEOUT_MS 60000

/** Where the topic is. Nothing is needed after the call. */
struct mr_state_topic {
    const struct mr_map *properties; /* of the client */
    struct mr_state_log_open log;    /* log.topic: its name */
    int timeout_ms;                  /* for all of it */
    bool takes_broken; /* whether it is whole is for the caller to ask (mr_state_log_check), who wants what there is */
};

/**
 * Reads all committed records into a new log and checks it: up to the high watermark as a read_uncommitted client sees
 * it at the start, so that a transaction whose marker is still on its way is waited for.
 * MR_EINPUT: the topic does not exist (the text has the command that creates it); MR_ECONFIG: it has more than one
 * partition; MR_EKAFKA: no broker answered in time, or one refused; MR_ERETRY: a transaction on the topic stays open
 * until the deadline; the errors of mr_state_log_take and mr_state_log_check. A topic that is not compacted gets a
 * warning in the log, with the command that mends it. On error *log_out is NULL.
 */
mr_status mr_state_topic_read(const struct mr_state_topic *topic, struct mr_state_log **log_out, struct mr_err *err);

/** Goes on reading a topic: for those that score with what another process learns. One thread at a time. */
struct mr_state_follower;

/** Reads as mr_state_topic_read does, then stays behind the topic. follower->log: what there is so far, which may be
 * nothing. */
mr_status mr_state_follow_open(const struct mr_state_topic *topic, struct mr_state_follower **follower_out,
                               struct mr_err *err);

/** The log of a follower. */
const struct mr_state_log *mr_state_follow_log(const struct mr_state_follower *follower);

/**
 * Takes what has come since, waiting at most timeout_ms for the first of it. MR_OK: mr_state_log_model gives another
 * snapshot than before; MR_AGAIN: not yet. Errors of mr_state_log_take, or MR_EKAFKA. What came before stays valid
 * until the next call.
 */
mr_status mr_state_follow_poll(struct mr_state_follower *follower, int timeout_ms, struct mr_err *err);

void mr_state_follow_close(struct mr_state_follower *follower); /* accepts NULL */

#endif
