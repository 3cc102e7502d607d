/* Records through the whole path: each exactly once, with its class, in its place, with what goes along with it. */
#include "pipeline/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void every_record_is_scored_once(void **state)
{
    const struct fixture_job job = {.name = "once"};
    struct fixture_run run;
    (void)state;
    fixture_topic("once.in", 4);
    fixture_topic("once.out", 4);
    fixture_fill("once.in", 0, 20000, 4);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_in, 20000);
    assert_int_equal(run.summary->records_out, 20000);
    fixture_check_scores("once.out", 0, 20000, 4, true);
    for (int i = 0; i < 4; i++) assert_int_equal(fixture_committed("once", "once.in", i), 5000);
    fixture_run_free(&run);
}

/* The answers of one partition stand in the order of their records, with 1, 2 and 4 lanes. */
static void order_is_kept(const char *name, int lanes)
{
    char in[32], out[32], rest[32];
    const struct fixture_job job = {.name = name, .rest = rest};
    struct fixture_run run;
    int64_t last[4] = {-1, -1, -1, -1};
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(rest, sizeof rest, ",\"lanes\":%d", lanes);
    fixture_topic(in, 4);
    fixture_topic(out, 4);
    fixture_fill(in, 0, 10000, 4);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores(out, 0, 10000, 4, true);
    struct fixture_content content = fixture_read(out);
    for (size_t i = 0; i < content.count; i++) {
        const struct fixture_message *message = &content.message[i];
        const long long id = atoll(message->value + strlen("{\"id\":"));
        char key[32];
        assert_true(id > last[message->partition]);
        last[message->partition] = id;
        snprintf(key, sizeof key, "k%lld", id);
        assert_string_equal(message->key, key);
    }
    fixture_content_free(&content);
}

static void one_two_and_four_lanes_agree(void **state)
{
    (void)state;
    order_is_kept("lanes1", 1);
    order_is_kept("lanes2", 2);
    order_is_kept("lanes4", 4);
}

static const struct fixture_message laden = {
    .value = "{\"id\":1,\"a\":1,\"b\":2}",
    .bytes = sizeof "{\"id\":1,\"a\":1,\"b\":2}" - 1,
    .key = "ke\0y",
    .key_bytes = 4,
    .partition = 2,
    .timestamp_ms = 1700000000123,
    .header = {{"trace", "ab\0c", 4}, {"other", "x", 1}, {"trace", "last", 4}, {"nothing", NULL, 0}, {"empty", "", 0}},
    .header_count = 5,
};

