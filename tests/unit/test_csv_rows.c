/* Records as rows of CSV: what a cell is made of, what is quoted, and what is no record. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sink/csv.h"

static struct mr_csv csv;

static char *text_of(const char *value, size_t bytes)
{
    static char out[4096];
    size_t written;
    /* What is read lies at the very end of its memory, what is written has the room that is promised. */
    char *const exact = malloc(bytes + 1), *const row = malloc(mr_csv_bytes_max(&csv, value, bytes) + 1);
    memcpy(exact, value, bytes);
    const bool is_row = mr_csv_write(&csv, exact, bytes, row, &written);
    if (is_row) assert_true(written <= mr_csv_bytes_max(&csv, value, bytes));
    memcpy(out, row, is_row ? written : 0);
    out[is_row ? written : 0] = 0;
    free(exact);
    free(row);
    return is_row ? out : NULL;
}

static void setup(const char *const *names, size_t count)
{
    static struct mr_pair pairs[8];
    static struct mr_map fields;
    for (size_t i = 0; i < count; i++) pairs[i].key = (char *)(uintptr_t)names[i];
    fields = (struct mr_map){pairs, count};
    assert_true(mr_csv_init(&csv, &fields));
}

static void cells(void **state)
{
    static const char *const names[] = {"a", "b"};
    static const struct {
        const char *value, *row;
    } rows[] = {
        {"{\"a\":1,\"b\":-2.5e-7}", "1,-2.5e-7\n"},
        {"{\"b\":1,\"a\":2}", "2,1\n"},
        {"{\"a\":true}", "true,\n"},
        {"{}", ",\n"},
        {"{\"a\":null,\"b\":\"\"}", ",\"\"\n"},
        {"{\"a\":\"x\",\"b\":\"y z\"}", "x,y z\n"},
        {"{\"a\":\"x,y\",\"b\":\"say \\\"hi\\\"\"}", "\"x,y\",\"say \"\"hi\"\"\"\n"},
        {"{\"a\":\"two\\nlines\",\"b\":\"\\r\"}", "\"two\nlines\",\"\r\"\n"},
        {"{\"a\":\" x\",\"b\":\"x \"}", "\" x\",\"x \"\n"},
        {"{\"a\":[1,\"]\"],\"b\":{\"c\":{}}}", "\"[1,\"\"]\"\"]\",\"{\"\"c\"\":{}}\"\n"},
        {"{\"a\":\"caf\\u00e9 \\ud83d\\ude00\",\"b\":\"null\"}", "caf\xc3\xa9 \xf0\x9f\x98\x80,null\n"},
        {" { \"a\" : 1 ,\n\"b\"\t: \"}\" } ", "1,}\n"},
        {"{\"c\":9,\"a\":1,\"aa\":3,\"b\":2}", "1,2\n"},
        {"[{\"a\":1,\"b\":2},{\"a\":3,\"b\":4}]", "1,2\n3,4\n"},
        {"{\"a\":1,\"b\":2}\n{\"a\":3,\"b\":4}", "1,2\n3,4\n"},
        {"{\"a\":\"\\\\\",\"b\":\"\\\"\"}", "\\,\"\"\"\"\n"},
    };
    (void)state;
    setup(names, 2);
    assert_int_equal(csv.header_bytes, 4);
    assert_memory_equal(csv.header, "a,b\n", 4);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const got = text_of(rows[i].value, strlen(rows[i].value));
        if (!got || strcmp(got, rows[i].row) != 0)
            fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].value, got ? got : "nothing", rows[i].row);
    }
    mr_csv_deinit(&csv);
}

static void no_rows(void **state)
{
    static const char *const names[] = {"a"};
    static const char *const wrong[] = {"",           "[]",     "1",         "null",     "\"a\"",
                                        "{",          "{\"a\"", "{\"a\":",   "{\"a\":1", "{\"a\":\"",
                                        "{\"a\":1}x", "{a:1}",  "{\"a\":1,", "{\"a\\"};
    (void)state;
    setup(names, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *const got = text_of(wrong[i], strlen(wrong[i]));
        if (got) fail_msg("%s: \"%s\"", wrong[i], got);
    }
    /* Every beginning of a record, none of which is read beyond. */
    static const char whole[] = "[{\"a\":\"x\\u00e9\\\"\",\"b\":[{}]},{\"a\":2}]";
    for (size_t bytes = 0; bytes < sizeof whole; bytes++) text_of(whole, bytes);
    mr_csv_deinit(&csv);
}

static void names_are_quoted(void **state)
{
    static const char *const names[] = {"plain", "with,comma", "with\"quote"};
    (void)state;
    setup(names, 3);
    assert_int_equal(csv.header_bytes, strlen("plain,\"with,comma\",\"with\"\"quote\"\n"));
    assert_memory_equal(csv.header, "plain,\"with,comma\",\"with\"\"quote\"\n", csv.header_bytes);
    static const char value[] = "{\"plain\":1,\"with,comma\":2,\"with\\\"quote\":3}";
    assert_string_equal(text_of(value, strlen(value)), "1,2,3\n");
    mr_csv_deinit(&csv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cells), cmocka_unit_test(no_rows),
                                       cmocka_unit_test(names_are_quoted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
