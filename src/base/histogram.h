/** A log-linear histogram of non-negative 64-bit values: 32 steps an octave, so a quantile is right within 3 %. */
#ifndef MR_BASE_HISTOGRAM_H
#define MR_BASE_HISTOGRAM_H

#include <stdint.h>

#define MR_HISTOGRAM_STEP_BITS 5
#define MR_HISTOGRAM_BUCKETS   ((64 - MR_HISTOGRAM_STEP_BITS + 1) << MR_HISTOGRAM_STEP_BITS)

/** Zero it to begin. One writer; readers on other threads may see counts that lag behind each other. */
struct mr_histogram {
    _Atomic uint64_t bucket[MR_HISTOGRAM_BUCKETS];
    _Atomic uint64_t count, max;
};

/** Counts `weight` values of that size; negative ones count as 0. */
void mr_histogram_add(struct mr_histogram *histogram, int64_t value, uint64_t weight);

/** Adds all of `from`. */
void mr_histogram_merge(struct mr_histogram *into, const struct mr_histogram *from);

/** Smallest value that at least share (0..1) of the values do not exceed; 0 when empty. */
int64_t mr_histogram_quantile(const struct mr_histogram *histogram, double share);

/** How many values are at most that large, to within the step that it falls into. */
uint64_t mr_histogram_below(const struct mr_histogram *histogram, int64_t value);

/** Sum of the values, each taken as the middle of its step: right within 2 %. */
double mr_histogram_sum(const struct mr_histogram *histogram);

#endif
