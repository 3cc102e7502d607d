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
    assert_false(mr_refused_has(&refused, &base));
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
    assert_true(mr_refused_add(&refused, &base));
    assert_true(mr_refused_has(&refused, &base));
    for (size_t i = 0; i < 5; i++) assert_false(mr_refused_has(&refused, &other[i]));
    for (size_t i = 0; i < 5; i++) assert_true(mr_refused_add(&refused, &other[i]));
    for (size_t i = 0; i < 5; i++) assert_true(mr_refused_has(&refused, &other[i]));
    /* Names are compared by their letters, not by where they stand. */
    const char copy[] = {'o', 'u', 't', '\0'};
    struct mr_sent_record same = base;
    same.to = copy;
    assert_true(mr_refused_has(&refused, &same));
    mr_refused_deinit(&refused);
    assert_false(mr_refused_has(&refused, &base));
}

/* More than fit: the oldest go. */
static void test_oldest_go(void **state)
{
    struct mr_refused refused = {0};
    struct mr_sent_record record = base;
    (void)state;
    for (int64_t i = 0; i < MR_REFUSED_MAX + 10; i++) {
        record.offset = i;
        assert_true(mr_refused_add(&refused, &record));
    }
    assert_int_equal(refused.count, MR_REFUSED_MAX);
    for (int64_t i = 0; i < 10; i++) {
        record.offset = i;
        assert_false(mr_refused_has(&refused, &record));
        record.offset = MR_REFUSED_MAX + i;
        assert_true(mr_refused_has(&refused, &record));
        record.offset = 10 + i;
        assert_true(mr_refused_has(&refused, &record));
    }
    /* A committed transaction empties it; it is filled again from where it stands. */
    refused.count = 0;
    assert_false(mr_refused_has(&refused, &record));
    assert_true(mr_refused_add(&refused, &record));
    assert_true(mr_refused_has(&refused, &record));
    assert_int_equal(refused.count, 1);
    mr_refused_deinit(&refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_oldest_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
