/* The JSON decoder: values, reasons, framings and captures, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "json_rig.h"

/* One record and what it becomes: a row (reason NONE), or a reject with the field it is about (-1: none). */
struct reason_case {
    const char *spec, *text;
    mr_reason reason;
    int field;
};

#define AB "f:a f:b"
static const struct reason_case reason_cases[] = {
    {AB, "{\"a\":1,\"b\":2}", MR_REASON_NONE, 0},
    {AB, " {\t\"b\" : 2 ,\r\n\"a\":1 } ", MR_REASON_NONE, 0},
    {AB, "{\"a\":1,\"b\":2,\"c\":[{},[],\"x\",null,true,false,-1.5e3]}", MR_REASON_NONE, 0},
    {AB, "{\"\\u0061\":1,\"b\":2}", MR_REASON_NONE, 0},
    {AB, "", MR_REASON_EMPTY, -1},
    {AB, " ", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1}", MR_REASON_MISSING, 1},
    {AB, "{}", MR_REASON_MISSING, 0},
    {AB, "{\"a\":null,\"b\":2}", MR_REASON_NULL, 0},
    {AB, "{\"a\":1,\"b\":\"2\"}", MR_REASON_TYPE, 1},
    {AB, "{\"a\":true,\"b\":2}", MR_REASON_TYPE, 0},
    {AB, "{\"a\":1,\"b\":[2]}", MR_REASON_TYPE, 1},
    {AB, "{\"a\":1,\"b\":{}}", MR_REASON_TYPE, 1},
    {AB, "{\"a\":1e39,\"b\":2}", MR_REASON_RANGE, 0},
    {AB, "{\"a\":1,\"b\":-3.5e38}", MR_REASON_RANGE, 1},
    /* the first bad field in the order of the schema is named, not the first in the text */
    {AB, "{\"b\":\"x\",\"a\":null}", MR_REASON_NULL, 0},
    {AB, "{\"b\":1e40}", MR_REASON_MISSING, 0},
    /* broken text wins over bad fields, wherever it stands */
    {AB, "{\"a\":\"x\",\"b\":2", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2}x", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":\"x\"}{", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2}\0", MR_REASON_NONE, 0},
    {AB, "{\"a\":01,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1.,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":.5,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":+1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":NaN,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":Infinity,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":-Infinity,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":0x1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,}", MR_REASON_SYNTAX, -1},
    {AB, "{,\"a\":1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1 \"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\" 1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{a:1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{'a':1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":[1,]}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":[1}]", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":nul}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":True}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\t\"}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\x\"}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\u12g4\"}", MR_REASON_SYNTAX, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\", MR_REASON_SYNTAX, -1},
    {AB, "/**/{\"a\":1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "\xef\xbb\xbf{\"a\":1,\"b\":2}", MR_REASON_SYNTAX, -1},
    {AB, "\xff", MR_REASON_SYNTAX, -1},
    /* UTF-8, also in what is skipped */
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}", MR_REASON_NONE, 0},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\xff\"}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"\xc3\":0}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\xc0\xaf\"}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\xed\xa0\x80\"}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\xf4\x90\x80\x80\"}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\xe2\x82", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\ud83d\\ude00\"}", MR_REASON_NONE, 0},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\ud83d\"}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\ude00\\ud83d\"}", MR_REASON_ENCODING, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":\"\\ud83d\\u0041\"}", MR_REASON_ENCODING, -1},
    /* duplicate keys: known, unknown, nested, written in another way */
    {AB, "{\"a\":1,\"b\":2,\"a\":1}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":1,\"c\":1}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":{\"d\":1,\"d\":1}}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\":[{\"d\":1},{\"d\":1,\"e\":{\"d\":2}}]}", MR_REASON_NONE, 0},
    {AB, "{\"a\":1,\"b\":2,\"\\u0061\":1}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"\\/\":1,\"/\":1}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"\\u00e9\":1,\"\xc3\xa9\":1}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"\":1,\"\":1}", MR_REASON_DUPLICATE_KEY, -1},
    {AB, "{\"a\":1,\"b\":2,\"c\\u0000\":1,\"c\":1}", MR_REASON_NONE, 0},
    /* depth_max is 8 */
    {AB, "{\"a\":1,\"b\":2,\"c\":[[[[[[[0]]]]]]]}", MR_REASON_NONE, 0},
    {AB, "{\"a\":1,\"b\":2,\"c\":[[[[[[[[0]]]]]]]]}", MR_REASON_DEPTH, -1},
    {AB, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", MR_REASON_DEPTH, -1},
    /* a record is an object here */
    {AB, "5", MR_REASON_TYPE, -1},
    {AB, "null", MR_REASON_TYPE, -1},
    {AB, "[1,2]", MR_REASON_TYPE, -1},
    {AB, "\"a\"", MR_REASON_TYPE, -1},
    {"d:a", "null", MR_REASON_TYPE, -1},
    /* paths */
    {"f:a.b f:x[1]", "{\"a\":{\"b\":1},\"x\":[0,2]}", MR_REASON_NONE, 0},
    {"f:a.b f:x[1]", "{\"a\":{},\"x\":[0,2]}", MR_REASON_MISSING, 0},
    {"f:a.b f:x[1]", "{\"a\":null,\"x\":[0,2]}", MR_REASON_NULL, 0},
    {"f:a.b f:x[1]", "{\"a\":7,\"x\":[0,2]}", MR_REASON_TYPE, 0},
    {"f:a.b f:x[1]", "{\"a\":[1],\"x\":[0,2]}", MR_REASON_TYPE, 0},
    {"f:a.b f:x[1]", "{\"a\":{\"b\":1},\"x\":[0]}", MR_REASON_LENGTH, 1},
    {"f:a.b f:x[1]", "{\"a\":{\"b\":1},\"x\":[]}", MR_REASON_LENGTH, 1},
    {"f:a.b f:x[1]", "{\"a\":{\"b\":1},\"x\":{}}", MR_REASON_TYPE, 1},
    {"f:a.b f:x[1]", "{\"a\":{\"b\":1},\"x\":[0,2,3,4]}", MR_REASON_NONE, 0},
    {"f:a.b f:x[1]", "{\"a\":{\"b\":1,\"b\":1},\"x\":[0,2]}", MR_REASON_DUPLICATE_KEY, -1},
    {"f:x[1][0].y", "{\"x\":[0,[{\"y\":3}]]}", MR_REASON_NONE, 0},
    {"f:\"a.b\".\"c[\"", "{\"a.b\":{\"c[\":3}}", MR_REASON_NONE, 0},
    {"f:[0] f:[2]", "[1,2,3]", MR_REASON_NONE, 0},
    {"f:[0] f:[2]", "{}", MR_REASON_TYPE, -1},
    /* label, captures, defaults */
    {"f:a l:y", "{\"a\":1,\"y\":1e300}", MR_REASON_NONE, 0},
    {"f:a l:y", "{\"a\":1,\"y\":1e309}", MR_REASON_RANGE, 1},
    {"f:a l:y", "{\"a\":1}", MR_REASON_MISSING, 1},
    {"f:a c:id", "{\"a\":1}", MR_REASON_NONE, 0},
    {"f:a C:id", "{\"a\":1}", MR_REASON_MISSING, 1},
    {"f:a C:id", "{\"a\":1,\"id\":null}", MR_REASON_NULL, 1},
    {"f:a C:id", "{\"a\":1,\"id\":[{}]}", MR_REASON_NONE, 0},
    {"f:a C:p.id", "{\"a\":1,\"p\":3}", MR_REASON_TYPE, 1},
    {"d:a d:p.b d:x[2] m:y", "{}", MR_REASON_NONE, 0},
    {"d:a d:p.b d:x[2] m:y", "{\"a\":null,\"p\":null,\"x\":[1],\"y\":null}", MR_REASON_NONE, 0},
    {"d:a", "{\"a\":\"1\"}", MR_REASON_TYPE, 0},
    {"d:a", "{\"a\":1e99}", MR_REASON_RANGE, 0},
};

/* Decodes one message; returns the verdict. */
static mr_reason decode_one(struct rig *rig, const char *text, size_t bytes, int *field_out)
{
    struct mr_message message = rig_message(text, bytes);
    assert_true(rig_decode(rig, &message, 1));
    assert_int_equal(rig->rows.row_count + rig->rows.reject_count, 1);
    mr_reason reason = MR_REASON_NONE;
    *field_out = 0;
    if (rig->rows.reject_count) {
        const struct mr_reject *const reject = &rig->rows.reject[0];
        assert_int_equal(reject->message, 0);
        assert_int_equal(reject->first, 0);
        assert_int_equal(reject->bytes, bytes);
        reason = reject->reason;
        *field_out = reject->field == MR_FIELD_NONE ? -1 : reject->field;
    }
    rig_message_free(&message);
    return reason;
}

static void test_reasons(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reason_cases / sizeof *reason_cases; i++) {
        const struct reason_case *const c = &reason_cases[i];
        char spec[128];
        struct rig rig;
        rig_spec(&rig, strcpy(spec, c->spec), MR_FRAMING_SINGLE);
        assert_int_equal(rig_open(&rig, 4, 4), MR_OK);
        for (int round = 0; round < 3; round++) { /* the second time the decoder knows the shape */
            int field;
            const mr_reason reason = decode_one(&rig, c->text, strlen(c->text), &field);
            if (reason != c->reason || field != c->field) {
                fail_msg("[%s] %s: %s field %d, want %s field %d (round %d)", c->spec, c->text, mr_reason_name(reason),
                         field, mr_reason_name(c->reason), c->field, round);
            }
        }
        rig_close(&rig);
    }
}

