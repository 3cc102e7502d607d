/* Quantiles of the log-linear histogram against the sorted values themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/histogram.h"

#define COUNT 20000

static int by_size(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Every quantile is at least the true one and at most 1/32 above it. */
static void test_quantiles(void **state)
{
    static struct mr_histogram histogram;
    static int64_t value[COUNT];
    static const double shares[] = {0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    uint64_t seed = 7;
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        value[i] = (int64_t)((seed >> 33) % 1000 << ((seed >> 20) % 40)); /* from 0 to some 10^14 */
        mr_histogram_add(&histogram, value[i], 1);
    }
    qsort(value, COUNT, sizeof *value, by_size);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        const size_t rank = (size_t)(shares[i] * COUNT);
        const int64_t want = value[rank ? rank - 1 : 0], got = mr_histogram_quantile(&histogram, shares[i]);
        assert_true(got >= want);
        assert_true(got - want <= want / 32 + 1);
    }
}

static void test_small_values_exact(void **state)
{
    static struct mr_histogram histogram;
    (void)state;
    assert_int_equal(mr_histogram_quantile(&histogram, 0.5), 0);
    for (int i = 1; i <= 9; i++) mr_histogram_add(&histogram, i, 1);
    assert_int_equal(mr_histogram_quantile(&histogram, 0.5), 5);
    assert_int_equal(mr_histogram_quantile(&histogram, 1), 9);
    mr_histogram_add(&histogram, -5, 1); /* a clock that went backwards counts as 0 */
    assert_int_equal(mr_histogram_quantile(&histogram, 0.05), 0);
}

static void test_weights_and_merge(void **state)
{
    static struct mr_histogram a, b;
    (void)state;
    mr_histogram_add(&a, 10, 90);
    mr_histogram_add(&b, 20, 10);
    mr_histogram_add(&b, INT64_MAX, 1);
    mr_histogram_merge(&a, &b);
    assert_int_equal(mr_histogram_quantile(&a, 0.5), 10);
    assert_int_equal(mr_histogram_quantile(&a, 0.95), 20);
    assert_true(mr_histogram_quantile(&a, 1) == INT64_MAX);
}

/* What Prometheus is told. */
static void test_below_and_sum(void **state)
{
    static struct mr_histogram histogram;
    (void)state;
    assert_int_equal(mr_histogram_below(&histogram, 1000), 0);
    assert_true(mr_histogram_sum(&histogram) == 0);
    double sum = 0;
    for (int i = 1; i <= 10000; i++) {
        mr_histogram_add(&histogram, i, 1);
        sum += i;
    }
    assert_int_equal(mr_histogram_below(&histogram, 20), 20);
    const uint64_t below = mr_histogram_below(&histogram, 5000);
    assert_true(below <= 5000 && below > 4800);
    assert_int_equal(mr_histogram_below(&histogram, 1000000), 10000);
    const double off = mr_histogram_sum(&histogram) / sum - 1;
    assert_true(off > -0.02 && off < 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_below_and_sum),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_small_values_exact),
        cmocka_unit_test(test_weights_and_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
