/* DATA of offline commands: which fields are read from which format, labels, bad rows, blocks, matrices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sha256.h"
#include "table/table.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static char path[64];

/* A file with these bytes; the name's end says the format. */
static void file_make_bytes(const char *end, const void *bytes, size_t byte_count)
{
    if (*path) unlink(path);
    snprintf(path, sizeof path, "/tmp/millrace_table_%ld%s", (long)getpid(), end);
    FILE *const file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, byte_count, file), byte_count);
    fclose(file);
}

static void file_make(const char *end, const char *text)
{
    file_make_bytes(end, text, strlen(text));
}

static int file_remove(void **state)
{
    (void)state;
    return unlink(path);
}

static struct mr_strings list(char **items, size_t count)
{
    return (struct mr_strings){items, count};
}

static char *word(const char *text)
{
    return (char *)(uintptr_t)text;
}

static struct mr_table *opened(const struct mr_table_options *options, mr_label_kind kind)
{
    struct mr_table *table;
    struct mr_err err;
    if (mr_table_open(path, options, kind, &table, &err)) fail_msg("%s", err.text);
    return table;
}

/* Opens or reads, whichever fails, and compares status and a part of the text. */
static void fails(const struct mr_table_options *options, mr_label_kind kind, mr_status want, const char *text)
{
    struct mr_table *table;
    struct mr_block block;
    struct mr_err err = {0};
    mr_status status = mr_table_open(path, options, kind, &table, &err);
    while (!status) status = mr_table_next(table, &block, &err);
    if (status != want || (text && !strstr(err.text, text)))
        fail_msg("status %d, not %d; \"%s\" is not in: %s", status, want, text, err.text);
    mr_table_close(table);
}

static void features_are(const struct mr_table *table, const char *const *names, size_t count)
{
    size_t found;
    const char *const *const feature = mr_table_feature(table, &found);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) assert_string_equal(feature[i], names[i]);
}

/* The values row by row, rows behind the last one zero, and nothing more. */
static void rows_are(struct mr_table *table, const double *x, const double *label, size_t rows, size_t cols)
{
    struct mr_block block;
    struct mr_err err;
    if (mr_table_next(table, &block, &err)) fail_msg("%s", err.text);
    assert_int_equal(block.rows, rows);
    assert_true(!label == !block.label);
    for (size_t row = 0; row < mr_tile_count(rows) * MR_TILE_ROWS; row++) {
        for (size_t col = 0; col < cols; col++) {
            const float want = row < rows ? (float)x[row * cols + col] : 0;
            const float got = block.x[mr_tile_at(row, col, cols)];
            if (got != want) fail_msg("row %zu column %zu: %g, not %g", row, col, (double)got, (double)want);
        }
        if (label && row < rows && block.label[row] != label[row]) fail_msg("label %zu: %g", row, block.label[row]);
    }
    assert_int_equal(mr_table_next(table, &block, &err), MR_END);
    assert_int_equal(block.rows, 0);
}

static void classes_are(const struct mr_table *table, const char *const *names, size_t count)
{
    size_t found;
    const char *const *const class = mr_table_class(table, &found);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) assert_string_equal(class[i], names[i]);
}

static void csv_takes_all_columns_but_the_label(void **state)
{
    static const char *const names[] = {"a", "say \"b\"", "3"}, *const classes[] = {"low", "high, \"very\"", "7"};
    static const double x[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1}, label[] = {0, 1, 2, 2};
    const struct mr_table_options options = {.label = word("class")};
    (void)state;
    file_make(".csv",
              "\xef\xbb\xbf"
              "a,\"say \"\"b\"\"\",class,3\r\n1,2,low,3\r\n4,5,\"high, \"\"very\"\"\",6\r\n7,8,7.0,9\r\n1,1,7,1");
    struct mr_table *const table = opened(&options, MR_LABEL_CLASS);
    features_are(table, names, COUNT(names));
    rows_are(table, x, label, 4, 3);
    classes_are(table, classes, COUNT(classes));
    mr_table_close(table);
}

