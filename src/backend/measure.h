/** How long a backend takes for a row of a model: what `millrace backends` prints and a choice among backends is made
 * by. */
#ifndef MR_BACKEND_MEASURE_H
#define MR_BACKEND_MEASURE_H

#include "millrace/backend.h"

/** What is measured. */
struct mr_measure {
    const struct mr_backend_ops *backend;
    const char *variant; /* NULL: the best */
    const struct mr_model_ops *model_ops;
    const struct mr_model *model;
    size_t row_count;   /* rows a batch */
    unsigned want;      /* MR_WANT_... */
    double seconds_max; /* how long it may take, set-up aside */
};

/**
 * Scores batches of made-up rows (numbers from -1 to 1, the same every time) for a while, three to five times, and
 * gives the nanoseconds a row of the fastest time (the others met something else on the machine), from start to scores
 * readable by the host. Fails as the backend fails, with MR_EBACKEND or MR_ENOMEM.
 */
mr_status mr_backend_measure(const struct mr_measure *measure, double *row_ns_out, struct mr_err *err);

#endif
