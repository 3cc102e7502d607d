/* Every codec of the registry against the ops table of codec.h. A new codec is tested by being registered; this file
 * does not change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "registry.h"

#define ROWS 70

static const mr_framing framings[] = {MR_FRAMING_SINGLE, MR_FRAMING_LINES, MR_FRAMING_ARRAY, MR_FRAMING_PACKED};

/* Opens a decoder with default options for two features, "a" and "b" (or columns 1 and 2). */
static mr_status decoder_open(const struct mr_codec_ops *codec, mr_framing framing, void **options_out,
                              struct mr_decoder **decoder_out, struct mr_err *err)
{
    static const char *const paths[][2] = {{"a", "b"}, {"1", "2"}, {"[0]", "[1]"}};
    mr_status status = MR_ECONFIG;
    *options_out = NULL;
    if (codec->options) {
        *options_out = calloc(1, codec->options_size);
        assert_int_equal(mr_options_init(codec->options, *options_out, err), MR_OK);
    }
    *decoder_out = NULL;
    for (size_t i = 0; status && i < sizeof paths / sizeof *paths;
         i++) { /* the first naming that the codec understands */
        const struct mr_field field[] = {
            {.path = paths[i][0], .role = MR_FIELD_FEATURE, .column = 0},
            {.path = paths[i][1], .role = MR_FIELD_FEATURE, .column = 1},
        };
        const struct mr_schema schema = {.field = field,
                                         .field_count = 2,
                                         .feature_count = 2,
                                         .framing = framing,
                                         .depth_max = 8,
                                         .record_bytes_max = 4096};
        *decoder_out = (struct mr_decoder *)&status; /* must become NULL on an error */
        status = codec->create(*options_out, &schema, decoder_out, err);
        assert_true(!status == (*decoder_out && *decoder_out != (struct mr_decoder *)&status));
        if (status) assert_null(*decoder_out);
    }
    return status;
}

static void decoder_close(const struct mr_codec_ops *codec, void *options, struct mr_decoder *decoder)
{
    codec->destroy(decoder);
    if (codec->options) mr_options_deinit(codec->options, options);
    free(options);
}

static void rows_open(struct mr_rows *rows, size_t row_cap, size_t reject_cap)
{
    *rows = (struct mr_rows){.feature_count = 2, .row_cap = row_cap, .reject_cap = reject_cap};
    rows->x = aligned_alloc(MR_ALIGN, mr_tile_count(row_cap) * 2 * MR_TILE_ROWS * sizeof(float));
    rows->label = calloc(row_cap, sizeof *rows->label);
    rows->capture = calloc(row_cap, sizeof *rows->capture);
    rows->message = calloc(row_cap, sizeof *rows->message);
    rows->reject = calloc(reject_cap, sizeof *rows->reject);
}

static void rows_close(struct mr_rows *rows)
{
    free(rows->x);
    free(rows->label);
    free(rows->capture);
    free(rows->message);
    free(rows->reject);
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; mr_codecs[i]; i++) {
        const struct mr_codec_ops *const codec = mr_codecs[i];
        assert_true(codec->name && *codec->name && codec->summary && *codec->summary);
        assert_ptr_equal(mr_codec_find(codec->name), codec);
        assert_true(codec->create && codec->decode && codec->destroy);
        assert_true(codec->framings != 0 && codec->framings < 1u << (MR_FRAMING_PACKED + 1));
        assert_true(!codec->options == !codec->options_size);
        assert_true(codec->captures || !codec->captures_json);
        codec->destroy(NULL);
    }
    assert_null(mr_codec_find("no such codec"));
}

static void test_framings(void **state)
{
    (void)state;
    for (size_t i = 0; mr_codecs[i]; i++) {
        for (size_t k = 0; k < sizeof framings / sizeof *framings; k++) {
            struct mr_err err = {.text = ""};
            struct mr_decoder *decoder;
            void *options;
            const mr_status status = decoder_open(mr_codecs[i], framings[k], &options, &decoder, &err);
            if (mr_codecs[i]->framings & 1u << framings[k]) {
                if (status) fail_msg("%s: framing %d: %s", mr_codecs[i]->name, (int)framings[k], err.text);
            } else {
                assert_int_equal(status, MR_ECONFIG); /* a framing that is not offered is refused, with words */
                assert_true(err.text[0] != 0);
            }
            decoder_close(mr_codecs[i], options, decoder);
        }
    }
}

/* Bytes that mean little to any codec: whatever becomes of them, the counts, the order and the places must be right. */
static const char *const odd_values[] = {"",
                                         "\n",
                                         "\xff\xfe\x01",
                                         "{",
                                         "[",
                                         "1",
                                         "1,2",
                                         "1,2\n3,4\n",
                                         "{\"a\":1,\"b\":2}",
                                         "[{\"a\":1,\"b\":2}]",
                                         "[[1,2],[3,4]]",
                                         "\0\0\200?\0\0\0@",
                                         "a,b\n1,2\n",
                                         "{\"a\":1,\"b\":2}\n{\"a\":3,\"b\":4}\nx\n",
                                         "\"",
                                         "]]]]",
                                         "                "};
