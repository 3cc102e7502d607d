/** How well rows lie in their clusters: the silhouette coefficient (Rousseeuw 1987) of a sample. */
#ifndef MR_FIT_SILHOUETTE_H
#define MR_FIT_SILHOUETTE_H

#include <stdint.h>

#include "fit/crew.h"

/**
 * The mean over the sampled rows of (b - a) / max(a, b): a the mean Euclidean distance to the other rows of its own
 * cluster, b the least mean distance to those of another one; 0 for a row that is alone in its cluster. Only sampled
 * rows count on either side, as in scikit-learn's silhouette_score(sample_size). NaN with fewer than two clusters among
 * them.
 *
 * x: tiles [rows][cols]; center [k][cols], as the kernels read them. sample_max: rows that are drawn by seed, without
 * repetition; all of them where there are no more. sample_max squared, times cols, steps. MR_ENOMEM, and as
 * mr_crew_pass.
 */
mr_status mr_silhouette(struct mr_crew *crew, const float *x, size_t rows, size_t cols, const float *center, size_t k,
                        size_t sample_max, uint64_t seed, double *silhouette_out, struct mr_err *err);

#endif
