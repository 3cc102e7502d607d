#include "learn/kmeans_start.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "millrace/batch.h"

/* Takes a row as a centre and lowers the distances to the nearest one; returns their new sum. */
static double center_take(const float *x, size_t rows, size_t cols, size_t row, double *center, double *distance)
{
    double total = 0;
    for (size_t c = 0; c < cols; c++) center[c] = (double)x[mr_tile_at(row, c, cols)];
    for (size_t i = 0; i < rows; i++) {
        double away = 0;
        for (size_t c = 0; c < cols; c++) {
            const double off = (double)x[mr_tile_at(i, c, cols)] - center[c];
            away += off * off;
        }
        if (away < distance[i]) distance[i] = away;
        total += distance[i];
    }
    return total;
}

bool mr_kmeans_start(const float *x, size_t rows, size_t cols, size_t k, uint64_t seed, double *centers)
{
    double *const distance = malloc((rows + 1) * sizeof *distance);
    if (!distance) return false;
    memset(centers, 0, k * cols * sizeof *centers);
    for (size_t i = 0; i < rows; i++) distance[i] = __builtin_inf();
    size_t row = (size_t)(mr_random_unit(&seed) * (double)rows);
    for (size_t i = 0; i < k && rows; i++) {
        const double total = center_take(x, rows, cols, row, centers + i * cols, distance);
        double left = mr_random_unit(&seed) * total;
        for (row = 0; row + 1 < rows && (left >= distance[row] || distance[row] == 0); row++) left -= distance[row];
    }
    free(distance);
    return true;
}
