/**
 * What a fit shows while it works, on stderr: on a terminal one line with a bar, the loss, the rate and the time left;
 * elsewhere a log line now and then. And how it is asked to stop.
 */
#ifndef MR_FIT_PROGRESS_H
#define MR_FIT_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mr_fit_progress {
    const char *what; /* "kmeans k=6": stands in front */
    const char *loss_name;
    size_t step, step_max; /* iterations, epochs */
    size_t rows;           /* that a step passes over */
    bool is_quiet;
    /* its own */
    int64_t begun_ns, shown_ns;
    bool has_shown;
};

/** SIGINT and SIGTERM set this: a fit ends between two steps with what it has; a second one ends the process. */
extern _Atomic bool mr_fit_is_stopped;
void mr_fit_stop_on_signals(void);

/** Another stretch of work begins: what, loss_name, step_max, rows and is_quiet are set. */
void mr_fit_progress_begin(struct mr_fit_progress *progress);
/** A step is done. */
void mr_fit_progress_step(struct mr_fit_progress *progress, size_t step, double loss);
/** The line is taken away. */
void mr_fit_progress_end(struct mr_fit_progress *progress);

#endif
