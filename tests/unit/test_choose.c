/* What "auto" makes of its measurements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "scoring/choose.h"

static const size_t sizes[] = {64, 1024, 8192, 32768};

static void sizes_stay_below_the_batch(void **state)
{
    size_t got[MR_CHOOSE_SIZES];
    (void)state;
    assert_int_equal(mr_choose_sizes(32768, got), 4);
    assert_memory_equal(got, sizes, sizeof sizes);
    assert_int_equal(mr_choose_sizes(8192, got), 3);
    assert_int_equal(got[2], 8192);
    assert_int_equal(mr_choose_sizes(1, got), 1);
    assert_int_equal(got[0], 1);
}

static void a_slower_device_is_not_taken(void **state)
{
    const struct mr_candidate candidates[] = {{.name = "cpu", .row_ns = {8, 6, 6, 6}},
                                              {.name = "slow", .row_ns = {900, 70, 15, 8}}};
    struct mr_choice choice;
    (void)state;
    mr_choose_decide(candidates, 2, sizes, 4, 1, &choice);
    assert_true(choice.device == MR_NO_UNIT);
    assert_non_null(strstr(choice.because, "cpu 6"));
    assert_non_null(strstr(choice.because, "slow 8"));
}

/* One device serves all lanes: it must beat them together. */
static void lanes_count_against_a_device(void **state)
{
    const struct mr_candidate candidates[] = {{.name = "cpu", .row_ns = {700, 600, 600, 600}},
                                              {.name = "gpu", .row_ns = {4000, 300, 120, 100}}};
    struct mr_choice choice;
    (void)state;
    mr_choose_decide(candidates, 2, sizes, 4, 8, &choice);
    assert_true(choice.device == MR_NO_UNIT);
    mr_choose_decide(candidates, 2, sizes, 4, 2, &choice);
    assert_int_equal(choice.device, 1);
    assert_int_equal(choice.rows_min, 1024); /* a trickle stays on the CPU */
}

static void the_best_of_several_takes_all_where_it_always_wins(void **state)
{
    const struct mr_candidate candidates[] = {{.name = "cpu", .row_ns = {90, 90, 90, 90}},
                                              {.name = "one", .row_ns = {80, 50, 40, 30}},
                                              {.name = "gone", .reason = "does not start"},
                                              {.name = "two", .row_ns = {70, 40, 30, 20}}};
    struct mr_choice choice;
    (void)state;
    mr_choose_decide(candidates, 4, sizes, 4, 1, &choice);
    assert_int_equal(choice.device, 3);
    assert_int_equal(choice.rows_min, 0);
    assert_non_null(strstr(choice.because, "gone not"));
}

/* Nine parts in ten are noise between two runs: not worth a device. */
static void a_tie_stays_on_the_cpu(void **state)
{
    const struct mr_candidate candidates[] = {{.name = "cpu", .row_ns = {90, 90, 90, 90}},
                                              {.name = "near", .row_ns = {85, 85, 85, 85}}};
    struct mr_choice choice;
    (void)state;
    mr_choose_decide(candidates, 2, sizes, 4, 1, &choice);
    assert_true(choice.device == MR_NO_UNIT);
}

/* Time ran out after the largest size: what was not measured is the CPU's. */
static void sizes_that_were_not_measured_stay_on_the_cpu(void **state)
{
    const struct mr_candidate candidates[] = {{.name = "cpu", .row_ns = {90, 90, 90, 90}},
                                              {.name = "late", .row_ns = {0, 0, 50, 20}}};
    struct mr_choice choice;
    (void)state;
    mr_choose_decide(candidates, 2, sizes, 4, 1, &choice);
    assert_int_equal(choice.device, 1);
    assert_int_equal(choice.rows_min, 8192);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_stay_below_the_batch),
        cmocka_unit_test(a_slower_device_is_not_taken),
        cmocka_unit_test(lanes_count_against_a_device),
        cmocka_unit_test(the_best_of_several_takes_all_where_it_always_wins),
        cmocka_unit_test(a_tie_stays_on_the_cpu),
        cmocka_unit_test(sizes_that_were_not_measured_stay_on_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
