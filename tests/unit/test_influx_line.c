/* The line protocol: what becomes of values, names and times. Hostile texts in a real server:
 * tests/pipeline/test_sinks.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sink/influx/line.h"

#define TEXT_BYTES 4096

static char *names(const char *name)
{
    static char kept[16][32];
    static size_t next;
    char *const text = kept[next++ % 16];
    snprintf(text, 32, "%s", name);
    return text;
}

struct made {
    char data[TEXT_BYTES];
    struct mr_remote_text text;
    uint32_t units;
    mr_reason reason;
    char why[128];
    mr_status status;
    uint64_t skipped, empty;
};

static struct mr_line_options options_of(void)
{
    return (struct mr_line_options){
        .measurement = names("m"), .timestamp_unit = MR_PRECISION_MS, .same_time = MR_SAME_TIME_OVERWRITE};
}

static void make(struct made *made, const struct mr_line_options *options, const char *value, int64_t offset)
{
    struct mr_line *line;
    struct mr_err err;
    memset(made, 0, sizeof *made);
    made->text = (struct mr_remote_text){.data = made->data, .cap = TEXT_BYTES - 1};
    assert_int_equal(mr_line_create(options, TEXT_BYTES, &line, &err), MR_OK);
    const struct mr_remote_record record = {.value = value,
                                            .value_bytes = value ? strlen(value) : 0,
                                            .topic = "a topic",
                                            .offset = offset,
                                            .event_ms = 1700000000123,
                                            .partition = 2};
    made->status = mr_line_add(line, &record, &made->text, &made->units, &made->reason, made->why);
    made->skipped = mr_line_skipped(line);
    made->empty = mr_line_empty(line);
    mr_line_destroy(line);
}

static void becomes(const struct mr_line_options *options, const char *value, const char *expected)
{
    struct made made;
    make(&made, options, value, 5);
    if (made.status) fail_msg("%s: %s", value, made.why);
    assert_string_equal(made.data, expected);
}

#define AT " 1700000000123000000\n"

static void test_values(void **state)
{
    (void)state;
    struct mr_line_options options = options_of();
    char *integers[] = {names("i")};
    options.integers = (struct mr_strings){integers, 1};
    becomes(&options, "{\"a\":1,\"b\":-1.5e3,\"c\":true,\"d\":false,\"e\":\"x\"}",
            "m a=1,b=-1.5e3,c=true,d=false,e=\"x\"" AT);
    becomes(&options, " { \"i\" : 7 , \"a\" : 0 } ", "m i=7i,a=0" AT);
    becomes(&options, "{\"i\":3.0,\"a\":1}", "m i=3i,a=1" AT);
    becomes(&options, "{\"i\":-9223372036854775808,\"a\":1}", "m i=-9223372036854775808i,a=1" AT);
    becomes(&options, "{\"i\":9223372036854775808,\"a\":1}", "m a=1" AT);
    becomes(&options, "{\"i\":1.5,\"a\":1}", "m a=1" AT);
    becomes(&options, "{\"n\":null,\"a\":1,\"x\":1e400,\"o\":{},\"l\":[]}", "m a=1" AT);
    becomes(&options, "{\"a\":{\"b\":{\"c\":1},\"d\":[2,{\"e\":3}]}}", "m a.b.c=1,a.d.0=2,a.d.1.e=3" AT);
    becomes(&options, "{\"a\":\"q\\\"\\\\ \\u00e9\\n\\ud834\\udd1e\"}",
            "m a=\"q\\\"\\\\ \xc3\xa9 \xf0\x9d\x84\x9e\"" AT);
    becomes(&options, "{\"time\":5,\"a\":1,\"\":2}", "m a=1" AT);
    becomes(&options, "{\"a b,c=d\\\\\":1}", "m a\\ b\\,c\\=d=1" AT);
    struct made made;
    make(&made, &options, "{\"n\":null,\"a\":1,\"i\":1.5}", 0);
    assert_int_equal(made.skipped, 2);
}

static void test_tags(void **state)
{
    (void)state;
    struct mr_line_options options = options_of();
    char *tags[] = {names("z"), names("@topic"), names("b"), names("@partition")};
    char *fields[] = {names("f")};
    options.measurement = names("a,b c=d");
    options.tags = (struct mr_strings){tags, 4};
    options.fields = (struct mr_strings){fields, 1};
    becomes(&options, "{\"f\":1,\"g\":2,\"z\":\"x y\",\"b\":7}",
            "a\\,b\\ c=d,b=7,partition=2,topic=a\\ topic,z=x\\ y f=1" AT);
    becomes(&options, "{\"z\":null,\"f\":1,\"b\":\"\"}", "a\\,b\\ c=d,partition=2,topic=a\\ topic f=1" AT);
    becomes(&options, "{\"z\":\"\\\\\",\"f\":1,\"b\":\"e=,\\\\\"}",
            "a\\,b\\ c=d,b=e\\=\\,,partition=2,topic=a\\ topic f=1" AT);
}

static void test_times(void **state)
{
    (void)state;
    static const struct {
        int unit, precision;
        const char *value, *expected;
    } cases[] = {
        {MR_PRECISION_S, MR_PRECISION_NS, "{\"t\":1700000000,\"a\":1}", "m a=1 1700000000000000000\n"},
        {MR_PRECISION_S, MR_PRECISION_MS, "{\"t\":1700000000.5,\"a\":1}", "m a=1 1700000000500\n"},
        {MR_PRECISION_US, MR_PRECISION_US, "{\"t\":1700000000000001,\"a\":1}", "m a=1 1700000000000001\n"},
        {MR_PRECISION_NS, MR_PRECISION_S, "{\"t\":-1,\"a\":1}", "m a=1 -1\n"},
        {MR_PRECISION_MS, MR_PRECISION_MS, "{\"t\":-1,\"a\":1}", "m a=1 -1\n"},
    };
    struct mr_line_options options = options_of();
    struct made made;
    options.timestamp = names("t");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.timestamp_unit = cases[i].unit;
        options.precision = cases[i].precision;
        becomes(&options, cases[i].value, cases[i].expected);
    }
    static const char *const wrong[] = {"{\"a\":1}", "{\"t\":\"now\",\"a\":1}", "{\"t\":1e300,\"a\":1}",
                                        "{\"t\":9223372036854775807,\"a\":1}"};
    options.timestamp_unit = MR_PRECISION_MS;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make(&made, &options, wrong[i], 0);
        assert_int_equal(made.status, MR_EDATA);
        assert_int_equal(made.reason, i ? MR_REASON_RANGE : MR_REASON_MISSING);
        assert_non_null(strstr(made.why, "\"t\""));
        assert_int_equal(made.text.used, 0);
    }
}

/* Points of one millisecond stand apart, within it, and the same record is always the same point. */
static void test_spread(void **state)
{
    (void)state;
    static long long seen[2000];
    struct mr_line_options options = options_of();
    struct made made;
    options.same_time = MR_SAME_TIME_SPREAD;
    for (int i = 0; i < 2000; i++) {
        make(&made, &options, "{\"a\":1}", 5000000000 + i);
        assert_int_equal(sscanf(made.data, "m a=1 %lld\n", &seen[i]), 1);
        assert_int_equal(seen[i] / 1000000, 1700000000123);
        for (int k = 0; k < i; k++) assert_true(seen[k] != seen[i]);
    }
    make(&made, &options, "{\"a\":1}\n{\"a\":2}\n{\"a\":3}", 5000000000);
    assert_int_equal(made.units, 3);
    long long time[3];
    assert_int_equal(sscanf(made.data, "m a=1 %lld\nm a=2 %lld\nm a=3 %lld\n", &time[0], &time[1], &time[2]), 3);
    assert_true(time[0] == seen[0] && time[1] == time[0] + 1 && time[2] == time[0] + 2);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "null",
                                        "1",
                                        "[]",
                                        "[1]",
                                        "{",
                                        "{\"a\":}",
                                        "{\"a\":1}x",
                                        "{\"a\":1,}",
                                        "[{\"a\":1}",
                                        "[{\"a\":1},]",
                                        "{\"a\":01}",
                                        "{\"a\":\"\\x\"}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":\"\\ud800\"}",
                                        "{'a':1}",
                                        "{\"a\":1 \"b\":2}",
                                        "{\"a\":1;\"b\":2}",
                                        "{\"a\":[1;2]}",
                                        "[{\"a\":1};{\"a\":1}]"};
    const struct mr_line_options options = options_of();
    struct made made;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make(&made, &options, wrong[i], 0);
        if (made.status != MR_EDATA || made.reason != MR_REASON_SYNTAX || made.text.used)
            fail_msg("%s: %s", wrong[i], made.data);
    }
    make(&made, &options, NULL, 0);
    assert_int_equal(made.reason, MR_REASON_TOMBSTONE);
    make(&made, &options, "{\"a\":null}", 0);
    assert_int_equal(made.status, MR_EDATA);
    assert_int_equal(made.reason, MR_REASON_MISSING);
    make(&made, &options, "[{\"a\":1},{},{\"a\":2}]", 0); /* an object without fields among others is left out */
    assert_int_equal(made.status, MR_OK);
    assert_int_equal(made.units, 2);
    assert_int_equal(made.empty, 1);
}

