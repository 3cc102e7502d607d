/** Where a falling curve stops being worth its steps. */
#ifndef MR_FIT_KNEE_H
#define MR_FIT_KNEE_H

#include <stddef.h>

/**
 * Index of the knee of a curve that falls: the point farthest below the straight line from its first point to its last
 * one, after both axes were scaled to [0, 1] (Satopaa et al. 2011, "Finding a Kneedle in a Haystack", section III, on
 * the points as they are). The first of equally far ones; 0 with fewer than three points or a curve that does not fall.
 */
static inline size_t mr_knee(const double *x, const double *y, size_t count)
{
    size_t knee = 0;
    double best = 0;
    if (count < 3 || !(y[0] > y[count - 1])) return 0;
    for (size_t i = 0; i < count; i++) {
        const double along = (x[i] - x[0]) / (x[count - 1] - x[0]);
        const double fallen = (y[0] - y[i]) / (y[0] - y[count - 1]);
        if (fallen - along <= best) continue;
        best = fallen - along;
        knee = i;
    }
    return knee;
}

#endif