#define ODD_COUNT (sizeof odd_values / sizeof *odd_values)

static void results_check(const struct mr_rows *rows, const struct mr_message *messages, size_t count)
{
    assert_true(rows->row_count <= rows->row_cap && rows->reject_count <= rows->reject_cap);
    for (size_t row = 0; row < rows->row_count; row++) {
        assert_true(rows->message[row] < count && (!row || rows->message[row] >= rows->message[row - 1]));
    }
    for (size_t i = 0; i < rows->reject_count; i++) {
        const struct mr_reject *const reject = &rows->reject[i];
        assert_true(reject->message < count && (!i || reject->message >= rows->reject[i - 1].message));
        assert_true((size_t)reject->first + reject->bytes <= messages[reject->message].value_bytes);
        assert_true(reject->reason > MR_REASON_NONE && reject->reason < MR_REASON_COUNT);
        assert_true(reject->field == MR_FIELD_NONE || reject->field < 2);
    }
}

/* Decodes with room for one row and one reject a call: the same rows and rejects as in `all`. */
static void steps_check(const struct mr_codec_ops *codec, struct mr_decoder *decoder, const struct mr_message *messages,
                        const struct mr_rows *all)
{
    struct mr_rows one;
    struct mr_cursor cursor = {0};
    size_t rows = 0, rejects = 0;
    rows_open(&one, 1, 1);
    for (size_t calls = 0; cursor.message < ODD_COUNT; calls++) {
        const struct mr_cursor before = cursor;
        one.row_count = one.reject_count = 0;
        codec->decode(decoder, messages, ODD_COUNT, &cursor, &one);
        assert_true(one.row_count <= 1 && one.reject_count <= 1);
        assert_true(cursor.message > before.message || (cursor.message == before.message && cursor.byte > before.byte));
        if (one.row_count) {
            assert_true(rows < all->row_count && one.message[0] == all->message[rows]);
            for (size_t col = 0; col < 2; col++) {
                assert_memory_equal(&one.x[mr_tile_at(0, col, 2)], &all->x[mr_tile_at(rows, col, 2)], sizeof(float));
            }
        }
        if (one.reject_count) {
            assert_true(rejects < all->reject_count);
            assert_memory_equal(&one.reject[0], &all->reject[rejects], sizeof *one.reject);
        }
        rows += one.row_count;
        rejects += one.reject_count;
        assert_true(calls < 1000);
    }
    assert_int_equal(rows, all->row_count);
    assert_int_equal(rejects, all->reject_count);
    rows_close(&one);
}

static void framing_check(const struct mr_codec_ops *codec, mr_framing framing, const struct mr_message *messages)
{
    struct mr_err err;
    struct mr_decoder *decoder;
    struct mr_rows all;
    struct mr_cursor cursor = {0};
    void *options;
    assert_int_equal(decoder_open(codec, framing, &options, &decoder, &err), MR_OK);
    rows_open(&all, ROWS, ROWS);
    codec->decode(decoder, messages, ODD_COUNT, &cursor, &all);
    assert_int_equal(cursor.message, ODD_COUNT);
    assert_int_equal(cursor.byte, 0);
    results_check(&all, messages, ODD_COUNT);
    assert_true(all.reject_count > 0);
    assert_int_equal(all.reject[0].message, 0);
    assert_int_equal(all.reject[0].reason, MR_REASON_EMPTY); /* an empty value is one reject */
    if (framing == MR_FRAMING_SINGLE) assert_int_equal(all.row_count + all.reject_count, ODD_COUNT);
    decoder_close(codec, options, decoder); /* a codec may remember, e.g. a header line: the same start for both */
    assert_int_equal(decoder_open(codec, framing, &options, &decoder, &err), MR_OK);
    steps_check(codec, decoder, messages, &all);
    rows_close(&all);
    decoder_close(codec, options, decoder);
}

static void test_decode(void **state)
{
    (void)state;
    struct mr_message messages[ODD_COUNT];
    void *copies[ODD_COUNT];
    for (size_t i = 0; i < ODD_COUNT; i++) {
        const size_t bytes = i == 11 ? 8 : strlen(odd_values[i]); /* the one with zeros */
        copies[i] = malloc(bytes ? bytes : 1);
        memcpy(copies[i], odd_values[i], bytes);
        messages[i] = (struct mr_message){.value = copies[i], .value_bytes = bytes};
    }
    for (size_t i = 0; mr_codecs[i]; i++) {
        for (size_t k = 0; k < sizeof framings / sizeof *framings; k++) {
            if (mr_codecs[i]->framings & 1u << framings[k]) framing_check(mr_codecs[i], framings[k], messages);
        }
    }
    for (size_t i = 0; i < ODD_COUNT; i++) free(copies[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_framings),
                                       cmocka_unit_test(test_decode)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
