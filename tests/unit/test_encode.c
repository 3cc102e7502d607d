/* Output records byte for byte: every kind of value, many records a message, keys, headers, and what happens when the
 * box is full. */
#include "pipeline/encode.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "layout_fixture.h"

#define ROW_CAP 128

static const char *const labels[] = {"idle", "work", "\"fault\", of a name that is longer than one block"};
static const struct mr_model_info multi = {.type = "mlp",
                                           .version = "7",
                                           .feature_count = 2,
                                           .width = 3,
                                           .is_classifier = true,
                                           .class_count = 3,
                                           .label = labels};
static const struct mr_model_info binary = {
    .type = "logistic", .version = "", .feature_count = 2, .width = 1, .is_classifier = true, .class_count = 2};

/* ---- a source that knows one topic, one timestamp and the header "trace" ---- */

static const char *topic_name(const struct mr_source *source, uint32_t topic)
{
    (void)source;
    return topic ? "other" : "example_1";
}

static int64_t timestamp_ms(const struct mr_source *source, const struct mr_message *message)
{
    (void)source;
    return message->handle ? 1700000000123 : -1;
}

static bool header(const struct mr_source *source, const struct mr_message *message, const char *name,
                   struct mr_span *value_out)
{
    (void)source;
    if (!message->handle || strcmp(name, "trace")) return false;
    *value_out = (struct mr_span){"t\"1", 3};
    return true;
}

static const struct mr_source_ops source_ops = {
    .name = "test", .topic_name = topic_name, .timestamp_ms = timestamp_ms, .header = header};

/* ---- one batch of rows ---- */

struct batch {
    struct fixture f;
    struct mr_layout *layout;
    struct mr_encoder *encoder;
    struct mr_message message[ROW_CAP];
    struct mr_rows rows;
    struct mr_scores scores[2];
    struct mr_span capture[4 * ROW_CAP];
    uint32_t row_message[ROW_CAP];
    struct mr_reject reject[4];
    float x[2 * ROW_CAP], y[2][4 * ROW_CAP];
    int32_t class_index[2][ROW_CAP];
    struct mr_record record[ROW_CAP];
    struct mr_outbox box;
    char arena[1 << 16];
};

static void batch_init(struct batch *b, const struct mr_codec_ops *codec)
{
    memset(b, 0, sizeof *b);
    fixture_init(&b->f, codec);
    fixture_feature(&b->f, "a");
    fixture_feature(&b->f, "b");
    fixture_model(&b->f, "m", &multi);
    fixture_model(&b->f, "p", &binary);
    b->rows = (struct mr_rows){.x = b->x,
                               .capture = b->capture,
                               .message = b->row_message,
                               .reject = b->reject,
                               .feature_count = 2,
                               .capture_count = 4,
                               .row_cap = ROW_CAP,
                               .reject_cap = 4};
    b->scores[0] = (struct mr_scores){.y = b->y[0], .class_index = b->class_index[0], .width = 3, .row_cap = ROW_CAP};
    b->scores[1] = (struct mr_scores){.y = b->y[1], .class_index = b->class_index[1], .width = 1, .row_cap = ROW_CAP};
    b->box =
        (struct mr_outbox){.record = b->record, .record_cap = ROW_CAP, .arena = b->arena, .arena_cap = sizeof b->arena};
}

static void batch_compile(struct batch *b)
{
    struct mr_err err;
    if (mr_layout_create(&b->f.job, b->f.info, &b->layout, &err)) fail_msg("%s", err.text);
    if (mr_encoder_create(&b->f.job, b->layout, b->f.info, &b->encoder, &err)) fail_msg("%s", err.text);
}

static void batch_deinit(struct batch *b)
{
    mr_encoder_destroy(b->encoder);
    mr_layout_destroy(b->layout);
}

/* A row of its own message; offsets count up. */
static void batch_row(struct batch *b, const char *value)
{
    const size_t row = b->rows.row_count++;
    b->row_message[row] = (uint32_t)row;
    b->message[row] =
        (struct mr_message){.value = value, .value_bytes = strlen(value), .offset = 40 + (int64_t)row, .partition = 3};
}

static void capture(struct batch *b, size_t column, size_t row, const char *text)
{
    b->capture[column * ROW_CAP + row] = (struct mr_span){text, text ? strlen(text) : 0};
}

static size_t encode(struct batch *b, size_t row)
{
    const struct mr_encode_input input = {b->message, b->scores, &source_ops, NULL, false};
    mr_encode(b->encoder, &input, &b->rows, &row, &b->box);
    return row;
}