static void test_values(void **state)
{
    (void)state;
    char spec[] = "f:a.b f:x[1] f:a.b l:y c:y c:a c:id f:y";
    static const char text[] =
        "{\"y\": 1.0000000000000002,\"id\":\"\\u00e9 \\\"\" , \"x\":[\"\",2e-1], \"a\": {\"c\":[], \"b\":-0.1 } }";
    struct rig rig;
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, 100, 4), MR_OK);
    struct mr_message messages[70];
    for (size_t i = 0; i < 70; i++) messages[i] = rig_message(text, sizeof text - 1);
    assert_true(rig_decode(&rig, messages, 70));
    assert_int_equal(rig.rows.row_count, 70);
    for (size_t i = 0; i < 70; i++) {
        static const struct {
            size_t capture;
            const char *text;
        } captures[] = {{0, "1.0000000000000002"}, {1, "{\"c\":[], \"b\":-0.1 }"}, {2, "\"\\u00e9 \\\"\""}};
        assert_true(rig_x(&rig, i, 0) == -0.1f && rig_x(&rig, i, 2) == -0.1f);
        assert_true(rig_x(&rig, i, 1) == 0.2f);
        assert_true(rig_x(&rig, i, 3) == 1.0f);
        assert_true(rig.rows.label[i] == 1.0000000000000002);
        assert_int_equal(rig.rows.message[i], i);
        for (size_t k = 0; k < 3; k++) {
            const struct mr_span *const span = &rig.rows.capture[captures[k].capture * rig.rows.row_cap + i];
            assert_int_equal(span->bytes, strlen(captures[k].text));
            assert_memory_equal(span->data, captures[k].text, span->bytes);
            assert_true(span->data >= messages[i].value &&
                        span->data + span->bytes <= messages[i].value + sizeof text - 1);
        }
        rig_message_free(&messages[i]);
    }
    rig_close(&rig);
}