static void csv_without_header(void **state)
{
    static const char *const numbers[] = {"1", "3"};
    static const double x[] = {1, 3, 4, 6}, swapped[] = {3, 1, 6, 4}, label[] = {2, 5};
    struct mr_pair none = {word("header"), word("none")};
    const struct mr_table_options all = {.label = word("2"), .record = {&none, 1}};
    char *items[] = {word("3"), word("1")};
    const struct mr_table_options some = {.features = list(items, 2), .label = word("2")};
    (void)state;
    file_make(".csv", "1,2,3\n4,5,6\n");
    struct mr_table *table = opened(&all, MR_LABEL_NUMBER);
    features_are(table, numbers, 2);
    rows_are(table, x, label, 2, 2);
    mr_table_close(table);
    table = opened(&some, MR_LABEL_NUMBER); /* numbers alone: there is no header */
    rows_are(table, swapped, label, 2, 2);
    mr_table_close(table);
    file_make(".csv", "a,b,c\n4,5,6\n");
    fails(&some, MR_LABEL_NUMBER, MR_EDATA, "--record header=message");
}

static void tabs_by_the_name(void **state)
{
    static const double x[] = {1, 2};
    (void)state;
    file_make(".tsv", "a\tb\n1\t2\n");
    struct mr_table *const table = opened(&(struct mr_table_options){0}, MR_LABEL_NONE);
    rows_are(table, x, NULL, 1, 2);
    mr_table_close(table);
}

static void json_takes_keys_with_numbers(void **state)
{
    static const char *const names[] = {"a", "b.c"}, *const classes[] = {"x\"\xc3\xa9", "2", "true"};
    static const double x[] = {1, 2, 3, 4, 5, 6}, label[] = {0, 1, 2};
    const struct mr_table_options options = {.label = word("y")};
    (void)state;
    file_make(".jsonl", "\n{\"a\":1,\"t\":\"text\",\"b.c\":2,\"y\":\"x\\\"\\u00e9\",\"o\":{\"z\":1}}\n"
                        "{\"b.c\":4,\"a\":3,\"y\":2}\n{\"a\":5,\"b.c\":6,\"y\":true}\n");
    struct mr_table *table = opened(&options, MR_LABEL_CLASS);
    features_are(table, names, COUNT(names));
    rows_are(table, x, label, 3, 2);
    classes_are(table, classes, COUNT(classes));
    mr_table_close(table);
    file_make(".json", "[{\"a\":1}]\n");
    fails(&options, MR_LABEL_CLASS, MR_EDATA, "one object a line");
    file_make(".json", "{\"a\":1,\"y\":{}}\n");
    fails(&options, MR_LABEL_CLASS, MR_EDATA, "is no class");
    file_make(".json", "{\"y\":1}\n");
    fails(&options, MR_LABEL_CLASS, MR_EDATA, "no key with a number");
}

static void ranges_of_features(void **state)
{
    static const char *const names[] = {"x[0]", "x[1]", "o.a"};
    static const double x[] = {1, 2, 3};
    char *items[] = {word("x[0..1]"), word("o.a")};
    const struct mr_table_options options = {.features = list(items, 2)};
    (void)state;
    file_make(".jsonl", "{\"x\":[1,2],\"o\":{\"a\":3}}\n");
    struct mr_table *const table = opened(&options, MR_LABEL_NONE);
    features_are(table, names, COUNT(names));
    rows_are(table, x, NULL, 1, 3);
    mr_table_close(table);
    items[0] = word("x[3..1]");
    fails(&options, MR_LABEL_NONE, MR_EUSAGE, "--features");
}

static void packed_rows(void **state)
{
    static const float rows[] = {1, 2, 30, 4, 5, 60};
    static const double x[] = {1, 2, 4, 5}, label[] = {0, 1}, number[] = {30, 60}, all[] = {1, 2, 30, 4, 5, 60};
    static const char *const classes[] = {"30", "60"};
    struct mr_pair stride = {word("stride"), word("12")};
    struct mr_table_options options = {.label = word("[2]"), .record = {&stride, 1}};
    char *items[] = {word("a"), word("b"), word("c")};
    const struct mr_table_options named = {.features = list(items, 3)};
    size_t count;
    (void)state;
    file_make_bytes(".f32", rows, sizeof rows);
    struct mr_table *table = opened(&options, MR_LABEL_CLASS);
    assert_null(mr_table_feature(table, &count));
    assert_int_equal(count, 2);
    rows_are(table, x, label, 2, 2);
    classes_are(table, classes, 2);
    mr_table_close(table);
    table = opened(&options, MR_LABEL_NUMBER);
    rows_are(table, x, number, 2, 2);
    mr_table_close(table);
    table = opened(&named, MR_LABEL_NONE);
    features_are(table, (const char *const *)items, 3);
    rows_are(table, all, NULL, 2, 3);
    mr_table_close(table);
    fails(&(struct mr_table_options){0}, MR_LABEL_NONE, MR_EUSAGE, "--record stride");
    file_make_bytes(".f32", rows, sizeof rows - 2); /* the whole row before the half one is read */
    options.bad_rows = MR_BAD_SKIP;
    table = opened(&options, MR_LABEL_NUMBER);
    rows_are(table, x, number, 1, 2);
    assert_int_equal(mr_table_skipped(table), 1);
    mr_table_close(table);
    options.bad_rows = MR_BAD_STOP;
    fails(&options, MR_LABEL_NUMBER, MR_EDATA, "row 2 ");
}

