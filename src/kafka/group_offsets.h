/** What another group has committed: asked for once, where somebody wants to know why two do not agree. */
#ifndef MR_KAFKA_GROUP_OFFSETS_H
#define MR_KAFKA_GROUP_OFFSETS_H

#include <librdkafka/rdkafka.h>

#include "millrace/option.h"

/**
 * Fills in the offsets of a group for the partitions of a list; -1: it has none. properties: of the client. A group
 * that this user may not look at counts as one without offsets. MR_EKAFKA: no answer within timeout_ms.
 */
mr_status mr_kafka_group_offsets(const struct mr_map *properties, const char *group,
                                 rd_kafka_topic_partition_list_t *list, int timeout_ms, struct mr_err *err);

#endif
