/* Stochastic gradient descent, rating by rating or in blocks. */
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "fit/factors.h"

/* What the blocks of a stratum need: those whose row of blocks is a and whose column is a + shift. */
struct stratum {
    const struct mr_mf_sgd *model;
    mr_mf_sgd_fn *pass;
    const struct mr_rating *rating;
    const struct mr_rating_grid *grid;
    size_t row[MR_RATING_SIDES_MAX],
        col[MR_RATING_SIDES_MAX]; /* orders of the rows and columns of blocks in this epoch */
    size_t shift;
    double squares[MR_RATING_SIDES_MAX]; /* of the blocks */
};

static void block_pass(void *context, size_t piece)
{
    struct stratum *const stratum = context;
    const struct mr_rating_grid *const grid = stratum->grid;
    const size_t a = stratum->row[piece], b = stratum->col[(piece + stratum->shift) % grid->sides];
    const size_t first = grid->first[a * grid->sides + b], end = grid->first[a * grid->sides + b + 1];
    stratum->squares[piece] = stratum->pass(stratum->model, stratum->rating + first, end - first);
}

static void shuffle(size_t *order, size_t count, uint64_t *seed)
{
    for (size_t i = 0; i < count; i++) order[i] = i;
    for (size_t left = count; left > 1; left--) {
        const size_t other = mr_random_below(seed, left), kept = order[other];
        order[other] = order[left - 1];
        order[left - 1] = kept;
    }
}

/* Every block once. Returns the sum of the squared errors. */
static double epoch_do(struct mr_crew *crew, struct stratum *stratum, uint64_t *seed)
{
    const size_t sides = stratum->grid->sides;
    double total = 0;
    shuffle(stratum->row, sides, seed);
    shuffle(stratum->col, sides, seed);
    for (stratum->shift = 0; stratum->shift < sides; stratum->shift++) {
        mr_crew_share(crew, sides, block_pass, stratum);
        for (size_t i = 0; i < sides; i++) total += stratum->squares[i];
    }
    return total;
}

static mr_status epochs_do(struct mr_crew *crew, const struct mr_factors_fit *fit, struct stratum *stratum,
                           size_t *epochs_out, struct mr_err *err)
{
    uint64_t seed = fit->seed;
    while (*epochs_out < fit->epochs_max) {
        if (fit->is_stopped && atomic_load(fit->is_stopped)) break;
        const double squares = fit->is_sequential ? stratum->pass(stratum->model, fit->rating, fit->count)
                                                  : epoch_do(crew, stratum, &seed);
        if (!isfinite(squares))
            return mr_fail(err, MR_EDATA, "the factors grew beyond all bounds in epoch %zu: take a smaller --step",
                           *epochs_out + 1);
        ++*epochs_out;
        if (fit->stepped) fit->stepped(fit->context, *epochs_out, sqrt(squares / (double)fit->count));
    }
    return MR_OK;
}

mr_status mr_sgd_fit(struct mr_crew *crew, const struct mr_factors_fit *fit, struct mr_factors *factors,
                     size_t *epochs_out, struct mr_err *err)
{
    const struct mr_mf_sgd_kernel *const kernel = mr_mf_sgd_select(fit->variant);
    const struct mr_mf_sgd model = {.stride = factors->stride,
                                    .mean = factors->mean,
                                    .step = fit->step,
                                    .reg = fit->reg,
                                    .is_biased = factors->is_biased,
                                    .row_factor = factors->row_factor,
                                    .col_factor = factors->col_factor,
                                    .row_bias = factors->row_bias,
                                    .col_bias = factors->col_bias};
    struct mr_rating_grid grid = {0};
    mr_status status = MR_OK;
    *epochs_out = 0;
    if (!kernel) return mr_fail(err, MR_EUSAGE, "no variant \"%s\" of the kernels here", fit->variant);
    struct stratum stratum = {
        .model = &model, .pass = factors->is_double ? kernel->f64 : kernel->f32, .rating = fit->rating, .grid = &grid};
    mr_ratings_by_row(fit->rating, fit->count, factors->rows, fit->row_first);
    if (!fit->is_sequential)
        status = mr_rating_grid_make(fit->rating, fit->count, fit->row_first, factors->rows, factors->cols, &grid, err);
    if (!status) status = epochs_do(crew, fit, &stratum, epochs_out, err);
    if (!fit->is_sequential) mr_ratings_by_row(fit->rating, fit->count, factors->rows, fit->row_first);
    mr_rating_grid_deinit(&grid);
    return status;
}
