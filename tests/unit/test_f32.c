/* Packed rows against a plain loop: widths, strides, byte orders, tails, bad lengths, numbers that are not finite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry.h"

#define GUARD 12345.0f

struct f32_options {
    int64_t stride;
    int order;
};

static uint64_t random_state = 99;

static float random_float(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(random_state >> 32) / 1000;
}

static struct mr_rows rows_of(size_t row_cap, size_t cols)
{
    const size_t cells = mr_tile_count(row_cap) * MR_TILE_ROWS * cols;
    struct mr_rows rows = {.x = malloc((cells + 1) * sizeof(float)),
                           .label = calloc(row_cap, sizeof(double)),
                           .message = calloc(row_cap, sizeof(uint32_t)),
                           .reject = calloc(row_cap, sizeof(struct mr_reject)),
                           .feature_count = cols,
                           .row_cap = row_cap,
                           .reject_cap = row_cap};
    for (size_t i = 0; i <= cells; i++) rows.x[i] = GUARD;
    return rows;
}

static void rows_free(struct mr_rows *rows)
{
    free(rows->x);
    free(rows->label);
    free(rows->message);
    free(rows->reject);
}

static struct mr_decoder *decoder_of(const struct f32_options *options, const struct mr_field *field, size_t count,
                                     mr_framing framing)
{
    const struct mr_schema schema = {.field = field, .field_count = count, .framing = framing};
    struct mr_decoder *decoder;
    struct mr_err err;
    if (mr_codec_find("f32")->create(options, &schema, &decoder, &err)) fail_msg("%s", err.text);
    return decoder;
}

static void put_float(char *out, float value, bool is_big)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    for (int i = 0; i < 4; i++) out[is_big ? 3 - i : i] = (char)(bits >> (8 * i));
}

/* Features in order, `row_count` rows in messages of `per_message`, decoded into batches of row_cap. */
static void check(size_t cols, size_t row_count, size_t per_message, size_t padding, bool is_big, size_t row_cap)
{
    const struct mr_codec_ops *ops = mr_codec_find("f32");
    struct mr_field *field = calloc(cols, sizeof *field);
    for (size_t i = 0; i < cols; i++) field[i] = (struct mr_field){.path = "f", .column = (uint32_t)i};
    const size_t stride = cols * 4 + padding, message_count = (row_count + per_message - 1) / per_message;
    const struct f32_options options = {padding ? (int64_t)stride : 0, is_big};
    struct mr_decoder *decoder =
        decoder_of(&options, field, cols, per_message == 1 ? MR_FRAMING_SINGLE : MR_FRAMING_PACKED);
    struct mr_message *message = calloc(message_count, sizeof *message);
    float *want = malloc(row_count * cols * sizeof *want);
    for (size_t m = 0, row = 0; m < message_count; m++) {
        const size_t here = row_count - row < per_message ? row_count - row : per_message;
        char *value = malloc(here * stride); /* of this size exactly: the address sanitizer watches its end */
        memset(value, 0xff, here * stride);
        for (size_t r = 0; r < here; r++, row++) {
            for (size_t c = 0; c < cols; c++) {
                want[row * cols + c] = random_float();
                put_float(value + r * stride + c * 4, want[row * cols + c], is_big);
            }
        }
        message[m] = (struct mr_message){.value = value, .value_bytes = here * stride};
    }
    struct mr_cursor cursor = {0};
    size_t done = 0;
    while (cursor.message < message_count) {
        struct mr_rows rows = rows_of(row_cap, cols);
        ops->decode(decoder, message, message_count, &cursor, &rows);
        assert_int_equal(rows.reject_count, 0);
        assert_true(rows.row_count == row_cap || cursor.message == message_count);
        for (size_t r = 0; r < rows.row_count; r++) {
            assert_int_equal(rows.message[r], (done + r) / per_message);
            for (size_t c = 0; c < cols; c++)
                assert_true(rows.x[mr_tile_at(r, c, cols)] == want[(done + r) * cols + c]);
        }
        assert_true(rows.x[mr_tile_count(row_cap) * MR_TILE_ROWS * cols] == GUARD);
        done += rows.row_count;
        rows_free(&rows);
    }
    assert_int_equal(done, row_count);
    for (size_t m = 0; m < message_count; m++) free((void *)(uintptr_t)message[m].value);
    ops->destroy(decoder);
    free(message);
    free(want);
    free(field);
}

static void test_shapes(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33};
    static const size_t row_counts[] = {1, 3, 4, 63, 64, 65, 131, 200};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof row_counts / sizeof *row_counts; k++) {
            check(sizes[i], row_counts[k], 1, 0, false, 256);
            check(sizes[i], row_counts[k], 50, 0, true, 256);
            check(sizes[i], row_counts[k], 1000, 3, false, 256);
            check(sizes[i], row_counts[k], 7, 4, true, 37);
        }
    }
}

