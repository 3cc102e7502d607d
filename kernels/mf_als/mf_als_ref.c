/* What mf_als means: the normal equations by plain loops, solved by Gauss's elimination with pivots. */
#include <math.h>
#include <string.h>

#include "kernels/mf_als/mf_als.h"

/* Solves a x = a[n] in place: a is [n + 1][width], its last row what is to be met, then the solution. */
static void eliminate(double *a, size_t n, size_t width)
{
    double *const right = a + n * width;
    for (size_t k = 0; k < n; k++) {
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            if (fabs(a[i * width + k]) > fabs(a[best * width + k])) best = i;
        for (size_t j = 0; j <= n; j++) {
            double *const one = j < n ? &a[k * width + j] : &right[k], *const other =
                                                                           j < n ? &a[best * width + j] : &right[best];
            const double kept = *one;
            *one = *other;
            *other = kept;
        }
        for (size_t i = k + 1; i < n; i++) {
            const double factor = a[i * width + k] / a[k * width + k];
            for (size_t j = k; j < n; j++) a[i * width + j] -= factor * a[k * width + j];
            right[i] -= factor * right[k];
        }
    }
    for (size_t k = n; k-- > 0;) {
        for (size_t j = k + 1; j < n; j++) right[k] -= a[k * width + j] * right[j];
        right[k] /= a[k * width + k];
    }
}

mr_mf_als_fn mr_mf_als_ref;

void mr_mf_als_ref(const struct mr_mf_als *model, const struct mr_rating *rating, size_t count, void *scratch,
                   float *factor_out, float *bias_out)
{
    const size_t rank = model->rank, n = rank + (model->bias != NULL), width = mr_mf_als_width(rank);
    double *const row = scratch, *const a = row + width;
    memset(a, 0, (n + 1) * width * sizeof *a);
    for (size_t r = 0; r < count; r++) {
        const size_t col = rating[r].col;
        double target = (double)rating[r].value - model->mean;
        for (size_t f = 0; f < rank; f++) row[f] = (double)model->factor[col * model->stride + f];
        if (model->bias) {
            row[rank] = 1;
            target -= (double)model->bias[col];
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) a[i * width + j] += row[i] * row[j];
            a[n * width + i] += row[i] * target;
        }
    }
    for (size_t i = 0; i < n; i++) a[i * width + i] += model->reg * (double)count;
    eliminate(a, n, width);
    memset(factor_out, 0, model->stride * sizeof *factor_out);
    for (size_t f = 0; f < rank; f++) factor_out[f] = (float)a[n * width + f];
    if (model->bias) *bias_out = (float)a[n * width + rank];
}
