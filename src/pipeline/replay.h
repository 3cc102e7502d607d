/**
 * Learns again what a job has learned: reads the records of committed updates, decodes and scores them and lets the
 * models learn, in the same batches and order, so that the same models come out: bit for bit on the same backend and
 * machine type. For a lane that goes on from a snapshot, and for tools that look at one.
 *
 * One thread at a time, on a run whose lanes do not score meanwhile.
 */
#ifndef MR_PIPELINE_REPLAY_H
#define MR_PIPELINE_REPLAY_H

#include "kafka/range_reader.h"
#include "pipeline/slot.h"
#include "pipeline/taken.h"
#include "state/record.h"

struct mr_block;

struct mr_replay {
    struct mr_run *run;
    struct mr_range_reader *reader;
    struct mr_decoder *decoder;
    struct mr_slot slot;
    struct mr_message_list list;
};

/** The models of the run must be planned. MR_ENOMEM, MR_ECONFIG. */
mr_status mr_replay_init(struct mr_replay *replay, struct mr_run *run, struct mr_err *err);
/** Accepts a zeroed one. */
void mr_replay_deinit(struct mr_replay *replay);

/** Reads and decodes ranges[0 .. count) of a commit into replay->slot; the messages stay in replay->list until the next
 * call. MR_END: they hold more records than batch.records_max. Errors as mr_range_read. */
mr_status mr_replay_decode(struct mr_replay *replay, const struct mr_state_commit *commit,
                           const struct mr_state_range *ranges, size_t count, struct mr_err *err);

/** Learns the first `update_count` updates of a commit. MR_EINVARIANT: the records are not those that were learned from
 * (their number differs); MR_ECONFIG: they were more at once than batch.records_max is now. */
mr_status mr_replay_commit(struct mr_replay *replay, const struct mr_state_commit *commit, size_t update_count,
                           struct mr_err *err);

/** Takes the records that a commit left to be learned from into a block. MR_END: they do not fit; nothing was taken. */
mr_status mr_replay_pending(struct mr_replay *replay, const struct mr_state_commit *commit, struct mr_block *block,
                            struct mr_err *err);

/** Learns the records that a commit left to be learned from, as they come, in batches of records_max, and notes these:
 * where blocks are no longer what they were. */
mr_status mr_replay_pieces(struct mr_replay *replay, const struct mr_state_commit *commit, struct mr_taken *taken,
                           struct mr_err *err);

#endif
