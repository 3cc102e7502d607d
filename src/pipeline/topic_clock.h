/** How far the topics of one side have been read, in the time of their records. */
#ifndef MR_PIPELINE_TOPIC_CLOCK_H
#define MR_PIPELINE_TOPIC_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/part_index.h"

/** Zeroed with the number of partitions set it is new. One thread at a time. */
struct mr_topic_clock {
    struct mr_part_index index; /* into newest_ms */
    int64_t *newest_ms;         /* [count] */
    size_t count, cap, partitions;
    int64_t newest_all_ms; /* of any partition; meaningful with a count */
};

/** A record of that time was read. False: no memory. */
bool mr_topic_clock_see(struct mr_topic_clock *clock, uint32_t topic, int32_t partition, int64_t time_ms);

/** The newest time of the partition that is furthest behind; INT64_MIN until all have been heard of. */
int64_t mr_topic_clock_ms(const struct mr_topic_clock *clock);

void mr_topic_clock_deinit(struct mr_topic_clock *clock);

#endif
