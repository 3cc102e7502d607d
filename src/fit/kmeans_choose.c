/* The first centres of k-means. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "fit/kmeans.h"
#include "kernels/kmeans_sum/kmeans_sum.h"

#define TRIALS_MAX 16
#define ROUNDS     5 /* of k-means||, as Spark has it: more bring little (Bahmani et al. 2012, section 5.3) */
#define PER_ROUND  2 /* rows that a round chooses, for each centre */

/* How far each row is from what was chosen so far. */
struct choose {
    struct mr_crew *crew;
    const struct mr_kmeans_fit *fit;
    uint64_t random;
    float *closest; /* [rows] squared distance to the nearest of them */
    double *block;  /* [chunks] sum of closest over each chunk */
    double total;   /* of all */
    size_t chunk;   /* rows of a chunk */
    size_t plan_count;
    struct mr_kmeans_params params[TRIALS_MAX]; /* one centre each: the candidates of a step */
    float *center[TRIALS_MAX];
    struct mr_plan *plan[TRIALS_MAX];
};

static void row_take(const struct mr_kmeans_fit *fit, size_t row, float *center)
{
    for (size_t c = 0; c < fit->cols; c++) center[c] = fit->x[mr_tile_at(row, c, fit->cols)];
}

static void choose_deinit(struct choose *choose)
{
    for (size_t i = 0; i < choose->plan_count; i++) {
        mr_crew_plan_destroy(choose->crew, choose->plan[i]);
        free(choose->center[i]);
    }
    free(choose->closest);
    free(choose->block);
}

static mr_status choose_init(struct choose *choose, size_t trials, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = choose->fit;
    choose->chunk = mr_crew_chunk_rows(fit->cols);
    choose->closest = malloc(fit->rows * sizeof *choose->closest);
    choose->block = calloc(fit->rows / choose->chunk + 1, sizeof *choose->block);
    if (!choose->closest || !choose->block) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < fit->rows; i++) choose->closest[i] = INFINITY;
    mr_status status = MR_OK;
    for (; choose->plan_count < trials && !status; choose->plan_count++) {
        const size_t i = choose->plan_count;
        choose->center[i] = calloc(fit->cols, sizeof *choose->center[i]);
        if (!choose->center[i]) return mr_fail(err, MR_ENOMEM, "out of memory");
        choose->params[i] = (struct mr_kmeans_params){fit->cols, 1, choose->center[i]};
        status = mr_crew_plan_create(choose->crew, MR_OP_KMEANS_ASSIGN, &choose->params[i], fit->cols, MR_WANT_Y,
                                     &choose->plan[i], err);
    }
    return status;
}

static mr_status candidate_set(struct choose *choose, size_t trial, size_t row, struct mr_err *err)
{
    row_take(choose->fit, row, choose->center[trial]);
    return mr_crew_plan_update(choose->crew, choose->plan[trial], err);
}

/* sums: what the total would be with each candidate. */
static mr_status candidates_look(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                                 struct mr_err *err)
{
    const struct choose *const choose = context;
    const float *const x = choose->fit->x + chunk->first * choose->fit->cols, *y;
    const float *const closest = choose->closest + chunk->first;
    const int32_t *unused;
    for (size_t trial = 0; trial < choose->plan_count; trial++) {
        const mr_status status = mr_hand_score(hand, choose->plan[trial], x, chunk->rows, 1, &y, &unused, err);
        if (status) return status;
        sums[trial] = 0;
        for (size_t i = 0; i < chunk->rows; i++) sums[trial] += (double)(y[i] < closest[i] ? y[i] : closest[i]);
    }
    return MR_OK;
}

struct take {
    struct choose *choose;
    const struct mr_plan *plan;
};

/* Lowers the distances to what the plan holds. */
static mr_status closest_lower(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                               struct mr_err *err)
{
    const struct take *const take = context;
    struct choose *const choose = take->choose;
    const float *const x = choose->fit->x + chunk->first * choose->fit->cols, *y;
    float *const closest = choose->closest + chunk->first;
    const int32_t *unused;
    double total = 0;
    const mr_status status = mr_hand_score(hand, take->plan, x, chunk->rows, 1, &y, &unused, err);
    for (size_t i = 0; i < chunk->rows && !status; i++) {
        closest[i] = y[i] < closest[i] ? y[i] : closest[i];
        total += (double)closest[i];
    }
    sums[0] = choose->block[chunk->first / choose->chunk] = total;
    return status;
}

static mr_status take_plan(struct choose *choose, const struct mr_plan *plan, struct mr_err *err)
{
    struct take take = {choose, plan};
    return mr_crew_walk(choose->crew, choose->fit->rows, choose->fit->cols, 1, closest_lower, &take, &choose->total,
                        err);
}

