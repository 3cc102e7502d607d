/* Two streams tied together by content: what is missing, doubled, out of order or different, and what cannot be told.
 */
#include "verify/match.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

static void fault_count(void *context, mr_match_fault kind, const struct mr_match_place *expected,
                        const struct mr_match_place *actual)
{
    (void)expected;
    (void)actual;
    ((size_t *)context)[kind]++;
}

/* "ID:NUMBER": the number may differ, what is before it may not. */
static bool split(void *context, const char *value, size_t bytes, uint64_t *hash_out,
                  const struct mr_match_number **numbers_out, size_t *count_out)
{
    static struct mr_match_number number;
    const char *const colon = memchr(value, ':', bytes);
    char text[32];
    (void)context;
    if (!colon) return false;
    snprintf(text, sizeof text, "%.*s", (int)(value + bytes - colon - 1), colon + 1);
    number = (struct mr_match_number){.value = strtod(text, NULL)};
    *hash_out = 5381;
    for (const char *at = value; at < colon; at++) *hash_out = *hash_out * 33 + (unsigned char)*at;
    *numbers_out = &number;
    *count_out = 1;
    return true;
}

static struct mr_match *make_open(struct found *found, uint32_t sources, int32_t partitions, bool is_near,
                                  bool may_move)
{
    const struct mr_match_open open = {.source_count = sources,
                                       .partition_count = partitions,
                                       .split = is_near ? split : NULL,
                                       .may_move = may_move,
                                       .fault = fault,
                                       .context = found};
    struct mr_match *match;
    struct mr_err err;
    *found = (struct found){0};
    assert_int_equal(mr_match_create(&open, &match, &err), MR_OK);
    return match;
}

