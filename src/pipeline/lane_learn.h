/** When the models of a lane learn, and from which rows. */
#ifndef MR_PIPELINE_LANE_LEARN_H
#define MR_PIPELINE_LANE_LEARN_H

#include "pipeline/lane.h"

/** Messages that may be polled at once: up to the end of the block, so that a backlog comes in whole blocks. */
size_t mr_lane_poll_cap(const struct mr_lane *lane, const struct mr_raw *raw);

/**
 * Before a slot is decoded from a raw batch that is not used up: learns from a block that ends before it, and says how
 * many rows and messages the slot may take (slot->rows.row_cap; *limit_out, an index into raw). MR_ECONFIG: messages of
 * a second partition where blocks are cut at offsets.
 */
mr_status mr_lane_block_begin(struct mr_lane *lane, struct mr_slot *slot, size_t *limit_out, struct mr_err *err);

/** Learns from a slot whose scores are there, or keeps its rows until their block is complete. */
mr_status mr_lane_learn(struct mr_lane *lane, struct mr_slot *slot, size_t limit, struct mr_err *err);

/** At the end of the run: learns from what is left as a last short batch. */
mr_status mr_lane_learn_rest(struct mr_lane *lane, struct mr_err *err);

/** Whether records of these offsets belong to one block, as batch cuts them now. */
bool mr_lane_block_holds(const struct mr_lane *lane, int64_t first_offset, int64_t end_offset);

/** After a restart: the block goes on that a record at first_offset had begun, and whose rows are in it already. */
void mr_lane_block_restore(struct mr_lane *lane, int32_t partition, int64_t first_offset);

#endif
