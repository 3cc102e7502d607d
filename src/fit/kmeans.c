#include "fit/kmeans.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fit/moments.h"
#include "kernels/kmeans_sum/kmeans_sum.h"

/* What the iterations work with. */
struct lloyd {
    struct mr_crew *crew;
    const struct mr_kmeans_fit *fit;
    struct mr_kmeans_fitted *fitted;
    struct mr_kmeans_params params;
    float *center; /* params.center: what kernels read */
    double *sums;
    struct mr_plan *assign, *sum;
};

static void lloyd_deinit(struct lloyd *lloyd)
{
    mr_crew_plan_destroy(lloyd->crew, lloyd->assign);
    mr_crew_plan_destroy(lloyd->crew, lloyd->sum);
    free(lloyd->center);
    free(lloyd->sums);
}

static void center_round(struct lloyd *lloyd)
{
    const size_t count = lloyd->params.k * lloyd->params.cols;
    for (size_t i = 0; i < count; i++) lloyd->center[i] = (float)lloyd->fitted->center[i];
}

static mr_status lloyd_init(struct lloyd *lloyd, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = lloyd->fit;
    lloyd->params = (struct mr_kmeans_params){.cols = fit->cols, .k = fit->k};
    lloyd->center = malloc(fit->k * fit->cols * sizeof *lloyd->center);
    lloyd->sums = malloc(mr_kmeans_sum_count(&lloyd->params) * sizeof *lloyd->sums);
    lloyd->params.center = lloyd->center;
    center_round(lloyd);
    mr_status status = mr_crew_plan_create(lloyd->crew, MR_OP_KMEANS_ASSIGN, &lloyd->params, fit->cols,
                                           MR_WANT_Y | MR_WANT_CLASS, &lloyd->assign, err);
    if (!status)
        status = mr_crew_plan_create(lloyd->crew, MR_OP_KMEANS_SUM, &lloyd->params, fit->cols, 0, &lloyd->sum, err);
    return status;
}

/* Counts, sums and inertia of the centres as they are. */
static mr_status lloyd_pass(struct lloyd *lloyd, struct mr_err *err)
{
    const struct mr_pass pass = {.x = lloyd->fit->x,
                                 .rows = lloyd->fit->rows,
                                 .cols = lloyd->fit->cols,
                                 .score = lloyd->assign,
                                 .width = 1,
                                 .sum = lloyd->sum,
                                 .sum_count = mr_kmeans_sum_count(&lloyd->params)};
    const mr_status status = mr_crew_pass(lloyd->crew, &pass, lloyd->sums, err);
    lloyd->fitted->inertia = status ? NAN : lloyd->sums[pass.sum_count - 1];
    return status;
}

/* The rows farthest from their centres, the farthest first. */
struct far {
    const struct mr_kmeans_fit *fit;
    const struct mr_plan *assign;
    pthread_mutex_t lock;
    size_t count, cap;
    struct far_row {
        float away;
        int32_t center;
        size_t row;
    } * row;
};

static bool is_farther(const struct far_row *a, const struct far_row *b)
{
    return a->away > b->away || (a->away == b->away && a->row < b->row);
}

/* Keeps the list in order: it has as many entries as there are empty centres. */
static void far_put(struct far *far, const struct far_row *row)
{
    if (far->count == far->cap && !is_farther(row, &far->row[far->count - 1])) return;
    size_t at = far->count < far->cap ? far->count++ : far->count - 1;
    for (; at && is_farther(row, &far->row[at - 1]); at--) far->row[at] = far->row[at - 1];
    far->row[at] = *row;
}

static mr_status far_look(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                          struct mr_err *err)
{
    struct far *const far = context;
    const float *y;
    const int32_t *center;
    const mr_status status =
        mr_hand_score(hand, far->assign, far->fit->x + chunk->first * far->fit->cols, chunk->rows, 1, &y, &center, err);
    (void)sums;
    if (status) return status;
    pthread_mutex_lock(&far->lock);
    for (size_t i = 0; i < chunk->rows; i++) far_put(far, &(struct far_row){y[i], center[i], chunk->first + i});
    pthread_mutex_unlock(&far->lock);
    return MR_OK;
}

