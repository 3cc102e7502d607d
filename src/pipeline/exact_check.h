/** Exactly once: what must be known of the broker before anything is begun. */
#ifndef MR_PIPELINE_EXACT_CHECK_H
#define MR_PIPELINE_EXACT_CHECK_H

#include "pipeline/run.h"

/** Asks a broker for its age, where the job is exactly-once; warns of what it does not promise. MR_EKAFKA: it is too
 * old, and the job does not allow that (source.allow_old_brokers). */
mr_status mr_exact_check(const struct mr_run *run, struct mr_err *err);

#endif
