/* What a fit of ratings is made of: their orders, the kernels of all variants against the reference, descent and
 * alternating least squares. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mersenne.h"
#include "base/random.h"
#include "crew_fixture.h"
#include "fit/factors.h"
#include "kernels/mf_als/mf_als.h"
#include "millrace/batch.h"

#define USERS 300
#define ITEMS 120
#define COUNT 20000

static const char *const variants[] = {"avx512", "avx2", "neon", "base"};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* Ratings of tastes of two numbers, few of some users and many of others; value's last bits tell which one it is. */
static struct mr_rating *ratings_make(void)
{
    struct mr_rating *const rating = malloc(COUNT * sizeof *rating);
    uint64_t seed = 7;
    for (size_t i = 0; i < COUNT; i++) {
        const double skewed = mr_random_unit(&seed);
        const uint32_t row = (uint32_t)(skewed * skewed * USERS), col = (uint32_t)mr_random_below(&seed, ITEMS);
        const double a = mr_random_of(1, row) - 0.5, b = mr_random_of(2, row) - 0.5;
        const double c = mr_random_of(3, col) - 0.5, d = mr_random_of(4, col) - 0.5;
        rating[i] = (struct mr_rating){row, col, (float)(3 + 6 * (a * c + b * d) + mr_random_of(5, col))};
    }
    return rating;
}

/* As NumPy prints np.random.RandomState(1).normal(size=4). */
static void test_mersenne_draws_as_numpy_does(void **state)
{
    static const double want[] = {1.6243453636632417, -0.6117564136500754, -0.5281717522634557, -1.0729686221561705};
    struct mr_mersenne mersenne;
    (void)state;
    mr_mersenne_init(&mersenne, 1);
    for (size_t i = 0; i < 4; i++) assert_true(mr_mersenne_normal(&mersenne) == want[i]);
}

static void test_intern_numbers_texts_as_they_come(void **state)
{
    struct mr_intern intern = {0};
    char text[32];
    uint32_t number;
    (void)state;
    assert_true(mr_intern_find(&intern, "x", 1) == MR_INTERN_NONE);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 5000; i++) {
            const int bytes = snprintf(text, sizeof text, "%u", i * 7919);
            assert_true(mr_intern_add(&intern, text, (size_t)bytes, &number));
            assert_int_equal(number, i);
        }
    }
    assert_true(mr_intern_add(&intern, "", 0, &number));
    assert_int_equal(number, 5000);
    assert_int_equal(mr_intern_find(&intern, "", 0), 5000);
    assert_int_equal(intern.count, 5001);
    assert_true(mr_intern_find(&intern, "7918", 4) == MR_INTERN_NONE);
    mr_intern_deinit(&intern);
}

static void test_by_row_keeps_the_order_of_a_row(void **state)
{
    struct mr_rating *const rating = ratings_make(), *const copy = ratings_make();
    size_t first[USERS + 1];
    (void)state;
    mr_ratings_by_row(rating, COUNT, USERS, first);
    assert_int_equal(first[USERS], COUNT);
    for (uint32_t row = 0; row < USERS; row++) {
        size_t at = first[row];
        for (size_t i = 0; i < COUNT; i++) {
            if (copy[i].row != row) continue;
            assert_memory_equal(&rating[at], &copy[i], sizeof *copy);
            at++;
        }
        assert_int_equal(at, first[row + 1]);
    }
    free(rating);
    free(copy);
}

