/* How far topics have been read: by the partition that is furthest behind, once all have been heard of. */
#include "pipeline/topic_clock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void furthest_behind(void **state)
{
    struct mr_topic_clock clock = {.partitions = 3};
    (void)state;
    assert_true(mr_topic_clock_ms(&clock) == INT64_MIN);
    assert_true(mr_topic_clock_see(&clock, 0, 0, -500));
    assert_true(mr_topic_clock_see(&clock, 1, 0, 700));
    assert_true(mr_topic_clock_ms(&clock) == INT64_MIN);
    assert_true(mr_topic_clock_see(&clock, 0, 1, 600));
    assert_true(mr_topic_clock_ms(&clock) == -500);
    assert_true(mr_topic_clock_see(&clock, 0, 0, 650));
    assert_true(mr_topic_clock_ms(&clock) == 600);
    assert_true(mr_topic_clock_see(&clock, 0, 1, 100)); /* an older one takes nothing back */
    assert_true(mr_topic_clock_ms(&clock) == 600 && clock.newest_all_ms == 700);
    mr_topic_clock_deinit(&clock);
}

static void many_partitions(void **state)
{
    struct mr_topic_clock clock = {.partitions = 100};
    (void)state;
    for (int32_t i = 0; i < 100; i++) {
        assert_true(mr_topic_clock_ms(&clock) == INT64_MIN);
        assert_true(mr_topic_clock_see(&clock, 0, i, 1000 - i));
    }
    assert_true(mr_topic_clock_ms(&clock) == 901 && clock.newest_all_ms == 1000);
    mr_topic_clock_deinit(&clock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(furthest_behind), cmocka_unit_test(many_partitions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
