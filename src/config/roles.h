/**
 * One job file for a trainer and scorers: what each of the two processes does, worked out in one place.
 *
 * The trainer has one lane; it learns, and commits models and offsets in its transactions, under the group
 * "<group>.trainer". It writes no outputs; bad records are counted, and are the scorers' to keep. The scorers have
 * job->scorers lanes under the job's own group; they take each version of the models from their topics.
 */
#ifndef MR_CONFIG_ROLES_H
#define MR_CONFIG_ROLES_H

#include "config/job.h"

/** "trainer", "scorers"; NULL for MR_ROLE_WHOLE. */
const char *mr_job_role_name(mr_job_role role);

/**
 * Makes a job with scorers that of one role. Memory is divided by lanes: the trainer has one of scorers + 1. A job
 * without scorers (MR_EUSAGE), or one that has its role already, is refused. MR_ENOMEM.
 */
mr_status mr_job_role_apply(struct mr_job *job, mr_job_role role, struct mr_err *err);

/** What of job->memory's whole a role has: an equal share a lane. */
int64_t mr_job_role_memory(const struct mr_job *job, mr_job_role role);

/** A job with scorers as one of its roles sees it, for sizes alone: what it points to is the job's, nothing is freed.
 */
struct mr_job mr_job_role_view(const struct mr_job *job, mr_job_role role);

/** The group that the trainer reads with: "<group>.trainer"; cut to fit. */
void mr_job_trainer_group(const char *group, char *name, size_t bytes);

/** Whether a model of the job learns. */
bool mr_job_model_learns(const struct mr_job_model *model);

/** Lanes that share job->memory's whole: those of both roles. */
unsigned mr_job_role_lanes(const struct mr_job *job, unsigned lane_count);

#endif
