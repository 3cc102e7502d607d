/**
 * k-means over rows in memory: Lloyd's iterations (Lloyd 1982) with the kernels that assign a stream's rows, from
 * centres that k-means++ or k-means|| chose, or that were given.
 */
#ifndef MR_FIT_KMEANS_H
#define MR_FIT_KMEANS_H

#include <stdatomic.h>

#include "fit/crew.h"

typedef enum {
    MR_START_PLUS, /* k-means++, greedy: of 2 + ln k candidates the best (Arthur and Vassilvitskii 2007, section 7) */
    MR_START_PARALLEL, /* k-means||: 5 rounds that choose 2 k rows each, then k-means++ among them (Bahmani et al. 2012)
                        */
    MR_START_RANDOM,   /* k different rows */
    MR_START_GIVEN,
} mr_kmeans_start_kind;

struct mr_kmeans_fit {
    const float *x; /* tiles, as struct mr_pass has them */
    size_t rows, cols, k;
    mr_kmeans_start_kind start;
    const double *given; /* [k][cols]: MR_START_GIVEN */
    size_t iterations_max;
    double tolerance; /* it ends when the centres have moved, squared and summed, by less than that times the mean
                         variance of the features */
    uint64_t seed;
    const _Atomic bool *is_stopped; /* looked at between two iterations; NULL: never stopped */
    void (*iterated)(void *context, size_t iteration, double inertia, double moved); /* NULL: nobody asks */
    void *context;
};

/** Centres and what they cost. */
struct mr_kmeans_fitted {
    double *center; /* [k][cols] */
    double *count;  /* [k] rows of each */
    double inertia; /* sum over rows of the squared distance to the nearest centre */
    size_t iterations;
    size_t moved_empty; /* centres that had no rows and were put on the row farthest from its own */
    bool is_converged;
};

/**
 * MR_EDATA: fewer rows than centres. MR_ENOMEM, and as mr_crew_pass. Beside x it takes 4 bytes a row for k-means++ and
 * k-means||. The same input gives the same bits on the same kind of backend, with any number of threads. deinit
 * fitted_out whatever the outcome.
 */
mr_status mr_kmeans_fit(struct mr_crew *crew, const struct mr_kmeans_fit *fit, struct mr_kmeans_fitted *fitted_out,
                        struct mr_err *err);
void mr_kmeans_fitted_deinit(struct mr_kmeans_fitted *fitted);

/** Chooses the first centres into center[k][cols]; what mr_kmeans_fit begins with. */
mr_status mr_kmeans_choose(struct mr_crew *crew, const struct mr_kmeans_fit *fit, double *center, struct mr_err *err);

#endif
