/**
 * Records that wait for their label, and labels that wait for their record, by key: a hash table whose memory is all
 * taken at start. Time is what the caller says (timestamps of messages), so that what matches does not depend on when
 * anything was read: a record and a label belong together when their keys are the same and their times are at most
 * wait_ms apart. When it is full, what was matched goes first, then what is oldest; labels push out records up to an
 * eighth of it. One thread at a time; counts may be read by any.
 */
#ifndef MR_PIPELINE_JOIN_H
#define MR_PIPELINE_JOIN_H

#include <stdatomic.h>
#include <stdint.h>

#include "millrace/batch.h"
#include "millrace/status.h"

/** Keys up to so many bytes stand as they are, longer ones as 160 bits of their SHA-256. */
#define MR_JOIN_KEY_BYTES 40

typedef enum { MR_JOIN_RECORD, MR_JOIN_LABEL, MR_JOIN_SIDES } mr_join_side;

typedef enum {
    MR_JOIN_WAITS,   /* it is kept */
    MR_JOIN_MATCHED, /* the other one was there */
    MR_JOIN_REFUSED, /* not kept, and counted: a duplicate, too late for what waits under its key, or without room */
} mr_join_verdict;

/** What has become of the records and labels, by side. */
struct mr_join_counts {
    _Atomic uint64_t matched;
    _Atomic uint64_t waiting[MR_JOIN_SIDES];   /* now */
    _Atomic uint64_t expired[MR_JOIN_SIDES];   /* their time was over */
    _Atomic uint64_t evicted[MR_JOIN_SIDES];   /* pushed out by newer ones before that; labels also for want of room */
    _Atomic uint64_t duplicate[MR_JOIN_SIDES]; /* a second one with a key, within its time */
};

struct mr_join;

/** cap: records and labels that are kept at once, those included that were matched and are not yet forgotten.
 * payload_floats: that each record keeps. MR_ENOMEM. */
mr_status mr_join_create(size_t cap, size_t payload_floats, int64_t wait_ms, struct mr_join **join_out,
                         struct mr_err *err);
/** Accepts NULL. */
void mr_join_destroy(struct mr_join *join);

/** Bytes that a join takes: for the memory budget. */
size_t mr_join_bytes(size_t cap, size_t payload_floats);

/**
 * A record comes. WAITS: *payload_out [payload_floats] is to be filled before the next call. MATCHED: *label_out is its
 * label. A second record with a key, also of one that was matched, is refused as a duplicate until the first one's time
 * is over.
 */
mr_join_verdict mr_join_record(struct mr_join *join, const struct mr_span *key, int64_t time_ms, float **payload_out,
                               double *label_out);

/** A label comes. MATCHED: *payload_out is what the record left, until the next call. The first label of a key counts:
 * others within its time are refused as duplicates. */
mr_join_verdict mr_join_label(struct mr_join *join, const struct mr_span *key, int64_t time_ms, double label,
                              const float **payload_out);

/**
 * Forgets what can no longer be matched. clock_ms[side]: no record, or no label, of an earlier time comes any more (in
 * topics whose times ascend); INT64_MIN: not known.
 */
void mr_join_expire(struct mr_join *join, const int64_t clock_ms[MR_JOIN_SIDES]);

const struct mr_join_counts *mr_join_counts(const struct mr_join *join);

#endif
