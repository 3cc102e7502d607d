#include "learn/linear_spark.h"

#include <math.h>
#include <string.h>

#include "millrace/batch.h"

/* The mean gradient over the rows with a label, at w[cols], bias; returns how many there are. */
static double gradient(const struct mr_spark_options *options, size_t cols, const struct mr_learn_rows *rows,
                       const double *w, double *g)
{
    double count = 0;
    memset(g, 0, (cols + 1) * sizeof *g);
    for (size_t row = 0; row < rows->rows; row++) {
        double z = 0;
        if (!mr_loss_has_label(options->is_logistic ? MR_LOSS_LOG : MR_LOSS_SQUARED, 1, rows->label[row])) continue;
        for (size_t c = 0; c < cols; c++) z += w[c] * (double)rows->x[mr_tile_at(row, c, cols)];
        if (options->has_intercept) z += w[cols];
        const double off = options->is_logistic ? 1 / (1 + exp(-z)) - rows->label[row] : z - rows->label[row];
        for (size_t c = 0; c < cols; c++) g[c] += off * (double)rows->x[mr_tile_at(row, c, cols)];
        g[cols] += off;
        count += 1;
    }
    for (size_t c = 0; c <= cols && count > 0; c++) g[c] /= count;
    return count;
}

uint32_t mr_linear_spark_update(const struct mr_spark_options *options, size_t cols, const struct mr_learn_rows *rows,
                                double *w, double *b_inout, double *scratch)
{
    const size_t count = cols + options->has_intercept;
    double *const v = scratch, *const g = scratch + cols + 1;
    uint32_t i = 0;
    memcpy(v, w, cols * sizeof *v);
    v[cols] = 1;
    while (i < options->iterations) {
        double moved = 0, size = 0;
        if (!(gradient(options, cols, rows, v, g) > 0)) return 0;
        i++;
        const double step = options->step / sqrt((double)i);
        for (size_t c = 0; c < count; c++) {
            const double next = v[c] * (1 - (options->is_logistic ? step * options->l2 : 0)) - step * g[c];
            moved += (next - v[c]) * (next - v[c]);
            size += next * next;
            v[c] = next;
        }
        if (i > 1 && sqrt(moved) < options->tolerance * fmax(sqrt(size), 1)) break;
    }
    memcpy(w, v, cols * sizeof *v);
    if (options->has_intercept) *b_inout = v[cols];
    return i;
}
