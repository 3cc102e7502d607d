/** How many lanes a job gets when it does not say. */
#ifndef MR_PIPELINE_LANE_COUNT_H
#define MR_PIPELINE_LANE_COUNT_H

#include <stddef.h>

/** What bounds the lanes. */
struct mr_lane_limits {
    unsigned cores, partitions; /* partitions 0: not known */
    size_t memory_bytes;        /* of the job */
    size_t lane_bytes;          /* least that a lane needs of it */
};

/**
 * One lane a core, no more than partitions, no more than memory holds, MR_LANES_MAX at most, at least 1.
 * *by_memory_out: whether memory was what bounded it.
 */
unsigned mr_lane_count(const struct mr_lane_limits *limits, int *by_memory_out);

#endif
