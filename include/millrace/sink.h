/** Sinks: where output records go, and how their delivery is known. */
#ifndef MILLRACE_SINK_H
#define MILLRACE_SINK_H

#include "millrace/batch.h"
#include "millrace/option.h"
#include "millrace/source.h"
#include "millrace/transaction.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mr_header {
    const char *name;
    const char *value;
    size_t value_bytes;
};

#define MR_PARTITION_BY_KEY (-1) /* hash of the key; without a key as by batch */
#define MR_PARTITION_BY_BATCH                                                                                          \
    (-2) /* one partition for the records of an outbox, another for the next: few large requests */

/** One output record. All bytes live in the outbox's arena until the outbox is done. */
struct mr_record {
    const char *value; /* NULL: a null, as the dead letter of a tombstone is */
    const char *key;   /* NULL: none */
    uint32_t value_bytes;
    uint32_t key_bytes;
    int32_t partition; /* that of its input (see mr_partition_rule), or MR_PARTITION_BY_KEY, MR_PARTITION_BY_BATCH */
    uint32_t header_count;
    const struct mr_header *header;
    int64_t timestamp_ms; /* -1: now */
    /* provenance: the (last) input record that it answers */
    int64_t offset;
    int32_t source_partition;
    uint32_t topic;
    uint32_t row_count; /* input records that it answers: more than 1 in a joined message */
    /* Filled for sinks that ask for it (mr_sink_ops.reads_origin): */
    uint32_t row; /* the place of the (first) input record in its message: 0, unless a message holds several */
    const struct mr_message *message; /* that message, during emit() alone: mr_sink_open.event_ms knows its timestamp */
};

/** A batch of output records on their way. Owned by the pipeline; a sink borrows it until it has settled every record.
 */
struct mr_outbox {
    struct mr_record *record; /* [record_cap] */
    size_t count, record_cap;
    char *arena; /* the bytes of the records */
    size_t arena_used, arena_cap;
    /*
     * The sink calls it once for each record that it took, on the lane's thread: status MR_OK when durable, else why
     * not (MR_EDATA: this record can never be delivered, reason says why; it becomes a dead letter).
     */
    void (*settled)(struct mr_outbox *box, struct mr_record *record, mr_status status, mr_reason reason,
                    const char *text);
    /* Shortcut for `count` records settled with MR_OK. */
    void (*settled_ok)(struct mr_outbox *box, size_t count);
};

struct mr_sink;       /* the sink of one lane; one thread at a time */
struct mr_sink_stats; /* what it counts: metrics/sink_stats.h */

/**
 * What a sink with partitions does with records that name the partition of their input. It decides at open, once for
 * all records: some of them to the partition that they name and others by key would leave no order at all.
 */
typedef enum {
    MR_PARTITION_IF_EQUAL, /* they go there if input and destination have as many partitions, else by key */
    MR_PARTITION_ALWAYS,   /* they go there; MR_ECONFIG if the destination has fewer partitions */
} mr_partition_rule;

struct mr_sink_open {
    const void *options;
    const char *job;
    unsigned lane, lane_count;
    size_t memory_bytes; /* budget of its queue */
    int64_t linger_us;   /* how long a record may wait for others (batch.wait_max) */
    const struct mr_map
        *properties; /* client properties of the job's source, for a sink that names none; may be NULL */
    int64_t connect_timeout_us;
    mr_partition_rule partition_rule;
    /* Of the topics that the job reads, at start: the fewest and the most. 0: not known. Where an input grows later,
     * the records of partitions that the destination lacks go by key, those of the others stay where they were. */
    int32_t source_partitions_min, source_partitions_max;
    struct mr_transaction *transaction; /* NULL: none. A sink that cannot take part in one refuses to open */
    bool compress; /* the records are much alike: a sink that can, packs them, unless its options say otherwise */
    /*
     * The topic whose records the sink is given by a follower, which reads them committed: topic 0, source_partition
     * and offset of a record are where it stands in there, and the key by which it may be known as a repeat. Lane 0 of
     * 1; values and keys are the client's memory, as long as the outbox is. NULL: a lane gives it what it has made.
     */
    const char *followed;
    const struct mr_map *fields; /* emit.fields: the members of a record's objects, in their order, as keys */
    /* Models of the job whose weights learned() will tell, in the job's order; the names live as long as the job. None
     * where `followed` is given. */
    const char *const *weights_of;
    size_t weights_count;
    /*
     * Name of the topic that a record names by its index (record->topic), until the next call; NULL where `followed` is
     * given, for that is the topic. Timestamp of its message, milliseconds since 1970; -1: it has none. On the lane's
     * thread, inside emit() alone. Asked for record by record: a sink that has no room need not know.
     */
    const char *(*topic_name)(const void *context, uint32_t topic);
    int64_t (*event_ms)(const void *context, const struct mr_message *message);
    const void *origin_context;
    /* Of a source that cannot be read again: its offsets begin anew with each run, so topic, partition and offset name
     * another record in each; this word tells this run from all others. NULL: offsets tell. Until open returns. */
    const char *run;
    /* Where a sink counts what becomes of records behind its back. Outlives the sink, for others read it while sinks
     * are closed and opened anew. NULL: nobody asks. */
    struct mr_sink_stats *stats;
};

