/* How many lanes a job gets by itself, on machines that this one is not; and what a control group grants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cores.h"
#include "config/job.h"
#include "pipeline/lane_count.h"

static unsigned count(unsigned cores, unsigned partitions, size_t memory_mib, size_t lane_mib, int *by_memory)
{
    const struct mr_lane_limits limits = {cores, partitions, memory_mib << 20, lane_mib << 20};
    return mr_lane_count(&limits, by_memory);
}

static void test_limits(void **state)
{
    int by_memory;
    (void)state;
    assert_int_equal(count(2, 4, 192, 44, &by_memory), 2);
    assert_false(by_memory);
    assert_int_equal(count(8, 4, 1024, 44, &by_memory), 4);
    assert_int_equal(count(8, 0, 1024, 44, &by_memory), 8);
    assert_int_equal(count(8, 8, 192, 44, &by_memory),
                     4); /* the default memory does not keep a large machine from starting */
    assert_true(by_memory);
    assert_int_equal(count(300, 0, 1u << 20, 1, &by_memory), MR_LANES_MAX);
    assert_int_equal(count(4, 4, 16, 44, &by_memory), 1); /* one is tried, and says what it needs */
    assert_int_equal(count(0, 0, 192, 44, &by_memory), 1);
}

static void test_cpu_max(void **state)
{
    (void)state;
    assert_int_equal(mr_cores_of_cpu_max("max 100000\n"), 0);
    assert_int_equal(mr_cores_of_cpu_max("200000 100000\n"), 2);
    assert_int_equal(mr_cores_of_cpu_max("150000 100000"), 2);
    assert_int_equal(mr_cores_of_cpu_max("10000 100000"), 1);
    assert_int_equal(mr_cores_of_cpu_max(""), 0);
    assert_int_equal(mr_cores_of_cpu_max("0 0"), 0);
    assert_true(mr_core_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits), cmocka_unit_test(test_cpu_max)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
