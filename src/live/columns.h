/** The numbers of a run that are drawn over time: what they are called, their units, and what they are now. */
#ifndef MR_LIVE_COLUMNS_H
#define MR_LIVE_COLUMNS_H

#include "metrics/summary.h"

#define MR_COLUMN_MAX  160
#define MR_COLUMN_NAME 64

struct mr_column {
    char key[MR_COLUMN_NAME];   /* "model.0.loss": of the first one */
    char label[MR_COLUMN_NAME]; /* for people: "w[x1]" */
    const char *unit;           /* "records/s", "ms"; "": a plain number */
};

struct mr_columns {
    struct mr_column item[MR_COLUMN_MAX]; /* 0: the time, ms since 1970 */
    size_t count;
    double value[MR_COLUMN_MAX]; /* now; NaN: not known */
    /* of each model that is shown: where its columns begin */
    size_t model_count, model_at[MR_TAP_MODELS], numbers_at[MR_TAP_MODELS], number_count[MR_TAP_MODELS];
    struct {
        uint64_t rows, right, learned;
        double loss, loss_learned;
    } before[MR_TAP_MODELS]; /* sums when they were taken last */
};

/** Works out the columns of a run whose models are open. */
void mr_columns_init(struct mr_columns *columns, const struct mr_run *run);

/** Fills value with what has been since `before`, the last time of which `now` is the next. numbers: [model_count] as
 * the tap has them. lag: records, NaN: not known. */
void mr_columns_take(struct mr_columns *columns, const struct mr_run *run, const struct mr_summary *before,
                     const struct mr_summary *now, const struct mr_tap_numbers *numbers, double lag);

#endif
