/* The circuit breaker: counted over lanes, batch by batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/breaker.h"

#define BATCH 10

static uint32_t message[BATCH];
static struct mr_reject reject[BATCH];

/* A batch of ten messages, of which the ones from `good` on are bad. */
static struct mr_rows batch_of(size_t good)
{
    for (size_t i = 0; i < BATCH; i++) {
        message[i] = (uint32_t)i;
        reject[i] = (struct mr_reject){.message = (uint32_t)(good + i), .reason = MR_REASON_SYNTAX};
    }
    return (struct mr_rows){.message = message, .row_count = good, .reject = reject, .reject_count = BATCH - good};
}

static struct mr_breaker breaker;

static int setup(void **state)
{
    (void)state;
    mr_breaker_init(&breaker);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mr_breaker_deinit(&breaker);
    return 0;
}

static void a_run_over_two_lanes(void **state)
{
    const struct mr_bad_records_options opt = {.run_max = 100, .share_max = 1, .window = 50};
    const struct mr_rows bad = batch_of(0);
    uint64_t lane[2] = {0};
    struct mr_err err = {0};
    (void)state;
    for (int i = 0; i < 9; i++) assert_int_equal(mr_breaker_count(&breaker, &opt, &bad, &lane[i % 2], &err), MR_OK);
    assert_int_equal(mr_breaker_count(&breaker, &opt, &bad, &lane[1], &err), MR_EDATA);
    assert_non_null(strstr(err.text, "100 bad records in a row"));
}

/* A good record of one lane ends the run of all, not that of another lane. */
static void a_run_of_one_lane(void **state)
{
    const struct mr_bad_records_options opt = {.run_max = 100, .share_max = 1, .window = 50};
    uint64_t lane[2] = {0};
    struct mr_err err = {0};
    (void)state;
    for (int i = 0; i < 9; i++) {
        const struct mr_rows bad = batch_of(0);
        assert_int_equal(mr_breaker_count(&breaker, &opt, &bad, &lane[0], &err), MR_OK);
        const struct mr_rows good = batch_of(BATCH);
        assert_int_equal(mr_breaker_count(&breaker, &opt, &good, &lane[1], &err), MR_OK);
    }
    const struct mr_rows bad = batch_of(0);
    assert_int_equal(mr_breaker_count(&breaker, &opt, &bad, &lane[0], &err), MR_EDATA);
}

static void a_share_over_two_lanes(void **state)
{
    const struct mr_bad_records_options opt = {.run_max = 1000, .share_max = 0.25, .window = 40};
    uint64_t lane[2] = {0};
    struct mr_err err = {0};
    (void)state;
    const struct mr_rows some = batch_of(6);
    for (int i = 0; i < 3; i++) assert_int_equal(mr_breaker_count(&breaker, &opt, &some, &lane[i % 2], &err), MR_OK);
    assert_int_equal(mr_breaker_count(&breaker, &opt, &some, &lane[1], &err), MR_EDATA);
    assert_non_null(strstr(err.text, "40.0 % of the last 40 records"));
}

/* Rows whose outputs no topic takes are bad too, though they were seen as good. */
static void outputs_count_in_the_share(void **state)
{
    const struct mr_bad_records_options opt = {.run_max = 1000, .share_max = 0.25, .window = 40};
    uint64_t lane = 0;
    struct mr_err err = {0};
    (void)state;
    const struct mr_rows good = batch_of(BATCH);
    for (int i = 0; i < 3; i++) assert_int_equal(mr_breaker_count(&breaker, &opt, &good, &lane, &err), MR_OK);
    mr_breaker_add_bad(&breaker, 11);
    assert_int_equal(mr_breaker_count(&breaker, &opt, &good, &lane, &err), MR_EDATA);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(a_run_over_two_lanes), TEST(a_run_of_one_lane),
                                       TEST(a_share_over_two_lanes), TEST(outputs_count_in_the_share)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
