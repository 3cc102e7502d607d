/** The reusable memory of a lane: a polled batch of messages, and a slot of rows and scores. */
#ifndef MR_PIPELINE_SLOT_H
#define MR_PIPELINE_SLOT_H

#include "pipeline/flight.h"
#include "pipeline/run.h"

/** A polled batch. Its messages stay until all slots that were decoded from it are encoded. */
struct mr_raw {
    struct mr_message *message; /* [cap] */
    size_t count, cap;
    struct mr_cursor cursor; /* what is decoded of it */
    struct mr_ticket *ticket;
    size_t slot_count; /* slots that still need its bytes */
    bool is_used;
};

/** Rows of one raw batch (or a part of it) with their scores. */
struct mr_slot {
    struct mr_rows rows;
    struct mr_scores *scores; /* [model_count] */
    void *read_scratch;       /* of a model that reads its features as text; else NULL */
    struct mr_queues queues;
    struct mr_raw *raw;
    struct mr_cursor from; /* where its records begin in the raw batch */
    size_t row_cap;        /* of its arrays; rows.row_cap is less where a block of records ends sooner */
};

mr_status mr_raw_init(struct mr_raw *raw, size_t cap, struct mr_err *err);
void mr_raw_deinit(struct mr_raw *raw);

/** Slabs come from the run's first unit. */
mr_status mr_slot_init(struct mr_slot *slot, const struct mr_run *run, size_t row_cap, struct mr_err *err);
void mr_slot_deinit(struct mr_slot *slot, const struct mr_run *run);

/** Bytes that a slot takes, and its scores alone: for the memory budget. */
size_t mr_slot_bytes(const struct mr_run *run, size_t row_cap);
size_t mr_scores_bytes(const struct mr_run *run, size_t row_cap);

/** Bytes of a tiled matrix. */
size_t mr_tiles_bytes(size_t row_cap, size_t cols);

/** Scores of all models of a run. MR_ENOMEM: what there is already must be freed. deinit accepts NULL. */
mr_status mr_scores_init(struct mr_scores **scores_out, const struct mr_run *run, size_t row_cap);
void mr_scores_deinit(struct mr_scores *all, const struct mr_run *run);

#endif
