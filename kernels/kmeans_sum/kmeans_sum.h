/**
 * kmeans_sum: what an update of the centres needs of a batch. Its parameters are those of kmeans_assign, of which the
 * centres are not read; the target has the class_index and y that kmeans_assign gave.
 *
 * sums: count[k], then sum of features[k][cols], then the sum of y over all rows.
 */
#ifndef MR_KERNEL_KMEANS_SUM_H
#define MR_KERNEL_KMEANS_SUM_H

#include "kernels/kmeans_assign/kmeans_assign.h"

#endif
