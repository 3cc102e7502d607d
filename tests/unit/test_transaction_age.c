/* How much longer a transaction may be waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kafka/transaction_age.h"

#define S 1000000LL /* in us */

static struct mr_transaction_age age;

static int setup(void **state)
{
    (void)state;
    mr_age_begin(&age);
    return 0;
}

/* The process is at work all the time, with looks a second apart. */
static void work(int64_t from_us, int64_t to_us)
{
    for (int64_t now = from_us; now <= to_us; now += S) mr_age_seen(&age, now, 0);
}

static void test_given_up_before_the_broker_does(void **state)
{
    (void)state;
    assert_int_equal(mr_age_left_ms(&age, 1000 * S, 30000, 10000), 10000); /* the coordinator has not heard of it */
    mr_age_known(&age, 100 * S);
    mr_age_known(&age, 105 * S); /* the first time counts */
    work(100 * S, 128 * S);
    assert_int_equal(mr_age_left_ms(&age, 100 * S, 30000, 10000), 10000);
    assert_int_equal(mr_age_left_ms(&age, 121 * S, 30000, 10000), 7000);
    assert_int_equal(mr_age_left_ms(&age, 128 * S, 30000, 10000), 0);
    assert_int_equal(mr_age_left_ms(&age, 103 * S, 4000, 10000), 0); /* of a short one a quarter is kept back */
    assert_int_equal(mr_age_left_ms(&age, 102 * S, 4000, 10000), 1000);
    mr_age_begin(&age);
    assert_int_equal(mr_age_left_ms(&age, 200 * S, 30000, 1000), 1000);
}

/* Who stood still does not begin again by itself. */
static void test_stood_still(void **state)
{
    (void)state;
    mr_age_known(&age, 100 * S);
    work(100 * S, 110 * S);
    mr_age_seen(&age, 124 * S, 12000); /* a call that was allowed to take that long, and nearly 3 s more */
    assert_int_equal(mr_age_left_ms(&age, 129 * S, 30000, 1000), 0);
    mr_age_seen(&age, 128 * S, 0);
    assert_int_equal(mr_age_left_ms(&age, 129 * S, 30000, 1000), 1000);
    mr_age_begin(&age); /* that was of the last one */
    mr_age_known(&age, 200 * S);
    assert_int_equal(mr_age_left_ms(&age, 230 * S, 30000, 1000), 0);
}

/* A fence behind the limit need not be another process. */
static void test_over(void **state)
{
    (void)state;
    assert_false(mr_age_is_over(&age, 1000 * S, 30000)); /* the coordinator has not heard of it */
    mr_age_known(&age, 100 * S);
    work(100 * S, 131 * S);
    assert_false(mr_age_is_over(&age, 130 * S - 1, 30000));
    assert_true(mr_age_is_over(&age, 130 * S, 30000));
    mr_age_seen(&age, 140 * S, 0);
    assert_false(mr_age_is_over(&age, 141 * S, 30000)); /* stood still: another may have taken its place */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_given_up_before_the_broker_does, setup),
                                       cmocka_unit_test_setup(test_stood_still, setup),
                                       cmocka_unit_test_setup(test_over, setup)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
