/** A file of the outputs that a model should give, a row for each row of the data. */
#ifndef MR_EVALUATE_EXPECTED_H
#define MR_EVALUATE_EXPECTED_H

#include "millrace/model.h"
#include "table/table.h"

struct mr_expected {
    struct mr_table *table;
    const char *path;
    bool has_two;   /* two columns for a model that gives the second one's probability alone */
    float boundary; /* of one output: above it is the second class */
    struct mr_block block;
    size_t used;             /* rows of the block that were handed over */
    struct mr_scores scores; /* of the last rows */
};

/**
 * Opens a file of CSV, JSON lines or float32 rows (by its name) whose fields, all of them or those of the list, are
 * what the model gives: as many as it has outputs, or the probabilities of both classes where it gives one. row_cap:
 * the most rows that are taken at once. Fails as mr_table_open; MR_EUSAGE: another number of fields. On error all is
 * closed.
 */
mr_status mr_expected_open(struct mr_expected *expected, const char *path, const struct mr_strings *fields,
                           const struct mr_model_info *info, size_t row_cap, struct mr_err *err);
/** The next rows, in expected->scores; classes are the largest outputs. MR_EDATA: there are not so many. */
mr_status mr_expected_next(struct mr_expected *expected, size_t rows, struct mr_err *err);
/** MR_EDATA when rows are left. */
mr_status mr_expected_end(struct mr_expected *expected, struct mr_err *err);
/** Accepts a zeroed one. */
void mr_expected_close(struct mr_expected *expected);

#endif
