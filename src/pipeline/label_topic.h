/**
 * The topics with labels of a job: read by a consumer of their own, in a group of their own (`<group>.labels`), with
 * counts, dead letters, a circuit breaker and commits of their own. Of the lane's thread.
 */
#ifndef MR_PIPELINE_LABEL_TOPIC_H
#define MR_PIPELINE_LABEL_TOPIC_H

#include "pipeline/breaker.h"
#include "pipeline/dead.h"
#include "pipeline/slot.h"
#include "pipeline/topic_clock.h"

struct mr_label_topic {
    struct mr_run *run;
    void *source_options; /* the job's, with other topics and another group: owns nothing */
    char *group;
    struct mr_source *source;
    struct mr_schema schema;
    struct mr_field field[2]; /* label, key */
    struct mr_decoder *decoder;
    struct mr_raw raw;
    struct mr_rows rows;
    struct mr_flight flight; /* only its tickets are used */
    struct mr_dead *dead;
    struct mr_breaker breaker;
    uint64_t bad_run_length;
    struct mr_stats stats; /* in = out (taken) + dead + filtered */
    struct mr_topic_clock clock;
    int64_t commit_due_ns;
    bool is_at_end;
    bool was_fed; /* the last poll had labels: the next may, too */
};

/** Where labels go, in their order. key is valid for the call. */
typedef mr_status mr_label_fn(void *context, const struct mr_span *key, int64_t time_ms, double label,
                              struct mr_err *err);

/** Opens all. idle, context: as mr_dead_idle_set. On error *topic_out is NULL. */
mr_status mr_label_topic_create(struct mr_run *run, size_t memory_bytes, void (*idle)(void *context), void *context,
                                struct mr_label_topic **topic_out, struct mr_err *err);

/** Takes up its partitions: once, on the lane's thread. */
mr_status mr_label_topic_join(struct mr_label_topic *topic, struct mr_err *err);

/** Polls once without waiting, and hands each label to `take`; bad ones become dead letters. */
mr_status mr_label_topic_poll(struct mr_label_topic *topic, mr_label_fn *take, void *context, struct mr_err *err);

/** Serves the group, without messages. */
void mr_label_topic_serve(struct mr_label_topic *topic);

/** Settles dead letters, and commits what was taken when it is due. */
mr_status mr_label_topic_settle(struct mr_label_topic *topic, struct mr_err *err);

/** At the end: waits for dead letters until the deadline, and commits. MR_ERETRY: not all was. */
mr_status mr_label_topic_finish(struct mr_label_topic *topic, int64_t deadline_ns, struct mr_err *err);

/** Bytes that it takes beside its source: for the memory budget. */
size_t mr_label_topic_bytes(const struct mr_job *job);

/** Accepts NULL. */
void mr_label_topic_destroy(struct mr_label_topic *topic);

/** The time of a message for joins: its timestamp, or now where it has none. */
int64_t mr_join_time_ms(const struct mr_source_ops *ops, const struct mr_source *source,
                        const struct mr_message *message);

/** A key as joins compare it: a string that was captured without its quotes. data NULL: there is none. */
struct mr_span mr_join_key(struct mr_span captured);

#endif
