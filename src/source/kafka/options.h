/** Options of the Kafka source, and where reading starts. */
#ifndef MR_SOURCE_KAFKA_OPTIONS_H
#define MR_SOURCE_KAFKA_OPTIONS_H

#include <stdbool.h>

#include "millrace/option.h"

typedef enum {
    MR_MEMBER_STATIC,  /* group member with an identity that survives restarts: no rebalance when it comes back */
    MR_MEMBER_DYNAMIC, /* group member with a fresh identity each time */
    MR_MEMBER_NONE,    /* takes all partitions without a group protocol; offsets are still committed to the group */
} mr_membership;

typedef enum { MR_LOST_STOP, MR_LOST_EARLIEST, MR_LOST_LATEST } mr_lost_offsets;

struct mr_kafka_source_options {
    struct mr_map properties;
    struct mr_strings topics;
    char *group; /* NULL: millrace-<job> */
    char *start;
    int membership;   /* mr_membership */
    char *instance;   /* NULL: the host's name */
    int lost_offsets; /* mr_lost_offsets */
    int64_t connect_timeout;
    int64_t fetch_wait_max;
    bool allow_old_brokers;
};

extern const struct mr_option mr_kafka_source_options[];

/** Where a partition without a committed offset starts. */
struct mr_kafka_start {
    enum { MR_START_EARLIEST, MR_START_LATEST, MR_START_TIME, MR_START_OFFSETS } kind;
    int64_t time_ms;
    const char *offsets; /* "topic/0=12,topic/1=99": borrowed from the option's text */
};

/** Reads the `start` option, all of it. MR_ECONFIG lists the accepted forms, or names the entry that is none. */
mr_status mr_kafka_start_parse(const char *text, struct mr_kafka_start *start_out, struct mr_err *err);

/** The offset that an explicit start names for a partition; -1 when it names none. */
int64_t mr_kafka_start_offset(const struct mr_kafka_start *start, const char *topic, int32_t partition);

/** MR_ECONFIG for a topic that is a regular expression where lanes share out the topics without a group (has_group
 * false). */
mr_status mr_kafka_pattern_check(const struct mr_kafka_source_options *opt, bool has_group, struct mr_err *err);

/** Whether the source reads a topic: by its name, or by a pattern (one that does not compile is librdkafka's to
 * refuse).
 */
bool mr_kafka_is_read(const struct mr_strings *topics, const char *topic);

/** MR_ECONFIG for a property that stands in an option of its own, and for a strategy that loses records: also for -X,
 * which comes after the check of the job file. */
mr_status mr_kafka_properties_check(const struct mr_map *properties, struct mr_err *err);

/** MR_ECONFIG where an explicit start names a partition that a topic of so many does not have. */
mr_status mr_kafka_start_check(const struct mr_kafka_start *start, const char *topic, int32_t partition_count,
                               struct mr_err *err);

/** Checks that need no network (mr_source_ops.check). */
mr_status mr_kafka_source_check(const void *options, struct mr_err *err);

#endif
