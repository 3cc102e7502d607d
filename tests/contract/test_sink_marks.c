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

/* The offset for a note of the group, and a topic from low on. */
static int64_t marked_by(struct mr_sink *sink, int32_t partition, int64_t group, const char *note, int64_t low)
{
    const struct mr_sink_place place = {
        .partition = partition, .group_offset = group, .note = note, .low = low, .end = 100};
    struct mr_err err = {0};
    int64_t offset = -2;
    if (ops->marked(sink, &place, &offset, &err)) fail_msg("%s", err.text);
    return offset;
}

static int64_t marked(struct mr_sink *sink, int32_t partition, int64_t group)
{
    return marked_by(sink, partition, group, "", 0);
}

static void marked_refuses(struct mr_sink *sink, const struct mr_sink_place *place, const char *words)
{
    struct mr_err err = {0};
    int64_t offset;
    const mr_status got = ops->marked(sink, place, &offset, &err);
    if (got != MR_EDATA || !strstr(err.text, path) || !strstr(err.text, words))
        fail_msg("status %d, \"%s\" is not \"%s\"", got, err.text, words);
}

static void mark_text(char *text, size_t cap)
{
    char name[80];
    snprintf(name, sizeof name, "%s.offsets", path);
    FILE *const file = fopen(name, "rbe");
    assert_non_null(file);
    text[fread(text, 1, cap - 1, file)] = 0;
    fclose(file);
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
    text_is(path, "a0\na1\na2\nb0\nb1\nc0\nc1\nc2\nc3\n"); /* before it is known where each partition begins */
    assert_int_equal(marked(sink, 0, -1), 3);
    assert_int_equal(marked(sink, 0, 2), 3);
    assert_int_equal(marked(sink, 0, 3), -1);                                          /* the group's will do */
    assert_int_equal(marked_by(sink, 1, 50, "millrace 1 0000000000000abc:41", 0), -1); /* another file has that */
    put(sink, 'd', 1);
    mark(sink, 1, 51);
    text_is(path, "a0\na1\na2\nb0\nb1\nd0\n");
    ops->close(sink);
    char text[256];
    mark_text(text, sizeof text);
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
    struct mr_sink *const again = opened();
    assert_int_equal(ops->mark(again, NULL, 0, &err), MR_OK); /* cuts it off */
    ops->close(again);
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

/* The group is further than the mark: it matters who has what is between. */
static void an_old_mark(void **state)
{
    (void)state;
    char mine[64], text[256], others[128], file[17];
    struct mr_err err = {0};
    unlink(path);
    snprintf(text, sizeof text, "%s.offsets", path);
    unlink(text);
    struct mr_sink *sink = opened();
    assert_int_equal(marked_by(sink, 0, 10, "", 0), -1);
    put(sink, 'a', 2);
    mark(sink, 0, 12);
    mark_text(text, sizeof text);
    assert_int_equal(sscanf(strstr(text, "\nfile "), "\nfile %16s", file), 1);
    snprintf(mine, sizeof mine, "millrace 1 %s:10", file);
    assert_string_equal(ops->note(sink, 0), mine);
    assert_null(ops->note(sink, 7));
    put(sink, 'b', 3);
    ops->close(sink);
    text_is(path, "a0\na1\nb0\nb1\nb2\n");

    sink = opened(); /* as if b were marked, and the old mark put back */
    assert_int_equal(marked_by(sink, 0, 40, mine, 0), 12);
    assert_string_equal(ops->note(sink, 0), mine);
    assert_int_equal(marked_by(sink, 0, 40, "", 0), 12); /* nobody says that others have it */
    assert_int_equal(marked_by(sink, 0, 40, "anything else", 0), 12);
    snprintf(others, sizeof others, "%s 0000000000000abc:30", mine);
    marked_refuses(sink, &(struct mr_sink_place){0, 40, mine, 20, 100}, "does not have all of them any more");
    marked_refuses(sink, &(struct mr_sink_place){0, 40, others, 0, 100}, "another process has gone on");
    marked_refuses(sink, &(struct mr_sink_place){0, -1, "", 0, 11}, "the partition ends at 11");
    assert_int_equal(marked_by(sink, 0, 40, "", 30), -1); /* gone, and the group was set on: nothing else is left */
    ops->close(sink);
    text_is(path, "a0\na1\nb0\nb1\nb2\n"); /* nothing was cut off */

    sink = opened();
    snprintf(others, sizeof others, "%s 0000000000000abc:11", mine);
    assert_int_equal(marked_by(sink, 0, 40, others, 0), -1); /* taken over after a crash: that one goes on */
    snprintf(text, sizeof text, "%s %s:40", others, file);
    assert_string_equal(ops->note(sink, 0), text);
    put(sink, 'c', 1);
    assert_int_equal(ops->mark(sink, &(struct mr_position){.partition = 0, .next_offset = 41}, 1, &err), MR_OK);
    text_is(path, "a0\na1\nc0\n");
    ops->close(sink);
}

/* Deleted while it is written: what came after its mark must be given again; then a new one begins there. */
static void a_file_that_was_deleted(void **state)
{
    (void)state;
    struct mr_err err = {0};
    char text[256];
    struct mr_sink *sink = opened();
    assert_int_equal(marked(sink, 0, 41), -1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(emit(sink, 'd', 1, &err), MR_ERESTART);
    assert_int_equal(ops->mark(sink, NULL, 0, &err), MR_ERESTART);
    ops->close(sink);
    refused("others", MR_EDATA, "holds records of topic");
    assert_int_equal(access(path, F_OK), -1);
    sink = opened();
    assert_int_equal(marked(sink, 0, 41), -1);
    put(sink, 'd', 1);
    mark(sink, 0, 42);
    ops->close(sink);
    text_is(path, "d0\n");
    mark_text(text, sizeof text);
    assert_non_null(strstr(text, "\nbytes 3\nrange 0 41 42\n"));
}

/* A folder that cannot be looked into is no file that was moved. */
static void a_path_that_cannot_be_seen(void **state)
{
    (void)state;
    struct mr_err err = {0};
    char away[80];
    struct mr_sink *const sink = opened();
    assert_int_equal(marked(sink, 0, 42), -1);
    put(sink, 'e', 1);
    snprintf(away, sizeof away, "%s.away", folder);
    assert_int_equal(rename(folder, away), 0);
    text_put(folder, "we", "no folder"); /* ENOTDIR */
    assert_int_equal(ops->mark(sink, &(struct mr_position){.partition = 0, .next_offset = 43}, 1, &err), MR_EIO);
    assert_non_null(strstr(err.text, "looking at"));
    assert_int_equal(unlink(folder), 0);
    assert_int_equal(rename(away, folder), 0);
    mark(sink, 0, 43);
    ops->close(sink);
    text_is(path, "d0\ne0\n");
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
        cmocka_unit_test(what_is_not_marked_comes_again), cmocka_unit_test(one_writer_alone),
        cmocka_unit_test(a_file_that_was_moved),          cmocka_unit_test(an_old_mark),
        cmocka_unit_test(a_file_that_was_deleted),        cmocka_unit_test(a_path_that_cannot_be_seen),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