static void test_grid_has_each_rating_in_a_block_of_its_own_rows_and_columns(void **state)
{
    struct mr_rating *const rating = ratings_make();
    size_t first[USERS + 1], counts[USERS] = {0};
    int row_part[USERS], col_part[ITEMS];
    struct mr_rating_grid grid;
    struct mr_err err;
    (void)state;
    for (size_t i = 0; i < USERS; i++) row_part[i] = -1;
    for (size_t i = 0; i < ITEMS; i++) col_part[i] = -1;
    mr_ratings_by_row(rating, COUNT, USERS, first);
    assert_int_equal(mr_rating_grid_make(rating, COUNT, first, USERS, ITEMS, &grid, &err), MR_OK);
    assert_int_equal(grid.sides, 8);
    assert_int_equal(grid.first[0], 0);
    assert_int_equal(grid.first[64], COUNT);
    for (int block = 0; block < 64; block++) {
        assert_true(grid.first[block + 1] - grid.first[block] < COUNT / 64 * 2);
        for (size_t i = grid.first[block]; i < grid.first[block + 1]; i++) {
            int *const a = &row_part[rating[i].row], *const b = &col_part[rating[i].col];
            if (*a < 0) *a = block / 8;
            if (*b < 0) *b = block % 8;
            assert_int_equal(*a, block / 8);
            assert_int_equal(*b, block % 8);
            counts[rating[i].row]++;
        }
    }
    for (size_t row = 0; row < USERS; row++) assert_int_equal(counts[row], first[row + 1] - first[row]);
    mr_rating_grid_deinit(&grid);
    free(rating);
}

static void test_held_out_ratings_leave_one_of_each(void **state)
{
    struct mr_ratings ratings = {.rating = ratings_make(), .count = COUNT};
    size_t held_out, left_row[USERS] = {0}, left_col[ITEMS] = {0}, last_row = 0;
    struct mr_err err;
    uint32_t number;
    char text[16];
    (void)state;
    ratings.rating[17].row = USERS - 1; /* its only one */
    for (size_t i = 0; i < COUNT; i++)
        if (i != 17 && ratings.rating[i].row == USERS - 1) ratings.rating[i].row = 0;
    for (uint32_t i = 0; i < USERS; i++)
        assert_true(mr_intern_add(&ratings.user, text, (size_t)snprintf(text, sizeof text, "%u", i), &number));
    for (uint32_t i = 0; i < ITEMS; i++)
        assert_true(mr_intern_add(&ratings.item, text, (size_t)snprintf(text, sizeof text, "%u", i), &number));
    assert_int_equal(mr_ratings_hold_out(&ratings, 0.9, 3, &held_out, &err), MR_OK);
    assert_true(held_out > COUNT * 8 / 10 && held_out <= COUNT * 9 / 10);
    for (size_t i = 0; i < COUNT - held_out; i++) {
        left_row[ratings.rating[i].row]++;
        left_col[ratings.rating[i].col]++;
        if (ratings.rating[i].row == USERS - 1) last_row++;
    }
    assert_int_equal(last_row, 1);
    for (size_t i = COUNT - held_out; i < COUNT; i++) {
        assert_true(left_row[ratings.rating[i].row] > 0);
        assert_true(left_col[ratings.rating[i].col] > 0);
    }
    assert_int_equal(mr_ratings_hold_out(&ratings, 0.25, 3, &held_out, &err), MR_OK);
    assert_int_equal(held_out, COUNT / 4);
    mr_ratings_deinit(&ratings);
}

/* ---- kernels ---- */

static struct mr_factors factors_make(size_t rank, bool is_biased, bool is_double)
{
    struct mr_factors factors = {.rows = USERS,
                                 .cols = ITEMS,
                                 .rank = rank,
                                 .is_biased = is_biased,
                                 .is_double = is_double,
                                 .mean = is_biased ? 3.5 : 0};
    struct mr_err err;
    assert_int_equal(mr_factors_init(&factors, 0.1, 1, &err), MR_OK);
    return factors;
}

static double number(const struct mr_factors *factors, const void *numbers, size_t at)
{
    return factors->is_double ? ((const double *)numbers)[at] : (double)((const float *)numbers)[at];
}

static double largest_difference(const struct mr_factors *a, const struct mr_factors *b)
{
    double most = 0;
    for (size_t i = 0; i < USERS * a->stride; i++)
        most = fmax(most, fabs(number(a, a->row_factor, i) - number(b, b->row_factor, i)));
    for (size_t i = 0; i < ITEMS * a->stride; i++)
        most = fmax(most, fabs(number(a, a->col_factor, i) - number(b, b->col_factor, i)));
    for (size_t i = 0; i < USERS; i++) most = fmax(most, fabs(number(a, a->row_bias, i) - number(b, b->row_bias, i)));
    for (size_t i = 0; i < ITEMS; i++) most = fmax(most, fabs(number(a, a->col_bias, i) - number(b, b->col_bias, i)));
    return most;
}

