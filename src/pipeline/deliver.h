/** Handing a sealed box to sinks, with back-pressure. */
#ifndef MR_PIPELINE_DELIVER_H
#define MR_PIPELINE_DELIVER_H

#include "pipeline/flight.h"
#include "pipeline/run.h"

struct mr_lane_sink {
    const struct mr_sink_ops *ops;
    struct mr_sink *sink;
};

/**
 * Gives every record of the box to every sink, serving acknowledgements while a queue is full. The box must not be
 * touched afterwards. idle (may be NULL) is called now and then while waiting, so that the group hears from us before
 * max.poll.interval.ms. MR_ERETRY when the run is aborted meanwhile.
 */
mr_status mr_deliver(const struct mr_run *run, struct mr_box *box, const struct mr_lane_sink *sinks, size_t sink_count,
                     void (*idle)(void *context), void *context, struct mr_err *err);

/**
 * Serves the acknowledgements of all sinks: of what is there, and if nothing is, of the first that comes within
 * wait_us, from whichever sink.
 */
mr_status mr_sinks_settle(const struct mr_lane_sink *sinks, size_t sink_count, const struct mr_flight *flight,
                          int64_t wait_us, struct mr_err *err);

#endif