static void bad_rows_are_named_or_left_out(void **state)
{
    static const double x[] = {1, 3}, label[] = {0, 0};
    struct mr_table_options options = {.label = word("y")};
    (void)state;
    file_make(".csv", "a,y\n1,k\n2.x,k\n3,k\nnan,k\n4\n5,\n");
    fails(&options, MR_LABEL_CLASS, MR_EDATA, "line 3: feature \"a\" is no number (type): 2.x,k; --bad-rows skip");
    options.bad_rows = MR_BAD_SKIP;
    struct mr_table *const table = opened(&options, MR_LABEL_CLASS);
    rows_are(table, x, label, 2, 1);
    assert_int_equal(mr_table_skipped(table), 4);
    mr_table_close(table);
    options.bad_rows = MR_BAD_STOP;
    file_make(".csv", "a,y\n1,k\n2,\n");
    fails(&options, MR_LABEL_CLASS, MR_EDATA, "line 3: label \"y\" is empty");
    file_make(".csv", "a,y\n1,k\n2,nan\n");
    fails(&options, MR_LABEL_NUMBER, MR_EDATA, "line 2: label \"y\" is no number");
    file_make(".csv", "a,y\n1,2\n2,nan\n");
    fails(&options, MR_LABEL_NUMBER, MR_EDATA, "line 3: label \"y\" is not finite");
    file_make(".csv", "a,y\n1,2,3\n");
    fails(&options, MR_LABEL_NUMBER, MR_EDATA, "line 2 has not as many columns");
}

static void what_is_not_there(void **state)
{
    char *items[] = {word("aa"), word("b")};
    struct mr_table_options options = {.features = list(items, 2)};
    (void)state;
    file_make(".csv", "aaa,b,b\n1,2,3\n");
    fails(&options, MR_LABEL_NONE, MR_EUSAGE, "did you mean \"aaa\"");
    items[0] = word("aaa");
    fails(&options, MR_LABEL_NONE, MR_EDATA, "two columns \"b\"");
    items[1] = word("4");
    fails(&options, MR_LABEL_NONE, MR_EUSAGE, "has 3 columns");
    options.label = word("y");
    fails(&options, MR_LABEL_NONE, MR_EUSAGE, "--label");
    fails(&(struct mr_table_options){0}, MR_LABEL_CLASS, MR_EUSAGE, "--label");
    file_make(".csv", "");
    fails(&(struct mr_table_options){0}, MR_LABEL_NONE, MR_EDATA, "must name the columns");
    file_make(".dat", "a\n1\n");
    fails(&(struct mr_table_options){0}, MR_LABEL_NONE, MR_EUSAGE, "--format");
    unlink(path);
    fails(&(struct mr_table_options){.format = 2}, MR_LABEL_NONE, MR_EINPUT, path);
    file_make(".csv", "a\n1\n");
}

/* Row i: features i and -i, class by i % 3 + 8 (so "10" sorts behind "8" and "9"). */
#define MANY_ROWS 400001 /* more than a block of the input */
static void many_rows_make(void)
{
    char *const text = malloc((size_t)MANY_ROWS * 32);
    size_t used = (size_t)sprintf(text, "a,b,y\n");
    for (int i = 0; i < MANY_ROWS; i++) used += (size_t)sprintf(text + used, "%d,-%d,%d\n", i, i, (i + 2) % 3 + 8);
    file_make_bytes(".csv", text, used);
    free(text);
}