static void record_is(const struct batch *b, size_t i, const char *want)
{
    const struct mr_record *record = &b->record[i];
    assert_in_range(i, 0, b->box.count - 1);
    if (record->value_bytes != strlen(want) || memcmp(record->value, want, record->value_bytes)) {
        fail_msg("record %zu is %.*s, expected %s", i, (int)record->value_bytes, record->value, want);
    }
}

/* One row, one emitted value: what the record looks like. */
static void value_is(struct batch *b, const char *expression, const char *want)
{
    b->f.job.emit.fields.count = 0;
    fixture_emit(&b->f, "v", expression);
    batch_compile(b);
    b->box.count = b->box.arena_used = 0;
    assert_int_equal(encode(b, 0), b->rows.row_count);
    char text[512];
    snprintf(text, sizeof text, "{\"v\":%s}", want);
    record_is(b, 0, text);
    batch_deinit(b);
}

static void test_outputs(void **state)
{
    (void)state;
    static struct batch b;
    batch_init(&b, &fixture_json);
    batch_row(&b, "{}");
    b.class_index[0][0] = 2;
    b.y[0][0] = 0.25f, b.y[0][MR_TILE_ROWS] = 0.125f, b.y[0][2 * MR_TILE_ROWS] = 0.625f;
    b.y[1][0] = 0.1f;
    b.class_index[1][0] = 0;
    value_is(&b, "m", "2");
    value_is(&b, "m.class", "2");
    value_is(&b, "m.label", "\"\\\"fault\\\", of a name that is longer than one block\"");
    value_is(&b, "m.probability", "0.625");
    value_is(&b, "m.probabilities", "[0.25,0.125,0.625]");
    value_is(&b, "m.scores[1]", "0.125");
    value_is(&b, "p.label", "0");
    value_is(&b, "p.score", "0.1");
    value_is(&b, "p.probability", "0.9");
    value_is(&b, "p.probabilities", "[0.9,0.1]");
    value_is(&b, "p.probabilities[0]", "0.9");
    value_is(&b, "p.scores", "[0.1]");
    b.f.job.emit.floats = fixture_text("fixed:3");
    value_is(&b, "p.probabilities", "[0.900,0.100]");
    b.class_index[0][0] = 17; /* a class that the model does not have prints as a number */
    value_is(&b, "m.label", "17");
}

static void test_not_finite(void **state)
{
    (void)state;
    static struct batch b;
    batch_init(&b, &fixture_json);
    batch_row(&b, "{}");
    fixture_emit(&b.f, "s", "m.scores");
    batch_compile(&b);
    b.y[0][0] = NAN, b.y[0][MR_TILE_ROWS] = -INFINITY, b.y[0][2 * MR_TILE_ROWS] = -0.0f;
    encode(&b, 0);
    record_is(&b, 0, "{\"s\":[null,null,-0]}");
    assert_int_equal(mr_encoder_nonfinite_count(b.encoder), 2);
    batch_deinit(&b);
}

static void test_json_captures(void **state)
{
    (void)state;
    static struct batch b;
    /* the capture at the very end of the message: nothing behind it may be read (address sanitizer) */
    char *value = malloc(24);
    memcpy(value, "{\"id\":   123456789012345", 24);
    batch_init(&b, &fixture_json);
    batch_row(&b, "");
    b.message[0].value = value;
    b.message[0].value_bytes = 24;
    b.capture[0] = (struct mr_span){value + 9, 15};
    value_is(&b, "id", "123456789012345");
    b.capture[0] = (struct mr_span){value + 20, 4};
    value_is(&b, "id", "2345");
    b.capture[0] = (struct mr_span){value, 1}; /* a whole block can be read */
    value_is(&b, "id", "{");
    capture(&b, 0, 0, "\"a\\u00e9 and a long text that is no single block\"");
    value_is(&b, "id", "\"a\\u00e9 and a long text that is no single block\"");
    capture(&b, 0, 0, NULL);
    value_is(&b, "id", "null");
    capture(&b, 0, 0, "{\n\"a\":\r\n1}");
    value_is(&b, "id", "{\n\"a\":\r\n1}");
    b.f.job.emit.framing = MR_EMIT_LINES; /* one record a line: the line breaks become spaces */
    value_is(&b, "id", "{ \"a\":  1}");
    free(value);
}

