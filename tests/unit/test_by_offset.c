/* Means by offset, against sums over everything that was added. */
#include "metrics/by_offset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Every value is in the bin of its offset, and nothing else is. */
static void check(const struct mr_by_offset *all, const int64_t *offset, const double *value, size_t count)
{
    double sum[MR_BY_OFFSET_BINS] = {0}, whole = 0;
    uint64_t rows[MR_BY_OFFSET_BINS] = {0};
    assert_int_equal(all->first % ((int64_t)1 << all->shift), 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(offset[i] >= all->first && (offset[i] - all->first) >> all->shift < MR_BY_OFFSET_BINS);
        const size_t at = (size_t)((offset[i] - all->first) >> all->shift);
        sum[at] += value[i];
        rows[at]++;
        whole += value[i];
    }
    assert_int_equal(all->rows, count);
    assert_true(fabs(all->sum - whole) <= 1e-9 * fabs(whole));
    for (size_t i = 0; i < MR_BY_OFFSET_BINS; i++) {
        assert_int_equal(all->bin[i].rows, rows[i]);
        assert_true(fabs(all->bin[i].sum - sum[i]) <= 1e-9 * fabs(sum[i]));
    }
}

enum { COUNT = 3000 };

static void add_all(const int64_t *offset, const double *value)
{
    struct mr_by_offset all = {0};
    for (size_t i = 0; i < COUNT; i++) {
        mr_by_offset_add(&all, offset[i], value[i]);
        if (i < 20 || i % 100 == 0 || i == COUNT - 1) check(&all, offset, value, i + 1);
    }
}

/* Offsets that go on, of a topic that is young or old; partitions whose offsets are far apart; offsets in any order. */
static void test_sums(void **state)
{
    static int64_t offset[COUNT];
    static double value[COUNT];
    uint64_t random = 1;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) value[i] = (double)(i * 7919 % 1000) / 10;
    for (size_t i = 0; i < COUNT; i++) offset[i] = (int64_t)i;
    add_all(offset, value);
    for (size_t i = 0; i < COUNT; i++) offset[i] = 1000000007 + 3 * (int64_t)i;
    add_all(offset, value);
    for (size_t i = 0; i < COUNT; i++) offset[i] = i % 2 ? (int64_t)i : 5000000000 - (int64_t)i;
    add_all(offset, value);
    for (size_t i = 0; i < COUNT; i++) offset[i] = COUNT - 1 - (int64_t)i;
    add_all(offset, value);
    for (size_t i = 0; i < COUNT; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        offset[i] = (int64_t)(random >> (4 + i * 60 / COUNT));
    }
    add_all(offset, value);
}

/* Stretches are no longer than they must be: at least a quarter of them are between the first and the last offset. */
static void test_fine(void **state)
{
    struct mr_by_offset all = {0};
    (void)state;
    for (int64_t i = 0; i < 100000; i++) {
        mr_by_offset_add(&all, 77777 + i, 1);
        assert_true(i < MR_BY_OFFSET_BINS || i >> all.shift >= MR_BY_OFFSET_BINS / 4);
    }
}

/* What is no offset, or no number, is left out. */
static void test_left_out(void **state)
{
    struct mr_by_offset all = {0};
    (void)state;
    mr_by_offset_add(&all, -1, 1);
    mr_by_offset_add(&all, INT64_MAX, 1);
    mr_by_offset_add(&all, 5, NAN);
    mr_by_offset_add(&all, 5, INFINITY);
    assert_int_equal(all.rows, 0);
    mr_by_offset_add(&all, ((int64_t)1 << 60) - 1, 2);
    mr_by_offset_add(&all, 0, 4);
    assert_int_equal(all.rows, 2);
    assert_true(all.sum == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_fine),
        cmocka_unit_test(test_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
