/**
 * Where a bounded run ends in each partition: noted once, when the first of its lanes sees the partition, so that a
 * partition that moves from lane to lane, or leaves and comes back, does not get another end while records flow in.
 */
#ifndef MR_PIPELINE_ENDS_H
#define MR_PIPELINE_ENDS_H

#include <pthread.h>

#include "base/part_index.h"
#include "millrace/source.h"

struct mr_ends {
    pthread_mutex_t lock;
    char **topic; /* [topic_count] */
    uint32_t topic_count;
    struct mr_part_index index; /* into end */
    struct mr_end {
        int64_t offset;
        mr_end_state state;
    } * end; /* [end_count] */
    uint32_t end_count, end_cap;
};

/** The end of a partition as it was first noted, or lowered since: `end` itself the first time. An end of -1 asks only.
 * -1: not known, or no memory. Any thread. */
int64_t mr_ends_note(struct mr_ends *ends, const char *topic, int32_t partition, int64_t end);

/** See mr_source_ends.lower, .mark and .state. Any thread. */
void mr_ends_lower(struct mr_ends *ends, const char *topic, int32_t partition, int64_t offset);
void mr_ends_mark(struct mr_ends *ends, const char *topic, int32_t partition, mr_end_state state);
mr_end_state mr_ends_state(struct mr_ends *ends, const char *topic, int32_t partition);

/** What a source is given of them; they must outlive it. */
struct mr_source_ends mr_ends_of(struct mr_ends *ends);

void mr_ends_init(struct mr_ends *ends);

/** A zeroed one is fine. */
void mr_ends_deinit(struct mr_ends *ends);

#endif
