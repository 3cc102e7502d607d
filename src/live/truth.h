/**
 * What is known to be true of a stream, to be held against what is learned: as http.truth of the job says, else as its
 * source does that makes its records. Names: "x1", the coefficient of a feature; "intercept"; "centre[0].x", where a
 * centre is on an axis; "arm[0]", the mean of an arm.
 */
#ifndef MR_LIVE_TRUTH_H
#define MR_LIVE_TRUTH_H

#include "config/job.h"

#define MR_TRUTH_MAX 128

struct mr_truths {
    struct mr_truth item[MR_TRUTH_MAX];
    size_t count;
};

/** What is true at a record; more than fits is left out. */
void mr_truths_take(struct mr_truths *truths, const struct mr_job *job, int64_t offset);

/** NaN: nobody knows. */
double mr_truths_find(const struct mr_truths *truths, const char *name);

#endif
