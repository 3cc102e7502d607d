/** The numbers of a run that are drawn over time: what they are called, their units, and what they are now. */
#ifndef MR_LIVE_COLUMNS_H
#define MR_LIVE_COLUMNS_H

#include "live/truth.h"
#include "metrics/summary.h"

#define MR_COLUMN_MAX  320
#define MR_COLUMN_NAME 96

struct mr_column {
    char key[MR_COLUMN_NAME];   /* "model.0.loss": of the first one */
    char label[MR_COLUMN_NAME]; /* for people: "w[x1]" */
    const char *unit;           /* "records/s", "ms"; "": a plain number */
    char truth[MR_COLUMN_NAME]; /* the name of what is known to be true, which this is; "": it is no truth */
    char less[MR_COLUMN_NAME];  /* and of what is taken off; "": nothing */
    size_t of;                  /* of a truth: the column of what is learned; 0: none is its like */
};

/** Where a kind of columns of a model is. all: how many there would be if there were room. */
struct mr_column_range {
    size_t at, count, all;
};

struct mr_columns {
    struct mr_column item[MR_COLUMN_MAX]; /* 0: the time, ms since 1970 */
    size_t count;
    double value[MR_COLUMN_MAX]; /* now; NaN: not known */
    /* of each model that is shown: where loss, share right and version are */
    size_t model_count, model_at[MR_TAP_MODELS];
    struct mr_column_model {
        struct mr_column_range numbers, truth; /* what it consists of, and what that should be */
        struct mr_column_range found;          /* what it says that it has found */
        bool has_raw; /* the numbers are about the job's features as they come: a scaler before it is taken back */
    } model[MR_TAP_MODELS];
    struct {
        uint64_t rows, right, learned;
        double loss, loss_learned;
    } before[MR_TAP_MODELS]; /* sums when they were taken last */
};

/** Works out the columns of a run whose models are open. */
void mr_columns_init(struct mr_columns *columns, const struct mr_run *run);

/** What is seen at one moment. */
struct mr_columns_now {
    const struct mr_summary *before, *now; /* the last time, and this one */
    const struct mr_tap_numbers *numbers;  /* [MR_TAP_MODELS] as the tap has them */
    int64_t offset;                        /* of a record that came lately: what is true may move */
    double lag;                            /* records; NaN: not known */
};

/** Fills value with what has been since `before`. */
void mr_columns_take(struct mr_columns *columns, const struct mr_run *run, const struct mr_columns_now *now);

#endif