static struct mr_mf_sgd sgd_of(const struct mr_factors *factors)
{
    return (struct mr_mf_sgd){.stride = factors->stride,
                              .mean = factors->mean,
                              .step = 0.01,
                              .reg = 0.05,
                              .is_biased = factors->is_biased,
                              .row_factor = factors->row_factor,
                              .col_factor = factors->col_factor,
                              .row_bias = factors->row_bias,
                              .col_bias = factors->col_bias};
}

/* Ranks below, at and above whole vectors and whole rounds of sums. */
static void test_sgd_variants_are_the_reference(void **state)
{
    static const size_t ranks[] = {1, 15, 16, 17, 48, 64, 100, 130};
    struct mr_rating *const rating = ratings_make();
    size_t tried = 0;
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        const struct mr_mf_sgd_kernel *const kernel = mr_mf_sgd_select(variants[v]);
        if (!kernel) continue;
        tried++;
        for (size_t r = 0; r < 32; r++) {
            const bool is_double = r & 1, is_biased = r & 2;
            struct mr_factors want = factors_make(ranks[r / 4], is_biased, is_double);
            struct mr_factors got = factors_make(ranks[r / 4], is_biased, is_double);
            const struct mr_mf_sgd want_sgd = sgd_of(&want), got_sgd = sgd_of(&got);
            const struct mr_mf_sgd_kernel *const reference = mr_mf_sgd_select("ref");
            const double error = (is_double ? reference->f64 : reference->f32)(&want_sgd, rating, COUNT);
            const double other = (is_double ? kernel->f64 : kernel->f32)(&got_sgd, rating, COUNT);
            assert_true(fabs(error - other) < (is_double ? 1e-11 : 1e-4) * error);
            assert_true(largest_difference(&want, &got) < (is_double ? 1e-12 : 1e-4));
            mr_factors_deinit(&want);
            mr_factors_deinit(&got);
        }
    }
    assert_true(tried > 0);
    assert_null(mr_mf_sgd_select("nothing"));
    free(rating);
}

static void test_als_variants_are_the_reference(void **state)
{
    static const size_t ranks[] = {1, 7, 14, 15, 16, 63, 100};
    struct mr_rating *const rating = ratings_make();
    (void)state;
    for (size_t v = 0; v < VARIANTS; v++) {
        mr_mf_als_fn *const solve = mr_mf_als_select(variants[v]);
        if (!solve) continue;
        for (size_t r = 0; r < 14; r++) {
            struct mr_factors want = factors_make(ranks[r / 2], r & 1, false);
            struct mr_factors got = factors_make(ranks[r / 2], r & 1, false);
            const struct mr_mf_als model = {.rank = want.rank,
                                            .stride = want.stride,
                                            .factor = want.col_factor,
                                            .bias = r & 1 ? want.col_bias : NULL,
                                            .mean = want.mean,
                                            .reg = 0.1};
            void *const scratch = aligned_alloc(MR_ALIGN, mr_mf_als_scratch(want.rank));
            static const size_t counts[] = {1, 31, 32, 33, 500};
            for (size_t i = 0; i < 5; i++) {
                mr_mf_als_select("ref")(&model, rating + i, counts[i], scratch,
                                        (float *)want.row_factor + i * want.stride, (float *)want.row_bias + i);
                solve(&model, rating + i, counts[i], scratch, (float *)got.row_factor + i * got.stride,
                      (float *)got.row_bias + i);
            }
            assert_true(largest_difference(&want, &got) < 1e-5);
            free(scratch);
            mr_factors_deinit(&want);
            mr_factors_deinit(&got);
        }
    }
    free(rating);
}

/* ---- fits ---- */

