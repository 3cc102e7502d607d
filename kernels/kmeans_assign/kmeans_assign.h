/** kmeans_assign: the nearest of k centres and the squared Euclidean distance to it. */
#ifndef MR_KERNEL_KMEANS_ASSIGN_H
#define MR_KERNEL_KMEANS_ASSIGN_H

#include <stddef.h>

/**
 * y has one output, the squared distance to the nearest centre; class_index is that centre, the lowest of equally near
 * ones. The kernels compute |x - c|^2 as |x|^2 + 2 * (|c|^2 / 2 - x . c) with the mean of the centres taken off x and c
 * first: the error is (cols + 8) * FLT_EPSILON * (|x| + |c|)^2 around that mean, and a centre that is farther by less
 * than that may be taken for the nearest. With one feature there is no such error: see struct mr_line.
 */
struct mr_kmeans_params {
    size_t cols, k;
    const float *center; /* [k][cols], finite */
};

/** Of kmeans_sum: k counts, k times cols sums of features, and the sum of the squared distances. */
static inline size_t mr_kmeans_sum_count(const struct mr_kmeans_params *params)
{
    return params->k * (params->cols + 1) + 1;
}

#endif
