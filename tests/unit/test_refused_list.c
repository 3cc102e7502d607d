/* The list of outputs that a broker has refused: what is in it, and what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kafka/refused.h"

static const struct mr_sent_record base = {.to = "out", .from = 1, .partition = 2, .offset = 3, .bytes = 4};

static void test_empty(void **state)
{
    struct mr_refused refused = {0};
    (void)state;
    assert_false(mr_refused_has(&refused, &base, 0));
    mr_refused_deinit(&refused);
    mr_refused_deinit(&refused);
}

/* Each part of a record's name tells it from another. */
static void test_parts(void **state)
{
    struct mr_refused refused = {0};
    struct mr_sent_record other[5] = {base, base, base, base, base};
    (void)state;
    other[0].to = "dead";
    other[1].from++;
    other[2].partition++;
    other[3].offset++;
    other[4].bytes++; /* a dead letter that was cut is another record */
    assert_true(mr_refused_add(&refused, &base, 0));
    assert_true(mr_refused_has(&refused, &base, 0));
    for (size_t i = 0; i < 5; i++) assert_false(mr_refused_has(&refused, &other[i], 0));
    for (size_t i = 0; i < 5; i++) assert_true(mr_refused_add(&refused, &other[i], 0));
    for (size_t i = 0; i < 5; i++) assert_true(mr_refused_has(&refused, &other[i], 0));
    /* Names are compared by their letters, not by where they stand. */
    const char copy[] = {'o', 'u', 't', '\0'};
    struct mr_sent_record same = base;
    same.to = copy;
    assert_true(mr_refused_has(&refused, &same, 0));
    mr_refused_deinit(&refused);
    assert_false(mr_refused_has(&refused, &base, 0));
}

/* More than fit: the oldest go. */
static void test_oldest_go(void **state)
{
    struct mr_refused refused = {0};
    struct mr_sent_record record = base;
    (void)state;
    for (int64_t i = 0; i < MR_REFUSED_MAX + 10; i++) {
        record.offset = i;
        assert_true(mr_refused_add(&refused, &record, 0));
    }
    assert_int_equal(refused.count, MR_REFUSED_MAX);
    for (int64_t i = 0; i < 10; i++) {
        record.offset = i;
        assert_false(mr_refused_has(&refused, &record, 0));
        record.offset = MR_REFUSED_MAX + i;
        assert_true(mr_refused_has(&refused, &record, 0));
        record.offset = 10 + i;
        assert_true(mr_refused_has(&refused, &record, 0));
    }
    /* A committed transaction empties it; it is filled again from where it stands. */
    mr_refused_clear(&refused);
    assert_false(mr_refused_has(&refused, &record, 0));
    assert_true(mr_refused_add(&refused, &record, 0));
    assert_true(mr_refused_has(&refused, &record, 0));
    assert_int_equal(refused.count, 1);
    mr_refused_deinit(&refused);
}

/* What is as large as what was refused is not tried, for a while, of the same topic. */
static void test_sizes(void **state)
{
    struct mr_refused refused = {0};
    struct mr_sent_record record = base, small = base, packed = base;
    (void)state;
    assert_true(mr_refused_is_empty(&refused));
    record.size = 2000;
    assert_true(mr_refused_add(&refused, &record, 0));
    record.offset = 100;
    assert_true(mr_refused_has(&refused, &record, 0));
    record.size = 1500;
    assert_false(mr_refused_has(&refused, &record, 0));
    assert_true(mr_refused_add(&refused, &record, 1));
    mr_refused_clear(&refused); /* sizes outlast the records */
    assert_false(mr_refused_is_empty(&refused));
    record.offset = 101;
    assert_true(mr_refused_has(&refused, &record, MR_LIMIT_HOLDS_US - 1));
    assert_false(mr_refused_has(&refused, &record, MR_LIMIT_HOLDS_US + 1));
    small.size = 1499;
    assert_false(mr_refused_has(&refused, &small, 0));
    packed.offset = 102;
    assert_false(mr_refused_has(&refused, &packed, 0));
    record.to = "dead";
    assert_false(mr_refused_has(&refused, &record, 0));
    mr_refused_deinit(&refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_oldest_go),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
