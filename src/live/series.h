/**
 * Rows of numbers over time in a fixed amount of memory: all of a run's past. When it is full, each two rows become one
 * (the mean of what is a number), so that it always holds the whole time, at up to twice the step that it began with.
 */
#ifndef MR_LIVE_SERIES_H
#define MR_LIVE_SERIES_H

#include "millrace/blob.h"
#include "millrace/status.h"

struct mr_series {
    size_t cols, row_cap;
    bool is_folding; /* else the oldest row makes room */
    size_t first, rows;
    size_t fold;     /* samples that a row stands for */
    size_t pending;  /* samples of the next row so far */
    double *value;   /* [row_cap][cols]; column 0 is the time */
    double *sum;     /* [cols] of those that are pending */
    unsigned *count; /* [cols] likewise: that were numbers */
};

/** MR_ENOMEM. row_cap: even. */
mr_status mr_series_init(struct mr_series *series, size_t cols, size_t row_cap, bool is_folding, struct mr_err *err);
void mr_series_deinit(struct mr_series *series); /* accepts a zeroed one */

/** One sample; NaN: there is no such number now. Times ascend. */
void mr_series_add(struct mr_series *series, const double *sample);

/** {"step":..., "rows":[[...],...]}: rows in their order, of those whose time is behind `since`. False: no memory. */
bool mr_series_print(const struct mr_series *series, double since, struct mr_blob *out);

#endif
