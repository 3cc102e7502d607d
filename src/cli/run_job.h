/** A job from its start to its report: what `run` and `demo` have in common. */
#ifndef MR_CLI_RUN_JOB_H
#define MR_CLI_RUN_JOB_H

#include <signal.h>

#include "cli/run_watch.h"

/** Blocks the signals that end a run, which mr_run_job takes from there: before any thread is. */
void mr_run_job_signals(sigset_t *set);

/** Whether one of them has come already. */
bool mr_run_job_is_ended(void);

/**
 * Runs a job to its end and prints the report. command: who says so when the process has to be cut short; set: of
 * mr_run_job_signals. Errors as mr_run_create and mr_run_watch.
 */
mr_status mr_run_job(const char *command, struct mr_job *job, const struct mr_until *until,
                     const struct mr_watch_options *watched, const sigset_t *set, struct mr_err *err);

#endif
