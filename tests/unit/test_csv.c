/* The CSV codec's own options: column numbers, names, headers, delimiters, missing cells, captures, and their errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry.h"

#define ROW_CAP 64

struct csv_options {
    char *delimiter;
    int header;
    struct mr_strings columns;
};

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct {
    float x[ROW_CAP * 2];
    double label[ROW_CAP];
    struct mr_span capture[ROW_CAP];
    uint32_t message[ROW_CAP];
    struct mr_reject reject[ROW_CAP];
    struct mr_rows rows;
} out;

static const struct mr_span *const *apart; /* the header of each message that is decoded next; NULL: they have none */

/* Features a and b, capture c, label d, under the names given. */
static mr_status create(const struct csv_options *options, const char *const names[4], mr_framing framing,
                        struct mr_decoder **decoder_out, struct mr_err *err)
{
    const struct mr_field field[] = {
        {.path = names[0], .column = 0},
        {.path = names[1], .column = 1, .missing = MR_MISSING_DEFAULT, .default_value = 0.5},
        {.path = names[2], .role = MR_FIELD_CAPTURE, .column = 0},
        {.path = names[3], .role = MR_FIELD_LABEL, .missing = MR_MISSING_DEFAULT, .default_value = -1},
    };
    const struct mr_schema schema = {.field = field,
                                     .field_count = 4,
                                     .feature_count = 2,
                                     .capture_count = 1,
                                     .framing = framing,
                                     .record_bytes_max = 100};
    return mr_codec_find("csv")->create(options, &schema, decoder_out, err);
}

