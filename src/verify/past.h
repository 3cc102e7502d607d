/** The models of a job as they were at a commit: read from their state topics, and learned again from there. */
#ifndef MR_VERIFY_PAST_H
#define MR_VERIFY_PAST_H

#include "pipeline/run.h"
#include "state/log.h"

/** Properties of the job's cluster. MR_ECONFIG: the source is not Kafka. */
mr_status mr_past_properties(const struct mr_job *job, const struct mr_map **properties_out, struct mr_err *err);

/**
 * The index of the model of that name, which must have a topic; NULL: of the only one that has. MR_EUSAGE names those
 * that there are.
 */
mr_status mr_past_model(const struct mr_job *job, const char *name, size_t *model_out, struct mr_err *err);

/**
 * Reads the state topic of a model, without its bytes; also one that is broken: mr_state_log_check says whether it is.
 * Errors as mr_state_topic_read.
 */
mr_status mr_past_list(const struct mr_job *job, size_t model, struct mr_state_log **log_out, struct mr_err *err);

/** All learning models of a job. Zeroed: closed. */
struct mr_past {
    struct mr_run *run;
    const struct mr_state_commit *commit; /* that the models are those of; the log's of `model` */
    struct mr_state_log *log;             /* of the model that was sought by */
    uint64_t updates;                     /* of this commit's, that they have learned */
};

/**
 * Makes the models as they were where `target` stands in the log of `model`. Input records behind the snapshot must
 * still be there (MR_EINPUT). MR_EINVARIANT: they do not come out as they were committed. Models that were learned on
 * another unit may differ in their last bits: a warning.
 */
mr_status mr_past_open(struct mr_past *past, const struct mr_job *job, size_t model,
                       const struct mr_state_target *target, struct mr_err *err);
void mr_past_close(struct mr_past *past);

#endif
