/** Sinks outside Kafka in a job with delivery "exactly-once": fed by followers of the job's own output topic. */
#ifndef MR_CONFIG_FOLLOWED_H
#define MR_CONFIG_FOLLOWED_H

#include <stdbool.h>

#include "config/job.h"

#define MR_GROUP_BYTES 256

/** Whether lanes do not write to the sink themselves. */
bool mr_job_sink_is_followed(const struct mr_job *job, size_t sink);

/** Sinks that lanes write to. */
size_t mr_job_direct_count(const struct mr_job *job);

/** Whether lanes write to a sink that reads where records come from. */
bool mr_job_reads_origin(const struct mr_job *job);

/** The topic that followers read: that of the first Kafka sink. NULL: there is none. */
const char *mr_job_followed_topic(const struct mr_job *job);

/**
 * The group of a sink's follower: the job's, the sink's type, and the end of what its first text option names (a path,
 * an address): "temps.file.scores.jsonl". A second sink of that name gets "-2" behind it. What does not fit is cut.
 */
void mr_job_followed_group(const struct mr_job *job, size_t sink, char out[MR_GROUP_BYTES]);

#endif
