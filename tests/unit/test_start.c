/* Where a Kafka source starts, and which topics it may be asked for, are checked before anything is started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source/kafka/options.h"
#include "source/kafka/source.h"

static void test_offsets(void **state)
{
    struct mr_kafka_start start;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_kafka_start_parse("in/0=12,in/10=99,a.b-c_d/1=0,in.x/1=9223372036854775807", &start, &err),
                     MR_OK);
    assert_int_equal(start.kind, MR_START_OFFSETS);
    assert_int_equal(mr_kafka_start_offset(&start, "in", 0), 12);
    assert_int_equal(mr_kafka_start_offset(&start, "in", 10), 99);
    assert_int_equal(mr_kafka_start_offset(&start, "in", 1), -1);
    assert_int_equal(mr_kafka_start_offset(&start, "a.b-c_d", 1), 0);
    assert_int_equal(mr_kafka_start_offset(&start, "in.x", 1), INT64_MAX);
}

static void test_malformed(void **state)
{
    static const char *const cases[][2] = {
        {"in/0=12,in/1", "\"in/1\""}, {"in/0=12,", "\"\""},
        {"in/0=x", "\"in/0=x\""},     {"in/0=12x,in/1=3", "\"in/0=12x\""},
        {"in/0=-1", "\"in/0=-1\""},   {"in/x=1", "\"in/x=1\""},
        {"/0=1", "\"/0=1\""},         {"in/0=1, in/1=2,in/2", "\"in/2\""},
        {"in/0=", "\"in/0=\""},       {"in/99999999999=1", "\"in/99999999999=1\""},
        {"in=0/1", "\"in=0/1\""},     {"in/0=99999999999999999999", "99999999999999999999"},
        {"in,in/0=1", "\"in\""},      {"in/0", "in/0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mr_kafka_start start;
        struct mr_err err = {0};
        const mr_status status = mr_kafka_start_parse(cases[i][0], &start, &err);
        if (status != MR_ECONFIG || !strstr(err.text, cases[i][1]) || !strstr(err.text, "topic/0=12"))
            fail_msg("%s: %d %s", cases[i][0], status, err.text);
    }
}

/* What is not in the topic any more is said in numbers where they are known. */
static void test_lost(void **state)
{
    static const struct {
        int64_t offset;
        struct mr_kafka_bounds bounds;
        const char *text;
    } cases[] = {
        {100, {350, 900}, "offsets 100 to 349 of in[2], 250 of them, were deleted before they were read"},
        {901, {0, 900}, "offset 901 of in[2] is to be read next, but the partition ends at 900"},
        {100, {-1, -1}, "the next record of in[2] is not in the topic"},
        {-1, {350, 900}, "the next record of in[2] is not in the topic"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mr_err err = {0};
        assert_int_equal(mr_kafka_lost("in", 2, cases[i].offset, &cases[i].bounds, &err), MR_EDATA);
        if (!strstr(err.text, cases[i].text) || !strstr(err.text, "source.lost_offsets")) fail_msg("%s", err.text);
    }
}

static mr_status check(const char *servers, const char *topic, int membership, const char *start, struct mr_err *err)
{
    struct mr_pair pair = {(char *)(uintptr_t) "bootstrap.servers", (char *)(uintptr_t)servers};
    char *topics[] = {(char *)(uintptr_t) "other", (char *)(uintptr_t)topic};
    const struct mr_kafka_source_options opt = {.properties = {.item = &pair, .count = 1},
                                                .topics = {.item = topics, .count = 2},
                                                .membership = membership,
                                                .start = (char *)(uintptr_t)start};
    return mr_kafka_source_check(&opt, err);
}

static void test_topics(void **state)
{
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(check("h:1", "in", MR_MEMBER_STATIC, "in/0=1,other/0=2", &err), MR_OK);
    assert_int_equal(check("h:1", "^in", MR_MEMBER_STATIC, "in.x/0=1", &err), MR_OK);
    assert_int_equal(check("h:1", "in", MR_MEMBER_STATIC, "other/0=2,i/0=1", &err), MR_ECONFIG);
    assert_non_null(strstr(err.text, "\"i\" is not in source.topics"));
    assert_int_equal(check("h:1", "^in", MR_MEMBER_STATIC, "ox/0=1", &err), MR_ECONFIG);
}

static void test_pattern(void **state)
{
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(check("h:1", "^in", MR_MEMBER_DYNAMIC, "latest", &err), MR_OK);
    assert_int_equal(check("embedded", "in", MR_MEMBER_NONE, "latest", &err), MR_OK);
    assert_int_equal(check("h:1", "^in", MR_MEMBER_NONE, "latest", &err), MR_ECONFIG);
    assert_non_null(strstr(err.text, "a regular expression needs a group: "));
    assert_int_equal(check("embedded", "^in", MR_MEMBER_STATIC, "latest", &err), MR_ECONFIG);
    assert_non_null(strstr(err.text, "embedded broker"));
}

/* What a run finds out: -X, and partitions that are not there. */
static void test_late(void **state)
{
    struct mr_kafka_start start;
    struct mr_err err = {0};
    struct mr_pair pair = {(char *)(uintptr_t) "group.id", (char *)(uintptr_t) "mine"};
    const struct mr_map map = {.item = &pair, .count = 1};
    (void)state;
    assert_int_equal(mr_kafka_properties_check(&map, &err), MR_ECONFIG);
    assert_non_null(strstr(err.text, "source.group"));
    assert_int_equal(check("h:1", "other", MR_MEMBER_STATIC, "latest", &err), MR_ECONFIG);
    assert_non_null(strstr(err.text, "\"other\" stands there twice"));
    assert_int_equal(mr_kafka_start_parse("tt/3=5,t/9=1,tt/7=5", &start, &err), MR_OK);
    assert_int_equal(mr_kafka_start_check(&start, "other", 1, &err), MR_OK);
    assert_int_equal(mr_kafka_start_check(&start, "tt", 8, &err), MR_OK);
    assert_int_equal(mr_kafka_start_check(&start, "tt", 4, &err), MR_ECONFIG);
    assert_non_null(strstr(err.text, "tt/7=5: topic \"tt\" has 4 partitions"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_offsets), cmocka_unit_test(test_malformed),
                                       cmocka_unit_test(test_lost),    cmocka_unit_test(test_topics),
                                       cmocka_unit_test(test_pattern), cmocka_unit_test(test_late)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
