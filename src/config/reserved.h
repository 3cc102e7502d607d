/** Properties of Kafka clients that a job must not set: what millrace promises rests on its own values. */
#ifndef MR_CONFIG_RESERVED_H
#define MR_CONFIG_RESERVED_H

#include "config/job.h"

/** One that the job sets all the same. */
struct mr_reserved {
    size_t sink; /* whose properties it stands in; SIZE_MAX: the source's */
    const char *key;
    const char *why;     /* the rule */
    const char *allowed; /* the one value that may stand there; NULL: none */
};

/** Calls visit for each. Values that a key has anyway are let pass. */
void mr_reserved_visit(const struct mr_job *job, void (*visit)(void *context, const struct mr_reserved *found),
                       void *context);

/** The first of them as an error, after values were changed (-X). MR_ECONFIG. */
mr_status mr_job_check_properties(const struct mr_job *job, struct mr_err *err);

#endif
