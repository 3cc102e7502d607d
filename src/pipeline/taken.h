/**
 * Which records the models have learned from since the last commit, and in which batches: what a manifest tells, and
 * what the same weights can be made from again. One thread at a time.
 */
#ifndef MR_PIPELINE_TAKEN_H
#define MR_PIPELINE_TAKEN_H

#include <stdbool.h>

#include "millrace/batch.h"
#include "millrace/status.h"

#define MR_TAKEN_RANGES_MAX 8192 /* then a commit is due: a manifest holds twice as many */

/** Records of one partition in their order: from byte first_byte of message first_offset up to, not including, byte
 * end_byte of message end_offset. */
struct mr_taken_range {
    uint32_t topic;
    int32_t partition;
    int64_t first_offset, end_offset;
    uint32_t first_byte, end_byte;
};

struct mr_taken_update {
    uint32_t range_count; /* the next ones */
    uint32_t rows;
};

/** Zeroed: nothing. Ranges behind those of the updates are taken and not yet learned from. */
struct mr_taken {
    struct mr_taken_range *range;
    struct mr_taken_update *update;
    size_t range_count, range_cap, update_count, update_cap;
    size_t learned; /* ranges of the updates */
};

/** Notes the records of messages [from, to): cursors into them. MR_ENOMEM. */
mr_status mr_taken_add(struct mr_taken *taken, const struct mr_message *messages, struct mr_cursor from,
                       struct mr_cursor to, struct mr_err *err);

/** All records that were taken and not learned from were learned from now, as one batch of so many rows; without rows
 * they are forgotten. MR_ENOMEM. */
mr_status mr_taken_learn(struct mr_taken *taken, size_t rows, struct mr_err *err);

/** Takes a range over that was taken and not learned from before a restart. MR_ENOMEM. */
mr_status mr_taken_restore(struct mr_taken *taken, const struct mr_taken_range *range, struct mr_err *err);

/** Forgets the updates; what was not learned from stays. */
void mr_taken_commit(struct mr_taken *taken);

/** Forgets all. */
void mr_taken_reset(struct mr_taken *taken);
void mr_taken_deinit(struct mr_taken *taken);

#endif
