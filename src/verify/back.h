/** Putting an earlier version of a job's models back: one transaction, as their trainer would write it. */
#ifndef MR_VERIFY_BACK_H
#define MR_VERIFY_BACK_H

#include "config/job.h"
#include "state/log.h"

struct mr_back_done {
    uint64_t seq, version, version_before; /* the new commit; of the model that was sought */
    uint64_t from_seq;                     /* whose model it is */
};

/**
 * Makes the models as they were where `target` stands in the log of `model`; then takes the place of the trainer (a
 * running one is fenced, and ends with 73; it goes on if there is no such state) and commits all learning models of the
 * job as a snapshot with the offsets of now. What is broken in the topics stands before that, and is needed no more.
 * MR_EFENCED: a trainer has started meanwhile. Errors as mr_past_open.
 */
mr_status mr_back_write(const struct mr_job *job, size_t model, const struct mr_state_target *target,
                        struct mr_back_done *done_out, struct mr_err *err);

#endif
