/** Sources: where messages come from. */
#ifndef MILLRACE_SOURCE_H
#define MILLRACE_SOURCE_H

#include <stdbool.h>

#include "millrace/batch.h"
#include "millrace/option.h"
#include "millrace/transaction.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mr_source; /* the source of one lane; one thread at a time */

/** The next offset to be read of one partition: everything before it is done. */
struct mr_position {
    uint32_t topic;
    int32_t partition;
    int64_t next_offset;
};

/** What a lane is told when partitions come and go. Called on the lane's thread, from inside join(), poll() or close().
 */
struct mr_source_events {
    void *context;
    /*
     * Optional. A partition comes; committed: the group's offset, -1 when there is none; note: what the group keeps
     * with that, "" for nothing. *offset_out: where to read on instead, -1 to leave that to the source. An error ends
     * the source.
     */
    mr_status (*start)(void *context, const char *topic, int32_t partition, int64_t committed, const char *note,
                       int64_t *offset_out, struct mr_err *err);
    /* Optional. What the group is to keep with the offset of a partition that is stored now; NULL: nothing. Borrowed
     * until the next call. */
    const char *(*note)(void *context, const char *topic, int32_t partition);
    /* Optional. A partition without a committed offset: where it begins, which is committed with the first records of
     * any partition. */
    mr_status (*began)(void *context, const char *topic, int32_t partition, int64_t offset, struct mr_err *err);
    /* Optional. Everything of a partition before that offset was handed over, or is nothing that is handed over
     * (markers of transactions, aborted records); what was handed over with this poll may still be in the caller's
     * hands. */
    void (*reached)(void *context, const struct mr_position *position);
    /* Partitions leave. Unless is_lost, finish and commit everything of theirs before returning; if lost, drop it. */
    void (*revoke)(void *context, const struct mr_position *positions, size_t count, bool is_lost);
};

/** Who reads a partition of a bounded run. */
typedef enum {
    MR_END_ELSEWHERE, /* nobody in this run */
    MR_END_OWNED,     /* one of its lanes, which ends when it is read */
    MR_END_READ,      /* nobody has to: there was nothing to read */
} mr_end_state;

/**
 * Where a bounded run ends, kept by the run for all its lanes. A source tells it the end of each partition that it is
 * given, each time; what comes back is where to stop: the end that was noted when the first lane saw the partition. So
 * a partition that moves between lanes, or leaves and comes back, keeps its end; one that is added later gets one then.
 */
struct mr_source_ends {
    void *context;
    /* Any thread. An end of -1 asks only. -1: not known, or no memory. */
    int64_t (*note)(void *context, const char *topic, int32_t partition, int64_t end);
    /* Any thread. Of a partition that was noted: from this offset on to its end there is nothing to hand over. */
    void (*lower)(void *context, const char *topic, int32_t partition, int64_t end);
    /* Any thread. Of a partition that was noted; another one is elsewhere, and marking it does nothing. */
    void (*mark)(void *context, const char *topic, int32_t partition, mr_end_state state);
    mr_end_state (*state)(void *context, const char *topic, int32_t partition);
};

/** How a lane opens its source. */
struct mr_source_open {
    const void *options;
    const char *job; /* name of the job */
    unsigned lane, lane_count;
    size_t memory_bytes;        /* budget for prefetched messages of this lane */
    bool is_bounded;            /* stop at what was there at start: poll then ends with MR_END */
    struct mr_source_ends ends; /* if bounded */
    bool must_exist;            /* topics that are not there, or not the same any more, end the run */
    bool reads_headers, reads_timestamps;
    struct mr_cut cut; /* for a source whose input has no messages of its own */
    struct mr_source_events events;
};

/** What is true of a synthetic stream: "x1" 3.2. */
struct mr_truth {
    char name[64];
    double value;
};

/** How far a partition is read. */
struct mr_lag {
    uint32_t topic; /* index, as in mr_message */
    int32_t partition;
    int64_t next; /* the offset that is handed over next */
    int64_t end;  /* of the partition, at the last answer of a broker; -1: not known */
};

