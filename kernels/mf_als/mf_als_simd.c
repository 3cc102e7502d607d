/*
 * Columns of the normal equations are the lanes. A panel of ratings is laid out as rows [q_c, 1, target] in double;
 * its product with itself gives the equations' upper triangle and, as their last column, the right side. Cholesky takes
 * each row off those below it, right side and all, which is the forward substitution; only the backward one is left.
 * What is below the diagonal within a vector is computed, too, and never read.
 */
#include <math.h>
#include <string.h>

#include "kernels/mf_als/mf_als.h"
#include "kernels/simd.h"

#define ROWS  4 /* of the product, and vectors of its columns, that are summed up in registers */
#define VECS  2
#define LANES (MR_LANES / 2)

typedef double vec __attribute__((vector_size(LANES * 8), may_alias));

MR_INLINE vec load(const double *from)
{
    return *(const vec *)from;
}

/* The factors of up to MR_ALS_PANEL ratings as rows. Returns how many. */
static size_t panel_fill(const struct mr_mf_als *model, const struct mr_rating *rating, size_t count, double *panel,
                         size_t width)
{
    const size_t rank = model->rank, rows = count < MR_ALS_PANEL ? count : MR_ALS_PANEL;
    for (size_t r = 0; r < rows; r++) {
        const float *const q = model->factor + rating[r].col * model->stride;
        double *const row = panel + r * width, target = (double)rating[r].value - model->mean;
        size_t n = rank;
        for (size_t f = 0; f < rank; f++) row[f] = (double)q[f];
        if (model->bias) {
            row[n++] = 1;
            target -= (double)model->bias[rating[r].col];
        }
        row[n++] = target;
        for (; n < width; n++) row[n] = 0;
    }
    return rows;
}

/* Adds to ROWS rows of the product, from i on, VECS vectors from j on. */
MR_INLINE void block_add(const double *panel, size_t rows, size_t width, size_t i, size_t j, double *a)
{
    vec sum[ROWS][VECS];
    MR_UNROLL for (size_t k = 0; k < ROWS * VECS; k++) sum[k / VECS][k % VECS] =
        load(a + (i + k / VECS) * width + j + k % VECS * LANES);
    for (size_t r = 0; r < rows; r++) {
        const double *const row = panel + r * width;
        const vec one = load(row + j), two = load(row + j + LANES);
        MR_UNROLL for (size_t k = 0; k < ROWS; k++)
        {
            sum[k][0] += row[i + k] * one;
            sum[k][1] += row[i + k] * two;
        }
    }
    MR_UNROLL for (size_t k = 0; k < ROWS * VECS; k++) * (vec *)(a + (i + k / VECS) * width + j + k % VECS * LANES) =
        sum[k / VECS][k % VECS];
}

/* The upper triangle, and what else is in its blocks. */
static void product_add(const double *panel, size_t rows, size_t n, size_t width, double *a)
{
    const size_t step = (size_t)VECS * LANES;
    for (size_t i = 0; i < n; i += ROWS)
        for (size_t j = i / step * step; j < n + 1; j += step) block_add(panel, rows, width, i, j, a);
}

/* Rows i and i + 1 less what row k, which is done, has of them. */
MR_INLINE void rows_reduce(const double *row, double *one, double *two, size_t i, size_t width)
{
    const double by = row[i], by_two = row[i + 1];
    for (size_t j = i / LANES * LANES; j < width; j += LANES) {
        const vec done = load(row + j);
        *(vec *)(one + j) = load(one + j) - by * done;
        *(vec *)(two + j) = load(two + j) - by_two * done;
    }
}

/* a: [n or more][width], the right side in column n. x becomes the solution, [n]. */
static void solve(double *a, size_t n, size_t width, double *x)
{
    for (size_t k = 0; k < n; k++) {
        double *const row = a + k * width;
        const double by = 1 / sqrt(row[k]);
        for (size_t j = k / LANES * LANES; j < width; j += LANES) *(vec *)(row + j) = load(row + j) * by;
        /* a row too many where their number is odd: there is room for it, and nobody reads it */
        for (size_t i = k + 1; i < n; i += 2) rows_reduce(row, a + i * width, a + (i + 1) * width, i, width);
    }
    for (size_t i = n; i-- > 0;) {
        const double *const row = a + i * width;
        double sum = row[n];
        for (size_t j = i + 1; j < n; j++) sum -= row[j] * x[j];
        x[i] = sum / row[i];
    }
}

mr_mf_als_fn MR_KERNEL_NAME(mr_mf_als);

void MR_KERNEL_NAME(mr_mf_als)(const struct mr_mf_als *model, const struct mr_rating *rating, size_t count,
                               void *scratch, float *factor_out, float *bias_out)
{
    const size_t rank = model->rank, n = rank + (model->bias != NULL), width = mr_mf_als_width(rank);
    double *const panel = scratch, *const a = panel + MR_ALS_PANEL * width;
    memset(a, 0, width * width * sizeof *a);
    for (size_t at = 0; at < count; at += MR_ALS_PANEL)
        product_add(panel, panel_fill(model, rating + at, count - at, panel, width), n, width, a);
    for (size_t i = 0; i < n; i++) a[i * width + i] += model->reg * (double)count;
    double *const x = panel; /* nobody needs it any more */
    solve(a, n, width, x);
    memset(factor_out, 0, model->stride * sizeof *factor_out);
    for (size_t f = 0; f < rank; f++) factor_out[f] = (float)x[f];
    if (model->bias) *bias_out = (float)x[rank];
}