static void key_headers_timestamp_and_provenance_go_through(void **state)
{
    const struct fixture_job job = {
        .name = "laden",
        .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"timestamp\":true,\"provenance\":true,"
                "\"headers\":[\"trace\",\"nothing\",\"empty\",\"absent\"]}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("laden.in", 4);
    fixture_topic("laden.out", 4);
    fixture_say("laden.in", 2, "{\"id\":0,\"a\":1,\"b\":2}");
    fixture_produce("laden.in", &laden, 1);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    struct fixture_content content = fixture_read("laden.out");
    assert_int_equal(content.count, 2);
    const struct fixture_message *bare = &content.message[0], *full = &content.message[1];
    assert_null(bare->key);
    assert_string_equal(fixture_header_of(bare, "millrace-source"), "laden.in/2/0");
    assert_int_equal(bare->header_count, 2);
    assert_int_equal(full->partition, 2);
    assert_int_equal(full->key_bytes, 4);
    assert_memory_equal(full->key, "ke\0y", 4);
    assert_int_equal(full->timestamp_ms, 1700000000123);
    assert_int_equal(full->header_count, 5);
    assert_string_equal(fixture_header_of(full, "trace"), "last");
    assert_string_equal(fixture_header_of(full, "nothing"), "(null)");
    assert_string_equal(fixture_header_of(full, "empty"), "");
    assert_null(fixture_header_of(full, "other"));
    assert_string_equal(fixture_header_of(full, "millrace-model"), "m@7");
    assert_string_equal(fixture_header_of(full, "millrace-source"), "laden.in/2/1");
    fixture_content_free(&content);
}

/* "emit.key": false and no headers: nothing but the value. */
static void nothing_goes_through_unasked(void **state)
{
    const struct fixture_job job = {.name = "bare",
                                    .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"key\":false}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("bare.in", 4);
    fixture_topic("bare.out", 4);
    fixture_produce("bare.in", &laden, 1);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    struct fixture_content content = fixture_read("bare.out");
    assert_int_equal(content.count, 1);
    assert_null(content.message[0].key);
    assert_int_equal(content.message[0].header_count, 0);
    assert_true(content.message[0].timestamp_ms > laden.timestamp_ms);
    fixture_content_free(&content);
}

/* One partition a key; and records without one are spread all the same. */
static void partition_by_key(void **state)
{
    const struct fixture_job job = {.name = "bykey",
                                    .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"partition\":\"key\"}",
                                    .rest = ",\"lanes\":2"};
    static struct fixture_message messages[2000];
    int32_t place[10];
    struct fixture_run run;
    size_t used[3] = {0};
    (void)state;
    fixture_topic("bykey.in", 2);
    fixture_topic("bykey.out", 3);
    for (size_t i = 0; i < 2000; i++) {
        messages[i] = (struct fixture_message){.value = strdup(fixture_record(i)), .partition = (int32_t)(i % 2)};
        messages[i].bytes = strlen(messages[i].value);
        if (i % 11 == 10) continue; /* no key */
        messages[i].key = &"0123456789"[i % 11];
        messages[i].key_bytes = 1;
    }
    fixture_produce("bykey.in", messages, 2000);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("bykey.out", 0, 2000, 0, true);
    struct fixture_content content = fixture_read("bykey.out");
    for (size_t i = 0; i < 10; i++) place[i] = -1;
    for (size_t i = 0; i < content.count; i++) {
        const struct fixture_message *message = &content.message[i];
        used[message->partition]++;
        if (!message->key) continue;
        int32_t *at = &place[message->key[0] - '0'];
        if (*at < 0) *at = message->partition;
        assert_int_equal(*at, message->partition);
    }
    for (size_t i = 0; i < 3; i++) assert_true(used[i] > 0);
    fixture_content_free(&content);
    for (size_t i = 0; i < 2000; i++) free((char *)(uintptr_t)messages[i].value);
}

static void partition_sticky_with_other_counts(void **state)
{
    const struct fixture_job job = {.name = "sticky",
                                    .emit =
                                        "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"partition\":\"sticky\"}",
                                    .rest = ",\"batch\":{\"records_max\":100}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("sticky.in", 4);
    fixture_topic("sticky.out", 3);
    fixture_fill("sticky.in", 0, 5000, 4);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("sticky.out", 0, 5000, 0, true);
    struct fixture_content content = fixture_read("sticky.out");
    for (int32_t p = 0; p < 3; p++) {
        size_t count = 0;
        for (size_t i = 0; i < content.count; i++) count += content.message[i].partition == p;
        assert_true(count > 0);
    }
    fixture_content_free(&content);
}

/* "same" where the output has fewer partitions: every record is still there. */
static void partition_same_with_fewer(void **state)
{
    const struct fixture_job job = {.name = "fewer"};
    struct fixture_run run;
    (void)state;
    fixture_topic("fewer.in", 4);
    fixture_topic("fewer.out", 2);
    fixture_fill("fewer.in", 0, 1000, 4);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("fewer.out", 0, 1000, 0, true);
}

/* Splits joined answers and checks that each of `count` records is in there once. Returns the messages read. */
static size_t joined_check(const char *topic, uint64_t count, bool is_array, size_t rows_max)
{
    struct fixture_content content = fixture_read(topic);
    unsigned char *seen = calloc(count, 1);
    const size_t messages = content.count;
    for (size_t i = 0; i < content.count; i++) {
        const char *at = content.message[i].value;
        size_t rows = 0;
        if (is_array) assert_int_equal(*at++, '[');
        for (;;) {
            unsigned long long id;
            int class_index, used = 0;
            if (sscanf(at, "{\"id\":%llu,\"class\":%d}%n", &id, &class_index, &used) != 2 || !used)
                fail_msg("not an answer: %.80s", at);
            assert_true(id < count);
            assert_int_equal(class_index, fixture_class(id));
            assert_int_equal(seen[id]++, 0);
            rows++;
            at += used;
            if (*at != (is_array ? ',' : '\n')) break;
            at++;
        }
        if (is_array) assert_int_equal(*at++, ']');
        assert_ptr_equal(at, content.message[i].value + content.message[i].bytes);
        assert_in_range(rows, 1, rows_max);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!seen[i]) fail_msg("%s: record %llu has no answer", topic, (unsigned long long)i);
    }
    free(seen);
    fixture_content_free(&content);
    return messages;
}

/* Fills a topic with messages that hold `each` records, as lines or as arrays. */
static void fill_many(const char *topic, uint64_t count, size_t each, bool is_array)
{
    char *text = malloc(each * 128 + 16);
    for (uint64_t i = 0; i < count; i += each) {
        char *at = text;
        for (uint64_t k = i; k < i + each && k < count; k++) {
            at += sprintf(at, "%s%s",
                          k > i      ? is_array ? " , "
                                       : k % 2  ? "\r\n"
                                                : "\n\n"
                          : is_array ? "["
                                     : "",
                          fixture_record(k));
        }
        if (is_array) *at++ = ']';
        fixture_produce(topic,
                        &(struct fixture_message){
                            .value = text, .bytes = (size_t)(at - text), .partition = (int32_t)(i / each % 4)},
                        1);
    }
    free(text);
}

static void lines_in_lines_out(void **state)
{
    const struct fixture_job job = {
        .name = "lines",
        .record = "{\"format\":\"json\",\"framing\":\"lines\",\"features\":[\"a\",\"b\"]}",
        .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"framing\":\"lines\",\"records_max\":50}",
        .rest = ",\"batch\":{\"records_max\":64}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("lines.in", 4);
    fixture_topic("lines.out", 4);
    fill_many("lines.in", 10000, 333, false); /* more records a message than a batch holds */
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, 10000);
    fixture_run_free(&run);
    assert_in_range(joined_check("lines.out", 10000, false, 50), 200, 400);
}

static void array_in_array_out(void **state)
{
    const struct fixture_job job = {.name = "array",
                                    .record = "{\"format\":\"json\",\"framing\":\"array\",\"features\":[\"a\",\"b\"]}",
                                    .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"framing\":\"array\"}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("array.in", 4);
    fixture_topic("array.out", 4);
    fill_many("array.in", 5000, 77, true);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    joined_check("array.out", 5000, true, 100);
}

/* Single records with keys, joined on the way out: a record with a key is never joined with its neighbours. */
static void joined_records_keep_their_keys(void **state)
{
    const struct fixture_job job = {.name = "keyed",
                                    .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"},\"framing\":\"array\"}"};
    struct fixture_run run;
    (void)state;
    fixture_topic("keyed.in", 4);
    fixture_topic("keyed.out", 4);
    fixture_fill("keyed.in", 0, 300, 4);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    assert_int_equal(joined_check("keyed.out", 300, true, 1), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_scored_once),
        cmocka_unit_test(one_two_and_four_lanes_agree),
        cmocka_unit_test(key_headers_timestamp_and_provenance_go_through),
        cmocka_unit_test(nothing_goes_through_unasked),
        cmocka_unit_test(partition_by_key),
        cmocka_unit_test(partition_sticky_with_other_counts),
        cmocka_unit_test(partition_same_with_fewer),
        cmocka_unit_test(lines_in_lines_out),
        cmocka_unit_test(array_in_array_out),
        cmocka_unit_test(joined_records_keep_their_keys),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
