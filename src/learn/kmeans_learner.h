/**
 * Centres that move with the stream and forget, as Spark's StreamingKMeans (mllib/clustering/StreamingKMeans.scala):
 * what its code does, where its text says otherwise.
 */
#ifndef MR_LEARN_KMEANS_LEARNER_H
#define MR_LEARN_KMEANS_LEARNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { MR_DECAY_BATCHES, MR_DECAY_POINTS } mr_decay_unit;

struct mr_kmeans_learner {
    size_t k, cols;
    double decay; /* 0 to 1: what an old weight counts a batch, or a point, later; 1 forgets nothing */
    mr_decay_unit unit;
    double *center, *weight; /* [k][cols], [k] */
    uint64_t split_count;
};

/** Zeroed centres and weights. False: out of memory, and deinit may still be called. */
bool mr_kmeans_learner_init(struct mr_kmeans_learner *learner, size_t k, size_t cols);
void mr_kmeans_learner_deinit(struct mr_kmeans_learner *learner);

/** The decay that halves a weight in `half_life` batches or points (> 0): 0.5^(1 / half_life). */
double mr_decay_of_half_life(double half_life);

/**
 * One batch: count[k] points and sum[k][cols] of those that were assigned to each centre, before it moved.
 * With d = decay, or decay^(points of the whole batch) in points, n' = d n + m and c' = (d n c + s) / n'; a centre
 * without points keeps its place and d n as its weight. Then, when the lightest weighs less than 1e-8 of the heaviest,
 * the heaviest is split: both get half of what the two weigh, and their places differ by 1e-14 of the heaviest's, at
 * least 1e-14. (In float32 that difference is none: the split takes effect once a batch moves them apart, as in Spark.)
 */
void mr_kmeans_learner_update(struct mr_kmeans_learner *learner, const double *count, const double *sum);

#endif
