/* Option tables: texts to values, ranges and units, fallbacks, suggestions, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/near.h"
#include "base/options.h"
#include "failing_malloc.h" /* defines __wrap_malloc */

struct options {
    char *name;
    bool is_on;
    int64_t count, wait, memory;
    double share;
    int mode;
    struct mr_strings list;
    struct mr_map map;
};

static const char *const modes[] = {"append", "truncate", "refuse", NULL};
#define AT(field) offsetof(struct options, field)
static const struct mr_option table[] = {
    {.key = "name", .type = MR_OPT_STRING, .offset = AT(name), .fallback = "x"},
    {.key = "on", .type = MR_OPT_BOOL, .offset = AT(is_on), .fallback = "true"},
    {.key = "count", .type = MR_OPT_INT, .offset = AT(count), .min = -5, .max = 1000000, .fallback = "7"},
    {.key = "wait", .type = MR_OPT_DURATION, .offset = AT(wait), .min = 1, .max = 3600e6, .fallback = "5ms"},
    {.key = "memory", .type = MR_OPT_SIZE, .offset = AT(memory), .min = 1, .max = MR_NO_MAX},
    {.key = "share", .type = MR_OPT_DOUBLE, .offset = AT(share), .max = 1, .fallback = "0.5"},
    {.key = "mode", .type = MR_OPT_ENUM, .offset = AT(mode), .choices = modes, .fallback = "refuse"},
    {.key = "list", .type = MR_OPT_STRINGS, .offset = AT(list), .fallback = "a,b"},
    {.key = "map", .type = MR_OPT_MAP, .offset = AT(map), .fallback = "k=v,w=x"},
    {.key = "secret", .type = MR_OPT_INT, .offset = AT(count), .max = 9, .secret = true},
    {0},
};
#undef AT

static void test_init(void **state)
{
    (void)state;
    struct options options;
    memset(&options, 0xff, sizeof options);
    assert_int_equal(mr_options_init(table, &options, NULL), MR_OK);
    assert_string_equal(options.name, "x");
    assert_true(options.is_on);
    assert_int_equal(options.count, 7);
    assert_int_equal(options.wait, 5000);
    assert_int_equal(options.memory, 0);
    assert_true(options.share == 0.5);
    assert_int_equal(options.mode, 2);
    assert_int_equal(options.list.count, 2);
    assert_string_equal(options.list.item[1], "b");
    assert_int_equal(options.map.count, 1);
    assert_string_equal(options.map.item[0].value, "v,w=x"); /* values may hold commas and equal signs */
    mr_options_deinit(table, &options);
    assert_null(options.name);
    assert_int_equal(options.list.count, 0);
    mr_options_deinit(table, &options);
    mr_options_deinit(table, NULL);
    mr_options_deinit(NULL, &options);
}

struct amount {
    const char *text;
    int64_t value; /* -1: refused */
};

static void check_amounts(const char *key, const int64_t *at, const struct amount *cases, size_t count,
                          struct options *options)
{
    for (size_t i = 0; i < count; i++) {
        struct mr_err err;
        const mr_status status = mr_options_set(table, options, key, cases[i].text, &err);
        if ((status == MR_OK) != (cases[i].value >= 0)) print_message("%s = %s\n", key, cases[i].text);
        assert_int_equal(status, cases[i].value >= 0 ? MR_OK : MR_ECONFIG);
        if (status == MR_OK)
            assert_int_equal(*at, cases[i].value);
        else
            assert_non_null(strstr(err.text, key));
    }
}

static void test_amounts(void **state)
{
    (void)state;
    static const struct amount waits[] = {
        {"250us", 250},     {"5ms", 5000},
        {"2s", 2000000},    {"1m", 60000000},
        {"1h", 3600000000}, {"1", 1000000},
        {"0.005", 5000},    {"1.5s", 1500000},
        {"0.25ms", 250},    {"5 ms", 5000},
        {"0.000001", 1},    {"0.0000001", -1},
        {"0.5us", -1},      {"0", -1},
        {"2h", -1},         {"", -1},
        {"ms", -1},         {"-1s", -1},
        {"1.s", -1},        {".5s", -1},
        {"1 5s", -1},       {"5 parsecs", -1},
        {"5MS", -1},        {"1s ", -1},
        {"1e3", -1},        {"9999999999999999999s", -1},
        {"0x5", -1},        {"inf", -1},
    };
    static const struct amount sizes[] = {
        {"64MiB", 64 << 20},
        {"1kB", 1000},
        {"10GB", 10000000000},
        {"1", 1},
        {"1B", 1},
        {"0.5KiB", 512},
        {"0.25KiB", 256},
        {"1.5kB", 1500},
        {"1TiB", INT64_C(1) << 40},
        {"8000TB", 8000000000000000},
        {"9000000TiB", -1},
        {"0.3KiB", -1},
        {"1.5B", -1},
        {"1kb", -1},
        {"1K", -1},
        {"64 MiB", 64 << 20},
        {"0", -1},
        {"-1", -1},
    };
    static const struct amount counts[] = {
        {"7", 7},
        {"1e3", 1000},
        {"12.0", 12},
        {"0", 0},
        {"1000000", 1000000},
        {"1000001", -1},
        {"1.5", -1},
        {"-6", -1},
        {"", -1},
        {" 1", -1},
        {"1 ", -1},
        {"0x10", -1},
        {"nan", -1},
        {"99999999999999999999", -1},
    };
    struct options options;
    assert_int_equal(mr_options_init(table, &options, NULL), MR_OK);
    check_amounts("wait", &options.wait, waits, sizeof waits / sizeof *waits, &options);
    check_amounts("memory", &options.memory, sizes, sizeof sizes / sizeof *sizes, &options);
    check_amounts("count", &options.count, counts, sizeof counts / sizeof *counts, &options);
    mr_options_deinit(table, &options);
}

