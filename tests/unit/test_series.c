/* Numbers over time in a fixed amount of memory. */
#include "live/series.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *print(const struct mr_series *series, double since)
{
    struct mr_blob blob = {0};
    assert_true(mr_series_print(series, since, &blob));
    assert_true(mr_blob_put(&blob, "", 1));
    return blob.data;
}

static void expect(const struct mr_series *series, double since, const char *want)
{
    char *const text = print(series, since);
    assert_string_equal(text, want);
    free(text);
}

/* The oldest make room. */
static void test_recent(void **state)
{
    struct mr_series series;
    struct mr_err err;
    (void)state;
    assert_int_equal(mr_series_init(&series, 2, 4, false, &err), MR_OK);
    expect(&series, 0, "{\"samples_a_row\":1,\"rows\":[]}");
    for (int i = 1; i <= 6; i++) mr_series_add(&series, (double[]){i * 1000, i == 4 ? NAN : i});
    expect(&series, 0, "{\"samples_a_row\":1,\"rows\":[[3000,3],[4000,null],[5000,5],[6000,6]]}");
    expect(&series, 4000, "{\"samples_a_row\":1,\"rows\":[[5000,5],[6000,6]]}");
    expect(&series, 6000, "{\"samples_a_row\":1,\"rows\":[]}");
    mr_series_deinit(&series);
}

/* Two become one; what is no number does not count. */
static void test_whole(void **state)
{
    struct mr_series series;
    struct mr_err err;
    (void)state;
    assert_int_equal(mr_series_init(&series, 2, 4, true, &err), MR_OK);
    for (int i = 0; i < 4; i++) mr_series_add(&series, (double[]){i + 1, i == 1 ? INFINITY : 10 * i});
    expect(&series, 0, "{\"samples_a_row\":1,\"rows\":[[1,0],[2,null],[3,20],[4,30]]}");
    mr_series_add(&series, (double[]){5, 40}); /* half of the next row */
    expect(&series, 0, "{\"samples_a_row\":2,\"rows\":[[2,0],[4,25]]}");
    mr_series_add(&series, (double[]){6, NAN});
    expect(&series, 0, "{\"samples_a_row\":2,\"rows\":[[2,0],[4,25],[6,40]]}");
    mr_series_deinit(&series);
}

/* However long it goes on: the whole time, in at most so many rows, in its order; the mean stays right. */
static void test_long(void **state)
{
    enum { SAMPLES = 100000, ROWS = 64 };
    struct mr_series series;
    struct mr_err err;
    (void)state;
    assert_int_equal(mr_series_init(&series, 2, ROWS, true, &err), MR_OK);
    for (int i = 1; i <= SAMPLES; i++) {
        mr_series_add(&series, (double[]){i, i});
        assert_true(series.rows <= ROWS);
    }
    assert_true(series.rows >= ROWS / 2);
    for (size_t row = 0; row < series.rows; row++) {
        const double *const value = series.value + row * 2;
        assert_true(value[0] == value[1]);
        assert_true(!row || value[0] - value[-2] == (double)series.fold);
    }
    assert_true(series.value[0] < (double)series.fold);
    assert_true(series.value[2 * (series.rows - 1)] > SAMPLES - 2 * (double)series.fold);
    mr_series_deinit(&series);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recent), cmocka_unit_test(test_whole),
                                       cmocka_unit_test(test_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