static void test_defaults(void **state)
{
    (void)state;
    char spec[] = "d:a d:p.b d:x[1] m:y c:id";
    static const char *const texts[] = {"{\"a\":1,\"p\":{\"b\":2},\"x\":[0,3],\"y\":4,\"id\":5}",
                                        "{\"x\":[1],\"p\":null,\"id\":null}"};
    struct rig rig;
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, 4, 4), MR_OK);
    struct mr_message messages[4];
    for (size_t i = 0; i < 4; i++) messages[i] = rig_message(texts[i % 2], strlen(texts[i % 2]));
    assert_true(rig_decode(&rig, messages, 4));
    assert_int_equal(rig.rows.row_count, 4);
    for (size_t i = 0; i < 4; i++) {
        for (size_t column = 0; column < 3; column++) {
            assert_true(rig_x(&rig, i, column) == (i % 2 ? -7.5f : (float)(column + 1)));
        }
        assert_true(rig.rows.label[i] == (i % 2 ? -7.5 : 4));
        assert_true(!rig.rows.capture[i].data == (i % 2 == 1));
        rig_message_free(&messages[i]);
    }
    rig_close(&rig);
}

/* What a message of many records becomes: for each record 'r' or the first letter of the reason, with the bytes of
 * rejects. */
static void framing_check(mr_framing framing, const char *text, const char *want)
{
    char spec[] = "f:a", got[4096] = "";
    struct rig rig;
    rig_spec(&rig, spec, framing);
    rig.schema.record_bytes_max = 64;
    assert_int_equal(rig_open(&rig, 100, 100), MR_OK);
    struct mr_message message = rig_message(text, strlen(text));
    const struct mr_codec_ops *const codec = mr_codec_find("json");
    for (size_t row_cap = 100;; row_cap = 1) { /* all at once, then one row or reject at a time: the same records */
        struct mr_cursor cursor = {0};
        size_t calls = 0, used = 0;
        got[0] = 0;
        while (cursor.message < 1) {
            rig.rows.row_cap = rig.rows.reject_cap = row_cap;
            rig.rows.row_count = rig.rows.reject_count = 0;
            codec->decode(rig.decoder, &message, 1, &cursor, &rig.rows);
            if (row_cap == 1) {
                if (rig.rows.row_count) used += (size_t)sprintf(got + used, "r%g ", (double)rig_x(&rig, 0, 0));
                for (size_t i = 0; i < rig.rows.reject_count; i++) {
                    const struct mr_reject *const reject = &rig.rows.reject[i];
                    used += (size_t)sprintf(got + used, "%s[%.*s] ", mr_reason_name(reject->reason), (int)reject->bytes,
                                            text + reject->first);
                }
            }
            if (++calls > 200) fail_msg("no progress: %s", text);
        }
        if (row_cap == 1) break;
        assert_int_equal(calls, 1);
        assert_true(rig.rows.row_count + rig.rows.reject_count < 100);
    }
    if (strcmp(got, want)) fail_msg("%s\n got %s\nwant %s", text, got, want);
    rig_message_free(&message);
    rig_close(&rig);
}

