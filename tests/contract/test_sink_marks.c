/* Sinks that keep positions together with what they hold (mr_sink_ops.mark): the file sink, fed as a follower feeds it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "registry.h"

static char folder[] = "/tmp/millrace-marks-XXXXXX", path[64], moved[64];
static const struct mr_sink_ops *ops;
static void *options;
static size_t settled_count;

static void settled_ok(struct mr_outbox *box, size_t count)
{
    (void)box;
    settled_count += count;
}

static mr_status sink_open(const char *followed, struct mr_sink **sink_out, struct mr_err *err)
{
    const struct mr_sink_open open = {
        .options = options, .job = "test", .lane_count = 1, .memory_bytes = 1 << 20, .followed = followed};
    return ops->open(&open, sink_out, err);
}

static struct mr_sink *opened(void)
{
    struct mr_sink *sink;
    struct mr_err err = {0};
    if (sink_open("scores", &sink, &err)) fail_msg("%s", err.text);
    return sink;
}

/* Not opened, and the error names the path and says that. */
static void refused(const char *followed, mr_status status, const char *words)
{
    struct mr_sink *sink;
    struct mr_err err = {0};
    const mr_status got = sink_open(followed, &sink, &err);
    assert_null(sink);
    if (got != status || !strstr(err.text, path) || !strstr(err.text, words))
        fail_msg("status %d, \"%s\" is not \"%s\"", got, err.text, words);
}

static mr_status emit(struct mr_sink *sink, char letter, size_t count, struct mr_err *err)
{
    char text[16][8];
    struct mr_record record[16];
    size_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        snprintf(text[i], sizeof text[i], "%c%zu", letter, i);
        record[i] = (struct mr_record){.value = text[i], .value_bytes = 2, .row_count = 1, .offset = (int64_t)i};
    }
    struct mr_outbox box = {.record = record, .count = count, .record_cap = 16, .settled_ok = settled_ok};
    mr_status status = ops->emit(sink, &box, 0, &taken, err);
    if (!status) status = ops->poll(sink, 0, err);
    return status;
}

/* Records of a partition, written and settled. */
static void put(struct mr_sink *sink, char letter, size_t count)
{
    struct mr_err err = {0};
    settled_count = 0;
    if (emit(sink, letter, count, &err)) fail_msg("%s", err.text);
    assert_int_equal(settled_count, count);
}

static void mark(struct mr_sink *sink, int32_t partition, int64_t next)
{
    const struct mr_position position = {.partition = partition, .next_offset = next};
    struct mr_err err = {0};
    if (ops->mark(sink, &position, 1, &err)) fail_msg("%s", err.text);
}

static int64_t marked(struct mr_sink *sink, int32_t partition, int64_t group)
{
    struct mr_err err = {0};
    int64_t offset = -2;
    if (ops->marked(sink, partition, group, &offset, &err)) fail_msg("%s", err.text);
    return offset;
}

static void text_is(const char *where, const char *want)
{
    char text[256] = "";
    FILE *const file = fopen(where, "rbe");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    assert_string_equal(text, want);
}

static void text_put(const char *where, const char *mode, const char *text)
{
    FILE *const file = fopen(where, mode);
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void what_is_not_marked_comes_again(void **state)
{
    (void)state;
    struct mr_sink *sink = opened();
    assert_int_equal(marked(sink, 0, -1), -1); /* nothing is known: it is told where the partition begins */
    assert_int_equal(marked(sink, 0, 0), -1);
    assert_int_equal(marked(sink, 1, 40), -1);
    put(sink, 'a', 3);
    mark(sink, 0, 3);
    put(sink, 'b', 2);
    mark(sink, 1, 42);
    put(sink, 'c', 4); /* a crash comes before its mark */
    ops->close(sink);
    text_is(path, "a0\na1\na2\nb0\nb1\nc0\nc1\nc2\nc3\n");
    sink = opened();
    text_is(path, "a0\na1\na2\nb0\nb1\n");
    assert_int_equal(marked(sink, 0, -1), 3);
    assert_int_equal(marked(sink, 0, 2), 3);
    assert_int_equal(marked(sink, 0, 3), -1);  /* the group's will do */
    assert_int_equal(marked(sink, 1, 50), -1); /* another process was there */
    put(sink, 'd', 1);
    mark(sink, 1, 51);
    ops->close(sink);
    char text[256];
    snprintf(text, sizeof text, "%s.offsets", path);
    FILE *const file = fopen(text, "rbe");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    assert_non_null(strstr(text, "bytes 18\nrange 0 0 3\nrange 1 40 42\nrange 1 50 51\n"));
}

static void one_writer_alone(void **state)
{
    (void)state;
    struct mr_sink *const sink = opened();
    struct mr_err err = {0};
    refused("scores", MR_ESINK, "another process");
    text_put(path, "ae", "not ours\n");
    assert_int_equal(emit(sink, 'e', 1, &err), MR_ESINK);
    assert_non_null(strstr(err.text, "something else writes to it"));
    ops->close(sink);
    ops->close(opened()); /* cuts it off */
    refused("others", MR_EDATA, "holds records of topic \"scores\"");
    refused(NULL, MR_EDATA, "belongs to a job with delivery \"exactly-once\"");
    assert_int_equal(truncate(path, 17), 0);
    refused("scores", MR_EDATA, "records are gone");
}

static void a_file_that_was_moved(void **state)
{
    (void)state;
    struct mr_err err = {0};
    const struct mr_position position = {.partition = 0, .next_offset = 4};
    text_put(path, "we", "a0\na1\na2\nb0\nb1\nd0\n");
    struct mr_sink *sink = opened();
    assert_int_equal(rename(path, moved), 0);
    put(sink, 'e', 1); /* belongs to it still: no mark is behind it */
    mark(sink, 0, 4);
    put(sink, 'f', 2);
    text_is(moved, "a0\na1\na2\nb0\nb1\nd0\ne0\n");
    text_is(path, "f0\nf1\n");
    assert_int_equal(unlink(moved), 0);
    assert_int_equal(rename(path, moved), 0);
    text_put(path, "we", "of somebody else\n");
    assert_int_equal(ops->mark(sink, &position, 1, &err), MR_ESINK);
    assert_non_null(strstr(err.text, "is not empty"));
    ops->close(sink);
    text_is(path, "of somebody else\n");
}

static int folder_make(void **state)
{
    (void)state;
    struct mr_err err;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/scores.jsonl", folder);
    snprintf(moved, sizeof moved, "%s/scores.jsonl.1", folder);
    ops = mr_sink_find("file");
    options = calloc(1, ops->options_size);
    return mr_options_init(ops->options, options, &err) || mr_options_set(ops->options, options, "path", path, &err);
}

static int folder_remove(void **state)
{
    (void)state;
    char name[80];
    snprintf(name, sizeof name, "%s.offsets", path);
    unlink(name);
    unlink(path);
    unlink(moved);
    mr_options_deinit(ops->options, options);
    free(options);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_marked_comes_again),
        cmocka_unit_test(one_writer_alone),
        cmocka_unit_test(a_file_that_was_moved),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
