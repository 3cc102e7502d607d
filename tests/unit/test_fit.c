/* What a fit is made of: passes, k-means, L-BFGS, networks; against numbers of scikit-learn (tests/golden/fit) where
 * there are some. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "crew_fixture.h"
#include "fit/kmeans.h"
#include "fit/knee.h"
#include "fit/lbfgs.h"
#include "fit/moments.h"
#include "fit/network.h"
#include "fit/prepare.h"
#include "fit/silhouette.h"

/* Rows as tiles; the values by a function of row and column. */
static struct mr_matrix matrix_make(size_t rows, size_t cols, float (*value)(size_t row, size_t col))
{
    struct mr_matrix matrix = {.rows = rows, .cols = cols};
    matrix.x = aligned_alloc(MR_ALIGN, mr_tile_count(rows) * MR_TILE_ROWS * cols * sizeof(float));
    matrix.label = calloc(rows + 1, sizeof *matrix.label);
    memset(matrix.x, 0, mr_tile_count(rows) * MR_TILE_ROWS * cols * sizeof(float));
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < cols; c++) matrix.x[mr_tile_at(row, c, cols)] = value(row, c);
    return matrix;
}

static void matrix_free(struct mr_matrix *matrix)
{
    free(matrix->x);
    free(matrix->label);
}

/* Four clouds of different sizes around (10 * cloud, -10 * cloud, 1000). */
static float cloud_value(size_t row, size_t col)
{
    const double cloud = (double)(row % 7 % 4), noise = mr_random_of(col + 1, row) - 0.5;
    return (float)(col == 2 ? 1000 + noise : (col ? -10 : 10) * cloud + noise);
}

/* The parabola that narrows and turns: Rosenbrock's function of 10 variables. */
static mr_status rosenbrock(void *context, const double *w, double *loss_out, double *gradient, struct mr_err *err)
{
    (void)context, (void)err;
    *loss_out = 0;
    for (size_t i = 0; i < 10; i++) gradient[i] = 0;
    for (size_t i = 0; i < 9; i++) {
        const double a = w[i + 1] - w[i] * w[i], b = 1 - w[i];
        *loss_out += 100 * a * a + b * b;
        gradient[i] += -400 * w[i] * a - 2 * b;
        gradient[i + 1] += 200 * a;
    }
    return MR_OK;
}

static void test_lbfgs_finds_the_lowest_point(void **state)
{
    double w[10];
    struct mr_lbfgs_end end;
    const struct mr_lbfgs lbfgs = {
        .count = 10, .memory = 10, .iterations_max = 500, .gradient_tolerance = 1e-8, .evaluate = rosenbrock};
    (void)state;
    for (size_t i = 0; i < 10; i++) w[i] = i % 2 ? 1 : -1.2;
    assert_int_equal(mr_lbfgs_run(&lbfgs, w, &end, NULL), MR_OK);
    assert_int_equal(end.why, MR_LBFGS_CONVERGED);
    for (size_t i = 0; i < 10; i++) assert_true(fabs(w[i] - 1) < 1e-6);
    assert_true(end.evaluations < 200); /* 100 or so; steepest descent takes thousands */
}

static void test_knee(void **state)
{
    const double x[] = {2, 3, 4, 5, 6, 7, 8}, y[] = {100, 60, 35, 12, 11, 10, 9}, flat[] = {1, 1, 1, 1, 1, 1, 1};
    (void)state;
    assert_int_equal(mr_knee(x, y, 7), 3);
    assert_int_equal(mr_knee(x, flat, 7), 0);
    assert_int_equal(mr_knee(x, y, 2), 0);
}

/* Sums are those of a plain loop, and the same bits with one thread and with two. */
static void test_pass_is_the_same_with_any_threads(void **state)
{
    struct mr_matrix rows = matrix_make(50001, 3, cloud_value);
    struct mr_standard one, two;
    struct mr_crew *alone;
    struct mr_err err = {0};
    double mean = 0;
    (void)state;
    assert_int_equal(mr_crew_open("cpu", 1, &alone, &err), MR_OK);
    assert_true(mr_standard_init(&one, 3) && mr_standard_init(&two, 3));
    assert_int_equal(mr_rows_moments(alone, rows.x, rows.rows, &one, &err), MR_OK);
    assert_int_equal(mr_rows_moments(crew, rows.x, rows.rows, &two, &err), MR_OK);
    assert_memory_equal(one.mean, two.mean, sizeof(double) * 3);
    assert_memory_equal(one.squares, two.squares, sizeof(double) * 3);
    for (size_t i = 0; i < rows.rows; i++) mean += (double)cloud_value(i, 0) / (double)rows.rows;
    assert_true(fabs(one.mean[0] - mean) < 1e-6);
    assert_int_equal((long)one.count, 50001);
    mr_standard_deinit(&one);
    mr_standard_deinit(&two);
    mr_crew_close(alone);
    matrix_free(&rows);
}

