/**
 * Dead letters of a lane: records that could not be scored, or whose output could not be delivered, go to a topic or a
 * file with their bytes unchanged, where they came from and why.
 */
#ifndef MR_PIPELINE_DEAD_H
#define MR_PIPELINE_DEAD_H

#include "pipeline/flight.h"
#include "pipeline/run.h"

/** One bad record. Key and value are borrowed for the call; the texts live as long as the run, topic as long as the
 * source. */
struct mr_bad {
    const char *value;
    size_t value_bytes;
    const char *key; /* NULL: none */
    size_t key_bytes;
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    mr_reason reason;
    const char *stage;     /* "decode" or "output" */
    const char *field;     /* path, or NULL */
    const char *place;     /* borrowed as the key: file and line, where the source has such; else NULL */
    uint64_t rows;         /* input records that it stands for */
    size_t truncated_from; /* 0: whole; else the length before it was cut */
};

struct mr_dead;

mr_status mr_dead_create(const struct mr_run *run, unsigned lane, struct mr_stats *stats, struct mr_dead **dead_out,
                         struct mr_err *err);
void mr_dead_destroy(struct mr_dead *dead);

/** Opens topic or file now instead of at the first dead letter, so that one that is missing is found at start. */
mr_status mr_dead_open(struct mr_dead *dead, struct mr_err *err);

/**
 * Takes one bad record of a ticket; it is delivered at the next flush or when the box is full. Blocks while the dead
 * letters' sink is full. MR_ERETRY when the run is aborted meanwhile.
 */
mr_status mr_dead_add(struct mr_dead *dead, struct mr_ticket *ticket, const struct mr_bad *bad, struct mr_err *err);

/** Hands over what was added; then what could not be delivered elsewhere (mr_dead_undeliverable). */
mr_status mr_dead_flush(struct mr_dead *dead, struct mr_err *err);

/** Serves acknowledgements without waiting. */
mr_status mr_dead_poll(struct mr_dead *dead, struct mr_err *err);

/** An output record that a sink refused for good: kept until the next flush. Matches mr_undeliverable_fn; context is
 * the mr_dead. */
void mr_dead_undeliverable(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason,
                           const char *text);

/** Dead letters go through the lane's transactions: before anything is opened. */
void mr_dead_transaction_set(struct mr_dead *dead, struct mr_transaction *transaction);

/** Forgets what is on its way or waits, and closes topic or file: they are opened anew when needed. */
void mr_dead_reset(struct mr_dead *dead);

/** Names of topics for undeliverable records: set once the source is open. */
void mr_dead_source_set(struct mr_dead *dead, const struct mr_source_ops *ops, struct mr_source *source);

/** Bytes that the dead letters of a lane may take on their way, but for single ones larger than 256 KiB: for the memory
 * budget. 0 when the job drops them. */
size_t mr_dead_bytes(const struct mr_job *job);

/** Called now and then while dead letters wait for room, so that the group hears from us before max.poll.interval.ms.
 */
void mr_dead_idle_set(struct mr_dead *dead, void (*idle)(void *context), void *context);

#endif
