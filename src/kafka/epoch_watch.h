/**
 * Watches the requests of a transactional producer, to know whether its epoch is clean: whether each request of a
 * transaction was sent once and answered. A request that was sent again may still be on its way somewhere, and reach
 * the coordinator while a later transaction of the same epoch is open: an EndTxn would end that one (KAFKA-17754;
 * librdkafka issue 5423). The client's interface does not tell, its interceptors do.
 */
#ifndef MR_KAFKA_EPOCH_WATCH_H
#define MR_KAFKA_EPOCH_WATCH_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>

struct mr_epoch_watch {
    _Atomic int ends_sent;  /* EndTxn requests of this transaction */
    _Atomic int unanswered; /* requests of the transaction's control that are on their way */
    _Atomic bool is_dirty;  /* one of them, or a Produce, ended without an answer */
};

/** Watches the client that will be made from conf. The watch must outlive it. */
void mr_epoch_watch_add(struct mr_epoch_watch *watch, rd_kafka_conf_t *conf);

/** A new epoch: nothing was seen. No client may be at work. */
void mr_epoch_watch_reset(struct mr_epoch_watch *watch);

/** A transaction begins in the same epoch. */
void mr_epoch_watch_begin(struct mr_epoch_watch *watch);

/** Whether the epoch, up to a transaction that has just ended, saw anything but requests that were sent once and
 * answered. */
bool mr_epoch_watch_is_dirty(const struct mr_epoch_watch *watch);

#endif
