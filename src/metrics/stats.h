/** What a lane counts. The lane's thread writes, any thread reads: relaxed atomics, no locks. */
#ifndef MR_METRICS_STATS_H
#define MR_METRICS_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/histogram.h"
#include "millrace/batch.h"

/** The steps of a batch, in the order of DESIGN's table; names (mr_stage_name) are those of the metrics. */
typedef enum {
    MR_STAGE_POLL, /* waiting excluded: time inside the client's batch calls that brought messages */
    MR_STAGE_WAIT, /* waiting for messages, or for room in a sink */
    MR_STAGE_DECODE,
    MR_STAGE_SCORE, /* kernel; on a device also upload and download */
    MR_STAGE_ENCODE,
    MR_STAGE_EMIT,
    MR_STAGE_SETTLE, /* delivery reports and commits */
    MR_STAGE_COUNT
} mr_stage;

struct mr_stats {
    _Atomic uint64_t messages_in, bytes_in, records_in;
    _Atomic uint64_t records_out, records_dead, records_filtered; /* settled */
    _Atomic uint64_t values_null;                                 /* outputs that were not finite and print as null */
    _Atomic uint64_t messages_out, bytes_out, batches, commits, commit_failures;
    _Atomic uint64_t restarts; /* transactions that were given up: the lane was rebuilt from what is committed */
    _Atomic uint64_t reasons[MR_REASON_COUNT];
    _Atomic uint64_t stage_ns[MR_STAGE_COUNT];     /* wall */
    _Atomic uint64_t stage_cpu_ns[MR_STAGE_COUNT]; /* of the lane's thread */
    _Atomic int64_t lag;                           /* records of its partitions not taken in yet; -1: not known */
    _Atomic int64_t held_ns;                       /* since when a sink holds the lane up, monotonic; 0: none does */
    _Atomic int64_t first_out_ns;                  /* monotonic time of the first settled record; 0: none yet */
    struct mr_histogram process_ns;                /* from poll to acknowledgement, a batch weighs its records */
    struct mr_histogram batch_records;
    struct mr_histogram commit_ns;     /* of a transaction: from the moment it is due until input is taken in again */
    struct mr_histogram end_to_end_us; /* from the oldest record's timestamp to acknowledgement, once a batch */
};

static inline void mr_stats_add(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

static inline uint64_t mr_stats_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/** Records: in = out + dead + filtered, once all is settled. */
struct mr_counts {
    uint64_t in, out, dead, filtered;
};

static inline struct mr_counts mr_stats_counts(const struct mr_stats *stats)
{
    return (struct mr_counts){mr_stats_get(&stats->records_in), mr_stats_get(&stats->records_out),
                              mr_stats_get(&stats->records_dead), mr_stats_get(&stats->records_filtered)};
}

/** Sets them back, when what was counted since is done again. */
static inline void mr_stats_counts_set(struct mr_stats *stats, struct mr_counts counts)
{
    atomic_store_explicit(&stats->records_in, counts.in, memory_order_relaxed);
    atomic_store_explicit(&stats->records_out, counts.out, memory_order_relaxed);
    atomic_store_explicit(&stats->records_dead, counts.dead, memory_order_relaxed);
    atomic_store_explicit(&stats->records_filtered, counts.filtered, memory_order_relaxed);
}

/** Stable lower-case name; never NULL. */
const char *mr_stage_name(mr_stage stage);

#endif