static void test_bad_messages(void **state)
{
    (void)state;
    const struct mr_codec_ops *ops = mr_codec_find("f32");
    const struct mr_field field[] = {{.path = "a", .column = 0}, {.path = "b", .column = 1}};
    struct mr_decoder *decoder = decoder_of(NULL, field, 2, MR_FRAMING_PACKED);
    static float good[6] = {1, 2, 3, 4, 5, 6};
    static float bad[6] = {1, 2, 3, 0, 5, 6};
    bad[3] = NAN;
    bad[4] = -INFINITY;
    const char *g = (const char *)good, *b = (const char *)bad;
    const struct mr_message message[] = {
        {.value = g, .value_bytes = 24}, {.value = g, .value_bytes = 0},  {.value = g, .value_bytes = 23},
        {.value = g, .value_bytes = 7},  {.value = b, .value_bytes = 24}, {.value = g, .value_bytes = 8},
    };
    struct mr_rows rows = rows_of(64, 2);
    struct mr_cursor cursor = {0};
    ops->decode(decoder, message, 6, &cursor, &rows);
    assert_int_equal(cursor.message, 6);
    assert_int_equal(rows.row_count, 5);
    assert_true(rows.x[mr_tile_at(3, 0, 2)] == 1 && rows.x[mr_tile_at(4, 1, 2)] == 2);
    assert_int_equal(rows.message[3], 4);
    assert_int_equal(rows.message[4], 5);
    static const struct mr_reject want[] = {
        {1, 0, 0, MR_REASON_EMPTY, MR_FIELD_NONE},
        {2, 0, 23, MR_REASON_LENGTH, MR_FIELD_NONE},
        {3, 0, 7, MR_REASON_LENGTH, MR_FIELD_NONE},
        {4, 8, 8, MR_REASON_RANGE, 1},
        {4, 16, 8, MR_REASON_RANGE, 0},
    };
    assert_int_equal(rows.reject_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(rows.reject[i].message, want[i].message);
        assert_int_equal(rows.reject[i].first, want[i].first);
        assert_int_equal(rows.reject[i].bytes, want[i].bytes);
        assert_int_equal(rows.reject[i].reason, want[i].reason);
        assert_int_equal(rows.reject[i].field, want[i].field);
    }
    /* a row is two floats, no more, where there is one a message; full rejects stop and resume */
    ops->destroy(decoder);
    decoder = decoder_of(NULL, field, 2, MR_FRAMING_SINGLE);
    rows.row_count = rows.reject_count = 0;
    rows.reject_cap = 1;
    cursor = (struct mr_cursor){0};
    size_t rejects = 0;
    while (cursor.message < 6) {
        ops->decode(decoder, message, 6, &cursor, &rows);
        rejects += rows.reject_count;
        rows.reject_count = 0;
    }
    assert_int_equal(rejects, 5);
    assert_int_equal(rows.row_count, 1);
    ops->destroy(decoder);
    rows_free(&rows);
}

static void test_places(void **state)
{
    (void)state;
    const struct mr_codec_ops *ops = mr_codec_find("f32");
    /* column 1 is left to the caller; the label stands before the features */
    const struct mr_field field[] = {
        {.path = "[2]", .column = 0}, {.path = "[1]", .column = 2}, {.path = "[0]", .role = MR_FIELD_LABEL}};
    struct mr_decoder *decoder = decoder_of(NULL, field, 3, MR_FRAMING_PACKED);
    static float text[6] = {1, 2, 3, 4, 5, 6};
    const struct mr_message message = {.value = (const char *)text, .value_bytes = 24};
    struct mr_rows rows = rows_of(64, 3);
    struct mr_cursor cursor = {0};
    ops->decode(decoder, &message, 1, &cursor, &rows);
    assert_int_equal(rows.row_count, 2);
    assert_true(rows.x[mr_tile_at(1, 0, 3)] == 6 && rows.x[mr_tile_at(1, 2, 3)] == 5 && rows.label[1] == 4);
    assert_true(rows.x[mr_tile_at(1, 1, 3)] == GUARD);
    ops->destroy(decoder);
    rows_free(&rows);
}

static void test_config_errors(void **state)
{
    (void)state;
    static const struct {
        struct mr_field field;
        struct f32_options options;
        const char *expected;
    } rows[] = {
        {{.path = "[x]"}, {0}, "such as \"[3]\""},
        {{.path = "[99999999999]"}, {0}, "at most"},
        {{.path = "a", .role = MR_FIELD_CAPTURE}, {0}, "no text"},
        {{.path = "a", .role = MR_FIELD_LABEL}, {0}, "record.label"},
        {{.path = "[3]"}, {.stride = 12}, "give 16 or more"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct mr_schema schema = {.field = &rows[i].field, .field_count = 1};
        struct mr_decoder *decoder = (struct mr_decoder *)(uintptr_t)8;
        struct mr_err err;
        assert_int_equal(mr_codec_find("f32")->create(&rows[i].options, &schema, &decoder, &err), MR_ECONFIG);
        assert_null(decoder);
        if (!strstr(err.text, rows[i].expected)) fail_msg("expected \"%s\" in: %s", rows[i].expected, err.text);
    }
    mr_codec_find("f32")->destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_bad_messages),
                                       cmocka_unit_test(test_places), cmocka_unit_test(test_config_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