static struct mr_kmeans_fit work_of(const struct mr_matrix *rows, size_t k, mr_kmeans_start_kind start)
{
    return (struct mr_kmeans_fit){.x = rows->x,
                                  .rows = rows->rows,
                                  .cols = rows->cols,
                                  .k = k,
                                  .start = start,
                                  .iterations_max = 100,
                                  .tolerance = 1e-6,
                                  .seed = 3};
}

/* Clouds far from each other: every start but a random one finds them, whichever its seed. */
static void test_kmeans_finds_clouds(void **state)
{
    struct mr_matrix rows = matrix_make(20000, 3, cloud_value);
    struct mr_err err = {0};
    (void)state;
    for (uint64_t seed = 1; seed < 6; seed++) {
        for (int start = MR_START_PLUS; start <= MR_START_PARALLEL; start++) {
            struct mr_kmeans_fit work = work_of(&rows, 4, (mr_kmeans_start_kind)start);
            struct mr_kmeans_fitted fitted;
            bool is_found[4] = {0};
            work.seed = seed;
            assert_int_equal(mr_kmeans_fit(crew, &work, &fitted, &err), MR_OK);
            assert_true(fitted.is_converged);
            for (size_t i = 0; i < 4; i++) {
                const double cloud = round(fitted.center[i * 3] / 10);
                is_found[(size_t)cloud] = true;
                assert_true(fabs(fitted.center[i * 3 + 1] + 10 * cloud) < 0.1);
                assert_true(fabs(fitted.center[i * 3 + 2] - 1000) < 0.1);
            }
            for (size_t i = 0; i < 4; i++) assert_true(is_found[i]);
            assert_true(fabs(fitted.inertia / 20000 - 0.25) < 0.01); /* three variances of 1/12 */
            mr_kmeans_fitted_deinit(&fitted);
        }
    }
    matrix_free(&rows);
}

/* A centre that no row is nearest to takes the row that is farthest from its own. */
static void test_kmeans_moves_empty_centers(void **state)
{
    struct mr_matrix rows = matrix_make(1000, 3, cloud_value);
    const double given[] = {0, 0, 1000, 10, -10, 1000, 20, -20, 1000, 400, 400, 1000};
    struct mr_kmeans_fit work = work_of(&rows, 4, MR_START_GIVEN);
    struct mr_kmeans_fitted fitted;
    struct mr_err err = {0};
    (void)state;
    work.given = given;
    assert_int_equal(mr_kmeans_fit(crew, &work, &fitted, &err), MR_OK);
    assert_int_equal(fitted.moved_empty, 1);
    for (size_t i = 0; i < 4; i++) assert_true(fitted.count[i] > 100);
    assert_true(fabs(fitted.center[9] - 30) < 0.1);
    mr_kmeans_fitted_deinit(&fitted);
    matrix_free(&rows);
}

static float few_value(size_t row, size_t col)
{
    (void)col;
    return (float)(row % 2);
}

static void test_kmeans_of_too_few_rows(void **state)
{
    struct mr_matrix rows = matrix_make(10, 1, few_value);
    struct mr_kmeans_fit work = work_of(&rows, 11, MR_START_PLUS);
    struct mr_kmeans_fitted fitted;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_kmeans_fit(crew, &work, &fitted, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "10 rows are fewer than 11 clusters"));
    mr_kmeans_fitted_deinit(&fitted);
    for (int start = MR_START_PLUS; start <= MR_START_RANDOM; start++) { /* two different rows, five centres */
        work = work_of(&rows, 5, (mr_kmeans_start_kind)start);
        assert_int_equal(mr_kmeans_fit(crew, &work, &fitted, &err), MR_OK);
        assert_true(fitted.inertia < 1e-12);
        mr_kmeans_fitted_deinit(&fitted);
    }
    matrix_free(&rows);
}

