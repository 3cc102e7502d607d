/**
 * Records on the disk that wait for a server: files NAME-LANE-NUMBER.spill in a folder, appended to one after another
 * and read back in their order; a file goes when all of it was delivered. What a run leaves there the next one delivers
 * first. After a crash a record that was cut short is skipped, and those of the oldest file that had been delivered
 * come again: whoever writes them knows repeats by their key.
 *
 * One thread at a time.
 */
#ifndef MR_SINK_REMOTE_SPILL_H
#define MR_SINK_REMOTE_SPILL_H

#include <stdbool.h>

#include "sink/remote/entry.h"

struct mr_spill;

struct mr_spill_open {
    const char *folder, *name; /* name: letters that a file may have */
    const char *what;          /* "influx sink", for messages */
    unsigned lane, lane_count; /* lane 0 owns the name; what lanes of another run left goes to those that there are */
    uint64_t bytes_max;        /* of this lane */
};

/** MR_ESINK: another process writes there; MR_EIO, MR_ENOMEM. */
mr_status mr_spill_open(const struct mr_spill_open *open, struct mr_spill **spill_out, struct mr_err *err);

/** Accepts NULL. What is there stays. */
void mr_spill_close(struct mr_spill *spill);

/** Appends a record; entry: all but its value. MR_AGAIN: the spill is full; MR_EIO: the disk is, or fails. */
mr_status mr_spill_add(struct mr_spill *spill, const struct mr_remote_entry *entry, const char *value,
                       const struct mr_span *topic, struct mr_err *err);

/** What is added from now on is older than all that is there. Nothing is read any more. */
mr_status mr_spill_front(struct mr_spill *spill, struct mr_err *err);

/** Hands what was added to the operating system. MR_EIO: see mr_spill_lost(). */
mr_status mr_spill_flush(struct mr_spill *spill, struct mr_err *err);

/** Records that were added and are not there after all, for the disk was full or failed: the last ones that were added
 * before the error. Told once. */
size_t mr_spill_lost(struct mr_spill *spill);

/**
 * The next record behind those that were read since the last mr_spill_done(), its topic with it; NULL: there is none,
 * or no room for more before those are done with. Valid until mr_spill_done().
 */
struct mr_remote_entry *mr_spill_next(struct mr_spill *spill);

/** The record that was read last comes once more with the next mr_spill_next(). */
void mr_spill_unread(struct mr_spill *spill);

/** What was read is delivered. */
void mr_spill_done(struct mr_spill *spill);

/** Whether all is delivered; bytes that are not. */
bool mr_spill_is_empty(const struct mr_spill *spill);
uint64_t mr_spill_bytes(const struct mr_spill *spill);

#endif
