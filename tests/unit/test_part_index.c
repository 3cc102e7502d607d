/* Numbers by topic and partition, and the ends that a bounded run notes by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/part_index.h"
#include "pipeline/ends.h"

static void test_cells(void **state)
{
    struct mr_part_index index = {0};
    (void)state;
    assert_int_equal(mr_part_get(&index, 0, 0), MR_PART_NONE);
    for (uint32_t topic = 0; topic < 40; topic++) {
        for (int32_t part = 999; part >= 0; part -= 3)
            assert_true(mr_part_set(&index, topic, part, topic * 1000 + (uint32_t)part));
    }
    for (uint32_t topic = 0; topic < 40; topic++) {
        for (int32_t part = 0; part < 1100; part++) {
            const bool is_set = part < 1000 && part % 3 == 0;
            assert_int_equal(mr_part_get(&index, topic, part), is_set ? topic * 1000 + (uint32_t)part : MR_PART_NONE);
        }
    }
    assert_true(mr_part_set(&index, 3, 9, MR_PART_NONE));
    assert_int_equal(mr_part_get(&index, 3, 9), MR_PART_NONE);
    mr_part_free(&index);
    assert_int_equal(mr_part_get(&index, 3, 6), MR_PART_NONE);
}

/* What a broker says is not trusted: nothing is allocated for numbers that no cluster has. */
static void test_limits(void **state)
{
    struct mr_part_index index = {0};
    (void)state;
    assert_int_equal(mr_part_get(&index, UINT32_MAX, -1), MR_PART_NONE);
    assert_false(mr_part_set(&index, 0, -1, 1));
    assert_false(mr_part_set(&index, 0, INT32_MAX, 1));
    assert_false(mr_part_set(&index, UINT32_MAX, 0, 1));
    assert_false(mr_part_set(&index, 0, MR_PART_MAX, 1));
    assert_true(mr_part_set(&index, 0, MR_PART_MAX - 1, 1));
    assert_int_equal(mr_part_get(&index, 0, MR_PART_MAX - 1), 1);
    assert_int_equal(mr_part_get(&index, 0, INT32_MAX), MR_PART_NONE);
    mr_part_free(&index);
}

static void test_ends(void **state)
{
    struct mr_ends ends;
    (void)state;
    mr_ends_init(&ends);
    for (int32_t part = 0; part < 500; part++) {
        assert_int_equal(mr_ends_note(&ends, "a", part, part), part);
        assert_int_equal(mr_ends_note(&ends, "b", part, 1000 + part), 1000 + part);
    }
    for (int32_t part = 0; part < 500; part++) {
        assert_int_equal(mr_ends_note(&ends, "b", part, 5000), 1000 + part);
        assert_int_equal(mr_ends_note(&ends, "a", part, 5000), part);
    }
    assert_int_equal(mr_ends_note(&ends, "a", 500, 7), 7); /* added while running */
    assert_int_equal(mr_ends_note(&ends, "a", INT32_MAX, 7), -1);
    assert_int_equal(mr_ends_state(&ends, "a", 499), MR_END_ELSEWHERE);
    mr_ends_mark(&ends, "b", 499, MR_END_READ);
    mr_ends_mark(&ends, "c", 0, MR_END_READ); /* never noted */
    assert_int_equal(mr_ends_state(&ends, "b", 499), MR_END_READ);
    assert_int_equal(mr_ends_state(&ends, "a", 499), MR_END_ELSEWHERE);
    assert_int_equal(mr_ends_state(&ends, "c", 0), MR_END_ELSEWHERE);

    assert_int_equal(mr_ends_note(&ends, "c", 0, -1), -1); /* asking notes nothing */
    assert_int_equal(mr_ends_note(&ends, "c", 0, 9), 9);
    mr_ends_lower(&ends, "c", 0, 6);
    mr_ends_lower(&ends, "c", 0, 8);
    mr_ends_lower(&ends, "c", 1, 3); /* never noted */
    assert_int_equal(mr_ends_note(&ends, "c", 0, -1), 6);
    assert_int_equal(mr_ends_note(&ends, "c", 0, 9), 6);
    assert_int_equal(mr_ends_note(&ends, "c", 1, 4), 4);
    mr_ends_deinit(&ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
