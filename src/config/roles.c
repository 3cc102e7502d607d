#include "config/roles.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "kafka/client.h"

#define GROUP_BYTES 512

const char *mr_job_role_name(mr_job_role role)
{
    return role == MR_ROLE_TRAINER ? "trainer" : role == MR_ROLE_SCORERS ? "scorers" : NULL;
}

bool mr_job_model_learns(const struct mr_job_model *model)
{
    const bool *const learns =
        model->ops ? mr_option_value(model->ops->options, model->options, "learn", MR_OPT_BOOL) : NULL;
    return learns && *learns;
}

unsigned mr_job_role_lanes(const struct mr_job *job, unsigned lane_count)
{
    return job->role == MR_ROLE_WHOLE ? lane_count : (unsigned)job->scorers + 1;
}

int64_t mr_job_role_memory(const struct mr_job *job, mr_job_role role)
{
    const int64_t trainer = job->memory / (job->scorers + 1);
    return role == MR_ROLE_TRAINER ? trainer : role == MR_ROLE_SCORERS ? job->memory - trainer : job->memory;
}

struct mr_job mr_job_role_view(const struct mr_job *job, mr_job_role role)
{
    struct mr_job view = *job;
    view.role = (int)role;
    view.memory = mr_job_role_memory(job, role);
    view.lanes = role == MR_ROLE_TRAINER ? 1 : job->scorers;
    if (role != MR_ROLE_TRAINER) return view;
    view.sink_count = 0;
    view.bad_records.topic = view.bad_records.file = NULL;
    return view;
}

void mr_job_trainer_group(const char *group, char *name, size_t bytes)
{
    snprintf(name, bytes, "%s.trainer", group);
}

/* Its models learn under a group of their own, and nothing is written but what they have learned. */
static mr_status trainer_apply(struct mr_job *job, struct mr_err *err)
{
    char **const group =
        (char **)(uintptr_t)mr_option_value(job->source->options, job->source_options, "group", MR_OPT_STRING);
    char own[GROUP_BYTES], name[GROUP_BYTES + sizeof ".trainer"];
    assert(group); /* the source is Kafka's */
    mr_kafka_group(*group, job->name, own, sizeof own);
    mr_job_trainer_group(own, name, sizeof name);
    char *const copy = strdup(name);
    if (!copy) return mr_fail(err, MR_ENOMEM, "out of memory");
    free(*group);
    *group = copy;
    mr_job_sinks_deinit(job);
    free(job->bad_records.topic);
    free(job->bad_records.file);
    job->bad_records.topic = job->bad_records.file = NULL;
    job->bad_records.drop = true;
    job->lanes = 1;
    job->memory = mr_job_role_memory(job, MR_ROLE_TRAINER);
    return MR_OK;
}

/* Its models follow what is learned elsewhere. */
static void scorers_apply(struct mr_job *job)
{
    for (size_t i = 0; i < job->model_count; i++) {
        struct mr_job_model *const model = &job->model[i];
        if (!mr_job_model_learns(model)) continue;
        *(bool *)(uintptr_t)mr_option_value(model->ops->options, model->options, "learn", MR_OPT_BOOL) = false;
        free(model->save);
        model->save = NULL;
    }
    job->lanes = job->scorers;
    job->memory = mr_job_role_memory(job, MR_ROLE_SCORERS);
}

mr_status mr_job_role_apply(struct mr_job *job, mr_job_role role, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (job->role == (int)role) return MR_OK;
    if (!job->scorers)
        return mr_fail(err, MR_EUSAGE,
                       "the job has no role \"%s\": it is one process; \"scorers\" in the job file divides it",
                       mr_job_role_name(role));
    assert(job->role == MR_ROLE_WHOLE);
    if (role == MR_ROLE_TRAINER)
        status = trainer_apply(job, err);
    else
        scorers_apply(job);
    if (!status) job->role = role;
    return status;
}
