/* The last warnings and errors of the log. */
#include "base/log_kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t next;
static struct mr_log_line line[MR_LOG_KEPT + 1];

static size_t take(size_t cap)
{
    return mr_log_kept(&next, line, cap);
}

/* Warnings and errors alone, as they were logged, each once. */
static void test_levels(void **state)
{
    (void)state;
    mr_log(MR_LOG_INFO, "lane", "nothing to worry about");
    assert_int_equal(take(MR_LOG_KEPT), 0);
    mr_log(MR_LOG_WARN, "learn", "number %d\n", 1);
    mr_log(MR_LOG_ERROR, "sink", "number %d", 2);
    assert_int_equal(take(1), 1);
    assert_string_equal(line[0].text, "number 1\n");
    assert_string_equal(line[0].component, "learn");
    assert_int_equal(line[0].level, MR_LOG_WARN);
    assert_true(line[0].time_ms > 1000000000000);
    assert_int_equal(take(MR_LOG_KEPT), 1);
    assert_string_equal(line[0].text, "number 2");
    assert_int_equal(line[0].level, MR_LOG_ERROR);
    assert_int_equal(take(MR_LOG_KEPT), 0);
}

/* The oldest make room; who comes late gets what there is; a long line is cut. */
static void test_ring(void **state)
{
    char text[2 * MR_LOG_KEPT_BYTES], want[32];
    (void)state;
    for (int i = 0; i < MR_LOG_KEPT + 10; i++) {
        snprintf(text, sizeof text, "line %d", i);
        mr_log_keep(MR_LOG_WARN, "lane", text);
    }
    assert_int_equal(take(MR_LOG_KEPT + 1), MR_LOG_KEPT);
    for (int i = 0; i < MR_LOG_KEPT; i++) {
        snprintf(want, sizeof want, "line %d", i + 10);
        assert_string_equal(line[i].text, want);
    }
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    mr_log_keep(MR_LOG_ERROR, "lane", text);
    assert_int_equal(take(MR_LOG_KEPT), 1);
    assert_int_equal(strlen(line[0].text), MR_LOG_KEPT_BYTES - 1);
    mr_log_keep(MR_LOG_ERROR, "lane", "passed over");
    mr_log_kept_skip(&next);
    assert_int_equal(take(MR_LOG_KEPT), 0);
}

/* What the log folds is folded here, too. */
static void test_repeats(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) mr_log(MR_LOG_WARN, "lane", "again and again");
    assert_int_equal(take(MR_LOG_KEPT), 5);
    mr_log_flush();
    assert_int_equal(take(MR_LOG_KEPT), 1);
    assert_string_equal(line[0].text, "last line repeated 15 times");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