/* A row, with a probability that grows with its squared distance; any row where all distances are 0. */
static size_t row_draw(struct choose *choose)
{
    const size_t rows = choose->fit->rows, chunks = (rows + choose->chunk - 1) / choose->chunk;
    double left = mr_random_unit(&choose->random) * choose->total;
    size_t chunk = 0;
    if (!(choose->total > 0)) return mr_random_below(&choose->random, rows);
    for (; chunk + 1 < chunks && left >= choose->block[chunk]; chunk++) left -= choose->block[chunk];
    size_t row = chunk * choose->chunk, last = row;
    for (; row < rows; row++) {
        const double away = (double)choose->closest[row];
        if (away > 0) last = row;
        if (away > 0 && left < away) return row;
        left -= away;
    }
    return last; /* rounding: the last one that could be */
}

static mr_status plus_choose(struct choose *choose, double *center, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = choose->fit;
    double pots[TRIALS_MAX];
    size_t best = 0;
    mr_status status = candidate_set(choose, 0, mr_random_below(&choose->random, fit->rows), err);
    for (size_t i = 0; i < fit->k && !status; i++) {
        for (size_t c = 0; c < fit->cols; c++) center[i * fit->cols + c] = (double)choose->center[best][c];
        status = take_plan(choose, choose->plan[best], err);
        if (i + 1 == fit->k) break;
        for (size_t trial = 0; trial < choose->plan_count && !status; trial++)
            status = candidate_set(choose, trial, row_draw(choose), err);
        if (!status)
            status = mr_crew_walk(choose->crew, fit->rows, fit->cols, choose->plan_count, candidates_look, choose, pots,
                                  err);
        best = 0;
        for (size_t trial = 1; trial < choose->plan_count && !status; trial++)
            if (pots[trial] < pots[best]) best = trial;
    }
    return status;
}

/* What k-means|| has chosen so far. */
struct candidates {
    size_t count, cap;
    size_t *row;
    pthread_mutex_t lock;
    const struct choose *choose;
    uint64_t seed; /* of the round */
};

static mr_status round_look(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                            struct mr_err *err)
{
    struct candidates *const candidates = context;
    const struct choose *const choose = candidates->choose;
    const double share = (double)(PER_ROUND * choose->fit->k) / choose->total;
    (void)hand, (void)sums, (void)err;
    for (size_t row = chunk->first; row < chunk->first + chunk->rows; row++) {
        if (mr_random_of(candidates->seed, row) >= share * (double)choose->closest[row]) continue;
        pthread_mutex_lock(&candidates->lock);
        if (candidates->count < candidates->cap) candidates->row[candidates->count++] = row;
        pthread_mutex_unlock(&candidates->lock);
    }
    return MR_OK;
}

static int row_compare(const void *a, const void *b)
{
    const size_t left = *(const size_t *)a, right = *(const size_t *)b;
    return left < right ? -1 : left > right;
}

/* Centres at rows [first, count) of the candidates; center is the caller's to free. */
static mr_status candidates_plan(struct choose *choose, const struct candidates *candidates, size_t first,
                                 struct mr_kmeans_params *params, struct mr_plan **plan_out, struct mr_err *err)
{
    const size_t cols = choose->fit->cols, count = candidates->count - first;
    float *const center = malloc(count * cols * sizeof *center);
    *params = (struct mr_kmeans_params){cols, count, center};
    *plan_out = NULL;
    if (!center) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) row_take(choose->fit, candidates->row[first + i], center + i * cols);
    return mr_crew_plan_create(choose->crew, MR_OP_KMEANS_ASSIGN, params, cols, MR_WANT_Y | MR_WANT_CLASS, plan_out,
                               err);
}

static mr_status round_do(struct choose *choose, struct candidates *candidates, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = choose->fit;
    const size_t first = candidates->count;
    struct mr_kmeans_params params = {0};
    struct mr_plan *plan = NULL;
    candidates->seed = mr_random_next(&choose->random);
    mr_status status = mr_crew_walk(choose->crew, fit->rows, fit->cols, 0, round_look, candidates, NULL, err);
    if (status || candidates->count == first) return status;
    qsort(candidates->row + first, candidates->count - first, sizeof *candidates->row, row_compare);
    status = candidates_plan(choose, candidates, first, &params, &plan, err);
    if (!status) status = take_plan(choose, plan, err);
    mr_crew_plan_destroy(choose->crew, plan);
    free((void *)(uintptr_t)params.center);
    return status;
}

/* How many rows are nearest to each candidate. */
static mr_status weights_take(struct choose *choose, const struct mr_kmeans_params *params, const struct mr_plan *plan,
                              double *sums, struct mr_err *err)
{
    const struct mr_kmeans_fit *const fit = choose->fit;
    struct mr_plan *sum;
    mr_status status = mr_crew_plan_create(choose->crew, MR_OP_KMEANS_SUM, params, fit->cols, 0, &sum, err);
    const struct mr_pass pass = {.x = fit->x,
                                 .rows = fit->rows,
                                 .cols = fit->cols,
                                 .score = plan,
                                 .width = 1,
                                 .sum = sum,
                                 .sum_count = mr_kmeans_sum_count(params)};
    if (!status) status = mr_crew_pass(choose->crew, &pass, sums, err);
    mr_crew_plan_destroy(choose->crew, sum);
    return status;
}

static double square_away(const float *a, const float *b, size_t cols)
{
    double away = 0;
    for (size_t c = 0; c < cols; c++) away += ((double)a[c] - (double)b[c]) * ((double)a[c] - (double)b[c]);
    return away;
}