/** A source: a folder src/source/<name>/ and a line in registry.def. */
struct mr_source_ops {
    const char *name;
    const char *summary;
    const struct mr_option *options;
    size_t options_size;
    bool cuts;    /* its messages are cut out of a stream of bytes (mr_source_open.cut) */
    bool repeats; /* what was taken and is not committed can be read again after a crash */
    mr_status (*check)(const void *options, struct mr_err *err); /* optional; no network */
    mr_status (*open)(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err);
    /* Optional. How many lanes could have work at once (partitions); asks the broker. Also proves that it is there. */
    mr_status (*lane_count_max)(const void *options, unsigned *count_out, struct mr_err *err);
    /* Optional. Partitions of the topics that it reads, now: the fewest and the most; 0 and 0 when there are none yet.
     */
    mr_status (*partition_range)(struct mr_source *source, int32_t *min_out, int32_t *max_out, struct mr_err *err);
    /*
     * Optional. Takes up its share of the input (joins the group): called once on the lane's thread before the first
     * poll. Lane 0 goes first and the others follow when it has_joined(), so that one process costs its group two
     * rebalances, not one for each lane.
     */
    mr_status (*join)(struct mr_source *source, struct mr_err *err);
    bool (*has_joined)(const struct mr_source *source); /* with join: whether it has its share */
    /*
     * Required. Fills messages with up to cap messages: blocks up to wait_us for the first one, then up to fill_us more
     * for the batch to fill. MR_OK with *count_out 0 when nothing came; with cap 0 it only serves group events. MR_END
     * when a bounded source has handed over all. The messages stay valid until release() of the same batch.
     * MR_AGAIN: brokers gave no answer in time of which the share depends that has come: a source that is opened
     * anew, once they are back, gets it. Other errors end the lane.
     */
    mr_status (*poll)(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                      int64_t fill_us, size_t *count_out, struct mr_err *err);
    /* Required. Gives messages back. Any order of batches. */
    void (*release)(struct mr_source *source, struct mr_message *messages, size_t count);
    /*
     * Required. Stores the positions for the group (asynchronously unless wait): call only after everything before them
     * is acknowledged. The source remembers what could not be stored and sends it with the next call, which may have no
     * positions of its own. MR_AGAIN: not all is stored yet (only with wait); MR_ERETRY: the group has given the
     * partitions to others.
     */
    mr_status (*commit)(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                        struct mr_err *err);
    /*
     * Optional: then a lane's transactions may hold its offsets. Puts the positions into a transaction, and with them
     * what this member of the group is, so that a member that has lost its partitions commits nothing. They count as
     * stored: when the transaction is not committed, the source must be closed.
     */
    mr_txn_outcome (*offsets_send)(struct mr_source *source, struct mr_transaction *transaction,
                                   const struct mr_position *positions, size_t count, struct mr_err *err);
    /* Optional. Where it stands in each partition of its share: *count_out of them, of which it fills the first cap.
     * Returns how many records were there at the last answer of a broker and are not handed over yet; -1: not known.
     * Asks nobody. */
    int64_t (*lag)(struct mr_source *source, struct mr_lag *part, size_t cap, size_t *count_out);
    /* Required. Name of a topic by its index; valid until close. */
    const char *(*topic_name)(const struct mr_source *source, uint32_t topic);
    /* Required. Milliseconds since 1970, -1 when unknown. */
    int64_t (*timestamp_ms)(const struct mr_source *source, const struct mr_message *message);
    /* Required. The last header of that name; false when there is none. Bytes as long as the message. */
    bool (*header)(const struct mr_source *source, const struct mr_message *message, const char *name,
                   struct mr_span *value_out);
    /*
     * Optional. Where the record that begins at this byte of a message stands, for people: "readings.csv:17". Writes
     * at most `bytes`, the terminator included; false: offset and topic say all there is. The message is not released.
     */
    bool (*place)(const struct mr_source *source, const struct mr_message *message, size_t byte, char *text,
                  size_t bytes);
    /*
     * Optional, of a source that makes its records: what is true at this record (coefficients, centres, means), for
     * comparing what is learned with it. Fills up to cap entries and returns how many there are; the same names in the
     * same order at every record. options: that check() has let pass. Pure; any thread.
     */
    size_t (*truth)(const void *options, int64_t offset, struct mr_truth *truth, size_t cap);
    /* Required. Leaves the group; revoke events may come. Accepts NULL. */
    void (*close)(struct mr_source *source);
};

#ifdef __cplusplus
}
#endif
#endif
