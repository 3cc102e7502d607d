/** Where the partitions of a topic begin and end, open transactions among what counts. One thread at a time. */
#ifndef MR_KAFKA_TOPIC_ENDS_H
#define MR_KAFKA_TOPIC_ENDS_H

#include "millrace/option.h"

struct mr_topic_ends;

/** properties: of the client. MR_ECONFIG, MR_ENOMEM; no network. topic must outlive it. */
mr_status mr_topic_ends_open(const struct mr_map *properties, const char *topic, struct mr_topic_ends **ends_out,
                             struct mr_err *err);

/** end_out[count]: the next offset that each of the partitions will give. MR_AGAIN: no broker told in time. */
mr_status mr_topic_ends_ask(struct mr_topic_ends *ends, const int32_t *partition, size_t count, int64_t *end_out,
                            int timeout_ms, struct mr_err *err);

/** The same of one partition, and its first offset. */
mr_status mr_topic_bounds_ask(struct mr_topic_ends *ends, int32_t partition, int64_t *low_out, int64_t *end_out,
                              int timeout_ms, struct mr_err *err);

/** Accepts NULL. */
void mr_topic_ends_close(struct mr_topic_ends *ends);

#endif