static void test_lines(void **state)
{
    (void)state;
    framing_check(MR_FRAMING_LINES, "{\"a\":1}\n{\"a\":2}\n", "r1 r2 ");
    framing_check(MR_FRAMING_LINES, "{\"a\":1}\r\n\r\n\n{\"a\":2}", "r1 r2 ");
    framing_check(MR_FRAMING_LINES, "\n\n", "");
    framing_check(MR_FRAMING_LINES, "{\"a\":1}\n \n{\"a\":2}", "r1 syntax[ ] r2 ");
    framing_check(MR_FRAMING_LINES, "{\"a\":1}\n{\"a\":\n2}\n{\"a\":null}\n{\"a\":3}\n{\"a\":4}",
                  "r1 syntax[{\"a\":] syntax[2}] null[{\"a\":null}] r3 r4 ");
    framing_check(MR_FRAMING_LINES, "{\"a\":1}{\"a\":2}\n{\"a\":3} \n", "syntax[{\"a\":1}{\"a\":2}] r3 ");
    framing_check(MR_FRAMING_LINES, "{\"a\":\"\n\"}\n{\"a\":3}\r", "syntax[{\"a\":\"] syntax[\"}] r3 ");
    framing_check(MR_FRAMING_LINES,
                  "{\"a\":1, \"b\":\"0123456789012345678901234567890123456789012345678901234567890\"}\n{\"a\":2}",
                  "size[{\"a\":1, \"b\":\"0123456789012345678901234567890123456789012345678901234567890\"}] r2 ");
}

