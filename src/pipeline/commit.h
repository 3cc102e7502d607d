/**
 * The commit protocol of exactly-once: what happens in which order, and what each failure leads to. It knows nothing of
 * librdkafka: what it asks of Kafka is a table, which a lane fills with its transaction (kafka/transaction.h) and its
 * consumer, and the simulator with a Kafka of its own.
 *
 * One transaction holds the outputs, dead letters and state records that were sent since the last one, and the offsets
 * of the records that they answer. There is one way out of every failure: nothing of the transaction is committed, the
 * producer is dropped, and whoever owns the commit is rebuilt from what Kafka has (MR_ERESTART). The next init ends
 * what was left open. So abort, fatal error, and restart of the process are the same path.
 *
 * One thread at a time.
 */
#ifndef MR_PIPELINE_COMMIT_H
#define MR_PIPELINE_COMMIT_H

#include <stdbool.h>

#include "millrace/source.h"
#include "millrace/transaction.h"

/** What the protocol asks of Kafka. kafka is the context that mr_commit_init was given; err says what went wrong. */
struct mr_commit_ops {
    /* A new producer whose epoch fences all earlier ones of its id; what they left open is ended first. */
    mr_txn_outcome (*init)(void *kafka, struct mr_err *err);
    mr_txn_outcome (*begin)(void *kafka, struct mr_err *err);
    /* Puts the offsets into the transaction, with the group's generation as it is now. */
    mr_txn_outcome (*offsets)(void *kafka, const struct mr_position *positions, size_t count, struct mr_err *err);
    mr_txn_outcome (*commit)(void *kafka, struct mr_err *err);
    /* Whether the epoch saw anything but the requests of a clean transaction, each sent once: a request that was sent
     * twice may reach the broker late, when another transaction is open, and end that one. */
    bool (*is_dirty)(void *kafka);
    /* Forgets what was not sent and destroys the producer. Without one it does nothing. */
    void (*drop)(void *kafka);
    /* Between two tries of a call that answered MR_TXN_AGAIN: waits a little. False: give up. */
    bool (*go_on)(void *kafka, unsigned tries);
};

typedef enum {
    MR_COMMIT_CLOSED, /* no producer */
    MR_COMMIT_READY,  /* a clean epoch, no transaction */
    MR_COMMIT_OPEN,   /* a transaction */
    MR_COMMIT_BROKEN, /* a transaction that must not be committed */
} mr_commit_phase;

struct mr_commit {
    const struct mr_commit_ops *ops;
    void *kafka;
    mr_commit_phase phase;
    uint64_t committed, recycled; /* transactions; producers that were replaced because their epoch was dirty */
    /* Set by an owner that keeps what it has committed in memory, a model that learns: after a dirty epoch it is
     * rebuilt, and does not only get a new producer. Another instance may have taken its place, and committed, since
     * its last transaction ended; a new producer would fence that one, and commit on top of what it did not see. */
    bool has_state;
    bool keeps_dirty; /* tests only: go on in a dirty epoch, to show that a test finds what recycling prevents */
};

/** What a transaction amounts to, when it is to be committed. */
struct mr_commit_batch {
    const struct mr_position *position; /* [count]: where reading goes on */
    size_t count;
    uint64_t in, out, dead, filtered; /* records since the last commit */
    uint64_t sent, acknowledged;      /* messages that were handed to the producer, and that all replicas have */
};

void mr_commit_init(struct mr_commit *commit, const struct mr_commit_ops *ops, void *kafka);

/** A producer, ready for transactions; before anything is read that the transactions of a predecessor decide. MR_OK,
 * MR_EFENCED, MR_EKAFKA (refused for good), MR_ERESTART (not now: try again later). */
mr_status mr_commit_open(struct mr_commit *commit, struct mr_err *err);

/** Before the first record of a transaction is sent; does nothing while one is open. Errors as mr_commit_end. */
mr_status mr_commit_begin(struct mr_commit *commit, struct mr_err *err);

/**
 * Commits. MR_OK: all of it is committed and the epoch is clean, or there was nothing to commit. MR_EINVARIANT: the
 * counts contradict each other, nothing was committed. MR_ERESTART: nothing was committed, or it is not known whether
 * it was; Kafka knows. MR_EFENCED, MR_EKAFKA: nothing was, and it would not be the next time; or it was, but the epoch
 * was dirty and there is no other producer (committed tells). With has_state MR_OK may be the last good answer: the
 * next call says MR_ERESTART.
 */
mr_status mr_commit_end(struct mr_commit *commit, const struct mr_commit_batch *batch, struct mr_err *err);

/**
 * When a transaction that begins now is to be committed, the last one having been due at last_due_ns (monotonic): one
 * interval after that, so that a record waits for one interval and one commit, not two; where a commit takes long, half
 * an interval at least is left for work; after a rest, an interval from now.
 */
int64_t mr_commit_due(int64_t last_due_ns, int64_t now_ns, int64_t interval_ns);

/** From now on the open transaction will not be committed: mr_commit_end answers MR_ERESTART. To be called when
 * partitions leave with records of theirs in it; also from inside go_on: then offsets are not sent again, with a
 * generation in which these partitions may have been another member's and come back. A commit that is already asked for
 * is waited for. */
void mr_commit_break(struct mr_commit *commit);

/** Drops the producer, whatever its phase; a transaction that is open is ended by the next mr_commit_open, here or
 * elsewhere, or by the broker after transaction.timeout.ms. */
void mr_commit_close(struct mr_commit *commit);

#endif