/* At any size of the buffer: the whole, or nothing. */
static void test_room(void **state)
{
    (void)state;
    const struct mr_line_options options = options_of();
    const char *const value = "{\"abc\":\"some text\"}\n{\"b\":true}";
    struct mr_line *line;
    struct mr_err err;
    struct made whole;
    make(&whole, &options, value, 5);
    assert_int_equal(mr_line_create(&options, TEXT_BYTES, &line, &err), MR_OK);
    const struct mr_remote_record record = {
        .value = value, .value_bytes = strlen(value), .topic = "", .offset = 5, .event_ms = 1700000000123};
    for (size_t cap = 0; cap <= whole.text.used + 1; cap++) {
        char data[TEXT_BYTES];
        memset(data, '#', sizeof data);
        struct mr_remote_text text = {.data = data, .cap = cap};
        uint32_t units;
        mr_reason reason;
        char why[128];
        const mr_status status = mr_line_add(line, &record, &text, &units, &reason, why);
        assert_int_equal(status, cap < whole.text.used ? MR_AGAIN : MR_OK);
        assert_int_equal(text.used, status ? 0 : whole.text.used);
        for (size_t i = cap; i < sizeof data; i++) assert_int_equal(data[i], '#');
    }
    mr_line_destroy(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_tags),    cmocka_unit_test(test_times),
        cmocka_unit_test(test_spread), cmocka_unit_test(test_refused), cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