static void test_array(void **state)
{
    (void)state;
    framing_check(MR_FRAMING_ARRAY, "[]", "");
    framing_check(MR_FRAMING_ARRAY, " [ ] ", "");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1},{\"a\":2}]", "r1 r2 ");
    framing_check(MR_FRAMING_ARRAY, " [ {\"a\":1} , {\"a\":2}\n,{\"a\":3} ] \n", "r1 r2 r3 ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1},{\"a\":null},5,{\"a\":2}]", "r1 null[{\"a\":null}] type[5] r2 ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1},{\"a\":1,\"a\":2} ,{\"a\":2}]",
                  "r1 duplicate_key[{\"a\":1,\"a\":2}] r2 ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1},{\"b\":\"\xff]\"},{\"a\":2}]", "r1 encoding[{\"b\":\"\xff]\"}] r2 ");
    framing_check(MR_FRAMING_ARRAY, "[[[[[[[[[[]]]]]]]]],{\"a\":2}]", "depth[[[[[[[[[[]]]]]]]]]] r2 ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1},{\"a\":x},{\"a\":2}]", "r1 syntax[{\"a\":x},{\"a\":2}]] ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1} {\"a\":2}]", "r1 syntax[{\"a\":2}]] ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1},]", "r1 syntax[]] ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1}", "r1 syntax[] ");
    framing_check(MR_FRAMING_ARRAY, "[{\"a\":1}]]", "r1 syntax[]] ");
    framing_check(MR_FRAMING_ARRAY, "[,{\"a\":1}]", "syntax[,{\"a\":1}]] ");
    framing_check(MR_FRAMING_ARRAY, "{\"a\":1}", "syntax[{\"a\":1}] ");
    framing_check(MR_FRAMING_ARRAY, "[", "syntax[] ");
    framing_check(MR_FRAMING_ARRAY, " ", "syntax[ ] ");
    framing_check(
        MR_FRAMING_ARRAY,
        "[{\"a\":1},{\"a\":2,\"b\":\"0123456789012345678901234567890123456789012345678901234567890\"} ,{\"a\":3}]",
        "r1 size[{\"a\":2,\"b\":\"0123456789012345678901234567890123456789012345678901234567890\"}] r3 ");
}

/* Every prefix of a record is refused; among good ones none of those is lost. */
static void test_truncated(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":-12.50e+1,\"s\":\"\\u00e9\\n\xc3\xa9\",\"o\":{\"k\":[true,null,{}]},\"b\":2}";
    char spec[] = "f:a f:b c:s";
    struct rig rig;
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, 2 * sizeof text, 2 * sizeof text), MR_OK);
    struct mr_message messages[2 * sizeof text];
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        messages[2 * i] = rig_message(text, i);
        messages[2 * i + 1] = rig_message(text, sizeof text - 1);
    }
    const size_t count = 2 * (sizeof text - 1);
    assert_true(rig_decode(&rig, messages, count));
    assert_int_equal(rig.rows.row_count, count / 2);
    assert_int_equal(rig.rows.reject_count, count / 2);
    for (size_t i = 0; i < count / 2; i++) {
        const mr_reason reason = rig.rows.reject[i].reason;
        assert_int_equal(rig.rows.message[i], 2 * i + 1);
        assert_true(rig_x(&rig, i, 0) == -125.0f && rig_x(&rig, i, 1) == 2.0f);
        assert_int_equal(rig.rows.reject[i].message, 2 * i);
        assert_true(i ? reason == MR_REASON_SYNTAX || reason == MR_REASON_ENCODING : reason == MR_REASON_EMPTY);
    }
    for (size_t i = 0; i < count; i++) rig_message_free(&messages[i]);
    rig_close(&rig);
}

