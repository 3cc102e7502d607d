/** Rows that models learn from together, gathered from slots until there are enough of them. */
#ifndef MR_PIPELINE_BLOCK_H
#define MR_PIPELINE_BLOCK_H

#include "pipeline/run.h"

struct mr_block {
    struct mr_rows rows;      /* features and labels: row_count so far, at most row_cap; nothing else of mr_rows */
    struct mr_scores *scores; /* [model_count], made of all rows together when they are learned from */
    /* "batch.by": "offsets". Messages from this offset on belong to the next block; only ones of that partition come.
     */
    int64_t end_offset;
    struct mr_position position; /* up to where rows were taken */
    bool has_position;
};

/** Slabs come from the run's first unit. On error it is as after deinit. */
mr_status mr_block_init(struct mr_block *block, const struct mr_run *run, size_t row_cap, struct mr_err *err);
/** Accepts a zeroed block. */
void mr_block_deinit(struct mr_block *block, const struct mr_run *run);

/** Bytes that a block takes: for the memory budget. */
size_t mr_block_bytes(const struct mr_run *run, size_t row_cap);

/** Appends all rows of a batch, which must fit. */
void mr_block_add(struct mr_block *block, const struct mr_rows *rows);

/** Appends rows [first, end) of a batch, which must fit. */
void mr_block_add_some(struct mr_block *block, const struct mr_rows *rows, size_t first, size_t end);

/** Scores the rows with the models as they are, lets these learn from them (which: MR_LEARN_...), and empties the
 * block; nothing may be in flight on the queues. Does nothing without rows. */
mr_status mr_block_learn(struct mr_block *block, struct mr_models *models, struct mr_queues *queues, unsigned which,
                         struct mr_err *err);

#endif
