/**
 * What a sink does behind the back of whoever gives it records: it may settle a record before its server has it. The
 * sink writes, any thread reads. Owned by the lane or follower that opens the sink, and outlives it.
 */
#ifndef MR_METRICS_SINK_STATS_H
#define MR_METRICS_SINK_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MR_SINK_ERROR_BYTES 512

/** Zeroed: nothing happened, and the sink does not count. Records; bytes are those of their values. */
struct mr_sink_stats {
    _Atomic bool counts;
    _Atomic uint64_t taken;     /* given to it */
    _Atomic uint64_t delivered; /* the server has them */
    _Atomic uint64_t dropped;   /* no room, or not delivered when the run ended */
    _Atomic uint64_t refused;   /* the server, or the format, takes them never */
    _Atomic uint64_t spilled;   /* written to the disk, to be delivered later */
    _Atomic uint64_t retried;   /* requests that were sent again */
    _Atomic uint64_t requests;
    _Atomic uint64_t bytes_sent;                                /* bodies, as they went over the wire */
    _Atomic uint64_t fields_skipped;                            /* that the format cannot hold, such as null */
    _Atomic uint64_t queued_records, queued_bytes, spill_bytes; /* now */
    _Atomic bool is_failing; /* the last request brought no good answer: error says why */
    _Atomic unsigned lock;   /* of error */
    char error[MR_SINK_ERROR_BYTES];
};

/** The text of the last error, copied. Any thread. */
void mr_sink_stats_error(struct mr_sink_stats *stats, char out[MR_SINK_ERROR_BYTES]);

/** Keeps the text of an error, or (NULL) says that all is well again; the text stays. Any thread. */
void mr_sink_stats_error_set(struct mr_sink_stats *stats, const char *text);

/** Adds the sums of another one; of errors the one that holds now. */
void mr_sink_stats_merge(struct mr_sink_stats *sum, struct mr_sink_stats *stats);

#endif