static void test_plain_captures(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"12", "12"},
        {"-0.5e+3", "-0.5e+3"},
        {"007", "\"007\""},
        {"1.", "\"1.\""},
        {"+1", "\"+1\""},
        {"nan", "\"nan\""},
        {"", "\"\""},
        {" 1", "\" 1\""},
        {"true", "\"true\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\x01\t\n", "\"\\u0001\\t\\n\""},
        {"\xc3\xa9", "\"\xc3\xa9\""},
        {"\"say \"\"hi\"\"\"", "\"say \\\"hi\\\"\""},
        {"\"\"\"\"", "\"\\\"\""},
        {NULL, "null"},
        {"12345678901234567890123", "12345678901234567890123"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct batch b;
        batch_init(&b, &fixture_csv);
        batch_row(&b, rows[i].text ? rows[i].text : "");
        capture(&b, 0, 0, rows[i].text);
        value_is(&b, "id", rows[i].want);
    }
}

static void test_features_and_parts(void **state)
{
    (void)state;
    static struct batch b;
    batch_init(&b, &fixture_f32);
    batch_row(&b, "");
    b.x[MR_TILE_ROWS] = 21.53f;
    value_is(&b, "b", "21.53");
    value_is(&b, "@partition", "3");
    value_is(&b, "@offset", "40");
    value_is(&b, "@topic", "\"example_1\"");
    value_is(&b, "@timestamp", "null");
    value_is(&b, "@header.trace", "null");
    value_is(&b, "@key", "null");
    b.message[0].handle = &b;
    b.message[0].key = "k\xff\"";
    b.message[0].key_bytes = 3;
    value_is(&b, "@timestamp", "1700000000123");
    value_is(&b, "@header.trace", "\"t\\\"1\"");
    value_is(&b, "@header.other", "null");
    value_is(&b, "@key", "\"k\xef\xbf\xbd\\\"\"");
}

