/** What brokers know of topics and groups, asked for by tools: partitions, bounds, committed offsets, members. */
#ifndef MR_VERIFY_LOOK_H
#define MR_VERIFY_LOOK_H

#include <librdkafka/rdkafka.h>

#include "config/job.h"

/** A client; is_uncommitted: its bounds go up to what open transactions have written. One thread at a time. */
struct mr_look {
    rd_kafka_t *client;
    const char *servers;
    char group[256];
};

/** A partition of a topic, and numbers about it; -1: none, or not asked for. */
struct mr_look_part {
    const char *topic; /* the look's, or the job's */
    int32_t partition;
    int64_t low, end;  /* end: behind the last committed record */
    int64_t committed; /* the group's */
};

struct mr_look_parts {
    struct mr_look_part *part;
    size_t count;
    char **topic; /* [topic_count], owned */
    size_t topic_count;
};

/** The job's source must be "kafka" (MR_ECONFIG). group: that of the job. No network. */
mr_status mr_look_open(struct mr_look *look, const struct mr_job *job, bool is_uncommitted, struct mr_err *err);
/** The same for another group, read committed. */
mr_status mr_look_open_group(struct mr_look *look, const struct mr_job *job, const char *group, struct mr_err *err);
void mr_look_close(struct mr_look *look); /* accepts a zeroed one */

/** Adds all partitions of a topic. MR_EINPUT: it does not exist; MR_EKAFKA. */
mr_status mr_look_topic(struct mr_look *look, const char *topic, struct mr_look_parts *parts, struct mr_err *err);
/** All partitions that the job reads. */
mr_status mr_look_inputs(struct mr_look *look, const struct mr_job *job, struct mr_look_parts *parts,
                         struct mr_err *err);
void mr_look_parts_deinit(struct mr_look_parts *parts);

/** Fill low and end, or committed, of all. MR_EKAFKA: no answer within 15 s. */
mr_status mr_look_bounds(struct mr_look *look, struct mr_look_parts *parts, struct mr_err *err);
mr_status mr_look_committed(struct mr_look *look, struct mr_look_parts *parts, struct mr_err *err);

/** What the group keeps with its offsets: note_out[parts->count], each to be freed, NULL for nothing. Errors likewise.
 */
mr_status mr_look_notes(struct mr_look *look, const struct mr_look_parts *parts, char **note_out, struct mr_err *err);

/** The first offset of a time; -1: none. */
mr_status mr_look_time(struct mr_look *look, const struct mr_look_part *part, int64_t time_ms, int64_t *offset_out,
                       struct mr_err *err);

/** Members of the group; names: some of them, cut to fit. */
mr_status mr_look_members(struct mr_look *look, int *count_out, char *names, size_t bytes, struct mr_err *err);

/** Stores `committed` of all parts for the group, which must have no members. MR_EKAFKA. */
mr_status mr_look_commit(struct mr_look *look, const struct mr_look_parts *parts, struct mr_err *err);

#endif
