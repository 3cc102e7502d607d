/* Which files have taken a partition: as the group keeps it, and what follows from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sink/file/holders.h"

static void comes_back(void **state)
{
    struct mr_holders holders = {0}, got;
    char text[MR_HOLDERS_TEXT_MAX];
    (void)state;
    for (uint64_t i = 0; i < 3 * MR_HOLDERS_MAX; i++) { /* the longest there can be: the oldest are forgotten */
        mr_holders_take(&holders, UINT64_MAX - i, INT64_MAX - 100 + (int64_t)i);
        mr_holders_print(&holders, text);
        assert_true(strlen(text) < MR_HOLDERS_TEXT_MAX - 1);
        mr_holders_parse(text, &got);
        assert_int_equal(got.count, i < MR_HOLDERS_MAX ? i + 1 : MR_HOLDERS_MAX);
        assert_memory_equal(got.holder, holders.holder, got.count * sizeof *got.holder);
        assert_true(got.holder[got.count - 1].file == UINT64_MAX - i);
    }
}

static void strange_texts_are_nobody(void **state)
{
    static const char *const rows[] = {
        "",
        "millrace",
        "millrace 2 00000000000000ab:1",
        "millrace 1 00000000000000ab",
        "millrace 1 00000000000000ab:",
        "millrace 1 00000000000000ab:-1",
        "millrace 1 00000000000000AB:1",
        "millrace 1 0000000000000ab:1",
        "millrace 1 00000000000000ab:99999999999999999999",
        "millrace 1 00000000000000ab:1x",
        "millrace 1 00000000000000ab:5 00000000000000ac:4",
        "millrace 100000000000000ab:5",
        "something of somebody",
    };
    struct mr_holders got;
    char many[64 * MR_HOLDERS_MAX] = "millrace 1";
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mr_holders_parse(rows[i], &got);
        if (got.count) fail_msg("\"%s\" has %zu holders", rows[i], got.count);
    }
    for (size_t i = 0; i <= MR_HOLDERS_MAX; i++) {
        mr_holders_parse(many, &got);
        assert_int_equal(got.count, i);
        snprintf(many + strlen(many), sizeof many - strlen(many), " 00000000000000ab:%zu", i);
    }
    mr_holders_parse(many, &got);
    assert_int_equal(got.count, 0);
}

static void tells_who_has_a_record(void **state)
{
    struct mr_holders holders = {0};
    (void)state;
    assert_int_equal(mr_holders_of(&holders, 1, 5), MR_HELD_UNKNOWN);
    mr_holders_take(&holders, 1, 10);
    mr_holders_take(&holders, 1, 20); /* has it already */
    assert_int_equal(mr_holders_of(&holders, 1, 9), MR_HELD_UNKNOWN);
    assert_int_equal(mr_holders_of(&holders, 1, 10), MR_HELD_HERE);
    assert_int_equal(mr_holders_of(&holders, 1, 25), MR_HELD_HERE);
    mr_holders_take(&holders, 2, 30);
    assert_int_equal(mr_holders_of(&holders, 1, 29), MR_HELD_HERE_BEFORE);
    assert_int_equal(mr_holders_of(&holders, 1, 30), MR_HELD_ELSEWHERE);
    assert_int_equal(mr_holders_of(&holders, 2, 29), MR_HELD_ELSEWHERE);
    assert_int_equal(mr_holders_of(&holders, 2, 30), MR_HELD_HERE);
    mr_holders_take(&holders, 1, 30); /* the second one has had nothing */
    assert_int_equal(mr_holders_of(&holders, 1, 30), MR_HELD_HERE);
    mr_holders_take(&holders, 3, 5); /* the group was set back */
    assert_int_equal(holders.count, 1);
    assert_int_equal(mr_holders_of(&holders, 1, 12), MR_HELD_ELSEWHERE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(strange_texts_are_nobody),
        cmocka_unit_test(tells_who_has_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
