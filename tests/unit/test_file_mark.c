/* The mark beside a file that a follower writes: it comes back as it was written, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sink/file/mark.h"

static char folder[] = "/tmp/millrace-mark-XXXXXX", path[64], name[80];

static int folder_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/scores.jsonl", folder);
    snprintf(name, sizeof name, "%s.offsets", path);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(name);
    return rmdir(folder); /* no temporary file is left */
}

static struct mr_file_mark sample(void)
{
    struct mr_file_mark mark = {.topic = "scores.out", .file = 0xfedcba9876543210, .bytes = 123456789012};
    assert_true(mr_file_mark_begin(&mark, 3, 0));
    assert_true(mr_file_mark_begin(&mark, 0, 70));
    mr_file_mark_advance(&mark, 3, 5);
    mr_file_mark_advance(&mark, 0, 70);
    assert_true(mr_file_mark_begin(&mark, 3, 9)); /* 5 to 8 were another process's */
    mr_file_mark_advance(&mark, 3, 9007199254740993);
    assert_true(mr_file_mark_begin(&mark, 3, 9007199254740993)); /* goes on */
    return mark;
}

static size_t text_get(char *text, size_t cap)
{
    FILE *const file = fopen(name, "rbe");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, cap - 1, file);
    fclose(file);
    text[bytes] = 0;
    return bytes;
}

static void text_put(const char *text, size_t bytes)
{
    FILE *const file = fopen(name, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
}

static void is_refused(const char *why)
{
    struct mr_file_mark mark;
    struct mr_err err = {0};
    const mr_status status = mr_file_mark_read(path, &mark, &err);
    if (status != MR_EDATA) fail_msg("status %d for %s", status, why);
    if (!strstr(err.text, name) || !strstr(err.text, why) || !strstr(err.text, "move both away"))
        fail_msg("\"%s\" does not name the file, \"%s\" and a remedy", err.text, why);
    assert_int_equal(mark.count, 0);
    assert_null(mark.range);
}

static void comes_back(void **state)
{
    struct mr_file_mark mark = sample(), got;
    struct mr_err err = {0};
    char text[512];
    (void)state;
    assert_int_equal(mr_file_mark_read(path, &got, &err), MR_EINPUT);
    assert_int_equal(mr_file_mark_write(path, &mark, &err), MR_OK);
    text_get(text, sizeof text);
    static const char want[] = "millrace-offsets 1\ntopic scores.out\nfile fedcba9876543210\nbytes 123456789012\n"
                               "range 3 0 5\nrange 0 70 70\nrange 3 9 9007199254740993\nchecksum ";
    assert_memory_equal(text, want, sizeof want - 1);
    if (mr_file_mark_read(path, &got, &err)) fail_msg("%s", err.text);
    assert_string_equal(got.topic, mark.topic);
    assert_int_equal(got.bytes, mark.bytes);
    assert_true(got.file == mark.file);
    assert_int_equal(got.count, 3);
    for (size_t i = 0; i < got.count; i++) {
        assert_int_equal(got.range[i].partition, mark.range[i].partition);
        assert_int_equal(got.range[i].first, mark.range[i].first);
        assert_int_equal(got.range[i].next, mark.range[i].next);
    }
    assert_int_equal(mr_file_mark_next(&got, 3), 9007199254740993);
    assert_int_equal(mr_file_mark_next(&got, 0), 70);
    assert_int_equal(mr_file_mark_next(&got, 1), -1);
    mr_file_mark_advance(&got, 0, 60); /* never back */
    assert_int_equal(mr_file_mark_next(&got, 0), 70);
    mr_file_mark_restart(&got);
    assert_int_equal(got.bytes, 0);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.range[0].first, 70);
    assert_int_equal(got.range[1].first, 9007199254740993);
    assert_int_equal(mr_file_mark_next(&got, 3), 9007199254740993);
    mr_file_mark_deinit(&got);
    mr_file_mark_deinit(&mark);
}

static void every_cut_is_refused(void **state)
{
    struct mr_file_mark mark = sample();
    struct mr_err err = {0};
    char text[512];
    (void)state;
    assert_int_equal(mr_file_mark_write(path, &mark, &err), MR_OK);
    mr_file_mark_deinit(&mark);
    const size_t bytes = text_get(text, sizeof text);
    for (size_t cut = 0; cut < bytes; cut++) {
        text_put(text, cut);
        is_refused("cut off");
    }
    for (size_t at = 0; at < bytes; at++) { /* and every changed byte, those of the checksum among them */
        text[at] ^= 1;
        text_put(text, bytes);
        is_refused("checksum");
        text[at] ^= 1;
    }
    text[bytes] = '\n';
    text_put(text, bytes + 1);
    is_refused("checksum");
}

/* Lines that are not understood, under a checksum that is right. */
static void strange_lines_are_refused(void **state)
{
    static const struct {
        const char *topic;
        int64_t bytes, first, next;
        const char *why;
    } rows[] = {
        {"two\nlines", 1, 0, 1, "it has no name"},   {"", 1, 0, 1, "it names no topic"},
        {"t", -1, 0, 1, "it has no length"},         {"t", 1, 5, 4, "a range is out of bounds"},
        {"t", 1, -1, 4, "a range is out of bounds"},
    };
    struct mr_err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mr_file_range range = {2, rows[i].first, rows[i].next};
        struct mr_file_mark mark = {.bytes = rows[i].bytes, .range = &range, .count = 1};
        snprintf(mark.topic, sizeof mark.topic, "%s", rows[i].topic);
        assert_int_equal(mr_file_mark_write(path, &mark, &err), MR_OK);
        is_refused(rows[i].why);
    }
    struct mr_file_range overlapping[] = {{2, 0, 10}, {2, 5, 20}};
    const struct mr_file_mark mark = {.topic = "t", .range = overlapping, .count = 2};
    assert_int_equal(mr_file_mark_write(path, &mark, &err), MR_OK);
    is_refused("a range is out of bounds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(strange_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
