/** How long a backend takes for batches of a model: what `millrace backends` prints and "auto" chooses by. */
#ifndef MR_BACKEND_MEASURE_H
#define MR_BACKEND_MEASURE_H

#include "millrace/backend.h"

/** What is measured. */
struct mr_measure {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    const struct mr_model_ops *model_ops;
    const struct mr_model *model;
    unsigned want;      /* MR_WANT_... */
    double seconds_max; /* how long one batch size may take, set-up aside; it takes at least three batches */
};

/** Fills the features of row_cap rows with numbers from -1 to 1, the same every time; where users and items are asked
 * for, with some of those that the model knows. */
void mr_measure_rows(const struct mr_model_ops *ops, const struct mr_model *model, struct mr_rows *rows);

/**
 * Scores batches of made-up rows (mr_measure_rows) for a while, three to five times, and
 * gives for each of `count` batch sizes the nanoseconds a row of the fastest time (the others met something else on the
 * machine), from start to scores readable by the host. Fails as the backend fails, with MR_EBACKEND or MR_ENOMEM.
 */
mr_status mr_backend_measure(const struct mr_measure *measure, const size_t *rows, size_t count, double *row_ns_out,
                             struct mr_err *err);

#endif
