/**
 * How far two sets of outputs for the same rows are apart. The error of an output is the distance of the two; relative,
 * that by the largest output of its row in either set. The error of a row is its outputs' largest.
 */
#ifndef MR_EVALUATE_DIFFERENCES_H
#define MR_EVALUATE_DIFFERENCES_H

#include "millrace/model.h"

#define MR_WORST_MAX 1000

struct mr_worst_row {
    uint64_t row; /* from 1 */
    double absolute, relative;
    int32_t class_a, class_b; /* -1: none is known */
    float *a, *b;             /* [width] */
};

struct mr_differences {
    size_t width;
    bool has_classes, is_single; /* is_single: one output, the probability of the second of two classes */
    bool has_no_lead;            /* outputs that are equal have one class; the best is not the largest, or not there */
    bool is_sign;                /* one output, above 0 of the second of two classes */
    double tolerance;            /* of the relative error */
    uint64_t rows, past;         /* past: rows whose relative error is larger than the tolerance */
    double absolute_max, absolute_sum, relative_max, relative_sum; /* of the rows' errors; infinite: one is a number */
    uint64_t row_max;                                              /* row of relative_max */
    /* Classes that are the same, that are not, and that are not where the two best outputs of one of the sets are
     * nearer than the tolerance: there an error within it decides. */
    uint64_t same, other, undecided;
    struct mr_worst_row *worst; /* [worst_count], the worst first */
    size_t worst_count, worst_cap;
    float *worst_outputs;
};

/** worst_cap: rows to remember, up to MR_WORST_MAX. */
mr_status mr_differences_init(struct mr_differences *differences, const struct mr_model_info *info, double tolerance,
                              size_t worst_cap, struct mr_err *err);
/** Scores of the same rows, behind those that were added before. class_index NULL: classes are not
 * compared. */
void mr_differences_add(struct mr_differences *differences, const struct mr_scores *a, const struct mr_scores *b,
                        size_t rows);
/** MR_EDIFFER that names the row when something is past the tolerance; what: "A and B". */
mr_status mr_differences_judge(const struct mr_differences *differences, const char *what, struct mr_err *err);
/** Accepts a zeroed one. */
void mr_differences_deinit(struct mr_differences *differences);

#endif