static void decode(const struct csv_options *options, const char *const names[4], mr_framing framing,
                   const char *const *texts, size_t count)
{
    struct mr_decoder *decoder;
    struct mr_err err;
    struct mr_message message[8];
    struct mr_cursor cursor = {0};
    if (create(options, names, framing, &decoder, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++)
        message[i] =
            (struct mr_message){.value = texts[i], .value_bytes = strlen(texts[i]), .header = apart ? apart[i] : NULL};
    out.rows = (struct mr_rows){.x = out.x,
                                .label = out.label,
                                .capture = out.capture,
                                .message = out.message,
                                .reject = out.reject,
                                .feature_count = 2,
                                .capture_count = 1,
                                .row_cap = ROW_CAP,
                                .reject_cap = ROW_CAP};
    mr_codec_find("csv")->decode(decoder, message, count, &cursor, &out.rows);
    assert_int_equal(cursor.message, count);
    mr_codec_find("csv")->destroy(decoder);
}

static void row_is(size_t row, double a, double b, const char *c, double d)
{
    assert_in_range(row, 0, out.rows.row_count - 1);
    if (out.x[mr_tile_at(row, 0, 2)] != (float)a || out.x[mr_tile_at(row, 1, 2)] != (float)b || out.label[row] != d) {
        fail_msg("row %zu: %g %g label %g", row, (double)out.x[mr_tile_at(row, 0, 2)],
                 (double)out.x[mr_tile_at(row, 1, 2)], out.label[row]);
    }
    const struct mr_span *span = &out.capture[row];
    if (!c != !span->data || (c && (strlen(c) != span->bytes || memcmp(c, span->data, span->bytes)))) {
        fail_msg("row %zu: captured %.*s", row, (int)span->bytes, span->data ? span->data : "nothing");
    }
}

static void reject_is(size_t i, uint32_t message, uint32_t first, uint32_t bytes, mr_reason reason, uint16_t field)
{
    assert_in_range(i, 0, out.rows.reject_count - 1);
    const struct mr_reject *got = &out.reject[i];
    if (got->message != message || got->first != first || got->bytes != bytes || got->reason != reason ||
        got->field != field) {
        fail_msg("reject %zu: message %u at %u, %u bytes, %s, field %u", i, got->message, got->first, got->bytes,
                 mr_reason_name((mr_reason)got->reason), got->field);
    }
}

static const char *const by_number[4] = {"1", "$2", "3", "$4"};
static const char *const by_name[4] = {"a", "\"b\"", "c", "d"};

static void test_numbers_and_missing(void **state)
{
    (void)state;
    static const char *const texts[] = {"1,2,three,4\r\n5,,,\n\n,1,1,1\n1,2\n\"6\",\"\",\"\",7,8,9", "",
                                        "1,x,\"say \"\"hi\"\"\",1\n1,2,3,nan\n"};
    decode(NULL, by_number, MR_FRAMING_LINES, texts, 3);
    assert_int_equal(out.rows.row_count, 3);
    row_is(0, 1, 2, "three", 4);
    row_is(1, 5, 0.5, NULL, -1);
    row_is(2, 6, 0.5, NULL, 7);
    assert_int_equal(out.rows.reject_count, 5);
    reject_is(0, 0, 19, 6, MR_REASON_MISSING, 0);
    reject_is(1, 0, 26, 3, MR_REASON_LENGTH, MR_FIELD_NONE);
    reject_is(2, 1, 0, 0, MR_REASON_EMPTY, MR_FIELD_NONE);
    reject_is(3, 2, 0, 18, MR_REASON_TYPE, 1);
    reject_is(4, 2, 19, 9, MR_REASON_RANGE, 3);
}

static void test_captures(void **state)
{
    (void)state;
    static const char *const texts[] = {"1,2,\"a,b\nc\",4\n1,2,\"say \"\"hi\"\"\",4\n1,2,\"\"\"\",4\n1,2, x ,4\n"};
    decode(NULL, by_number, MR_FRAMING_LINES, texts, 1);
    assert_int_equal(out.rows.row_count, 4);
    row_is(0, 1, 2, "a,b\nc", 4);
    row_is(1, 1, 2, "\"say \"\"hi\"\"\"", 4); /* as it stands: the encoder undoubles */
    row_is(2, 1, 2, "\"\"\"\"", 4);
    row_is(3, 1, 2, " x ", 4); /* spaces belong to the cell */
}

static void test_columns(void **state)
{
    (void)state;
    char *items[] = {text_of("x"), text_of("d"), text_of("c"), text_of("b"), text_of("a")};
    const struct csv_options options = {.delimiter = text_of("tab"), .columns = {items, 5}};
    static const char *const texts[] = {"0\t4\tc\t2\t1", "0\t4\tc\t2", "0\t4\tc\t2\t1\t", "0,4,c,2,1"};
    decode(&options, by_name, MR_FRAMING_SINGLE, texts, 4);
    assert_int_equal(out.rows.row_count, 1);
    row_is(0, 1, 2, "c", 4);
    for (uint32_t i = 0; i < 3; i++)
        reject_is(i, i + 1, 0, (uint32_t)strlen(texts[i + 1]), MR_REASON_LENGTH, MR_FIELD_NONE);
}

static void test_headers(void **state)
{
    (void)state;
    const struct csv_options options = {.header = 1};
    static const char *const texts[] = {
        "a,b,c,d\n1,2,3,4\n",
        "a,b,c,d\n5,6,7,8\n\n9,10,11,12",
        "d,\"c\",\"b\",a,\"q\"\"q\"\r\n4,3,2,1,0\r\n1,2,3,4\r\n",
        "a,b,c\n1,2,3\n",
        "b,c,d\n1,2,3\n4,5,6",
        "a,b,a,d\n1,2,3,4\n",
        "a,\"b\n1,2,3,4\n",
        "a,b,\xff,d\n1,2,3,4",
    };
    decode(&options, by_name, MR_FRAMING_LINES, texts, 8);
    assert_int_equal(out.rows.row_count, 5);
    row_is(0, 1, 2, "3", 4);
    row_is(1, 5, 6, "7", 8);
    row_is(2, 9, 10, "11", 12);
    row_is(3, 1, 2, "3", 4);  /* another order */
    row_is(4, 1, 2, "3", -1); /* no label there: the default */
    assert_int_equal(out.rows.reject_count, 6);
    reject_is(0, 2, 31, 7, MR_REASON_LENGTH, MR_FIELD_NONE);
    reject_is(1, 4, 6, 5, MR_REASON_MISSING, 0);
    reject_is(2, 4, 12, 5, MR_REASON_MISSING, 0);
    reject_is(3, 5, 0, 16, MR_REASON_DUPLICATE_KEY, MR_FIELD_NONE);
    reject_is(4, 6, 0, 13, MR_REASON_SYNTAX, MR_FIELD_NONE);
    reject_is(5, 7, 0, 15, MR_REASON_ENCODING, MR_FIELD_NONE);
}

/* The header stands once a file, beside its messages. */
static void test_header_apart(void **state)
{
    (void)state;
    static const struct csv_options options = {.header = 2};
    static const char *const texts[] = {"1,2,3,4", "5,6,7,8", "4,3,2,1", "1,2,3,4", "1,2,3,4", "1,2,3,4"};
    const struct mr_span one = {"a,b,c,d\n", 8}, other = {"d,c,b,a\r\n", 9}, bad = {"a,\"b\n", 5};
    const struct mr_span *const of[] = {&one, &one, &other, &one, NULL, &bad};
    apart = of;
    for (int framing = MR_FRAMING_SINGLE; framing <= MR_FRAMING_LINES; framing++) {
        decode(&options, by_name, (mr_framing)framing, texts, 6);
        assert_int_equal(out.rows.row_count, 4);
        row_is(0, 1, 2, "3", 4);
        row_is(1, 5, 6, "7", 8);
        row_is(2, 1, 2, "3", 4);
        row_is(3, 1, 2, "3", 4);
        assert_int_equal(out.rows.reject_count, 2);
        reject_is(0, 4, 0, 7, MR_REASON_SYNTAX, MR_FIELD_NONE);
        reject_is(1, 5, 0, 7, MR_REASON_SYNTAX, MR_FIELD_NONE);
    }
    apart = NULL;
}

static void test_single(void **state)
{
    (void)state;
    const struct csv_options headed = {.header = 1};
    static const char *const texts[] = {
        "1,2,3,4\r\n",
        "1,2,\"3\n\",4",
        "1,2,3,4\n5,6,7,8\n",
        "\n",
        "1,\"2\"x,3,4",
        "1,2,12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901,4"};
    decode(NULL, by_number, MR_FRAMING_SINGLE, texts, 6);
    assert_int_equal(out.rows.row_count, 2);
    row_is(1, 1, 2, "3\n", 4);
    reject_is(0, 2, 0, 16, MR_REASON_SYNTAX, MR_FIELD_NONE); /* a second record */
    reject_is(1, 3, 0, 1, MR_REASON_EMPTY, MR_FIELD_NONE);
    reject_is(2, 4, 0, 10, MR_REASON_SYNTAX, MR_FIELD_NONE);
    reject_is(3, 5, 0, 107, MR_REASON_SIZE, MR_FIELD_NONE);
    static const char *const with_header[] = {"a,b,c,d\n1,2,3,4\n", "a,b,c,d\n", "a,b,c,d\n1,2,3,4\n1,2,3,4"};
    decode(&headed, by_name, MR_FRAMING_SINGLE, with_header, 3);
    assert_int_equal(out.rows.row_count, 1);
    reject_is(0, 1, 0, 8, MR_REASON_EMPTY, MR_FIELD_NONE);
    reject_is(1, 2, 0, 23, MR_REASON_SYNTAX, MR_FIELD_NONE);
}

static void refused(const struct csv_options *options, const char *const names[4], const char *expected)
{
    struct mr_decoder *decoder = (struct mr_decoder *)(uintptr_t)8;
    struct mr_err err = {0};
    assert_int_equal(create(options, names, MR_FRAMING_LINES, &decoder, &err), MR_ECONFIG);
    assert_null(decoder);
    if (!strstr(err.text, expected)) fail_msg("expected \"%s\" in: %s", expected, err.text);
}

static void test_errors(void **state)
{
    (void)state;
    char *items[] = {text_of("Temperature"), text_of("b"), text_of("c"), text_of("c")};
    static const char *const typo[4] = {"Temprature", "b", "c", "c"}, *const zero[4] = {"0", "1", "2", "3"},
                             *const far[4] = {"1", "2", "3", "5"};
    refused(NULL, by_name, "no column number");
    refused(NULL, zero, "numbered 1 to");
    refused(&(struct csv_options){.columns = {items, 3}}, typo, "did you mean \"Temperature\"");
    refused(&(struct csv_options){.columns = {items, 3}}, far, "numbered 1 to 3");
    refused(&(struct csv_options){.columns = {items, 4}}, by_number, "\"c\" is there twice");
    refused(&(struct csv_options){.columns = {items, 3}, .header = 1}, by_number, "no effect");
    static const char *const delimiters[] = {"", ",,", "\"", "\n", "1", "e", ".", "-", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof delimiters / sizeof *delimiters; i++) {
        refused(&(struct csv_options){.delimiter = text_of(delimiters[i])}, by_number, "record.delimiter");
    }
    mr_codec_find("csv")->destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers_and_missing),
                                       cmocka_unit_test(test_captures),
                                       cmocka_unit_test(test_columns),
                                       cmocka_unit_test(test_headers),
                                       cmocka_unit_test(test_header_apart),
                                       cmocka_unit_test(test_single),
                                       cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
