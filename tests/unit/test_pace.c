/* When records of a source with a rate are due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/pace.h"

static void the_first_is_due_at_once(void **state)
{
    (void)state;
    struct mr_pace pace;
    mr_pace_begin(&pace, 1e-6); /* the second one in eleven days */
    assert_int_equal(mr_pace_due(&pace), 1);
    mr_pace_begin(&pace, 0);
    assert_int_equal(mr_pace_due(&pace), INT64_MAX);
}

static void late_readers_get_what_is_due(void **state)
{
    (void)state;
    struct mr_pace pace;
    mr_pace_begin(&pace, 0.001);
    pace.began_ns -= INT64_C(7000500000000); /* 7,000.5 s ago: eight, and the ninth in 999.5 s */
    assert_int_equal(mr_pace_due(&pace), 8);
    assert_int_equal(mr_pace_ms(&pace, 0), pace.began_ms);
    assert_int_equal(mr_pace_ms(&pace, 7), pace.began_ms + 7000000);
}

static void a_wait_ends_when_it_may(void **state)
{
    (void)state;
    struct mr_pace pace;
    mr_pace_begin(&pace, 1e-3);
    mr_pace_wait(&pace, 0, INT64_C(3600000000)); /* it is due: at once; a test that hangs here has failed */
    const int64_t began_ns = mr_clock_ns();
    mr_pace_wait(&pace, 1, 1000); /* in 1,000 s: the millisecond that was asked for */
    assert_true(mr_clock_ns() - began_ns >= 1000000);
    mr_pace_begin(&pace, 200);
    mr_pace_wait(&pace, 1, INT64_C(3600000000));
    assert_true(mr_clock_ns() - pace.began_ns >= 5000000);
    assert_true(mr_pace_due(&pace) >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_due_at_once),
        cmocka_unit_test(late_readers_get_what_is_due),
        cmocka_unit_test(a_wait_ends_when_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
