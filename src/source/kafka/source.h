/** Inside the Kafka source: one consumer, the partitions that it owns, and the queue that their messages come through.
 */
#ifndef MR_SOURCE_KAFKA_SOURCE_H
#define MR_SOURCE_KAFKA_SOURCE_H

#include <librdkafka/rdkafka.h>

#include "base/part_index.h"
#include "millrace/source.h"
#include "source/kafka/options.h"

#define MR_TOPIC_COUNT_MAX  1024
#define MR_HANDLE_CAP       256 /* a power of two */
#define MR_KAFKA_NOTE_BYTES 1024

/** A partition that this consumer owns. */
struct partition {
    uint32_t topic;
    int32_t partition;
    /* The offset that the lane wants next; -1: whatever comes. With lost_offsets "stop" smaller ones are repeats and
     * dropped; else the client may have gone back to the earliest record there is, and they are taken. */
    int64_t next_offset;
    int64_t first_offset;    /* where it was begun this time */
    int64_t end_offset;      /* bounded: the end when the run first saw it; -1: none */
    int64_t commit_offset;   /* everything before it is acknowledged; -1: nothing yet */
    int64_t stored_offset;   /* of the last commit that succeeded; -1: none */
    int64_t stored_us;       /* when that was, in a transaction */
    bool is_done;            /* bounded: read to its end */
    bool is_revoked;         /* leaves in the rebalance under way */
    rd_kafka_queue_t *queue; /* forwarded to the lane's queue */
};

struct mr_source {
    const struct mr_kafka_source_options *opt;
    struct mr_source_open open;
    struct mr_kafka_start start;
    const char *servers; /* for messages */
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;   /* messages of all owned partitions; group events stay on the consumer's own queue, so a
                                  lane   that does not want messages can go on serving events and stays in the group */
    rd_kafka_queue_t *reports; /* on commits */
    bool is_committing;        /* a commit is on its way */
    rd_kafka_topic_partition_list_t *offer; /* offsets that a transaction was asked to take and has not; NULL: none */
    struct partition *partition;            /* [partition_count] */
    size_t partition_count, partition_cap;
    struct mr_part_index owned; /* into partition */
    struct partition *last;     /* the partition of the last message, and the topic handle there: runs are long */
    const rd_kafka_topic_t *last_handle;
    /* Topics by the client's handle on them, which is compared and never used; emptied whenever partitions change. */
    struct {
        const rd_kafka_topic_t *handle;
        uint32_t topic;
    } known[MR_HANDLE_CAP];
    char *topic[MR_TOPIC_COUNT_MAX];
    uint32_t topic_count;
    int32_t initial_count[MR_TOPIC_COUNT_MAX]; /* partitions at start: later ones are read from their beginning; 0:
                                                  unknown */
    rd_kafka_message_t **raw;                  /* [raw_cap] */
    size_t raw_cap;
    int64_t queued_messages_max, queued_bytes_max; /* the client stops fetching above either */
    double message_bytes;                          /* of a message, on average lately */
    int64_t events_due_us, wake_due_us;
    bool was_full, has_assignment, is_closing;
    bool was_unanswered;   /* a question that the share that came depends on: brokers are away */
    bool is_member;        /* of a group that shares the partitions out */
    bool keeps_offsets;    /* the broker does */
    int64_t unassigned_us; /* since when there is no assignment; 0: there is one, or it was told */
    /* rest.c: of lane 0 of a bounded run in a group. */
    rd_kafka_topic_partition_list_t *rest;           /* all partitions that the run began with; NULL: not known yet */
    int64_t rest_sum;                                /* what others had committed of theirs at the last look */
    int64_t rest_since_us, rest_due_us, rest_end_us; /* first and next look, and when nothing has moved for too long */
    unsigned rest_turn;                              /* of the partitions whose end is asked for alone */
    struct {                                         /* unread.c: of a static member */
        int64_t due_us;                              /* of the next look; 0: none */
        unsigned looks_left, subscribes_left;
        bool has_begun;
    } unread;
    int64_t growth_due_us;       /* membership none: the next look whether the topics have grown; 0: never */
    bool knows_topics;           /* initial_count has all topics that a pattern matched at start: others are new */
    bool has_told_rest, is_gone; /* is_gone: a topic was missing at the last look */
    int64_t gone_due_us;         /* next look whether the topics are still there; 0: nothing hints that one is not */
    char group[256];
    struct mr_err failure; /* an error that a callback met; poll returns it */
};

/** Index of a topic, adding it. UINT32_MAX when there are too many. */
uint32_t mr_kafka_topic_index(struct mr_source *source, const char *name);

/** First and next offset of a partition; -1: not known. */
struct mr_kafka_bounds {
    int64_t low, high;
};

#define MR_KAFKA_ASK_TIMEOUT_MS 15000

/** Asks for the bounds of all partitions of a list into bounds[list->cnt], twice within the time. What no broker says
 * stays -1: of all, where one of them has no leader. */
