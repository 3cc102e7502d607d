/**
 * Scores a share of the batches once more on the reference kernels and keeps the largest difference. A unit whose
 * scores are off by more than the tolerance is left, and that batch gets the reference's. A model that is scored with
 * fewer bits is held to its own tolerance instead, and its precision refused (precision.h).
 */
#ifndef MR_SCORING_CROSS_CHECK_H
#define MR_SCORING_CROSS_CHECK_H

#include "scoring/models.h"

/** Of all lanes of a run: written by them, read by any thread. */
struct mr_check_stats {
    _Atomic uint64_t batches, rows;
    _Atomic double error_max; /* as mr_scores_error */
};

/** One lane's. One thread at a time. */
struct mr_cross_check {
    double share, tolerance;
    double due; /* batches that are owed: a check is made when it reaches 1 */
    struct mr_models *models;
    struct mr_check_stats *stats;
    struct mr_scores *scores; /* [models->count], of the reference */
    size_t row_cap;
};

/**
 * share: of the batches, more than 0, at most 1; the first batch is always checked. The units must have a reference.
 * MR_ENOMEM. On error it is as after deinit.
 */
mr_status mr_cross_check_init(struct mr_cross_check *check, struct mr_models *models, struct mr_check_stats *stats,
                              double share, double tolerance, size_t row_cap, struct mr_err *err);
void mr_cross_check_deinit(struct mr_cross_check *check);

/**
 * Compares, when it is this batch's turn, the scores of rows (which are there, and not yet learned from) with the
 * reference's. Does nothing with share 0, or when the reference itself has scored them.
 */
mr_status mr_cross_check_batch(struct mr_cross_check *check, struct mr_queues *queues, const struct mr_rows *rows,
                               struct mr_scores *scores, struct mr_err *err);

/**
 * The largest difference of the scores of `rows` rows from the reference's: for each output relative to that output's
 * largest absolute value in the batch. Where the classes differ, how far the reference prefers its own over the other
 * counts as well. Infinite when one is a number and the other is not.
 */
double mr_scores_error(const struct mr_model_info *info, const struct mr_scores *scores,
                       const struct mr_scores *reference, size_t rows);

#endif
