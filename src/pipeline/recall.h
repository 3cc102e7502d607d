/**
 * Models as they were committed to their topics: read, put to work, learned on from there and checked. For a lane that
 * goes on, and for the tools that look back. One thread, on a run whose lanes do not score meanwhile.
 */
#ifndef MR_PIPELINE_RECALL_H
#define MR_PIPELINE_RECALL_H

#include "pipeline/replay.h"
#include "state/log.h"

/** Reads the topic of a model of the run, with the bytes of its snapshot number `snapshot`, whatever else is broken; 0:
 * of the newest, all must be whole. Errors as mr_state_topic_read. */
mr_status mr_recall_read(const struct mr_run *run, size_t model, uint64_t snapshot, struct mr_state_log **log_out,
                         struct mr_err *err);

/** Puts the snapshot that a log holds into the place of the model. MR_EINVARIANT: there is none, or (snapshot not 0)
 * another one. Errors as mr_models_replace. */
mr_status mr_recall_take(struct mr_run *run, size_t model, const struct mr_state_log *log, uint64_t snapshot,
                         struct mr_err *err);

/** Learns what a point has behind its snapshot. Errors as mr_replay_commit. */
mr_status mr_recall_learn(struct mr_replay *replay, const struct mr_state_point *point, struct mr_err *err);

/**
 * Whether the model is, bit for bit, what it was when the commit was made, as far as the commit tells (large models are
 * not summed up each time). scratch: reused. MR_EINVARIANT: it is not. One that was learned on another unit may differ
 * in its last bits: a warning.
 */
mr_status mr_recall_check(const struct mr_run *run, size_t model, const struct mr_state_commit *commit,
                          struct mr_blob *scratch, struct mr_err *err);

/** Whether the commit was computed by what computes in this run. */
bool mr_recall_is_own_unit(const struct mr_run *run, const struct mr_state_commit *commit);

#endif