/* 10 MB, 10,000 deep, 100,000 different unknown keys. */
static void test_large(void **state)
{
    (void)state;
    const size_t bytes = 10 << 20;
    char spec[] = "f:a", *const text = malloc(bytes);
    int field;
    struct rig rig;
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    rig.schema.record_bytes_max = (uint32_t)bytes - 1;
    assert_int_equal(rig_open(&rig, 4, 4), MR_OK);
    memset(text, ' ', bytes);
    memcpy(text, "{\"a\":1}", 7);
    assert_int_equal(decode_one(&rig, text, bytes, &field), MR_REASON_SIZE);
    assert_int_equal(decode_one(&rig, text, bytes - 1, &field), MR_REASON_NONE);
    memset(text, '[', 10000);
    memset(text + 10000, ']', 10000);
    assert_int_equal(decode_one(&rig, text, 20000, &field), MR_REASON_DEPTH);
    size_t used = (size_t)sprintf(text, "{\"a\":0.1");
    for (int i = 0; i < 100000; i++) used += (size_t)sprintf(text + used, ",\"k%d\":0", i);
    text[used] = '}';
    assert_int_equal(decode_one(&rig, text, used + 1, &field), MR_REASON_NONE);
    used += (size_t)sprintf(text + used, ",\"k77777\":0}");
    assert_int_equal(decode_one(&rig, text, used, &field), MR_REASON_DUPLICATE_KEY);
    used = (size_t)sprintf(text, "{\"a\":0."); /* a number of a megabyte */
    memset(text + used, '3', 1 << 20);
    used += 1 << 20;
    text[used] = '}';
    assert_int_equal(decode_one(&rig, text, used + 1, &field), MR_REASON_NONE);
    assert_true(rig_x(&rig, 0, 0) == 0.33333333333f);
    rig_close(&rig);
    free(text);
}

static void test_schema_errors(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "f:",        "f:.a",      "f:a.",      "f:a..b", "f:a[",     "f:a[x]",          "f:a[]",
        "f:a[-1]",   "f:a]",      "f:a[1]b",   "f:\"a",  "f:\"a\"b", "f:a[4294967295]", "f:a.b f:a[0]",
        "f:a f:a.b", "f:a.b l:a", "f:a.b\"c\""};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        char spec[64];
        struct rig rig;
        rig_spec(&rig, strcpy(spec, specs[i]), MR_FRAMING_SINGLE);
        const mr_status status = rig_open(&rig, 4, 4);
        if (status != MR_ECONFIG || rig.decoder || !strstr(rig.err.text, "path `"))
            fail_msg("%s: %s", specs[i], rig.err.text);
        rig_close(&rig);
    }
    char spec[] = "f:a";
    struct rig rig;
    rig_spec(&rig, spec, MR_FRAMING_PACKED);
    assert_int_equal(rig_open(&rig, 4, 4), MR_ECONFIG);
    rig_close(&rig);
}

#define ALIKE "{\"a\":1,\"bbbbbbbbbbbb\":2,\"c\":3,\"d\":4}"

/* A record that is unlike the ones before it, with nothing readable behind it: comparing must stop at its end, too. */
static void test_edge_of_memory(void **state)
{
    static const char *const texts[] = {ALIKE, "{\"a\":1,\"c\":[2,3,4]}", ALIKE, "[1,1,1,1,1,1]", ALIKE, "1 1 1 1 }"};
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char spec[] = "f:a f:bbbbbbbbbbbb";
    struct rig rig;
    (void)state;
    char *const memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + page, page, PROT_NONE), 0);
    rig_spec(&rig, spec, MR_FRAMING_SINGLE);
    assert_int_equal(rig_open(&rig, 8, 8), MR_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const size_t bytes = strlen(texts[i]);
        const struct mr_message message = {.value = memory + page - bytes, .value_bytes = bytes};
        memcpy(memory + page - bytes, texts[i], bytes);
        assert_true(rig_decode(&rig, &message, 1));
        assert_int_equal(rig.rows.row_count, i % 2 == 0);
    }
    rig_close(&rig);
    munmap(memory, 2 * page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons), cmocka_unit_test(test_values),         cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_array),          cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_large),   cmocka_unit_test(test_edge_of_memory), cmocka_unit_test(test_schema_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
