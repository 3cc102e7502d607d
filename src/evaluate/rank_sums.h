/** How good the lists of a recommender are, user by user: precision and recall at N, as the FAQ of Surprise computes
 * them. */
#ifndef MR_EVALUATE_RANK_SUMS_H
#define MR_EVALUATE_RANK_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mr_ranked {
    uint32_t user;
    float estimate, rating;
    uint32_t order; /* equal estimates stay in the order of the rows */
};

struct mr_rank_sums {
    struct mr_ranked *ranked; /* [count] */
    size_t count, cap;
};

struct mr_rank_metrics {
    uint64_t users;
    /* Means over the users. Relevant: rated at or above a threshold; recommended: among the user's `top` rows of the
     * highest estimates, and estimated at or above it. precision: how many of the recommended are relevant; recall: how
     * many of the relevant are recommended; 0 where there are none. NaN: no users. */
    double precision, recall;
};

/** False: out of memory. */
bool mr_rank_sums_add(struct mr_rank_sums *sums, uint32_t user, float estimate, float rating);
/** Sorts what was added. */
void mr_rank_sums_end(struct mr_rank_sums *sums, size_t top, double threshold, struct mr_rank_metrics *metrics);
/** Accepts a zeroed one. */
void mr_rank_sums_deinit(struct mr_rank_sums *sums);

#endif
