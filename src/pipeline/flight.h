/**
 * Batches on their way: which input messages are covered by which output records, what is settled, and up to where
 * offsets may be committed. A ticket stands for one polled batch of messages; an outbox belongs to one ticket; a ticket
 * is done when its last message is encoded and every record of its outboxes is settled. Tickets complete in order, so a
 * committed offset never runs ahead.
 *
 * Everything is allocated by init and reused, except lists of positions, which grow when they meet more partitions than
 * before. One thread (the lane's) at a time.
 */
#ifndef MR_PIPELINE_FLIGHT_H
#define MR_PIPELINE_FLIGHT_H

#include <stdbool.h>

#include "base/part_index.h"
#include "metrics/stats.h"
#include "millrace/sink.h"
#include "millrace/source.h"

struct mr_flight;

struct mr_ticket {
    struct mr_flight *flight;
    struct mr_position *position; /* [position_count]: where reading goes on after this batch */
    size_t position_count, position_cap;
    uint64_t in, out, dead, filtered; /* records */
    uint64_t messages;                /* that it covers */
    size_t box_count;                 /* outboxes not yet settled */
    bool is_open;                     /* messages of it are still to be encoded */
    int64_t polled_ns, oldest_ms;
    uint64_t sequence;
};

struct mr_box {
    struct mr_outbox out; /* first: a sink's outbox is the box */
    struct mr_flight *flight;
    struct mr_ticket *ticket;
    size_t unsettled;           /* records not yet settled, times the sinks that must */
    uint64_t rows, failed_rows; /* input records that the box answers */
    bool is_dead, is_used;
    struct mr_header *header; /* dead letters: [record_cap][MR_DEAD_HEADERS] */
};

/** Called when a record can never be delivered; the bytes are those of the record, valid during the call. */
typedef void mr_undeliverable_fn(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason,
                                 const char *text);

struct mr_flight {
    struct mr_ticket *ticket; /* ring [ticket_cap] */
    size_t ticket_cap, ticket_first, ticket_count;
    uint64_t sequence;
    uint64_t settled;   /* so far: records, times the sinks */
    struct mr_box *box; /* [box_cap] */
    size_t box_cap;
    struct mr_position *ready; /* offsets that may be committed and are not yet */
    size_t ready_count, ready_cap;
    /* Where a partition may stand in the list of the ticket that was covered last, and in ready: a place counts only if
     * it is that partition's. gone: those of the last forget, by its number. */
    struct mr_part_index covered_at, ready_at, gone;
    uint32_t forgets;
    struct mr_stats *stats;
    mr_undeliverable_fn *undeliverable;
    void *context;
    struct mr_err failure; /* a broken invariant, or no memory */
};

/** record_cap and arena_bytes are those of one outbox. */
mr_status mr_flight_init(struct mr_flight *flight, size_t ticket_cap, size_t box_cap, size_t record_cap,
                         size_t arena_bytes, struct mr_stats *stats, struct mr_err *err);
void mr_flight_deinit(struct mr_flight *flight);

/** A new open ticket, or NULL when all are in flight. */
struct mr_ticket *mr_ticket_open(struct mr_flight *flight);

/** Notes that messages[0 .. count) belong to the ticket. MR_ENOMEM when they come from more partitions than memory
 * allows. */
mr_status mr_ticket_cover(struct mr_ticket *ticket, const struct mr_message *messages, size_t count,
                          struct mr_err *err);

/** No more records will be added to the ticket. */
void mr_ticket_close(struct mr_ticket *ticket);

/** An empty box for a ticket, or NULL when all are in flight. */
struct mr_box *mr_box_open(struct mr_flight *flight, struct mr_ticket *ticket);

/** The box is filled: each record waits for sink_count sinks. A box without records is done at once, and its
 * rows are answered. */
void mr_box_seal(struct mr_box *box, size_t sink_count);

/** Takes a box out of flight that was never handed to a sink. */
void mr_box_drop(struct mr_box *box);

/** Settles tickets that are done, in order: their offsets become ready. MR_EINVARIANT when in = out + dead + filtered
 * does not hold. */
mr_status mr_flight_settle(struct mr_flight *flight, struct mr_err *err);

/** Messages of all tickets that are not settled. */
uint64_t mr_flight_messages(const struct mr_flight *flight);

/** Forgets everything that is in flight: nothing of it will be settled any more. */
void mr_flight_reset(struct mr_flight *flight);

/** Forgets the offsets of partitions that left without their records being acknowledged. */
void mr_flight_forget(struct mr_flight *flight, const struct mr_position *positions, size_t count);

#endif
