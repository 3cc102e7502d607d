/** A lane: one thread that polls, decodes, scores, encodes, emits and commits, with its own source, sinks and slots. */
#ifndef MR_PIPELINE_LANE_H
#define MR_PIPELINE_LANE_H

#include <pthread.h>

#include "metrics/lags.h"
#include "metrics/sink_stats.h"
#include "pipeline/block.h"
#include "pipeline/dead.h"
#include "pipeline/deliver.h"
#include "pipeline/encode.h"
#include "pipeline/slot.h"

struct mr_lane_labels;
struct mr_lane_commit;
struct mr_lane_state;

#define MR_SLOT_COUNT 2 /* while one is on the device the other is decoded and encoded */

struct mr_lane {
    struct mr_run *run;
    unsigned index;
    pthread_t thread;
    bool has_thread;
    struct mr_source *source;
    struct mr_lane_sink *sink; /* [sink_count]: those of the job that lanes write to */
    size_t sink_count;
    struct mr_sink_stats *sink_stats; /* [sink_count of the job] */
    struct mr_decoder *decoder;
    struct mr_encoder *encoder;
    struct mr_raw raw[MR_SLOT_COUNT]; /* polled batches; one more message batch than slots is never needed */
    struct mr_slot slot[MR_SLOT_COUNT];
    size_t slot_first, slot_count; /* slots whose scores are not yet encoded */
    struct mr_raw *input;          /* the batch that is being decoded, or NULL */
    struct mr_block block;         /* rows to be learned from: by offsets, or with labels of their own topics */
    struct mr_lane_commit *exact;  /* exactly once: its transactions; NULL: offsets are committed by themselves */
    struct mr_lane_state *state;   /* of transactions that hold what models learn; NULL: none does */
    struct mr_lane_labels *labels; /* NULL: labels come in the records, or there are none */
    struct mr_cross_check check;
    struct mr_precision precision;
    struct mr_flight flight;
    struct mr_dead *dead;
    struct mr_stats stats;
    size_t source_bytes, sink_bytes, label_bytes; /* budgets of the clients */
    int64_t fill_us, linger_us; /* how long batch.wait_max lets the source fill a batch, and the sinks gather records */
    int64_t commit_due_ns, resend_due_ns; /* the next commit with offsets that are ready; the next without any */
    int64_t stage_ns, stage_cpu_ns;       /* when the current stage began */
    int64_t lag_due_ns;                   /* the next time that it is told */
    struct mr_lags lags;
    uint64_t bad_run_length; /* bad records in a row */
    bool has_tripped;        /* the circuit breaker: what was polled is finished, nothing more is polled */
    int64_t revoke_until_ns; /* partitions leave: how long all of a commit may take; 0: they do not */
    unsigned restarts;       /* since the last commit */
    bool must_restart;       /* partitions left before what was taken from them was committed */
    bool is_delivering;      /* inside mr_deliver: events that come now must not start another delivery */
    bool is_revoking;        /* inside the callback of a rebalance */
    bool holds_models;       /* a batch is under way: none of them may be replaced */
    bool is_rebuilding;      /* nothing that leaves has to be finished */
    bool is_input_over;      /* a bounded run: all of it was taken in */
    _Atomic bool has_joined, is_at_end, is_over;
    struct mr_err err; /* why it ended; status MR_OK when it was asked to */
};

/** What the lanes of a run have of the job's memory. */
size_t mr_run_lane_memory(const struct mr_run *run);

/** Whether the lanes of a run (lane_count of them) have what they need. MR_ECONFIG says how much that is. Needs of the
 * run the job, the layout and the facts of the models. */
mr_status mr_run_memory_check(const struct mr_run *run, struct mr_err *err);

/** The least that the job's memory may be for these lanes, MiB; of a role, that of the whole job. */
size_t mr_run_memory_least(const struct mr_run *run);

/** The least of the job's memory that a lane needs, bytes. */
size_t mr_lane_bytes_min(const struct mr_run *run);

/** Bytes of an outbox's arena: the outputs of a batch as they are on average, and at least one of the largest. A record
 * whose output does not fit is a dead letter. */
size_t mr_lane_arena_bytes(const struct mr_job *job);

/** Opens everything the lane needs. On error *lane_out is NULL. */
mr_status mr_lane_create(struct mr_run *run, unsigned index, struct mr_lane **lane_out, struct mr_err *err);

/** The thread: runs until the run is over. argument is the lane; returns NULL, the outcome is in lane->err. */
void *mr_lane_main(void *argument);

/** Partitions leave: finishes, delivers and commits what was taken from them; what cannot be, is forgotten. On the
 * lane's thread. */
void mr_lane_revoked(struct mr_lane *lane, const struct mr_position *positions, size_t count, bool is_lost);

/** Called while a sink has no room: the group must still hear from us. context is the lane; on its thread. */
void mr_lane_idle(void *context);

/** Lets models be replaced when no batch is under way. On the lane's thread. */
void mr_lane_models_leave(struct mr_lane *lane);

/** After a transaction was given up: closes source and sinks, forgets what was in flight, and opens them again where
 * the last commit ended. Errors as mr_lane_create; then it may be called again. On the lane's thread. */
mr_status mr_lane_rebuild(struct mr_lane *lane, struct mr_err *err);

/** No sink gets more: what they have settled and not delivered goes out. Nothing where the run is aborted. On the
 * lane's thread. */
void mr_lane_sinks_finish(struct mr_lane *lane);

/** Accepts NULL. The thread must have been joined. */
void mr_lane_destroy(struct mr_lane *lane);

#endif
