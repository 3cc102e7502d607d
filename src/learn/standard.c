#include "learn/standard.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "millrace/batch.h"

bool mr_standard_init(struct mr_standard *standard, size_t cols)
{
    *standard = (struct mr_standard){.cols = cols};
    standard->mean = calloc(cols + 1, sizeof *standard->mean);
    standard->squares = calloc(cols + 1, sizeof *standard->squares);
    standard->factor = calloc(cols + 1, sizeof *standard->factor);
    if (!standard->mean || !standard->squares || !standard->factor) return false;
    mr_standard_refresh(standard);
    return true;
}

void mr_standard_deinit(struct mr_standard *standard)
{
    free(standard->mean);
    free(standard->squares);
    free(standard->factor);
    *standard = (struct mr_standard){0};
}

void mr_standard_refresh(struct mr_standard *standard)
{
    for (size_t c = 0; c < standard->cols; c++) {
        const double variance = standard->count > 0 ? standard->squares[c] / standard->count : 0;
        /* Sums of float32 products leave a rest of variance where there is none. */
        const bool varies = variance > 1e-12 * standard->mean[c] * standard->mean[c] && variance > 0;
        standard->factor[c] = varies ? 1 / sqrt(variance) : 1;
    }
}

static void column_add(struct mr_standard *standard, size_t c, double near, double sum, double square, double rows)
{
    const double all = standard->count + rows, apart = near + sum / rows - standard->mean[c];
    standard->squares[c] += fmax(square - sum * sum / rows, 0) + apart * apart * standard->count * rows / all;
    standard->mean[c] += apart * rows / all;
}

void mr_standard_add(struct mr_standard *standard, const float *near, const double *sums, double rows)
{
    for (size_t c = 0; c < standard->cols; c++)
        column_add(standard, c, (double)near[c], sums[c], sums[standard->cols + c], rows);
    standard->count += rows;
    mr_standard_refresh(standard);
}

void mr_standard_add_rows(struct mr_standard *standard, const float *x, size_t rows)
{
    for (size_t c = 0; c < standard->cols; c++) {
        const double near = (double)x[mr_tile_at(0, c, standard->cols)];
        double sum = 0, square = 0;
        for (size_t row = 0; row < rows; row++) {
            const double apart = (double)x[mr_tile_at(row, c, standard->cols)] - near;
            sum += apart;
            square += apart * apart;
        }
        column_add(standard, c, near, sum, square, (double)rows);
    }
    standard->count += (double)rows;
    mr_standard_refresh(standard);
}

bool mr_standard_fits(const struct mr_standard *standard)
{
    for (size_t c = 0; c < standard->cols; c++) {
        if (!(fabs(standard->mean[c]) <= (double)FLT_MAX)) return false;
        if (!(standard->squares[c] <= (double)FLT_MAX * fmax(standard->count, 1))) return false;
    }
    return true;
}

void mr_standard_copy(struct mr_standard *to, const struct mr_standard *from)
{
    to->count = from->count;
    memcpy(to->mean, from->mean, from->cols * sizeof *to->mean);
    memcpy(to->squares, from->squares, from->cols * sizeof *to->squares);
    mr_standard_refresh(to);
}

void mr_standard_clear(struct mr_standard *standard)
{
    standard->count = 0;
    memset(standard->mean, 0, standard->cols * sizeof *standard->mean);
    memset(standard->squares, 0, standard->cols * sizeof *standard->squares);
    mr_standard_refresh(standard);
}
