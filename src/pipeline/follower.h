/**
 * A follower: the thread that feeds a sink outside Kafka in a job with delivery "exactly-once". It reads the job's own
 * output topic as anybody else would, committed records only, in a group of its own, and gives them to the sink; so the
 * sink never sees an aborted record, and one that is slow or dead slows no lane. Lanes and followers share nothing.
 *
 * What the sink has taken is kept by the sink itself together with positions (mr_sink_ops.mark), or, where it cannot,
 * by the group alone: then a crash repeats what was not committed, and the key (topic, partition, offset) tells
 * repeats.
 */
#ifndef MR_PIPELINE_FOLLOWER_H
#define MR_PIPELINE_FOLLOWER_H

#include <pthread.h>

#include "config/followed.h"
#include "metrics/sink_stats.h"
#include "pipeline/deliver.h"

#define MR_FOLLOWER_BATCHES 3

typedef enum {
    MR_FOLLOWER_ON,     /* follow */
    MR_FOLLOWER_FINISH, /* the lanes have ended: write all that is committed, then end */
    MR_FOLLOWER_LEAVE,  /* settle what was taken, and end */
} mr_follower_phase;

struct mr_topic_ends;

/** Messages that were polled, and lent to the sink. */
struct mr_follower_batch {
    struct mr_message *message; /* [record cap] */
    struct mr_header *header;   /* [record cap][header count] */
    size_t count;               /* 0: free */
    uint64_t sequence;          /* of its ticket */
};

/** A partition of the topic. */
struct mr_follower_part {
    bool is_owned;
    int64_t next;    /* everything before it is settled; -1: not known */
    int64_t given;   /* everything before it was given to the sink, likewise */
    int64_t reached; /* everything before it was handed over; -1: nothing new */
    int64_t end;     /* as brokers told last; -1: not asked yet */
};

struct mr_follower {
    struct mr_run *run;
    size_t index; /* of the sink, in the job */
    struct mr_lane_sink sink;
    const char *topic;
    char group[MR_GROUP_BYTES];
    void *source_options; /* the job's, with the output topic and another group */
    struct mr_map properties;
    struct mr_strings topics;
    const struct mr_source_ops *source_ops;
    struct mr_source *source;
    struct mr_topic_ends *ends;
    struct mr_follower_batch batch[MR_FOLLOWER_BATCHES];
    size_t batch_first, batch_count;
    struct mr_flight flight;
    const char **header_name; /* [header_count]: those that outputs have */
    size_t header_count;
    struct mr_follower_part *part; /* [part_cap], by partition */
    int32_t part_cap;
    bool is_rebuilding, is_delivering, must_restart, has_ends;
    bool has_explained; /* why it ended is told by the follower or its sink, not by the source */
    int64_t commit_due_ns, resend_due_ns, ends_due_ns, finish_ns;
    pthread_t thread;
    bool has_thread, is_lost; /* is_lost: its thread could not be joined */
    struct mr_stats stats;
    struct mr_sink_stats sink_stats;
    _Atomic uint64_t records_refused;
    _Atomic int64_t lag; /* offsets of the topic that are not settled yet; -1: not known */
    _Atomic int64_t progress_ns;
    _Atomic int phase; /* mr_follower_phase */
    _Atomic bool is_open, is_over;
    struct mr_err err; /* why it ended; valid when is_over */
};

/** What followers of the job take of its memory. */
size_t mr_followers_bytes(const struct mr_job *job);

/** Makes a follower for each sink that needs one, and starts their threads. */
mr_status mr_followers_start(struct mr_run *run, struct mr_err *err);

/** Waits up to a second for their sinks to open; one that takes longer goes on trying while the job works. Errors as
 * the sinks' open and mr_source_ops.open. */
mr_status mr_followers_open_wait(const struct mr_run *run, struct mr_err *err);

/** Asks all for another phase; later ones win. Any thread. */
void mr_followers_ask(struct mr_run *run, mr_follower_phase phase);

/** Whether the thread of one has ended with an error; whether all have ended. Any thread. */
bool mr_followers_failed(const struct mr_run *run);
bool mr_followers_ended(const struct mr_run *run);

/** When one of those that go on has last moved something, of mr_clock_ns; now, where all have ended. */
int64_t mr_followers_progress_ns(const struct mr_run *run);

/**
 * Joins the threads. One that does not end within wait_us is left alone for good (its sink hangs in a system call):
 * MR_ERETRY. Else the first error.
 */
mr_status mr_followers_join(struct mr_run *run, int64_t wait_us, struct mr_err *err);

/** Whether a thread was left alone: nothing of the run may be freed. */
bool mr_followers_lost(const struct mr_run *run);

/** The threads must have been joined. */
void mr_followers_destroy(struct mr_run *run);

/** follower_open.c: opens sink and source, or closes them and forgets what was in flight. On the follower's thread. */
mr_status mr_follower_open(struct mr_follower *follower, struct mr_err *err);
void mr_follower_close(struct mr_follower *follower);
mr_status mr_follower_create(struct mr_run *run, size_t sink, struct mr_follower **follower_out, struct mr_err *err);
void mr_follower_destroy(struct mr_follower *follower); /* accepts NULL */

/** follower.c: the thread; events of its source. */
void *mr_follower_main(void *argument);
mr_status mr_follower_begins(void *context, const char *topic, int32_t partition, int64_t committed, const char *note,
                             int64_t *offset_out, struct mr_err *err);
mr_status mr_follower_began(void *context, const char *topic, int32_t partition, int64_t offset, struct mr_err *err);
const char *mr_follower_note(void *context, const char *topic, int32_t partition);
void mr_follower_reached(void *context, const struct mr_position *position);
void mr_follower_revoked(void *context, const struct mr_position *positions, size_t count, bool is_lost);
void mr_follower_undeliverable(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason,
                               const char *text);

#endif
