/** A run, seen from the main thread: signals, limits, progress and the report, until its lanes and followers have
 * ended. */
#ifndef MR_CLI_RUN_WATCH_H
#define MR_CLI_RUN_WATCH_H

#include <signal.h>

#include "cli/run_feed.h"

struct mr_watch_options {
    bool json, quiet;                                 /* progress and report as JSON lines on stdout; no progress */
    const struct mr_run_feed_from *feed;              /* [feed_count]: what is sent meanwhile */
    size_t feed_count;                                /* at most MR_RUN_FEEDS_MAX */
    void (*page)(void *context, const char *address); /* called once the job's page is there; NULL: nobody asks */
    void *page_context;
};

/**
 * Starts the lanes, watches them, ends them, and prints the report. set: the signals that end the run, blocked in all
 * threads. What hangs beyond the limits of an end is left, with the whole process. Status and text are those of the
 * first lane that failed; MR_ERETRY: a signal came before the run was where --until ends it. The run stays the
 * caller's.
 */
mr_status mr_run_watch(struct mr_run *run, const struct mr_watch_options *opt, const sigset_t *set, struct mr_err *err);

#endif
