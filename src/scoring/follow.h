/**
 * Scoring with what another process learns: follows the topics of models (models[].topic) and puts each new version
 * into the place of the one at work, between two batches. A thread of its own; what it reads it checks as a start does.
 */
#ifndef MR_SCORING_FOLLOW_H
#define MR_SCORING_FOLLOW_H

#include "scoring/models.h"

struct mr_follow;

/** Whether to go on waiting for the first version of a model: for a while, not without a last look, not at all. */
typedef enum { MR_PATIENCE_ON, MR_PATIENCE_LAST, MR_PATIENCE_OVER } mr_patience;
typedef mr_patience mr_patience_fn(void);

/** Whether a model of a job is followed: it has a topic and does not learn. */
bool mr_job_model_follows(const struct mr_job_model *model);

/**
 * Reads what the topics of followed models hold. A model without a file is waited for until its first version is there,
 * at most wait_us, or as long as `patience` says, which is asked ten times a second (NULL: wait_us). *follow_out is
 * NULL when no model is followed. MR_EINPUT: there is no version, and no file to begin with; MR_END: likewise, and
 * patience has come to its end; errors as mr_state_follow_open.
 */
mr_status mr_follow_open(const struct mr_job *job, const struct mr_map *properties, int64_t wait_us,
                         mr_patience_fn *patience, struct mr_follow **follow_out, struct mr_err *err);

/** [model_count] what models are to be opened with: data NULL where the job's file is meant. Valid until start. Accepts
 * NULL, and gives it. */
const struct mr_model_bytes *mr_follow_first(const struct mr_follow *follow);

/** Begins to put new versions into the place of those in `models`, which are planned. Accepts NULL. */
mr_status mr_follow_start(struct mr_follow *follow, struct mr_models *models, struct mr_err *err);

/**
 * Whether a model stands still, at the version that it has: its topic has a record that is wrong, or a version that
 * does not fit. It goes on when a roll-back has put a whole one behind that. *why_out: why. Any thread; accepts NULL.
 */
bool mr_follow_is_still(struct mr_follow *follow, size_t model, struct mr_err *why_out);

/** Ends the thread. Accepts NULL. */
void mr_follow_close(struct mr_follow *follow);

#endif
