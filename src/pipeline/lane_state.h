/**
 * What models have learned, kept for the next start with the offsets up to which they have. Exactly once: with each
 * transaction of the lane, a record for each model that says what it has learned from (a manifest), and when due the
 * model itself (a snapshot), in a topic a model. Else, now and then, in one file. Formats: state/record.h,
 * snapshot_file.h. On the lane's thread.
 */
#ifndef MR_PIPELINE_LANE_STATE_H
#define MR_PIPELINE_LANE_STATE_H

#include "pipeline/lane.h"
#include "pipeline/taken.h"

struct mr_lane_state;

/** Does nothing yet. On error *state_out is NULL. */
mr_status mr_lane_state_create(struct mr_lane *lane, struct mr_lane_state **state_out, struct mr_err *err);
/** Accepts NULL. Ports are closed. */
void mr_lane_state_destroy(struct mr_lane_state *state);

/**
 * Makes the models as of the last commit: once the producer is ready, which ends what was open, and before offsets are
 * read. Also opens the topics for writing. Of a file likewise. MR_EINVARIANT: the topics contradict each other or
 * themselves; MR_EINPUT: a topic is missing, with the command that makes it; MR_EDATA: it is of another model;
 * MR_EKAFKA.
 */
mr_status mr_lane_state_restore(struct mr_lane *lane, struct mr_err *err);

/** Closes the topics: before the producer's owner goes. */
void mr_lane_state_close(struct mr_lane *lane);

/** Where the records of this lane's models begin or go on; the source asks and tells. MR_EINVARIANT: the group's
 * offset is not that of the state. */
mr_status mr_lane_state_start(struct mr_lane *lane, const char *topic, int32_t partition, int64_t committed,
                              int64_t *offset_out, struct mr_err *err);
mr_status mr_lane_state_began(struct mr_lane *lane, const char *topic, int32_t partition, int64_t offset,
                              struct mr_err *err);

/** What was taken and learned from since the last commit. */
struct mr_taken *mr_lane_state_taken(struct mr_lane_state *state);

/** Sends the records of the transaction that is open, whose outputs are all settled, and waits until they have arrived.
 * MR_ERESTART, MR_ENOMEM. */
mr_status mr_lane_state_send(struct mr_lane *lane, struct mr_err *err);

/** Before the offsets that are ready are committed by themselves: they are the state's, too. MR_ENOMEM. */
mr_status mr_lane_state_note(struct mr_lane *lane, struct mr_err *err);

/** Whether the file is to be written: its time has come, or offsets are ready of a partition that it does not know,
 * which must not be committed before it does. Writes it: everything that was taken in is settled. MR_EIO, MR_ENOMEM:
 * the old one is as it was. */
bool mr_lane_state_is_due(const struct mr_lane *lane);
mr_status mr_lane_state_write(struct mr_lane *lane, struct mr_err *err);

/** Of a file, before partitions leave: whether everything that was learned from is settled, and no record of theirs
 * need be read again by this process. Else the models must be made anew from the file. */
bool mr_lane_state_is_settled(struct mr_lane *lane);

/** Messages that the lane had taken in when it was last kept. */
uint64_t mr_lane_state_messages(const struct mr_lane_state *state);

/** Whether the models are what was committed last: else nobody may go on from them. Another thread: when the lane's has
 * ended. */
bool mr_lane_state_is_kept(const struct mr_lane_state *state);

/** The transaction is committed. */
void mr_lane_state_committed(struct mr_lane_state *state);

#endif
