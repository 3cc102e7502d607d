/**
 * Exactly once: the transactions of a lane, between the commit protocol (commit.h), the lane's producer
 * (kafka/transaction.h) and its source. On the lane's thread.
 */
#ifndef MR_PIPELINE_LANE_COMMIT_H
#define MR_PIPELINE_LANE_COMMIT_H

#include "pipeline/commit.h"
#include "pipeline/lane.h"

struct mr_lane_commit {
    struct mr_commit protocol;
    struct mr_transaction *transaction;
    struct mr_counts counts;               /* of the lane's stats, at the last commit */
    uint64_t messages;                     /* likewise */
    int64_t due_ns;                        /* of the open transaction */
    int64_t open_until_ns, drain_until_ns; /* how long init, or a stop, may take; 0: no limit */
};

/** Without network. memory_bytes: of the producer's queue. On error *commit_out is NULL. */
mr_status mr_lane_commit_create(struct mr_lane *lane, size_t memory_bytes, struct mr_lane_commit **commit_out,
                                struct mr_err *err);
/** Accepts NULL. Sinks and dead letters must be closed. */
void mr_lane_commit_destroy(struct mr_lane_commit *commit);

/** The producer, ready; before the source and the sinks are opened. As mr_commit_open; MR_EKAFKA also when no broker
 * answers within the source's connect_timeout. */
mr_status mr_lane_commit_open(struct mr_lane *lane, struct mr_err *err);

/** Before anything of a polled batch is sent. */
mr_status mr_lane_commit_begin(struct mr_lane *lane, struct mr_err *err);

/** Whether there is anything to be committed; whether that is due. */
bool mr_lane_commit_is_open(const struct mr_lane *lane);
bool mr_lane_commit_is_due(const struct mr_lane *lane);

/** Whether anything was taken in since the last commit. */
bool mr_lane_commit_has_work(const struct mr_lane *lane);

/** Whether a step of a commit has to be given up: the run is left at once, or partitions have to go. */
bool mr_lane_commit_is_late(const struct mr_lane *lane);

/** Commits what the flight has settled, which must be all that was taken in. As mr_commit_end. */
mr_status mr_lane_commit_end(struct mr_lane *lane, struct mr_err *err);

/**
 * The one way on after a transaction that cannot be committed (err says why), and for models whose state is in a file,
 * when partitions left before what was learned from them was kept: everything is made anew from what is committed.
 * Brokers may be away for as long as they like. MR_ERETRY: the run was asked to end meanwhile, or too many transactions
 * in a row came to nothing; other errors as mr_lane_create.
 */
mr_status mr_lane_restart(struct mr_lane *lane, struct mr_err *err);

#endif