/** What a model of the job has learned, after a batch. */
struct mr_weights {
    const char *model;  /* its name */
    const float *value; /* [count]: as mr_learn_ops.weights gives them */
    size_t count;
    uint64_t version; /* updates that the model has seen */
};

/** Where reading of a partition of the followed topic may begin, and what is known of that. */
struct mr_sink_place {
    int32_t partition;
    int64_t group_offset; /* -1: the group has none */
    const char *note;     /* what mr_sink_ops.note gave when that was stored; "" for nothing */
    int64_t low, end;     /* of the topic, open transactions counted */
};

/** A sink: a folder src/sink/<name>/ and a line in registry.def. */
struct mr_sink_ops {
    const char *name;
    const char *summary;
    const struct mr_option *options;
    size_t options_size;
    /* It asks for row and message of records; then a joined record answers rows of one message only, and its key
     * (topic, source_partition, offset, row) is the same whenever the message is read again. */
    bool reads_origin;
    mr_status (*check)(const void *options, struct mr_err *err); /* optional; no network */
    mr_status (*open)(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err);
    /* Required. Takes records box->record[from .. count): *taken_out of them; fewer when its queue is full (MR_AGAIN).
     * Does not wait for room or acknowledgements. It may take as long as a write to a disk or a pipe takes (file,
     * console), or about a second where it must ask for what it cannot know (kafka: that a topic has grown). */
    mr_status (*emit)(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out, struct mr_err *err);
    /* Required. Serves acknowledgements: waits up to wait_us for at least one, calls settled(). An error ends the lane.
     */
    mr_status (*poll)(struct mr_sink *sink, int64_t wait_us, struct mr_err *err);
    /*
     * All optional, only together, only called where `followed` was given: of a sink that can keep where reading goes
     * on together with what it holds, so that after any crash it holds each record once.
     *
     * marked: reading of a partition begins. Where its group has no offset, and unless *offset_out is given, it is
     * called once more with the first offset of the partition. *offset_out: where to go on instead, -1: nothing against
     * the group's. MR_EDATA: what it holds and what it has marked do not fit each other, the group or the topic.
     *
     * mark: makes all records that it was given last, and with them, in one step, the positions behind them; partitions
     * that are not among these stay as they were marked. Everything it took is settled. Takes as long as disks do. What
     * it was given behind the last mark does not count when it is opened the next time. MR_ERESTART, of this and of
     * poll(): what it was given since its last mark is gone; it must be closed, opened, and given that again.
     *
     * note: a line that the group is to keep with the offset of a partition, at most 1000 bytes; NULL: nothing.
     */
    mr_status (*marked)(struct mr_sink *sink, const struct mr_sink_place *place, int64_t *offset_out,
                        struct mr_err *err);
    mr_status (*mark)(struct mr_sink *sink, const struct mr_position *positions, size_t count, struct mr_err *err);
    const char *(*note)(struct mr_sink *sink, int32_t partition);
    /* Optional. A model that `weights_of` names has learned from a batch. On the lane's thread, between emit() and
     * poll(), whose error is the place for one. Does not wait. */
    void (*learned)(struct mr_sink *sink, const struct mr_weights *weights);
    /* Optional. No record comes any more: what was settled and is not delivered yet goes out now, as far as that can be
     * done within 3 s; the rest is counted. Once, on the lane's thread. */
    void (*finish)(struct mr_sink *sink);
    /* Required. Accepts NULL. Records not yet settled are dropped. */
    void (*close)(struct mr_sink *sink);
};

#ifdef __cplusplus
}
#endif
#endif
