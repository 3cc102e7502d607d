/* Two streams tied together by content: what is missing, doubled, out of order or different, and what cannot be told.
 */
#include "verify/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What was found, as one line: "missing 3, reordered 5". */
struct found {
    char text[256];
    size_t at;
};

static void fault(void *context, mr_match_fault kind, const struct mr_match_place *expected,
                  const struct mr_match_place *actual)
{
    static const char *const names[] = {"missing", "duplicated", "foreign", "reordered", "different"};
    struct found *const found = context;
    found->at +=
        (size_t)snprintf(found->text + found->at, sizeof found->text - found->at, "%s%s %d", found->at ? ", " : "",
                         names[kind], (int)(kind == MR_MATCH_MISSING ? expected->offset : actual->offset));
}

static struct mr_match *make(struct found *found, uint32_t sources, int32_t partitions, bool is_near)
{
    const struct mr_match_open open = {
        .source_count = sources, .partition_count = partitions, .is_near = is_near, .fault = fault, .context = found};
    struct mr_match *match;
    struct mr_err err;
    *found = (struct found){0};
    assert_int_equal(mr_match_create(&open, &match, &err), MR_OK);
    return match;
}

static void expect(struct mr_match *match, uint32_t source, int32_t partition, int64_t offset, const char *value)
{
    const struct mr_match_record record = {
        .value = value, .value_bytes = strlen(value), .source = source, .partition = partition, .offset = offset};
    struct mr_err err;
    assert_int_equal(mr_match_expect(match, &record, &err), MR_OK);
}

static void actual(struct mr_match *match, int32_t partition, int64_t offset, const char *value)
{
    const struct mr_match_record record = {
        .value = value, .value_bytes = strlen(value), .partition = partition, .offset = offset, .is_placed = true};
    struct mr_err err;
    assert_int_equal(mr_match_actual(match, &record, &err), MR_OK);
}

/* Expects a b c ... of one source in one partition; `there`: what is there, in its order; each side first in turn. */
static void run(const char *want, const char *there, const char *told)
{
    for (int turn = 0; turn < 3; turn++) {
        struct found found;
        struct mr_match *const match = make(&found, 1, 1, false);
        const size_t wants = strlen(want), theres = strlen(there);
        const size_t ahead = turn == 0 ? wants : turn == 1 ? 0 : 2;
        for (size_t e = 0, a = 0; e < wants || a < theres;) {
            const bool is_expected = e < wants && (e < ahead + a || a == theres);
            if (is_expected)
                expect(match, 0, 0, (int64_t)e, (char[]){want[e], 0});
            else
                actual(match, 0, (int64_t)a, (char[]){there[a], 0});
            e += is_expected;
            a += !is_expected;
        }
        mr_match_end(match);
        assert_string_equal(found.text, told);
        mr_match_destroy(match);
    }
}

static void test_faults(void **state)
{
    (void)state;
    run("", "", "");
    run("abcdef", "abcdef", "");
    run("abcdef", "abdef", "missing 2");
    run("abcdef", "abccdef", "duplicated 3");
    run("abcdef", "abdcef", "reordered 3");
    run("abcdef", "abxdef", "different 2");
    run("abcdef", "abcdefx", "foreign 6");
    run("abcdef",
        "abcdef"
        "a",
        "duplicated 6");
    run("aabbaa", "aabbaa", "");
    run("abcdef", "", "missing 0, missing 1, missing 2, missing 3, missing 4, missing 5");
}

/* Records of two sources in one partition: each in its order. Alike ones leave the order open. */
static void test_sources(void **state)
{
    struct found found;
    struct mr_match *match = make(&found, 2, 1, false);
    (void)state;
    expect(match, 0, 0, 0, "a"), expect(match, 0, 0, 1, "b"), expect(match, 1, 0, 0, "c"), expect(match, 1, 0, 1, "d");
    actual(match, 0, 0, "c"), actual(match, 0, 1, "a"), actual(match, 0, 2, "d"), actual(match, 0, 3, "b");
    mr_match_end(match);
    assert_string_equal(found.text, "");
    assert_false(mr_match_is_ambiguous(match));
    mr_match_destroy(match);
    match = make(&found, 2, 1, false);
    expect(match, 0, 0, 0, "x"), expect(match, 0, 0, 1, "y"), expect(match, 1, 0, 0, "y"), expect(match, 1, 0, 1, "x");
    actual(match, 0, 0, "x"), actual(match, 0, 1, "y"), actual(match, 0, 2, "y"), actual(match, 0, 3, "x");
    mr_match_end(match);
    assert_int_equal(mr_match_count(match), 4);
    assert_true(mr_match_is_ambiguous(match));
    mr_match_destroy(match);
}

static void test_partitions(void **state)
{
    struct found found;
    struct mr_match *match = make(&found, 1, 2, false);
    (void)state;
    expect(match, 0, 0, 0, "a"), expect(match, 0, 1, 1, "b");
    actual(match, 0, 0, "a"), actual(match, 0, 1, "b"); /* not its partition */
    mr_match_end(match);
    assert_string_equal(found.text, "foreign 1, missing 1");
    mr_match_destroy(match);
}

static void test_edges(void **state)
{
    struct found found;
    struct mr_match *match = make(&found, 1, 1, false);
    (void)state;
    mr_match_lead(match, 0);
    actual(match, 0, 0, "old"), actual(match, 0, 1, "older"), actual(match, 0, 2, "a"), actual(match, 0, 3, "b");
    actual(match, 0, 4, "new");
    expect(match, 0, 0, 7, "a"), expect(match, 0, 0, 8, "b");
    mr_match_trail(match);
    mr_match_end(match);
    assert_string_equal(found.text, "");
    assert_int_equal(mr_match_before_count(match), 2);
    assert_int_equal(mr_match_behind_count(match), 1);
    mr_match_destroy(match);
}

static void test_near(void **state)
{
    struct found found;
    struct mr_match *match = make(&found, 1, 1, true);
    (void)state;
    expect(match, 0, 0, 0, "{\"y\":1.0000001}"), expect(match, 0, 0, 1, "{\"y\":2.0}");
    actual(match, 0, 0, "{\"y\":1.0000002}"), actual(match, 0, 1, "{\"y\":2.1}");
    mr_match_end(match);
    assert_string_equal(found.text, "different 1");
    assert_int_equal(mr_match_near_count(match), 1);
    mr_match_destroy(match);
    assert_true(mr_match_is_near("[-1.5,\"a\"]", 10, "[-1.5000001,\"a\"]", 16));
    assert_false(mr_match_is_near("[1.5]", 5, "[-1.5]", 6));
    assert_false(mr_match_is_near("12", 2, "12 ", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults), cmocka_unit_test(test_sources),
                                       cmocka_unit_test(test_partitions), cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_near)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
