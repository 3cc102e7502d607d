/**
 * What sinks behind a network share; it knows no protocol. The lane (or follower) copies records into a bounded queue
 * and takes acknowledgements back; one sender thread makes requests of what is there, and sends each until it is
 * answered. Nothing here blocks the lane.
 *
 * Two ways, decided at open:
 *   it acknowledges (`required`, or fed by a follower): a record is settled when the server has it, or refuses it for
 *     good (MR_EDATA). A full queue is MR_AGAIN. What is not settled at the end comes again.
 *   it does not: a record is settled as soon as it is in the queue. What does not fit is dropped or spilled
 *     (options.h), and counted; what the server refuses is counted and logged.
 */
#ifndef MR_SINK_REMOTE_H
#define MR_SINK_REMOTE_H

#include <stdatomic.h>

#include "millrace/sink.h"
#include "sink/remote/options.h"

struct mr_remote;

/** Bytes that a protocol writes for a request. */
struct mr_remote_text {
    char *data;
    size_t used, cap;
};

/** A record as the sender has it. Borrowed for the call. */
struct mr_remote_record {
    const char *value; /* NULL: a null */
    size_t value_bytes;
    const char *topic;
    int64_t offset, event_ms; /* event_ms -1: not known */
    int32_t partition;
    uint32_t row;
};

/** One record of a request. */
struct mr_remote_item {
    size_t first, bytes; /* its part of the body */
    uint32_t units;      /* points or documents that it became; at least 1 */
    enum { MR_ITEM_WAITS, MR_ITEM_DELIVERED, MR_ITEM_REFUSED } state;
    struct mr_remote_entry *entry; /* of the queue or the spill; not the protocol's */
};

/** What came of a request. */
typedef enum {
    MR_ANSWER_GOOD,    /* the server has what was sent; but items that the protocol has marked refused */
    MR_ANSWER_PART,    /* it has the items that the protocol has marked; those that wait are to be sent again, later */
    MR_ANSWER_BAD,     /* it refuses what was sent because of something in it: smaller parts tell what */
    MR_ANSWER_ALL_BAD, /* likewise, and none of it is good */
    MR_ANSWER_LATER,   /* no answer, or one that says later */
    MR_ANSWER_ABSENT,  /* what is written to is not there; somebody may make it */
    MR_ANSWER_DENIED,  /* credentials, rights, address: nothing gets better by itself */
} mr_answer;

struct mr_remote_outcome {
    mr_answer answer;
    int64_t retry_after_ms; /* as the server says; 0: nothing was said */
    char text[400];         /* url, status, the server's words and the remedy; unless GOOD */
};

/** What a sink brings. All but open and close are called on the sender's thread. */
struct mr_remote_protocol {
    const char *what; /* "influx sink" */
    /* It names records by topic, partition and offset, and the server keeps one of each name: where offsets begin anew
     * with each run (mr_sink_open.run) the topic is TOPIC@RUN. */
    bool needs_names;
    /* Appends what the record becomes, and says how many units it is. MR_AGAIN: no room for it; MR_EDATA: nothing can
     * be made of it, reason and text (one line) say why; text is unchanged after both. */
    mr_status (*add)(void *context, const struct mr_remote_record *record, struct mr_remote_text *text,
                     uint32_t *units_out, mr_reason *reason_out, char why[128]);
    /* Optional: what the server must be asked or told before the first record; called until it says MR_ANSWER_GOOD. */
    void (*prepare)(void *context, struct mr_remote_outcome *outcome);
    /* Sends items [0 .. count), which stand one behind the other at body. Settles none of them unless GOOD (refused
     * ones) or PART (refused and delivered ones), by mr_remote_refuse() and their state. */
    void (*send)(void *context, struct mr_remote *remote, struct mr_remote_item *items, size_t count, const char *body,
                 size_t bytes, struct mr_remote_outcome *outcome);
};

struct mr_remote_open {
    const struct mr_remote_protocol *protocol;
    void *context;
    const struct mr_remote_options *options;
    const struct mr_sink_open *sink;
    const char *destination; /* url and what in there: names its spill, and stands in messages; no secrets */
};

/** MR_ESINK: the spill belongs to another process; MR_EIO, MR_ENOMEM. */
mr_status mr_remote_open(const struct mr_remote_open *open, struct mr_remote **remote_out, struct mr_err *err);

/** Starts the sender: the protocol is ready now. MR_ENOMEM. */
mr_status mr_remote_start(struct mr_remote *remote, struct mr_err *err);

/** As mr_sink_ops.emit and .poll. */
mr_status mr_remote_emit(struct mr_remote *remote, struct mr_outbox *box, size_t from, size_t *taken_out,
                         struct mr_err *err);
mr_status mr_remote_poll(struct mr_remote *remote, int64_t wait_us, struct mr_err *err);

/** As mr_sink_ops.finish. What does not acknowledge is sent for up to MR_REMOTE_DRAIN_MS more; what is left then is
 * spilled, or counted as dropped and told. Nothing is taken any more. */
void mr_remote_finish(struct mr_remote *remote);

/** Ends the sender at once, unless it is finished. Accepts NULL. */
void mr_remote_close(struct mr_remote *remote);

#define MR_REMOTE_DRAIN_MS 3000

/** Marks an item as refused for good; text: one line. On the sender's thread. */
void mr_remote_refuse(struct mr_remote *remote, struct mr_remote_item *item, mr_reason reason, const char *text);

/** When requests must be over (mr_curl_open.stop_ns): valid as long as the remote. */
const _Atomic int64_t *mr_remote_stop_ns(const struct mr_remote *remote);

/** Bytes of the largest body: batch_bytes, unless the job's memory has less for it. */
size_t mr_remote_body_bytes(const struct mr_remote_options *options, const struct mr_sink_open *sink);

#endif