/* k-means++ among the candidates, each as often as it has rows. closest: [params->k]. */
static void weighted_choose(struct choose *choose, const struct mr_kmeans_params *params, const double *weight,
                            double *closest, double *center)
{
    const size_t cols = params->cols, count = params->k;
    double total = 0;
    for (size_t i = 0; i < count; i++) closest[i] = INFINITY;
    for (size_t i = 0; i < count; i++) total += weight[i];
    for (size_t taken = 0; taken < choose->fit->k; taken++) {
        double left = mr_random_unit(&choose->random) * total;
        size_t pick = 0;
        for (size_t i = 0; i < count; i++) {
            const double part = taken ? weight[i] * closest[i] : weight[i];
            if (part > 0) pick = i;
            if (part > 0 && left < part) break;
            left -= part;
        }
        total = 0;
        for (size_t i = 0; i < count; i++) {
            closest[i] = fmin(closest[i], square_away(params->center + i * cols, params->center + pick * cols, cols));
            total += weight[i] * closest[i];
        }
        for (size_t c = 0; c < cols; c++) center[taken * cols + c] = (double)params->center[pick * cols + c];
    }
}

static mr_status candidates_reduce(struct choose *choose, struct candidates *candidates, double *center,
                                   struct mr_err *err)
{
    struct mr_kmeans_params params = {0};
    struct mr_plan *plan = NULL;
    while (candidates->count < choose->fit->k) /* few different rows: any will do */
        candidates->row[candidates->count++] = mr_random_below(&choose->random, choose->fit->rows);
    mr_status status = candidates_plan(choose, candidates, 0, &params, &plan, err);
    double *const sums = malloc(mr_kmeans_sum_count(&params) * sizeof *sums);
    double *const closest = malloc((params.k + 1) * sizeof *closest);
    if (!status && (!sums || !closest)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = weights_take(choose, &params, plan, sums, err);
    if (!status) weighted_choose(choose, &params, sums, closest, center);
    mr_crew_plan_destroy(choose->crew, plan);
    free((void *)(uintptr_t)params.center);
    free(sums);
    free(closest);
    return status;
}

static mr_status parallel_choose(struct choose *choose, double *center, struct mr_err *err)
{
    const size_t k = choose->fit->k;
    /* A round takes 2 k on average; three times as many would be 20 deviations off. */
    struct candidates candidates = {.cap = 64 + k + (size_t)ROUNDS * 3 * PER_ROUND * k, .choose = choose};
    candidates.row = malloc(candidates.cap * sizeof *candidates.row);
    if (!candidates.row) return mr_fail(err, MR_ENOMEM, "out of memory");
    pthread_mutex_init(&candidates.lock, NULL);
    candidates.row[candidates.count++] = mr_random_below(&choose->random, choose->fit->rows);
    mr_status status = candidate_set(choose, 0, candidates.row[0], err);
    if (!status) status = take_plan(choose, choose->plan[0], err);
    for (int round = 0; round < ROUNDS && choose->total > 0 && !status; round++)
        status = round_do(choose, &candidates, err);
    if (!status) status = candidates_reduce(choose, &candidates, center, err);
    pthread_mutex_destroy(&candidates.lock);
    free(candidates.row);
    return status;
}

/* Floyd's sampling: k different rows, each set of them as likely (Bentley and Floyd 1987). */
static mr_status random_choose(const struct mr_kmeans_fit *fit, double *center, struct mr_err *err)
{
    uint64_t random = fit->seed;
    size_t *const taken = malloc(fit->k * sizeof *taken);
    if (!taken) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < fit->k; i++) {
        const size_t last = fit->rows - fit->k + i;
        size_t row = mr_random_below(&random, last + 1);
        for (size_t j = 0; j < i; j++)
            if (taken[j] == row) row = last;
        taken[i] = row;
        for (size_t c = 0; c < fit->cols; c++)
            center[i * fit->cols + c] = (double)fit->x[mr_tile_at(row, c, fit->cols)];
    }
    free(taken);
    return MR_OK;
}

mr_status mr_kmeans_choose(struct mr_crew *crew, const struct mr_kmeans_fit *fit, double *center, struct mr_err *err)
{
    struct choose choose = {.crew = crew, .fit = fit, .random = fit->seed};
    if (fit->start == MR_START_GIVEN) memcpy(center, fit->given, fit->k * fit->cols * sizeof *center);
    if (fit->start == MR_START_RANDOM) return random_choose(fit, center, err);
    if (fit->start == MR_START_GIVEN) return MR_OK;
    const size_t trials = fit->start == MR_START_PLUS ? 2 + (size_t)log((double)fit->k) : 1;
    mr_status status = choose_init(&choose, trials < TRIALS_MAX ? trials : TRIALS_MAX, err);
    if (!status && fit->start == MR_START_PLUS) status = plus_choose(&choose, center, err);
    if (!status && fit->start == MR_START_PARALLEL) status = parallel_choose(&choose, center, err);
    choose_deinit(&choose);
    return status;
}
