#include "pipeline/lane_count.h"

#include "config/job.h"

unsigned mr_lane_count(const struct mr_lane_limits *limits, int *by_memory_out)
{
    unsigned count = limits->cores < MR_LANES_MAX ? limits->cores : MR_LANES_MAX;
    if (limits->partitions && count > limits->partitions) count = limits->partitions;
    const size_t fit = limits->lane_bytes ? limits->memory_bytes / limits->lane_bytes : count;
    *by_memory_out = fit < count;
    if (*by_memory_out) count = (unsigned)fit;
    return count ? count : 1;
}