static struct mr_match *make(struct found *found, uint32_t sources, int32_t partitions, bool is_near)
{
    return make_open(found, sources, partitions, is_near, false);
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

/* Records of one source are tied to another's that are alike, out of order, before any of that other is met: no fault.
 */
static void test_alike_before_the_other_source(void **state)
{
    struct found found;
    struct mr_match *const match = make(&found, 2, 1, false);
    (void)state;
    expect(match, 0, 0, 0, "a"), expect(match, 0, 0, 1, "b");
    actual(match, 0, 0, "b"), actual(match, 0, 1, "a"); /* of the second source */
    expect(match, 1, 0, 0, "b"), expect(match, 1, 0, 1, "a");
    actual(match, 0, 2, "a"), actual(match, 0, 3, "b");
    mr_match_end(match);
    assert_string_equal(found.text, "");
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

/* Topics have grown since: records stand where they went then. What is lost, doubled or out of order is told all the
 * same. */
static void test_moved(void **state)
{
    static const struct {
        const char *there; /* in partition 1; all are expected in 0, but d */
        const char *told;
        unsigned moved;
    } cases[] = {
        {"abcd", "", 3},           {"abd", "missing 2", 2},      {"acbd", "reordered 2", 3},
        {"abxcd", "foreign 2", 3}, {"abcdd", "duplicated 4", 3}, {"abbd", "duplicated 2, missing 2", 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct found found;
        struct mr_match *const match = make_open(&found, 1, 2, false, true);
        for (int at = 0; at < 4; at++) expect(match, 0, at == 3, at, (const char[]){"abcd"[at], 0});
        for (int at = 0; cases[i].there[at]; at++) actual(match, 1, at, (const char[]){cases[i].there[at], 0});
        mr_match_end(match);
        assert_string_equal(found.text, cases[i].told);
        assert_int_equal(mr_match_moved_count(match), cases[i].moved);
        mr_match_destroy(match);
    }
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

static void expect_near(struct mr_match *match, int64_t offset, const char *value, double number)
{
    const struct mr_match_number near = {.value = number, .off = 1e-6, .off_most = 1e-4};
    const struct mr_match_record record = {
        .value = value, .value_bytes = strlen(value), .offset = offset, .number = &near, .number_count = 1};
    struct mr_err err;
    assert_int_equal(mr_match_expect(match, &record, &err), MR_OK);
}

/* a, b, c of one source; what is there, in its order; what is told, how many are near, how many of them far. */
static void run_near(const char *const want[3], const char *const there[3], const char *told, unsigned near,
                     unsigned far)
{
    struct found found;
    struct mr_match *match = make(&found, 1, 1, true);
    for (int i = 0; i < 3; i++) expect_near(match, i, want[i], strtod(strchr(want[i], ':') + 1, NULL));
    for (int i = 0; i < 3; i++) actual(match, 0, i, there[i]);
    mr_match_end(match);
    assert_string_equal(found.text, told);
    assert_int_equal(mr_match_near_count(match), near);
    assert_int_equal(mr_match_far_count(match), far);
    mr_match_destroy(match);
}

#define THREE(a, b, c) ((const char *const[]){a, b, c})

static void test_near(void **state)
{
    (void)state;
    run_near(THREE("a:1", "b:2", "c:3"), THREE("a:1", "b:2", "c:3"), "", 0, 0);
    run_near(THREE("a:1", "b:2", "c:3"), THREE("a:1", "b:2.0000001", "c:3.00001"), "", 2, 1);
    run_near(THREE("a:1", "b:2", "c:3"), THREE("a:1", "b:2.1", "c:3"), "different 1", 0, 0);
    run_near(THREE("a:1", "b:1", "c:1"), THREE("a:1", "a:1", "c:1"), "duplicated 1, missing 1", 0, 0);
    run_near(THREE("a:1", "b:1", "c:1"), THREE("b:1.0000001", "a:1", "c:1"), "reordered 1", 1, 0);
    /* Nothing tells them apart but the numbers: */
    run_near(THREE(":1", ":1.0000001", ":1.0000002"), THREE(":1", ":1", ":1.0000002"), "duplicated 1, missing 1", 0, 0);
    run_near(THREE(":1", ":1.0000001", ":1.0000002"), THREE(":1.00000005", ":1.00000015", ":1.00000025"), "", 3, 0);
    run_near(THREE(":1", ":1", ":1"), THREE(":1.0000001", ":1.0000001", ":1.0000001"), "", 3, 0);
    /* Another unit, which makes the same of two that are nearly equal, or not: */
    run_near(THREE(":1", ":1.0000002", ":1.0000004"), THREE(":1.0000001", ":1.0000001", ":1.0000005"), "", 3, 0);
}

/* Every hundredth of many comes twice, and is called that: with what came before or behind it forgotten. */
static void test_duplicated_many(void **state)
{
    enum { MANY = 600000, EACH = 100 };
    size_t told[5] = {0};
    const struct mr_match_open open = {.source_count = 1, .partition_count = 1, .fault = fault_count, .context = told};
    struct mr_match *match;
    struct mr_err err;
    (void)state;
    assert_int_equal(mr_match_create(&open, &match, &err), MR_OK);
    for (int i = 0; i < MANY; i++) {
        char value[32];
        snprintf(value, sizeof value, "%d", i);
        expect(match, 0, 0, i, value);
        actual(match, 0, i, value);
        if (i % EACH == 0) actual(match, 0, i, value);
    }
    mr_match_end(match);
    assert_int_equal(told[MR_MATCH_DUPLICATED], MANY / EACH);
    assert_int_equal(told[MR_MATCH_FOREIGN], 0);
    mr_match_destroy(match);
}

/* The same twice at the end of few: none of them is forgotten. */
static void test_duplicated_late(void **state)
{
    enum { MANY = 20000 };
    size_t told[5] = {0};
    const struct mr_match_open open = {.source_count = 1, .partition_count = 1, .fault = fault_count, .context = told};
    struct mr_match *match;
    struct mr_err err;
    (void)state;
    assert_int_equal(mr_match_create(&open, &match, &err), MR_OK);
    for (int i = 0; i < 2 * MANY; i++) {
        char value[32];
        snprintf(value, sizeof value, "%d", i % MANY);
        if (i < MANY) expect(match, 0, 0, i, value);
        actual(match, 0, i, value);
    }
    mr_match_end(match);
    assert_int_equal(told[MR_MATCH_DUPLICATED], MANY);
    assert_int_equal(told[MR_MATCH_FOREIGN], 0);
    mr_match_destroy(match);
}

/* More than are kept waiting: tied as they come. */
static void test_near_many(void **state)
{
    enum { MANY = 100000 };
    struct found found;
    struct mr_match *const match = make(&found, 1, 1, true);
    (void)state;
    for (int i = 0; i < MANY; i++) {
        char want[32], there[32];
        snprintf(want, sizeof want, "%d:1", i);
        snprintf(there, sizeof there, "%d:1.0000001", i);
        expect_near(match, i, want, 1);
        actual(match, 0, i, there);
        if (i % 1000 == 0) mr_match_settle(match, false);
        assert_true(mr_match_waiting(match, 0) < 20000);
    }
    mr_match_end(match);
    assert_string_equal(found.text, "");
    assert_int_equal(mr_match_near_count(match), MANY);
    mr_match_destroy(match);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_sources),
                                       cmocka_unit_test(test_alike_before_the_other_source),
                                       cmocka_unit_test(test_partitions),
                                       cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_duplicated_many),
                                       cmocka_unit_test(test_duplicated_late),
                                       cmocka_unit_test(test_near),
                                       cmocka_unit_test(test_near_many),
                                       cmocka_unit_test(test_moved)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