static struct mr_factors_fit fit_of(struct mr_rating *rating, size_t *first)
{
    return (struct mr_factors_fit){
        .rating = rating, .count = COUNT, .row_first = first, .step = 0.02, .reg = 0.02, .epochs_max = 30, .seed = 1};
}

static double rmse_of(struct mr_factors *factors, const struct mr_rating *rating)
{
    struct mr_factors_score score;
    struct mr_err err;
    assert_int_equal(mr_factors_score(crew, factors, rating, COUNT, 0, 10, &score, &err), MR_OK);
    return score.rmse;
}

/* Sequential is one pass of the reference after the other; in blocks it comes as far, with the same bits whatever the
 * threads. */
static void test_descent(void **state)
{
    struct mr_rating *const rating = ratings_make(), *const copy = ratings_make();
    struct mr_factors sequential = factors_make(8, true, true), reference = factors_make(8, true, true);
    struct mr_factors one = factors_make(8, true, false), two = factors_make(8, true, false);
    const struct mr_mf_sgd sgd = sgd_of(&reference);
    size_t first[USERS + 1], epochs;
    struct mr_factors_fit fit = fit_of(rating, first);
    struct mr_crew *alone;
    struct mr_err err;
    (void)state;
    fit.is_sequential = true;
    fit.step = sgd.step;
    fit.reg = sgd.reg;
    assert_int_equal(mr_sgd_fit(crew, &fit, &sequential, &epochs, &err), MR_OK);
    assert_int_equal(epochs, 30);
    mr_ratings_by_row(copy, COUNT, USERS, first);
    for (size_t i = 0; i < 30; i++) mr_mf_sgd_select("ref")->f64(&sgd, copy, COUNT);
    assert_true(largest_difference(&sequential, &reference) < 1e-11);

    fit = fit_of(rating, first);
    assert_int_equal(mr_crew_open("cpu", 1, &alone, &err), MR_OK);
    assert_int_equal(mr_sgd_fit(alone, &fit, &one, &epochs, &err), MR_OK);
    fit.rating = copy;
    assert_int_equal(mr_sgd_fit(crew, &fit, &two, &epochs, &err), MR_OK);
    assert_true(largest_difference(&one, &two) == 0);
    assert_true(rmse_of(&one, rating) < 0.1); /* 0.9 without factors */
    fit.step = 50;
    assert_int_equal(mr_sgd_fit(crew, &fit, &two, &epochs, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "smaller --step"));
    mr_crew_close(alone);
    mr_factors_deinit(&sequential);
    mr_factors_deinit(&reference);
    mr_factors_deinit(&one);
    mr_factors_deinit(&two);
    free(rating);
    free(copy);
}

static void test_alternating_least_squares(void **state)
{
    struct mr_rating *const rating = ratings_make();
    struct mr_factors factors = factors_make(4, true, false);
    size_t first[USERS + 1], epochs;
    struct mr_factors_fit fit = fit_of(rating, first);
    struct mr_err err;
    (void)state;
    fit.reg = 1e-3;
    fit.epochs_max = 10;
    assert_int_equal(mr_als_fit(crew, &fit, &factors, &epochs, &err), MR_OK);
    assert_int_equal(epochs, 10);
    assert_true(rmse_of(&factors, rating) < 0.05);
    for (size_t i = 1; i < COUNT; i++) assert_true(rating[i - 1].row <= rating[i].row);
    mr_factors_deinit(&factors);
    free(rating);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mersenne_draws_as_numpy_does),
        cmocka_unit_test(test_intern_numbers_texts_as_they_come),
        cmocka_unit_test(test_by_row_keeps_the_order_of_a_row),
        cmocka_unit_test(test_grid_has_each_rating_in_a_block_of_its_own_rows_and_columns),
        cmocka_unit_test(test_held_out_ratings_leave_one_of_each),
        cmocka_unit_test(test_sgd_variants_are_the_reference),
        cmocka_unit_test(test_als_variants_are_the_reference),
        cmocka_unit_test(test_descent),
        cmocka_unit_test(test_alternating_least_squares)};
    return cmocka_run_group_tests(tests, crew_open, crew_close);
}