static void test_errors(void **state)
{
    (void)state;
    struct options options;
    struct mr_err err;
    assert_int_equal(mr_options_init(table, &options, NULL), MR_OK);
    assert_int_equal(mr_options_set(table, &options, "conut", "1", &err), MR_ECONFIG);
    assert_string_equal(err.text, "unknown option \"conut\"; did you mean \"count\"?");
    assert_int_equal(mr_options_set(table, &options, "zebra", "1", &err), MR_ECONFIG);
    assert_string_equal(err.text, "unknown option \"zebra\"");
    assert_int_equal(mr_options_set(table, &options, "wait", "2h", &err), MR_ECONFIG);
    assert_string_equal(err.text, "wait: expected a duration such as \"5ms\" from 1us to 1h, found \"2h\"");
    assert_int_equal(mr_options_set(table, &options, "mode", "apend", &err), MR_ECONFIG);
    assert_string_equal(
        err.text,
        "mode: expected one of \"append\", \"truncate\", \"refuse\", found \"apend\"; did you mean \"append\"?");
    assert_int_equal(mr_options_set(table, &options, "share", "1.01", &err), MR_ECONFIG);
    assert_string_equal(err.text, "share: expected a number from 0 to 1, found \"1.01\"");
    assert_int_equal(mr_options_set(table, &options, "share", "inf", &err), MR_ECONFIG);
    assert_int_equal(mr_options_set(table, &options, "on", "yes", &err), MR_ECONFIG);
    assert_int_equal(mr_options_set(table, &options, "map", "no-equals", &err), MR_ECONFIG);
    assert_int_equal(mr_options_set(table, &options, "secret", "hunter2", &err), MR_ECONFIG);
    assert_null(strstr(err.text, "hunter2"));
    assert_int_equal(options.mode, 2); /* a wrong value changes nothing */
    mr_options_deinit(table, &options);
}

static void test_lists(void **state)
{
    (void)state;
    struct options options;
    struct mr_err err;
    assert_int_equal(mr_options_init(table, &options, NULL), MR_OK);
    assert_int_equal(mr_options_set(table, &options, "list", "c,,d", &err), MR_OK);
    assert_int_equal(options.list.count, 2);
    assert_int_equal(mr_options_add(table, &options, "list", "e", &err), MR_OK);
    assert_int_equal(options.list.count, 3);
    assert_string_equal(options.list.item[2], "e");
    assert_int_equal(mr_options_set(table, &options, "list", "", &err), MR_OK);
    assert_int_equal(options.list.count, 0);
    assert_int_equal(mr_options_add(table, &options, "map", "k=new", &err), MR_OK);
    assert_int_equal(mr_options_add(table, &options, "map", "z=", &err), MR_OK);
    assert_int_equal(options.map.count, 2);
    assert_string_equal(mr_map_get(&options.map, "k"), "new");
    assert_string_equal(mr_map_get(&options.map, "z"), "");
    assert_null(mr_map_get(&options.map, "none"));
    mr_options_deinit(table, &options);
}

static void test_near(void **state)
{
    (void)state;
    static const struct {
        const char *wanted, *best;
    } cases[] = {
        {"topik", "topic"},       {"tpoic", "topic"}, {"Topic", "topic"}, {"topi", "topic"}, {"linger_ms", "linger"},
        {"wait-max", "wait_max"}, {"zebra", NULL},    {"to", NULL},       {"t", NULL},       {"", NULL},
        {"linge_rr", "linger"},
    };
    static const char *const known[] = {"topic", "linger", "wait_max", "group", "a"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mr_near near;
        mr_near_start(&near, cases[i].wanted);
        mr_near_offer(&near, NULL);
        for (size_t j = 0; j < sizeof known / sizeof *known; j++) mr_near_offer(&near, known[j]);
        const char *const best = mr_near_best(&near);
        if (!cases[i].best)
            assert_null(best);
        else
            assert_string_equal(best, cases[i].best);
    }
    assert_int_equal(mr_near_distance("kitten", "sitting"), 3);
    assert_int_equal(mr_near_distance("ab", "ba"), 1);
    assert_int_equal(mr_near_distance("", "abc"), 3);
    char longest[MR_NEAR_BYTES + 2];
    memset(longest, 'x', sizeof longest);
    longest[MR_NEAR_BYTES + 1] = '\0';
    assert_true(mr_near_distance(longest, "x") == SIZE_MAX);
    assert_int_equal(mr_near_distance(longest + 1, "x"), MR_NEAR_BYTES - 1);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    for (int once = 0; once < 2; once++) {
        for (size_t until = 0;; until++) {
            struct options options;
            struct mr_err err;
            failing_start(until, once);
            const long live = failing.live;
            mr_status status = mr_options_init(table, &options, &err);
            if (status == MR_OK) status = mr_options_set(table, &options, "list", "x,y,z", &err);
            if (status == MR_OK) status = mr_options_add(table, &options, "map", "q=r", &err);
            if (status == MR_OK) status = mr_options_add(table, &options, "map", "q=s", &err);
            if (status == MR_OK) status = mr_options_set(table, &options, "name", "y", &err);
            const bool has_failed = failing.failed;
            failing_stop();
            assert_int_equal(status, has_failed ? MR_ENOMEM : MR_OK);
            mr_options_deinit(table, &options);
            assert_int_equal(failing.live, live);
            if (!has_failed) break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),  cmocka_unit_test(test_amounts), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_lists), cmocka_unit_test(test_near),    cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
