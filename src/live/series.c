#include "live/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/blob_text.h"

mr_status mr_series_init(struct mr_series *series, size_t cols, size_t row_cap, bool is_folding, struct mr_err *err)
{
    *series = (struct mr_series){.cols = cols,
                                 .row_cap = row_cap,
                                 .is_folding = is_folding,
                                 .fold = 1,
                                 .value = calloc(row_cap * cols, sizeof *series->value),
                                 .sum = calloc(cols, sizeof *series->sum),
                                 .count = calloc(cols, sizeof *series->count)};
    if (series->value && series->sum && series->count) return MR_OK;
    mr_series_deinit(series);
    return mr_fail(err, MR_ENOMEM, "no memory for %zu numbers of %zu kinds", row_cap, cols);
}

void mr_series_deinit(struct mr_series *series)
{
    free(series->value);
    free(series->sum);
    free(series->count);
    *series = (struct mr_series){0};
}

static double *row_at(const struct mr_series *series, size_t row)
{
    return series->value + (series->first + row) % series->row_cap * series->cols;
}

static double mean(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : (a + b) / 2;
}

/* Each two rows become one. */
static void halve(struct mr_series *series)
{
    for (size_t row = 0; row < series->rows / 2; row++) {
        const double *const a = row_at(series, 2 * row), *const b = row_at(series, 2 * row + 1);
        double *const to = row_at(series, row);
        for (size_t col = 0; col < series->cols; col++) to[col] = mean(a[col], b[col]);
    }
    series->rows /= 2;
    series->fold *= 2;
}

/* What is pending is a row now. */
static void row_add(struct mr_series *series)
{
    if (series->rows == series->row_cap && series->is_folding) {
        halve(series);
        return; /* and with it a row is twice as long: this one is half of the next */
    }
    if (series->rows == series->row_cap)
        series->first = (series->first + 1) % series->row_cap;
    else
        series->rows++;
    double *const to = row_at(series, series->rows - 1);
    for (size_t col = 0; col < series->cols; col++)
        to[col] = series->count[col] ? series->sum[col] / series->count[col] : NAN;
    memset(series->sum, 0, series->cols * sizeof *series->sum);
    memset(series->count, 0, series->cols * sizeof *series->count);
    series->pending = 0;
}

void mr_series_add(struct mr_series *series, const double *sample)
{
    for (size_t col = 0; col < series->cols; col++) {
        if (!isfinite(sample[col])) continue;
        series->sum[col] += sample[col];
        series->count[col]++;
    }
    if (++series->pending >= series->fold) row_add(series);
}

bool mr_series_print(const struct mr_series *series, double since, struct mr_blob *out)
{
    bool is_first = true, is_put = mr_blob_print(out, "{\"samples_a_row\":%zu,\"rows\":[", series->fold);
    for (size_t row = 0; row < series->rows && is_put; row++) {
        const double *const value = row_at(series, row);
        if (!(value[0] > since)) continue;
        is_put = mr_blob_print(out, "%s[%.0f", is_first ? "" : ",", value[0]);
        for (size_t col = 1; col < series->cols && is_put; col++)
            is_put = mr_blob_put(out, ",", 1) && mr_blob_number(out, value[col]);
        is_put = is_put && mr_blob_put(out, "]", 1);
        is_first = false;
    }
    return is_put && mr_blob_put(out, "]}", 2);
}