/* The label of a record, from where it stands: a number in a key is one in the output, other text is quoted. */
static void test_label(void **state)
{
    (void)state;
    static const struct {
        const char *key, *want;
    } rows[] = {{"4.9559", "4.9559"}, {"-3e2", "-3e2"}, {"+5", "\"+5\""},
                {"five", "\"five\""}, {"", "\"\""},     {NULL, "null"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static struct batch b;
        batch_init(&b, &fixture_csv);
        b.f.job.record.label = fixture_text("@key");
        batch_row(&b, "");
        b.message[0].key = rows[i].key;
        b.message[0].key_bytes = rows[i].key ? strlen(rows[i].key) : 0;
        value_is(&b, "@label", rows[i].want);
    }
    static struct batch b;
    batch_init(&b, &fixture_json);
    b.f.job.record.label = fixture_text("id");
    batch_row(&b, "");
    capture(&b, 0, 0, "17");
    value_is(&b, "@label", "17");
}

static void test_record_facts(void **state)
{
    (void)state;
    static struct batch b;
    batch_init(&b, &fixture_json);
    for (int i = 0; i < 3; i++) batch_row(&b, "{}");
    fixture_emit(&b.f, "class", "m.class");
    b.f.headers[b.f.job.emit.headers.count++] = fixture_text("absent");
    b.f.headers[b.f.job.emit.headers.count++] = fixture_text("trace");
    b.f.job.emit.key = b.f.job.emit.timestamp = b.f.job.emit.provenance = true;
    b.message[1].handle = &b;
    b.message[1].key = "abc";
    b.message[1].key_bytes = 3;
    batch_compile(&b);
    assert_true(b.layout->reads_headers && b.layout->reads_timestamps);
    encode(&b, 0);
    assert_int_equal(b.box.count, 3);
    const struct mr_record *record = &b.record[1];
    assert_memory_equal(record->key, "abc", 3);
    assert_int_equal(record->key_bytes, 3);
    assert_true(record->key >= b.arena && record->key < b.arena + b.box.arena_used);
    assert_int_equal(record->timestamp_ms, 1700000000123);
    assert_int_equal(record->partition, 3);
    assert_int_equal(record->offset, 41);
    assert_int_equal(record->source_partition, 3);
    assert_int_equal(record->row_count, 1);
    assert_int_equal(record->header_count, 4);
    assert_string_equal(record->header[0].name, "trace");
    assert_memory_equal(record->header[0].value, "t\"1", 3);
    assert_string_equal(record->header[1].name, "millrace-model");
    assert_int_equal(record->header[1].value_bytes, 3);
    assert_memory_equal(record->header[1].value, "m@7", 3);
    assert_memory_equal(record->header[2].value, "p", 1); /* no version */
    assert_string_equal(record->header[3].name, "millrace-source");
    assert_int_equal(record->header[3].value_bytes, strlen("example_1/3/41"));
    assert_memory_equal(record->header[3].value, "example_1/3/41", strlen("example_1/3/41"));
    assert_null(b.record[0].key);
    assert_int_equal(b.record[0].timestamp_ms, -1);
    assert_int_equal(b.record[0].header_count, 3);
    batch_deinit(&b);
    static const int32_t wanted[] = {3, 3, MR_PARTITION_BY_KEY, MR_PARTITION_BY_BATCH};
    for (int partition = MR_PARTITION_AUTO; partition <= MR_PARTITION_STICKY; partition++) {
        b.f.job.emit.partition = partition;
        batch_compile(&b);
        b.box.count = 0;
        encode(&b, 0);
        assert_int_equal(b.record[0].partition, wanted[partition]);
        batch_deinit(&b);
    }
}

static void test_joined(void **state)
{
    (void)state;
    static struct batch b;
    batch_init(&b, &fixture_json);
    fixture_emit(&b.f, "c", "m.class");
    for (int i = 0; i < 8; i++) batch_row(&b, "x");
    for (int i = 0; i < 8; i++) b.class_index[0][i] = i % 3;
    b.row_message[1] = 0;   /* two rows of message 0 */
    b.message[4].key = "k"; /* has a key: alone */
    b.message[4].key_bytes = 1;
    b.message[6].partition = 9; /* another partition */
    b.f.job.emit.framing = MR_EMIT_ARRAY;
    batch_compile(&b);
    assert_int_equal(encode(&b, 0), 8);
    assert_int_equal(b.box.count, 5);
    record_is(&b, 0, "[{\"c\":0},{\"c\":1},{\"c\":2},{\"c\":0}]");
    assert_int_equal(b.record[0].row_count, 4);
    assert_int_equal(b.record[0].offset, 43); /* of the last one in it */
    record_is(&b, 1, "[{\"c\":1}]");
    record_is(&b, 2, "[{\"c\":2}]");
    record_is(&b, 3, "[{\"c\":0}]");
    record_is(&b, 4, "[{\"c\":1}]");
    batch_deinit(&b);

    b.f.job.emit.framing = MR_EMIT_LINES;
    b.f.job.emit.records_max = 3;
    batch_compile(&b);
    b.box.count = b.box.arena_used = 0;
    assert_int_equal(encode(&b, 0), 8);
    record_is(&b, 0, "{\"c\":0}\n{\"c\":1}\n{\"c\":2}");
    record_is(&b, 1, "{\"c\":0}");
    batch_deinit(&b);

    b.f.job.emit.timestamp = true; /* each message has its own: no neighbours */
    batch_compile(&b);
    b.box.count = b.box.arena_used = 0;
    encode(&b, 0);
    record_is(&b, 0, "{\"c\":0}\n{\"c\":1}");
    record_is(&b, 1, "{\"c\":2}");
    batch_deinit(&b);
}

/* However small the box: the same bytes come out in the end, and never half a record. */
static void test_small_boxes(void **state)
{
    (void)state;
    static struct batch b, want;
    for (int framing = MR_EMIT_SINGLE; framing <= MR_EMIT_ARRAY; framing++) {
        batch_init(&want, &fixture_json);
        fixture_emit(&want.f, "id", "id");
        fixture_emit(&want.f, "p", "p.score");
        want.f.job.emit.framing = framing;
        want.f.job.emit.records_max = framing == MR_EMIT_SINGLE ? 1 : 5;
        for (int i = 0; i < 100; i++) {
            batch_row(&want, "{}");
            capture(&want, 0, (size_t)i, &"\"0123456789012345678901234567890123456789"[i % 40]);
            want.y[1][i / 64 * 64 + i % 64] = (float)i / 7;
        }
        batch_compile(&want);
        assert_int_equal(encode(&want, 0), 100);
        for (size_t cap = 260; cap < 2000; cap += 37) {
            memcpy(&b, &want, sizeof b);
            b.rows.capture = b.capture, b.rows.message = b.row_message, b.rows.reject = b.reject, b.rows.x = b.x;
            char *arena = malloc(cap); /* of this size exactly: the address sanitizer watches its end */
            size_t row = 0, rows_out = 0;
            for (int rounds = 0; row < 100; rounds++) {
                b.box = (struct mr_outbox){.record = b.record, .record_cap = 3, .arena = arena, .arena_cap = cap};
                const size_t from = row;
                row = encode(&b, row);
                assert_true(row > from && rounds < 100);
                for (size_t i = 0; i < b.box.count; i++) {
                    rows_out += b.record[i].row_count;
                    const char last = b.record[i].value[b.record[i].value_bytes - 1];
                    assert_int_equal(last, framing == MR_EMIT_ARRAY ? ']' : '}');
                    if (framing != MR_EMIT_SINGLE) continue;
                    char *text = strndup(b.record[i].value, b.record[i].value_bytes);
                    record_is(&want, from + i, text);
                    free(text);
                }
            }
            assert_int_equal(rows_out, 100);
            assert_int_equal(b.rows.reject_count, 0);
            free(arena);
        }
        batch_deinit(&want);
    }
}

static void test_too_large(void **state)
{
    (void)state;
    static struct batch b;
    static char large[8000];
    memset(large, '7', sizeof large - 1);
    batch_init(&b, &fixture_json);
    fixture_emit(&b.f, "id", "id");
    for (int i = 0; i < 3; i++) batch_row(&b, "{}");
    capture(&b, 0, 0, "1");
    capture(&b, 0, 1, large);
    capture(&b, 0, 2, "3");
    batch_compile(&b);
    b.box.arena_cap = 4000;
    assert_int_equal(encode(&b, 0), 1); /* first what is there goes out */
    assert_int_equal(b.rows.reject_count, 0);
    b.box.count = b.box.arena_used = 0;
    assert_int_equal(encode(&b, 1), 3);
    assert_int_equal(b.box.count, 1);
    record_is(&b, 0, "{\"id\":3}");
    assert_int_equal(b.rows.reject_count, 1);
    assert_int_equal(b.reject[0].reason, MR_REASON_OUTPUT_SIZE);
    assert_int_equal(b.reject[0].message, 1);
    assert_int_equal(b.reject[0].bytes, 2);
    batch_deinit(&b);
}

static void places_are(const struct batch *b, size_t first, const uint32_t *places, const uint32_t *messages,
                       size_t count)
{
    assert_int_equal(b->box.count - first, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(b->record[first + i].row, places[i]);
        assert_ptr_equal(b->record[first + i].message, &b->message[messages[i]]);
    }
}

/* Rows of a message have their places in it, wherever boxes and slots cut; those that became no record have one, too.
 */
static void test_places(void **state)
{
    (void)state;
    static const struct mr_sink_ops asks = {.name = "asks", .reads_origin = true};
    static const uint32_t messages[] = {0, 0, 1, 2, 2, 2, 2, 3};
    static struct batch b;
    struct mr_job_sink sink = {.ops = &asks};
    for (int framing = MR_EMIT_SINGLE; framing <= MR_EMIT_LINES; framing++) {
        batch_init(&b, &fixture_json);
        fixture_emit(&b.f, "c", "m.class");
        for (int i = 0; i < 8; i++) batch_row(&b, "x");
        memcpy(b.row_message, messages, sizeof messages);
        b.f.job.sink = &sink;
        b.f.job.sink_count = 1;
        b.f.job.emit.framing = framing;
        b.f.job.emit.records_max = 2;
        batch_compile(&b);
        assert_true(b.layout->reads_timestamps);
        b.box.record_cap = framing == MR_EMIT_SINGLE ? 5 : 3;
        const size_t at = encode(&b, 0);
        if (framing == MR_EMIT_SINGLE)
            places_are(&b, 0, (uint32_t[]){0, 1, 0, 0, 1}, messages, 5);
        else
            places_are(&b, 0, (uint32_t[]){0, 0, 0}, (uint32_t[]){0, 1, 2}, 3); /* joined by twos, of one message */
        b.box.count = b.box.arena_used = 0;
        assert_int_equal(encode(&b, at), 8);
        if (framing == MR_EMIT_SINGLE)
            places_are(&b, 0, (uint32_t[]){2, 3, 0}, messages + 5, 3);
        else
            places_are(&b, 0, (uint32_t[]){2, 0}, (uint32_t[]){2, 3}, 2);

        /* The next slot begins in the middle of message 3, or with one that has its number in another batch. */
        for (int is_continued = 0; is_continued < 2; is_continued++) {
            struct mr_encode_input input = {b.message, b.scores, &source_ops, NULL, is_continued};
            size_t row = 0;
            b.rows.row_count = 1;
            b.row_message[0] = 3;
            b.box.count = b.box.arena_used = 0;
            mr_encode(b.encoder, &input, &b.rows, &row, &b.box);
            places_are(&b, 0, &(uint32_t){is_continued ? 1 : 0}, &(uint32_t){3}, 1);
        }
        batch_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_json_captures),
        cmocka_unit_test(test_plain_captures),
        cmocka_unit_test(test_features_and_parts),
        cmocka_unit_test(test_label),
        cmocka_unit_test(test_record_facts),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_small_boxes),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