static float line_value(size_t row, size_t col)
{
    (void)col;
    static const float values[] = {0, 1, 10, 11, 30};
    return values[row];
}

/* By hand: (9.5 - 1) / 9.5 twice, and so on; the row that is alone counts 0. */
static void test_silhouette(void **state)
{
    struct mr_matrix rows = matrix_make(5, 1, line_value);
    const float center[] = {0.5F, 10.5F, 30};
    double got;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_silhouette(crew, rows.x, 5, 1, center, 3, 100, 1, &got, &err), MR_OK);
    assert_true(fabs(got - (9.5 / 10.5 + 8.5 / 9.5 + 8.5 / 9.5 + 9.5 / 10.5) / 5) < 1e-12);
    matrix_free(&rows);
}

static float spread_value(size_t row, size_t col)
{
    return (float)(mr_random_of(col + 11, row) * 2 - 1);
}

/* Each row is still there once, with its label, and the held-out ones are gone from the rest. */
static void test_shuffle_and_hold_out(void **state)
{
    struct mr_matrix rows = matrix_make(1000, 2, spread_value), held_out;
    bool is_seen[1000] = {0};
    struct mr_err err = {0};
    (void)state;
    for (size_t i = 0; i < rows.rows; i++) rows.label[i] = (double)i;
    mr_matrix_shuffle(&rows, 5);
    assert_int_equal(mr_matrix_hold_out(&rows, 0.25, &held_out, &err), MR_OK);
    assert_int_equal(rows.rows, 750);
    assert_int_equal(held_out.rows, 250);
    const struct mr_matrix *const both[] = {&rows, &held_out};
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < both[m]->rows; i++) {
            const size_t row = (size_t)both[m]->label[i];
            assert_false(is_seen[row]);
            is_seen[row] = true;
            for (size_t c = 0; c < 2; c++) assert_true(both[m]->x[mr_tile_at(i, c, 2)] == spread_value(row, c));
        }
    }
    for (size_t i = 750; i % MR_TILE_ROWS; i++) assert_true(rows.x[mr_tile_at(i, 0, 2)] == 0);
    mr_matrix_deinit(&held_out);
    matrix_free(&rows);
}

/* A network with both solvers learns what a single layer cannot: whether two signs differ. */
static void test_network_learns_a_product(void **state)
{
    struct mr_matrix rows = matrix_make(4000, 2, spread_value);
    const size_t sizes[] = {2, 16, 1};
    struct mr_err err = {0};
    (void)state;
    for (size_t i = 0; i < rows.rows; i++) rows.label[i] = spread_value(i, 0) * spread_value(i, 1) > 0;
    for (int solver = MR_SOLVER_ADAM; solver <= MR_SOLVER_LBFGS; solver++) {
        struct mr_network network;
        struct mr_network_end end;
        struct mr_network_score score;
        double confusion[4];
        const struct mr_network_fit how = {.solver = (mr_solver)solver,
                                           .train = &rows,
                                           .epochs_max = 300,
                                           .batch_rows = 128,
                                           .step = 0.01,
                                           .tolerance = 1e-4,
                                           .patience = 10,
                                           .seed = 1};
        assert_int_equal(mr_network_init(&network, sizes, 2, MR_ACT_TANH, MR_LOSS_LOG, 1, &err), MR_OK);
        assert_int_equal(mr_network_fit(crew, &network, &how, &end, &err), MR_OK);
        assert_int_equal(mr_network_score(crew, &network, &rows, confusion, &score, &err), MR_OK);
        assert_true(score.right / score.rows > 0.97);
        assert_true(confusion[0] + confusion[3] == score.right);
        assert_true(confusion[0] + confusion[1] + confusion[2] + confusion[3] == 4000);
        mr_network_deinit(&network);
    }
    matrix_free(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lbfgs_finds_the_lowest_point),
                                       cmocka_unit_test(test_knee),
                                       cmocka_unit_test(test_pass_is_the_same_with_any_threads),
                                       cmocka_unit_test(test_kmeans_finds_clouds),
                                       cmocka_unit_test(test_kmeans_moves_empty_centers),
                                       cmocka_unit_test(test_kmeans_of_too_few_rows),
                                       cmocka_unit_test(test_silhouette),
                                       cmocka_unit_test(test_shuffle_and_hold_out),
                                       cmocka_unit_test(test_network_learns_a_product)};
    return cmocka_run_group_tests(tests, crew_open, crew_close);
}