static void blocks_are_full_and_come_again(void **state)
{
    const struct mr_table_options options = {.label = word("y"), .wants_hash = true};
    struct mr_block block;
    struct mr_err err;
    (void)state;
    many_rows_make();
    struct mr_table *const table = opened(&options, MR_LABEL_CLASS);
    assert_int_equal(mr_table_next(table, &block, &err), MR_OK); /* not to the end: no digest of a part */
    assert_int_equal(mr_table_rewind(table, &err), MR_OK);
    assert_null(mr_table_hash(table));
    for (int pass = 0; pass < 2; pass++) {
        size_t row = 0;
        mr_status status;
        while (!(status = mr_table_next(table, &block, &err))) {
            const size_t left = MANY_ROWS - row;
            assert_int_equal(block.rows, left < MR_TABLE_ROW_CAP ? left : MR_TABLE_ROW_CAP);
            for (size_t i = 0; i < block.rows; i++, row++) {
                if (block.x[mr_tile_at(i, 0, 2)] != (float)row || block.x[mr_tile_at(i, 1, 2)] != -(float)row ||
                    block.label[i] != (double)(row % 3))
                    fail_msg("row %zu", row);
            }
        }
        assert_int_equal(status, MR_END);
        assert_int_equal(row, MANY_ROWS);
        assert_int_equal(mr_table_rewind(table, &err), MR_OK);
    }
    FILE *const file = fopen(path, "rb");
    char *const bytes = malloc((size_t)MANY_ROWS * 32), want[MR_SHA256_TEXT_BYTES];
    mr_sha256_text(bytes, fread(bytes, 1, (size_t)MANY_ROWS * 32, file), want);
    assert_string_equal(mr_table_hash(table), want);
    fclose(file);
    free(bytes);
    mr_table_close(table);
}

static void matrix_holds_all_and_sorts_classes(void **state)
{
    static const char *const names[] = {"8", "9", "10"};
    const struct mr_table_options options = {.label = word("y")};
    struct mr_matrix matrix;
    struct mr_err err;
    (void)state;
    many_rows_make();
    struct mr_table *table = opened(&options, MR_LABEL_CLASS);
    assert_int_equal(mr_matrix_read(table, NULL, &matrix, &err), MR_OK);
    assert_int_equal(matrix.rows, MANY_ROWS);
    assert_int_equal(matrix.cols, 2);
    assert_int_equal(matrix.class_count, 3);
    for (size_t i = 0; i < 3; i++) assert_string_equal(matrix.class_name[i], names[i]);
    for (size_t row = 0; row < MANY_ROWS; row++) {
        if (matrix.x[mr_tile_at(row, 1, 2)] != -(float)row || matrix.label[row] != (double)((row + 2) % 3))
            fail_msg("row %zu: %g %g", row, (double)matrix.x[mr_tile_at(row, 1, 2)], matrix.label[row]);
    }
    assert_true(matrix.x[mr_tile_at(MANY_ROWS, 1, 2)] == 0);
    mr_matrix_deinit(&matrix);
    mr_table_close(table);
    file_make(".csv", "a,y\n1,2\nx,2\n");
    table = opened(&options, MR_LABEL_CLASS);
    assert_int_equal(mr_matrix_read(table, NULL, &matrix, &err), MR_EDATA);
    assert_null(matrix.x);
    mr_table_close(table);
}

static void too_many_classes(void **state)
{
    const struct mr_table_options options = {.label = word("y")};
    char *const text = malloc((MR_CLASS_MAX + 1) * 16);
    size_t used = (size_t)sprintf(text, "a,y\n");
    (void)state;
    for (unsigned i = 0; i <= MR_CLASS_MAX; i++) used += (size_t)sprintf(text + used, "1,%u.5\n", i);
    file_make_bytes(".csv", text, used);
    fails(&options, MR_LABEL_CLASS, MR_EDATA, "is the label a number");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_takes_all_columns_but_the_label),
        cmocka_unit_test(csv_without_header),
        cmocka_unit_test(tabs_by_the_name),
        cmocka_unit_test(json_takes_keys_with_numbers),
        cmocka_unit_test(ranges_of_features),
        cmocka_unit_test(packed_rows),
        cmocka_unit_test(bad_rows_are_named_or_left_out),
        cmocka_unit_test(what_is_not_there),
        cmocka_unit_test(blocks_are_full_and_come_again),
        cmocka_unit_test(matrix_holds_all_and_sorts_classes),
        cmocka_unit_test(too_many_classes),
    };
    return cmocka_run_group_tests(tests, NULL, file_remove);
}