void mr_kafka_bounds_ask(struct mr_source *source, const rd_kafka_topic_partition_list_t *list, int timeout_ms,
                         struct mr_kafka_bounds *bounds);

/**
 * Asks for the bounds of one partition unless they are known. One that was just added may be assigned before this
 * client has heard of it: its metadata is asked for again until it has. MR_EKAFKA: no broker told within 15 s.
 */
mr_status mr_kafka_bounds_need(struct mr_source *source, const rd_kafka_topic_partition_t *entry,
                               struct mr_kafka_bounds *bounds, struct mr_err *err);

/** What passes by itself: the group's coordinator, or a broker, is moving, loading or out of reach. */
bool mr_kafka_is_passing(rd_kafka_resp_err_t code);

/** Owned partition by its numbers, NULL when it is not owned (any more). */
struct partition *mr_kafka_owned(struct mr_source *source, uint32_t topic, int32_t partition);

/** Owned partition of a message, NULL when it is not owned (any more). */
struct partition *mr_kafka_partition_of(struct mr_source *source, const rd_kafka_message_t *message);

/** Messages of the owned partitions that the last fetches have seen and that are not handed over; -1: not known of all.
 */
int64_t mr_kafka_lag(struct mr_source *source, struct mr_lag *part, size_t cap, size_t *count_out);

/** The rebalance callback of the consumer; opaque is the source. */
void mr_kafka_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                        void *opaque);

/** Subscribes to the topics of the job: joins the group, or joins it again. */
rd_kafka_resp_err_t mr_kafka_subscribe(struct mr_source *source);

/** Behind the first share of a static member: from now on mr_kafka_unread_check looks whether each partition is with
 * some member of the group. */
void mr_kafka_unread_start(struct mr_source *source, int64_t now_us);

/** A look that is due: joins again where partitions are with nobody. Waits for brokers, 1 s each question at most; done
 * once it has found that all are with somebody, which is the first look as a rule. */
void mr_kafka_unread_check(struct mr_source *source, int64_t now_us);

/** Membership none: takes this lane's share of all partitions of the topics. */
mr_status mr_kafka_assign_share(struct mr_source *source, struct mr_err *err);

/** Notes, once, what a bounded run in a group began with, and where that ends: called with lane 0's first partitions.
 */
mr_status mr_kafka_rest_note(struct mr_source *source, struct mr_err *err);

/**
 * When lane 0 is at its end: MR_END when no partition of the run is left to members outside of it, MR_OK while they
 * still read theirs, MR_ERETRY when they have not moved for longer than a session lasts.
 */
mr_status mr_kafka_rest_wait(struct mr_source *source, struct mr_err *err);

/**
 * After a hint that a topic is no longer there: asks for the topics of a run that is bounded or must find them, and
 * fails it (source->failure) when one is missing twice, a second apart: it would wait for ever. gone.c
 */
void mr_kafka_gone_check(struct mr_source *source, int64_t now_us);

/**
 * Whether the offsets that were committed are still there; no answer counts as yes. Brokers forget the offsets of a
 * topic with the topic: so where they are gone it is another one of that name, or somebody has deleted them. MR_EINPUT:
 * this is not the place to go on from. Waits for an answer; not while offsets are on their way in a transaction.
 */
mr_status mr_kafka_offsets_check(struct mr_source *source, struct mr_err *err);

/** Membership none: says once for each growth that a topic has partitions that nobody reads. */
void mr_kafka_growth_check(struct mr_source *source, int64_t now_us);

/** The error for an offset, the next to be read, that the topic does not hold (any more); what is not known of it, or
 * of the bounds, is -1. */
mr_status mr_kafka_lost(const char *topic, int32_t partition, int64_t offset, const struct mr_kafka_bounds *bounds,
                        struct mr_err *err);

/** Forgets all partitions, releasing their queues. */
void mr_kafka_partitions_clear(struct mr_source *source);

mr_status mr_kafka_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                        int64_t fill_us, size_t *count_out, struct mr_err *err);

/** See mr_source_ops.commit. */
mr_status mr_kafka_commit(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                          struct mr_err *err);

/**
 * What goes into a transaction: the positions, and where partitions begin that came before. NULL: nothing. The
 * source's, and the same until the transaction has taken it, however often it is sent: a partition that comes between
 * two tries is of the next one, because the state that goes with this one does not know it.
 */
const rd_kafka_topic_partition_list_t *mr_kafka_offer(struct mr_source *source, const struct mr_position *positions,
                                                      size_t count);

/** The transaction has taken the offer. */
void mr_kafka_offer_stored(struct mr_source *source, int64_t now_us);

/** See mr_source_ops.offsets_send. */
mr_txn_outcome mr_kafka_offsets_send(struct mr_source *source, struct mr_transaction *transaction,
                                     const struct mr_position *positions, size_t count, struct mr_err *err);

#endif
