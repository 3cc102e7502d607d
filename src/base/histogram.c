#include "base/histogram.h"

#include <stdatomic.h>

#define STEPS (1u << MR_HISTOGRAM_STEP_BITS)

static unsigned bucket_of(uint64_t value)
{
    if (value < STEPS) return (unsigned)value;
    const unsigned octave = 63u - (unsigned)__builtin_clzll(value) - MR_HISTOGRAM_STEP_BITS;
    return ((octave + 1) << MR_HISTOGRAM_STEP_BITS) + (unsigned)((value >> octave) - STEPS);
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_top(unsigned bucket)
{
    if (bucket < STEPS) return bucket;
    const unsigned octave = (bucket >> MR_HISTOGRAM_STEP_BITS) - 1;
    return (((uint64_t)(bucket & (STEPS - 1)) + STEPS + 1) << octave) - 1;
}

/* One writer: a plain read and write each, no locked instruction. */
static void raise_by(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

void mr_histogram_add(struct mr_histogram *histogram, int64_t value, uint64_t weight)
{
    const uint64_t size = value < 0 ? 0 : (uint64_t)value;
    raise_by(&histogram->bucket[bucket_of(size)], weight);
    raise_by(&histogram->count, weight);
    if (size > atomic_load_explicit(&histogram->max, memory_order_relaxed))
        atomic_store_explicit(&histogram->max, size, memory_order_relaxed);
}

void mr_histogram_merge(struct mr_histogram *into, const struct mr_histogram *from)
{
    uint64_t count = 0; /* of what is read here: the other one's may be of another moment */
    for (unsigned i = 0; i < MR_HISTOGRAM_BUCKETS; i++) {
        const uint64_t more = atomic_load_explicit(&from->bucket[i], memory_order_relaxed);
        raise_by(&into->bucket[i], more);
        count += more;
    }
    raise_by(&into->count, count);
    const uint64_t max = atomic_load_explicit(&from->max, memory_order_relaxed);
    if (max > into->max) into->max = max;
}

int64_t mr_histogram_quantile(const struct mr_histogram *histogram, double share)
{
    const uint64_t count = atomic_load_explicit(&histogram->count, memory_order_relaxed);
    const double wanted = share * (double)count;
    uint64_t seen = 0;
    if (!count) return 0;
    for (unsigned i = 0; i < MR_HISTOGRAM_BUCKETS; i++) {
        seen += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
        if (seen && (double)seen >= wanted) {
            const uint64_t top = bucket_top(i), max = atomic_load_explicit(&histogram->max, memory_order_relaxed);
            return (int64_t)(top < max ? top : max);
        }
    }
    return (int64_t)histogram->max;
}

uint64_t mr_histogram_below(const struct mr_histogram *histogram, int64_t value)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < MR_HISTOGRAM_BUCKETS && bucket_top(i) <= (uint64_t)value; i++)
        seen += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
    return seen;
}

double mr_histogram_sum(const struct mr_histogram *histogram)
{
    double sum = 0;
    for (unsigned i = 0; i < MR_HISTOGRAM_BUCKETS; i++) {
        const uint64_t count = atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
        const double low = i ? (double)bucket_top(i - 1) + 1 : 0;
        if (count) sum += (double)count * (low + (double)bucket_top(i)) / 2;
    }
    return sum;
}
