/** Where centres start: k-means++ over the rows of a first batch (Arthur and Vassilvitskii 2007). */
#ifndef MR_LEARN_KMEANS_START_H
#define MR_LEARN_KMEANS_START_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Picks k rows of the tiles x[rows][cols] as centers[k][cols]: the first at random, each further one with a probability
 * that grows with its squared distance to the nearest one picked. Where there are fewer distinct rows than k, some are
 * picked twice; with no rows all centres are 0. The same seed and rows give the same centres. k * rows * cols steps.
 * False: out of memory.
 */
bool mr_kmeans_start(const float *x, size_t rows, size_t cols, size_t k, uint64_t seed, double *centers);

#endif
