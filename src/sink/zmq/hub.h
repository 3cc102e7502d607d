/**
 * A PUB socket of the process, shared by the sinks of all lanes that have the same options: an address can be bound
 * once. A ZeroMQ socket may go from thread to thread behind a full fence, which the hub's lock is; it is held for the
 * records of one outbox, and nothing that is done under it waits (ZMQ_DONTWAIT).
 *
 * A PUB socket drops what a subscriber has no room for, and does not say so. This one is asked to say so
 * (ZMQ_XPUB_NODROP): what it refuses then is counted, and sent once more to those that have room. From there on the
 * library passes the slow one over until that has read half of what waits for it, and tells nobody how many messages
 * that were: so what is counted is how often somebody fell behind.
 */
#ifndef MR_SINK_ZMQ_HUB_H
#define MR_SINK_ZMQ_HUB_H

#include <stdint.h>

#include "millrace/option.h"
#include "millrace/status.h"

struct mr_zmq_options {
    char *bind;
    struct mr_strings connect;
    char *topic;
    int64_t send_hwm, linger; /* messages; us */
    bool conflate, required;
    int format; /* mr_zmq_format */
    char *model;
};

enum mr_zmq_format { MR_ZMQ_VALUE, MR_ZMQ_WEIGHTS };

struct mr_zmq_hub;

/** The hub of these options (told by their address), opened by the first who asks. MR_ESINK: the address cannot be
 * bound or is none; MR_ENOMEM. On error *hub_out is NULL. Any thread. */
mr_status mr_zmq_hub_acquire(const struct mr_zmq_options *options, struct mr_zmq_hub **hub_out, struct mr_err *err);

/** Gives it back; the last one closes the socket, which takes up to `linger` for what subscribers have not taken yet.
 * Accepts NULL. */
void mr_zmq_hub_release(struct mr_zmq_hub *hub);

/** Around any number of sends. */
void mr_zmq_hub_lock(struct mr_zmq_hub *hub);
void mr_zmq_hub_unlock(struct mr_zmq_hub *hub);

/** Hands a message to the socket, behind the topic if there is one: a copy. MR_ESINK: the socket is of no use any more.
 */
mr_status mr_zmq_hub_send(struct mr_zmq_hub *hub, const void *data, size_t bytes, struct mr_err *err);

/** Messages handed over, and how often a subscriber fell behind and lost some of them. Any thread. */
void mr_zmq_hub_counts(const struct mr_zmq_hub *hub, uint64_t *sent_out, uint64_t *behind_out);

#endif
