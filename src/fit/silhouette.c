#include "fit/silhouette.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "kernels/kmeans_assign/kmeans_assign.h"

struct sample {
    size_t rows, cols, k;
    float *x;         /* [rows][cols] */
    int32_t *cluster; /* [rows] */
    double *size;     /* [k] */
    double *score;    /* [rows]; NaN: not one of two clusters */
};

/* As row_takes of Knuth 1997, 3.4.2, algorithm S: each set of rows is as likely. */
static void rows_draw(struct sample *sample, const float *x, size_t rows, uint64_t seed)
{
    size_t taken = 0;
    for (size_t row = 0; row < rows && taken < sample->rows; row++) {
        if (mr_random_below(&seed, rows - row) >= sample->rows - taken) continue;
        for (size_t c = 0; c < sample->cols; c++)
            sample->x[taken * sample->cols + c] = x[mr_tile_at(row, c, sample->cols)];
        taken++;
    }
}

/* In double, as the distances are. */
static void clusters_find(struct sample *sample, const float *center)
{
    for (size_t i = 0; i < sample->rows; i++) {
        double best = INFINITY;
        for (size_t j = 0; j < sample->k; j++) {
            double away = 0;
            for (size_t c = 0; c < sample->cols; c++) {
                const double off = (double)sample->x[i * sample->cols + c] - (double)center[j * sample->cols + c];
                away += off * off;
            }
            if (away >= best) continue;
            best = away;
            sample->cluster[i] = (int32_t)j;
        }
        sample->size[sample->cluster[i]]++;
    }
}

static double row_away(const struct sample *sample, size_t a, size_t b)
{
    double away = 0;
    for (size_t c = 0; c < sample->cols; c++) {
        const double off = (double)sample->x[a * sample->cols + c] - (double)sample->x[b * sample->cols + c];
        away += off * off;
    }
    return sqrt(away);
}

static void row_score(void *context, size_t row)
{
    struct sample *const sample = context;
    const int32_t own = sample->cluster[row];
    double other = INFINITY, inside = 0;
    double *const away = calloc(sample->k, sizeof *away);
    sample->score[row] = NAN;
    if (!away) return;
    for (size_t i = 0; i < sample->rows; i++) away[sample->cluster[i]] += row_away(sample, row, i);
    for (size_t j = 0; j < sample->k; j++)
        if ((int32_t)j != own && sample->size[j] > 0) other = fmin(other, away[j] / sample->size[j]);
    if (sample->size[own] > 1) inside = away[own] / (sample->size[own] - 1);
    if (isfinite(other))
        sample->score[row] =
            sample->size[own] > 1 && fmax(inside, other) > 0 ? (other - inside) / fmax(inside, other) : 0;
    free(away);
}

mr_status mr_silhouette(struct mr_crew *crew, const float *x, size_t rows, size_t cols, const float *center, size_t k,
                        size_t sample_max, uint64_t seed, double *silhouette_out, struct mr_err *err)
{
    struct sample sample = {.rows = rows < sample_max ? rows : sample_max, .cols = cols, .k = k};
    mr_status status = MR_OK;
    sample.x = calloc(sample.rows * cols + 1, sizeof *sample.x);
    sample.cluster = calloc(sample.rows + 1, sizeof *sample.cluster);
    sample.size = calloc(k + 1, sizeof *sample.size);
    sample.score = malloc((sample.rows + 1) * sizeof *sample.score);
    if (!sample.x || !sample.cluster || !sample.size || !sample.score) {
        status = mr_fail(err, MR_ENOMEM, "out of memory");
    } else {
        double total = 0;
        rows_draw(&sample, x, rows, seed);
        clusters_find(&sample, center);
        mr_crew_share(crew, sample.rows, row_score, &sample);
        for (size_t i = 0; i < sample.rows; i++) total += sample.score[i];
        *silhouette_out = sample.rows ? total / (double)sample.rows : NAN;
    }
    free(sample.x);
    free(sample.cluster);
    free(sample.size);
    free(sample.score);
    return status;
}