/* Each empty centre takes the farthest row away from its centre, as scikit-learn does. */
static mr_status empty_move(struct lloyd *lloyd, size_t empty, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = lloyd->fit;
    const size_t k = fit->k, cols = fit->cols;
    struct far far = {.fit = fit, .assign = lloyd->assign, .cap = empty, .row = calloc(empty, sizeof(struct far_row))};
    if (!far.row) return mr_fail(err, MR_ENOMEM, "out of memory");
    pthread_mutex_init(&far.lock, NULL);
    const mr_status status = mr_crew_walk(lloyd->crew, fit->rows, cols, 0, far_look, &far, NULL, err);
    pthread_mutex_destroy(&far.lock);
    size_t taken = 0;
    for (size_t i = 0; i < k && !status; i++) {
        if (lloyd->sums[i] > 0 || taken == far.count) continue;
        const struct far_row *const row = &far.row[taken];
        const size_t donor = (size_t)row->center;
        if (row->away == 0 || lloyd->sums[donor] < 2) break; /* fewer different rows than centres */
        taken++;
        for (size_t c = 0; c < cols; c++) {
            const double value = (double)fit->x[mr_tile_at(row->row, c, cols)];
            lloyd->sums[k + donor * cols + c] -= value;
            lloyd->sums[k + i * cols + c] = value;
        }
        lloyd->sums[donor]--;
        lloyd->sums[i] = 1;
        lloyd->fitted->moved_empty++;
    }
    free(far.row);
    return status;
}

/* Means of the rows of each centre; a centre without rows stays where it is. Returns how far all have moved, squared.
 */
static double centers_move(struct lloyd *lloyd)
{
    const size_t k = lloyd->fit->k, cols = lloyd->fit->cols;
    double moved = 0;
    for (size_t i = 0; i < k; i++) {
        const double count = lloyd->sums[i];
        double *const center = lloyd->fitted->center + i * cols;
        for (size_t c = 0; c < cols && count > 0; c++) {
            const double mean = lloyd->sums[k + i * cols + c] / count, off = mean - center[c];
            moved += off * off;
            center[c] = mean;
        }
    }
    return moved;
}

static mr_status iterate(struct lloyd *lloyd, double tolerance, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = lloyd->fit;
    struct mr_kmeans_fitted *const fitted = lloyd->fitted;
    mr_status status = MR_OK;
    while (fitted->iterations < fit->iterations_max && !fitted->is_converged && !status) {
        if (fit->is_stopped && atomic_load(fit->is_stopped)) break;
        size_t empty = 0;
        status = lloyd_pass(lloyd, err);
        for (size_t i = 0; i < fit->k && !status; i++) empty += lloyd->sums[i] == 0;
        if (!status && empty) status = empty_move(lloyd, empty, err);
        if (status) break;
        const double moved = centers_move(lloyd);
        fitted->iterations++;
        fitted->is_converged = moved <= tolerance;
        if (fit->iterated) fit->iterated(fit->context, fitted->iterations, fitted->inertia, moved);
        center_round(lloyd);
        status = mr_crew_plan_update(lloyd->crew, lloyd->assign, err);
    }
    return status;
}

/* The mean variance of the features; 0 where they are all constant. */
static mr_status variance_mean(struct mr_crew *crew, const struct mr_kmeans_fit *fit, double *variance_out,
                               struct mr_err *err)
{
    struct mr_standard standard;
    double total = 0;
    mr_status status = mr_standard_init(&standard, fit->cols) ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_rows_moments(crew, fit->x, fit->rows, &standard, err);
    for (size_t c = 0; c < fit->cols && !status; c++) total += standard.squares[c] / (double)fit->rows;
    *variance_out = fit->cols ? total / (double)fit->cols : 0;
    mr_standard_deinit(&standard);
    return status;
}

mr_status mr_kmeans_fit(struct mr_crew *crew, const struct mr_kmeans_fit *fit, struct mr_kmeans_fitted *fitted_out,
                        struct mr_err *err)
{
    struct lloyd lloyd = {.crew = crew, .fit = fit, .fitted = fitted_out};
    double variance = 0;
    *fitted_out = (struct mr_kmeans_fitted){0};
    if (fit->rows < fit->k)
        return mr_fail(err, MR_EDATA, "%zu rows are fewer than %zu clusters: take a smaller --k, or more rows",
                       fit->rows, fit->k);
    fitted_out->center = malloc(fit->k * fit->cols * sizeof *fitted_out->center);
    fitted_out->count = calloc(fit->k, sizeof *fitted_out->count);
    if (!fitted_out->center || !fitted_out->count) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = variance_mean(crew, fit, &variance, err);
    if (!status) status = mr_kmeans_choose(crew, fit, fitted_out->center, err);
    if (!status) status = lloyd_init(&lloyd, err);
    if (!status) status = iterate(&lloyd, fit->tolerance * variance, err);
    if (!status) status = lloyd_pass(&lloyd, err); /* the centres that are handed over, as kernels will read them */
    for (size_t i = 0; i < fit->k && !status; i++) fitted_out->count[i] = lloyd.sums[i];
    lloyd_deinit(&lloyd);
    return status;
}

void mr_kmeans_fitted_deinit(struct mr_kmeans_fitted *fitted)
{
    free(fitted->center);
    free(fitted->count);
    *fitted = (struct mr_kmeans_fitted){0};
}
