/** Command-line values that go over those of the job file, and over each other. */
#ifndef MR_CLI_OVERRIDE_H
#define MR_CLI_OVERRIDE_H

#include "config/job.h"

/**
 * Sets client properties of the source, and of the sinks that have their own. MR_EUSAGE when the source has no client,
 * MR_ECONFIG when an output has become an input by it.
 */
mr_status mr_override_properties(struct mr_job *job, const struct mr_map *properties, struct mr_err *err);

/** Puts bootstrap into properties as bootstrap.servers where -X gave none. Copies; MR_ENOMEM. */
mr_status mr_override_bootstrap(struct mr_map *properties, const char *bootstrap, struct mr_err *err);

/** Replaces a string of the job. */
mr_status mr_override_string(char **member, const char *text, struct mr_err *err);

#endif
