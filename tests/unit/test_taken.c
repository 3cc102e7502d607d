/* Which records were learned from, as ranges: whole messages, parts of them, several partitions, what waits. */
#include "pipeline/taken.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct mr_message batch[] = {
    {.partition = 0, .offset = 10}, {.partition = 0, .offset = 11},
    {.partition = 0, .offset = 14}, /* markers between */
    {.partition = 1, .offset = 5},  {.partition = 0, .offset = 15},
    {.partition = 0, .offset = 16},
};

static void add(struct mr_taken *taken, size_t from, size_t from_byte, size_t to, size_t to_byte)
{
    struct mr_err err;
    assert_int_equal(
        mr_taken_add(taken, batch, (struct mr_cursor){from, from_byte}, (struct mr_cursor){to, to_byte}, &err), MR_OK);
}

static void learn(struct mr_taken *taken, size_t rows)
{
    struct mr_err err;
    assert_int_equal(mr_taken_learn(taken, rows, &err), MR_OK);
}

static void check(const struct mr_taken *taken, size_t at, int32_t partition, int64_t first, uint32_t first_byte,
                  int64_t end, uint32_t end_byte)
{
    assert_in_range(at, 0, taken->range_count - 1);
    assert_int_equal(taken->range[at].partition, partition);
    assert_int_equal(taken->range[at].first_offset, first);
    assert_int_equal(taken->range[at].first_byte, first_byte);
    assert_int_equal(taken->range[at].end_offset, end);
    assert_int_equal(taken->range[at].end_byte, end_byte);
}

static void test_runs(void **state)
{
    struct mr_taken taken = {0};
    (void)state;
    add(&taken, 0, 0, 6, 0);
    learn(&taken, 6);
    assert_int_equal(taken.range_count, 3);
    assert_int_equal(taken.update_count, 1);
    assert_int_equal(taken.update[0].range_count, 3);
    assert_int_equal(taken.update[0].rows, 6);
    check(&taken, 0, 0, 10, 0, 15, 0);
    check(&taken, 1, 1, 5, 0, 6, 0);
    check(&taken, 2, 0, 15, 0, 17, 0);
    mr_taken_deinit(&taken);
}

/* A message of many records may be cut, and the next slot goes on within it. */
static void test_parts(void **state)
{
    struct mr_taken taken = {0};
    (void)state;
    add(&taken, 0, 0, 1, 7); /* all of 10, and 7 bytes of 11 */
    check(&taken, 0, 0, 10, 0, 11, 7);
    learn(&taken, 3);
    add(&taken, 1, 7, 3, 0);
    check(&taken, 1, 0, 11, 7, 15, 0);
    learn(&taken, 2);
    assert_int_equal(taken.update_count, 2);
    mr_taken_deinit(&taken);
}

/* A block that is gathered from several slots is one range where they follow each other. */
static void test_gathered(void **state)
{
    struct mr_taken taken = {0};
    (void)state;
    add(&taken, 0, 0, 1, 4);
    add(&taken, 1, 4, 2, 0);
    assert_int_equal(taken.range_count, 1);
    check(&taken, 0, 0, 10, 0, 12, 0);
    add(&taken, 2, 0, 3, 0); /* offset 14: the gap is nobody's, but the next range begins behind it */
    assert_int_equal(taken.range_count, 2);
    learn(&taken, 3);
    assert_int_equal(taken.update[0].range_count, 2);
    mr_taken_deinit(&taken);
}

/* A commit forgets what was learned from, and keeps what waits. */
static void test_commit(void **state)
{
    struct mr_taken taken = {0};
    (void)state;
    add(&taken, 0, 0, 3, 0);
    learn(&taken, 3);
    add(&taken, 3, 0, 4, 0);
    mr_taken_commit(&taken);
    assert_int_equal(taken.update_count, 0);
    assert_int_equal(taken.range_count, 1);
    check(&taken, 0, 1, 5, 0, 6, 0);
    add(&taken, 4, 0, 6, 0);
    learn(&taken, 3);
    assert_int_equal(taken.update[0].range_count, 2);
    add(&taken, 0, 0, 1, 0); /* only rejects: nothing is learned from it */
    learn(&taken, 0);
    assert_int_equal(taken.range_count, 2);
    assert_int_equal(taken.update_count, 1);
    mr_taken_reset(&taken);
    assert_int_equal(taken.range_count, 0);
    mr_taken_deinit(&taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_runs), cmocka_unit_test(test_parts),
                                       cmocka_unit_test(test_gathered), cmocka_unit_test(test_commit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
