/* The formats that are not JSON, from topic to topic: CSV with and without a header, packed and single float32 rows. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/fixture.h"

#define COUNT    300
#define PER_PACK 10

static void topics(const char *name)
{
    static const char *const kinds[] = {"in", "out", "dead"};
    for (size_t i = 0; i < 3; i++) {
        char topic[64];
        snprintf(topic, sizeof topic, "%s.%s", name, kinds[i]);
        fixture_topic(topic, 1);
    }
}

static size_t csv_row(uint64_t i, char *out, size_t cap)
{
    float a, b;
    fixture_features(i, &a, &b);
    return (size_t)snprintf(out, cap, "%llu,\"some, text\",%.9g,%.9g\r\n", (unsigned long long)i, (double)a, (double)b);
}

static void dead_is(const char *topic, const char *const *values, const char *const *reasons, size_t count)
{
    struct fixture_content content = fixture_read(topic);
    assert_int_equal(content.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(content.message[i].bytes, strlen(values[i]));
        assert_memory_equal(content.message[i].value, values[i], strlen(values[i]));
        assert_string_equal(fixture_header_of(&content.message[i], "millrace-error"), reasons[i]);
    }
    fixture_content_free(&content);
}

static void csv_with_a_header(void **state)
{
    const struct fixture_job job = {
        .name = "csv",
        .record = "{\"format\":\"csv\",\"framing\":\"lines\",\"header\":\"message\",\"features\":[\"a\",\"b\"]}"};
    struct fixture_run run;
    char text[4096];
    (void)state;
    topics("csv");
    for (uint64_t i = 0; i < COUNT;) {
        char *at = stpcpy(text, "id,note,a,b\r\n");
        for (int k = 0; k < PER_PACK; k++) at += csv_row(i++, at, 200);
        at = stpcpy(at, "7,bad,1,x\n8,bad,1\n");
        fixture_say("csv.in", 0, text);
    }
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, COUNT);
    assert_int_equal(run.summary->records_dead, 2 * (COUNT / PER_PACK));
    fixture_run_free(&run);
    fixture_check_scores("csv.out", 0, COUNT, 1, true);
    struct fixture_content dead = fixture_read("csv.dead");
    assert_int_equal(dead.count, 2 * (COUNT / PER_PACK));
    for (size_t i = 0; i < dead.count; i++) {
        const char *want = i % 2 ? "8,bad,1" : "7,bad,1,x";
        assert_int_equal(dead.message[i].bytes, strlen(want));
        assert_memory_equal(dead.message[i].value, want, strlen(want));
    }
    fixture_content_free(&dead);
    assert_int_equal(fixture_committed("csv", "csv.in", 0), COUNT / PER_PACK);
}

static void csv_by_columns(void **state)
{
    const struct fixture_job job = {
        .name = "columns",
        .record = "{\"format\":\"csv\",\"columns\":[\"id\",\"note\",\"a\",\"b\"],\"features\":[\"a\",\"b\"]}"};
    static const char *const bad[] = {"1,x,1", "1,x,,2"}, *const reasons[] = {"length", "missing"};
    struct fixture_run run;
    char text[256];
    (void)state;
    topics("columns");
    for (uint64_t i = 0; i < COUNT; i++) {
        csv_row(i, text, sizeof text);
        fixture_say("columns.in", 0, text);
        if (i == 20 || i == 40) fixture_say("columns.in", 0, bad[i / 40]);
    }
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("columns.out", 0, COUNT, 1, true);
    dead_is("columns.dead", bad, reasons, 2);
}

/* Rows in order, in one partition: answer i is that of row i. */
static void classes_check(const char *topic)
{
    struct fixture_content content = fixture_read(topic);
    char want[32];
    assert_int_equal(content.count, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        snprintf(want, sizeof want, "{\"class\":%d}", fixture_class(i));
        assert_string_equal(content.message[i].value, want);
    }
    fixture_content_free(&content);
}

static uint32_t bits_swapped(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return __builtin_bswap32(bits);
}

static void f32_packed(void **state)
{
    const struct fixture_job job = {.name = "packed",
                                    .record =
                                        "{\"format\":\"f32\",\"framing\":\"packed\",\"features\":[\"x[0]\",\"x[1]\"]}",
                                    .emit = "{\"fields\":{\"class\":\"m.class\"}}"};
    float rows[2 * (PER_PACK + 1)];
    struct fixture_run run;
    (void)state;
    topics("packed");
    for (uint64_t i = 0; i < COUNT;) {
        for (int k = 0; k < PER_PACK; k++, i++) fixture_features(i, &rows[2 * k], &rows[2 * k + 1]);
        rows[2 * PER_PACK] = 1, rows[2 * PER_PACK + 1] = NAN; /* this row is a dead letter, those beside it are not */
        fixture_produce("packed.in", &(struct fixture_message){.value = (const char *)rows, .bytes = sizeof rows}, 1);
    }
    fixture_produce("packed.in", &(struct fixture_message){.value = "1234567", .bytes = 7}, 1);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, COUNT);
    assert_int_equal(run.summary->records_dead, COUNT / PER_PACK + 1);
    assert_int_equal(run.summary->reasons[MR_REASON_RANGE], COUNT / PER_PACK);
    fixture_run_free(&run);
    classes_check("packed.out");
    struct fixture_content dead = fixture_read("packed.dead");
    assert_int_equal(dead.count, COUNT / PER_PACK + 1);
    for (size_t i = 0; i < COUNT / PER_PACK; i++) {
        assert_int_equal(dead.message[i].bytes, 2 * sizeof(float));
        assert_memory_equal(dead.message[i].value, rows + 2 * PER_PACK, 2 * sizeof(float));
    }
    assert_int_equal(dead.message[COUNT / PER_PACK].bytes, 7);
    fixture_content_free(&dead);
}

static void f32_single_big_endian(void **state)
{
    const struct fixture_job job = {
        .name = "single",
        .record = "{\"format\":\"f32\",\"byte_order\":\"big\",\"stride\":12,\"features\":[\"[0]\",\"[2]\"]}",
        .emit = "{\"fields\":{\"class\":\"m.class\"}}"};
    struct fixture_run run;
    (void)state;
    topics("single");
    for (uint64_t i = 0; i < COUNT; i++) {
        float a, b;
        fixture_features(i, &a, &b);
        const uint32_t row[3] = {bits_swapped(a), 0, bits_swapped(b)};
        fixture_produce("single.in", &(struct fixture_message){.value = (const char *)row, .bytes = sizeof row}, 1);
    }
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_dead, 0);
    fixture_run_free(&run);
    classes_check("single.out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(csv_with_a_header), cmocka_unit_test(csv_by_columns),
                                       cmocka_unit_test(f32_packed), cmocka_unit_test(f32_single_big_endian)};
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
