/* Alternating least squares. The side that is solved for is always the rows: between two halves of an epoch ratings and
 * factors change sides. */
#include <math.h>
#include <stdlib.h>

#include "fit/factors.h"
#include "kernels/mf_als/mf_als.h"
#include "millrace/batch.h"

#define PIECES_MAX 256 /* that the rows are divided into */

/* One side, with the other as it is. */
struct half {
    struct mr_mf_als model;
    mr_mf_als_fn *solve;
    const struct mr_rating *rating;
    const size_t *first; /* [rows + 1] */
    size_t rows, pieces;
    float *factor, *bias; /* of the rows; bias NULL: there are none */
    _Atomic bool is_out_of_memory;
};

/* Rows whose ratings begin within the piece's share of them. */
static void piece_solve(void *context, size_t piece)
{
    struct half *const half = context;
    const size_t bytes = mr_mf_als_scratch(half->model.rank), count = half->first[half->rows];
    const size_t begin = count * piece / half->pieces, end = count * (piece + 1) / half->pieces;
    void *const scratch = aligned_alloc(MR_ALIGN, (bytes / MR_ALIGN + 1) * MR_ALIGN);
    if (!scratch) {
        atomic_store(&half->is_out_of_memory, true);
        return;
    }
    size_t low = 0, high = half->rows;
    while (low < high) { /* the first row that begins there */
        const size_t middle = (low + high) / 2;
        if (half->first[middle] < begin)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t row = low; row < half->rows && half->first[row] < end; row++) {
        const size_t first = half->first[row], ratings = half->first[row + 1] - first;
        if (ratings)
            half->solve(&half->model, half->rating + first, ratings, scratch, half->factor + row * half->model.stride,
                        half->bias ? half->bias + row : NULL);
    }
    free(scratch);
}

static mr_status half_do(struct mr_crew *crew, struct half *half, struct mr_err *err)
{
    half->pieces = half->rows < PIECES_MAX ? half->rows : PIECES_MAX;
    mr_crew_share(crew, half->pieces, piece_solve, half);
    return atomic_load(&half->is_out_of_memory) ? mr_fail(err, MR_ENOMEM, "out of memory") : MR_OK;
}

/* Rows, then columns; ratings are sorted by row before and behind it. */
static mr_status epoch_do(struct mr_crew *crew, const struct mr_factors_fit *fit, const struct mr_factors *factors,
                          mr_mf_als_fn *solve, size_t *col_first, struct mr_err *err)
{
    const bool is_biased = factors->is_biased;
    struct half rows = {.model = {.rank = factors->rank,
                                  .stride = factors->stride,
                                  .factor = factors->col_factor,
                                  .bias = is_biased ? factors->col_bias : NULL,
                                  .mean = factors->mean,
                                  .reg = fit->reg},
                        .solve = solve,
                        .rating = fit->rating,
                        .first = fit->row_first,
                        .rows = factors->rows,
                        .factor = factors->row_factor,
                        .bias = is_biased ? factors->row_bias : NULL};
    struct half cols = rows;
    cols.model.factor = factors->row_factor;
    cols.model.bias = rows.bias;
    cols.first = col_first;
    cols.rows = factors->cols;
    cols.factor = factors->col_factor;
    cols.bias = is_biased ? factors->col_bias : NULL;
    mr_status status = half_do(crew, &rows, err);
    mr_ratings_transpose(fit->rating, fit->count);
    mr_ratings_by_row(fit->rating, fit->count, factors->cols, col_first);
    if (!status) status = half_do(crew, &cols, err);
    mr_ratings_transpose(fit->rating, fit->count);
    mr_ratings_by_row(fit->rating, fit->count, factors->rows, fit->row_first);
    return status;
}

mr_status mr_als_fit(struct mr_crew *crew, const struct mr_factors_fit *fit, struct mr_factors *factors,
                     size_t *epochs_out, struct mr_err *err)
{
    mr_mf_als_fn *const solve = mr_mf_als_select(fit->variant);
    *epochs_out = 0;
    if (!solve) return mr_fail(err, MR_EUSAGE, "no variant \"%s\" of the kernels here", fit->variant);
    size_t *const col_first = malloc((factors->cols + 1) * sizeof *col_first);
    mr_status status = col_first ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    mr_ratings_by_row(fit->rating, fit->count, factors->rows, fit->row_first);
    while (!status && *epochs_out < fit->epochs_max) {
        struct mr_factors_score score;
        if (fit->is_stopped && atomic_load(fit->is_stopped)) break;
        status = epoch_do(crew, fit, factors, solve, col_first, err);
        if (!status)
            status = mr_factors_score(crew, factors, fit->rating, fit->count, -INFINITY, INFINITY, &score, err);
        if (status) break;
        ++*epochs_out;
        if (fit->stepped) fit->stepped(fit->context, *epochs_out, score.rmse);
    }
    free(col_first);
    return status;
}
