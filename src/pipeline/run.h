/** A job at work: models, units and layout that all lanes share, and the lanes themselves. */
#ifndef MR_PIPELINE_RUN_H
#define MR_PIPELINE_RUN_H

#include <stdatomic.h>

#include "config/job.h"
#include "metrics/stats.h"
#include "metrics/tap.h"
#include "pipeline/breaker.h"
#include "pipeline/ends.h"
#include "pipeline/layout.h"
#include "scoring/cross_check.h"
#include "scoring/follow.h"
#include "scoring/precision.h"

typedef enum {
    MR_RUN_ON,    /* go on */
    MR_RUN_DRAIN, /* take no more input; finish, deliver and commit what was taken */
    MR_RUN_ABORT, /* leave at once; what is not committed will be repeated */
} mr_run_state;

/** How far a bounded run goes. */
struct mr_until {
    bool end;                 /* to what was there when the run first saw each partition */
    int64_t duration_us;      /* 0: no limit */
    int64_t records;          /* 0: no limit */
    mr_patience_fn *patience; /* while followed models have no version; NULL: as long as the broker is waited for */
};

struct mr_lane;
struct mr_follow;
struct mr_follower;

struct mr_run {
    const struct mr_job *job;
    struct mr_until until;
    struct mr_models models;
    struct mr_follow *follow; /* of models that another process learns; NULL: none */
    struct mr_units units;
    struct mr_check_stats check_stats;
    struct mr_layout *layout;
    const struct mr_map *properties; /* client properties of the source, for sinks that name none */
    int64_t connect_timeout_us;      /* how long the source waits for its broker; sinks do too */
    int64_t idle_interval_us;        /* without room for outputs, how often the group is told that we are there */
    struct mr_breaker breaker;
    struct mr_tap *tap; /* what is seen of the lanes' work; NULL: nobody watches */
    int64_t started_ns;
    _Atomic int state;                                    /* mr_run_state */
    _Atomic bool has_begun;                               /* lanes may be at work */
    _Atomic int64_t records_left;                         /* of until.records */
    struct mr_ends ends;                                  /* of until.end */
    int32_t source_partitions_min, source_partitions_max; /* as lane 0 found them: all lanes decide alike */
    struct mr_lane **lane;                                /* [lane_count] */
    unsigned lane_count;
    struct mr_follower **follower; /* [follower_count]: of sinks that lanes do not write to */
    size_t follower_count;
    bool is_ordered; /* scores are waited for before the next batch, and there is one lane: models learn, or labels
                        come on topics of their own */
    bool learns_by_offsets; /* models learn, and from blocks that are cut at offsets */
    bool learns_by_topics;  /* models learn, and from some topics of the source alone */
};

/** Loads models, chooses and opens what they run on, works out the layout. On error *run_out is NULL. job must outlive
 * the run. */
mr_status mr_run_create(const struct mr_job *job, const struct mr_until *until, struct mr_run **run_out,
                        struct mr_err *err);

/** Opens the lanes (the first error wins) and starts their threads. */
mr_status mr_run_start(struct mr_run *run, struct mr_err *err);

/** Asks for an end; more urgent states win. Async-signal-safe, any thread. */
void mr_run_stop(struct mr_run *run, mr_run_state state);

/** What was asked for last. Any thread; an order with other memory is not promised. */
static inline mr_run_state mr_run_state_now(const struct mr_run *run)
{
    return atomic_load_explicit(&run->state, memory_order_relaxed);
}

/** Waits up to wait_us for all lanes to end or all to have reached a bounded run's end, or for a lane or a follower to
 * fail. True when it is over. */
bool mr_run_wait(struct mr_run *run, int64_t wait_us);

/** Whether every lane's thread has ended, so that mr_run_finish will not wait. */
bool mr_run_lanes_ended(const struct mr_run *run);

/** Whether a lane or a follower has ended with an error. */
bool mr_run_has_failed(const struct mr_run *run);

/** Joins the lanes, lets followers write what is committed (a few seconds at most; see mr_followers_ask for longer),
 * and saves what models have learned. The first error, or MR_OK. */
mr_status mr_run_finish(struct mr_run *run, struct mr_err *err);

/** Accepts NULL. Not after mr_followers_lost(). */
void mr_run_destroy(struct mr_run *run);

#endif
