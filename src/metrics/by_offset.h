/**
 * A number of records by their offset: means over equal stretches of offsets in a fixed amount of memory. The stretches
 * double as offsets go on, so that they always cover all that has been seen.
 */
#ifndef MR_METRICS_BY_OFFSET_H
#define MR_METRICS_BY_OFFSET_H

#include <stddef.h>
#include <stdint.h>

#define MR_BY_OFFSET_BINS 256

struct mr_by_offset {
    int64_t first;  /* bin i: offsets from first + i * 2^shift on */
    unsigned shift; /* at most 52 */
    double sum;     /* of all */
    uint64_t rows;
    struct {
        double sum;
        uint64_t rows;
    } bin[MR_BY_OFFSET_BINS];
};

/** A zeroed struct has nothing yet. offset: not negative, and so small that bins do not overflow (under 2^60), else it
 * is left out, as is a value that is not finite. */
void mr_by_offset_add(struct mr_by_offset *all, int64_t offset, double value);

#endif
