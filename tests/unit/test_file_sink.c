/* What the file sink does beside appending: files that are full, rows of CSV, and when it syncs. What it appends, and
 * full disks: contract/test_sink.c; the file of a follower: contract/test_sink_marks.c. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "registry.h"
#include "sink/file/rotated.h"

#define RECORDS 50
#define LANES   4
#define TURNS   100

static char folder[64], path[96];
static unsigned syncs; /* calls of fdatasync */

/* In the place of libc's. */
int fdatasync(int fd)
{
    __atomic_fetch_add(&syncs, 1, __ATOMIC_RELAXED);
    return fsync(fd);
}

struct box {
    struct mr_outbox outbox;
    struct mr_record record[RECORDS];
    char text[RECORDS][64];
    size_t settled;
};

static void settled_ok(struct mr_outbox *outbox, size_t count)
{
    ((struct box *)(void *)outbox)->settled += count; /* its first member */
}

static void box_fill(struct box *box, unsigned lane, unsigned turn)
{
    *box = (struct box){.outbox = {.record = box->record, .count = RECORDS, .settled_ok = settled_ok}};
    for (size_t i = 0; i < RECORDS; i++) {
        const int bytes =
            snprintf(box->text[i], sizeof box->text[i], "{\"lane\":%u,\"n\":%u}", lane, turn * RECORDS + (unsigned)i);
        box->record[i] = (struct mr_record){.value = box->text[i], .value_bytes = (uint32_t)bytes, .row_count = 1};
    }
}

static struct mr_pair pairs[] = {{(char *)(uintptr_t) "lane", NULL}, {(char *)(uintptr_t) "n", NULL}};
static const struct mr_map fields = {pairs, 2};

static void *options_make(const char *const *given)
{
    const struct mr_sink_ops *const ops = mr_sink_find("file");
    void *const options = calloc(1, ops->options_size);
    struct mr_err err;
    assert_int_equal(mr_options_init(ops->options, options, &err), MR_OK);
    assert_int_equal(mr_options_set(ops->options, options, "path", path, &err), MR_OK);
    for (; *given; given += 2)
        if (mr_options_set(ops->options, options, given[0], given[1], &err)) fail_msg("%s", err.text);
    return options;
}

static void options_free(void *options)
{
    mr_options_deinit(mr_sink_find("file")->options, options);
    free(options);
}

static struct mr_sink *sink_open(const void *options, unsigned lane)
{
    const struct mr_sink_ops *const ops = mr_sink_find("file");
    const struct mr_sink_open open = {
        .options = options, .job = "test", .lane = lane, .lane_count = LANES, .fields = &fields};
    struct mr_sink *sink = NULL;
    struct mr_err err;
    if (ops->check(options, &err) || ops->open(&open, &sink, &err)) fail_msg("%s", err.text);
    return sink;
}

static void emit(struct mr_sink *sink, struct box *box)
{
    const struct mr_sink_ops *const ops = mr_sink_find("file");
    struct mr_err err;
    size_t taken;
    if (ops->emit(sink, &box->outbox, 0, &taken, &err)) fail_msg("%s", err.text);
    assert_int_equal(taken, RECORDS);
    assert_int_equal(box->settled, 0);
    if (ops->poll(sink, 0, &err)) fail_msg("%s", err.text);
    assert_int_equal(box->settled, RECORDS);
}

/* Deletes what a test has left; how many rotated files there were. */
static size_t files_delete(void)
{
    uint64_t *numbers;
    size_t count;
    struct mr_err err;
    char name[128];
    assert_int_equal(mr_file_rotated(path, &numbers, &count, &err), MR_OK);
    for (size_t i = 0; i < count; i++) {
        mr_file_rotated_name(path, numbers[i], name);
        unlink(name);
    }
    free(numbers);
    unlink(path);
    return count;
}

/* Notes the records of a file: next[lane] is the one that must come, as each lane's stand in their order. */
static size_t file_take(const char *name, unsigned next[LANES], bool is_csv)
{
    char line[128];
    size_t bytes = 0;
    FILE *const file = fopen(name, "r");
    if (!file) fail_msg("no %s", name);
    for (unsigned number = 0; fgets(line, sizeof line, file); number++) {
        unsigned lane, n;
        bytes += strlen(line);
        if (is_csv && !number) {
            assert_string_equal(line, "lane,n\n");
            continue;
        }
        assert_int_equal(sscanf(line, is_csv ? "%u,%u\n" : "{\"lane\":%u,\"n\":%u}\n", &lane, &n), 2);
        assert_in_range(lane, 0, LANES - 1);
        assert_int_equal(n, next[lane]);
        next[lane]++;
    }
    fclose(file);
    return bytes;
}

/* All files in their order; the most bytes of one. */
static size_t files_take(unsigned next[LANES], bool is_csv, size_t *count_out)
{
    uint64_t *numbers;
    struct mr_err err;
    char name[128];
    size_t most = 0;
    assert_int_equal(mr_file_rotated(path, &numbers, count_out, &err), MR_OK);
    for (size_t i = 0; i < *count_out; i++) {
        mr_file_rotated_name(path, numbers[i], name);
        const size_t bytes = file_take(name, next, is_csv);
        if (bytes > most) most = bytes;
    }
    free(numbers);
    const size_t bytes = file_take(path, next, is_csv);
    return bytes > most ? bytes : most;
}

static void full_files_are_left(void **state)
{
    const char *const given[] = {"rotate_bytes", "2000", NULL};
    void *const options = options_make(given);
    unsigned next[LANES] = {0};
    struct box box;
    size_t count;
    (void)state;
    struct mr_sink *sink = sink_open(options, 0);
    for (unsigned turn = 0; turn < 20; turn++) {
        if (turn == 11) { /* a start goes on with the file that is there */
            mr_sink_find("file")->close(sink);
            sink = sink_open(options, 0);
        }
        box_fill(&box, 0, turn);
        emit(sink, &box);
    }
    mr_sink_find("file")->close(sink);
    const size_t most = files_take(next, false, &count);
    assert_int_equal(next[0], 20 * RECORDS);
    assert_in_range(count, 6, 15);
    assert_in_range(most, 2000, 2000 + RECORDS * 20);
    assert_int_equal(files_delete(), count);
    options_free(options);
}

static void old_files_are_deleted(void **state)
{
    const char *const given[] = {"rotate_bytes", "500", "keep", "3", NULL};
    void *const options = options_make(given);
    struct box box;
    uint64_t *numbers;
    size_t count;
    struct mr_err err;
    (void)state;
    struct mr_sink *const sink = sink_open(options, 0);
    for (unsigned turn = 0; turn < 10; turn++) {
        box_fill(&box, 0, turn);
        emit(sink, &box);
    }
    mr_sink_find("file")->close(sink);
    assert_int_equal(mr_file_rotated(path, &numbers, &count, &err), MR_OK);
    assert_int_equal(count, 3);
    assert_int_equal(numbers[0], 7); /* of nine that were full */
    assert_int_equal(numbers[2], 9);
    free(numbers);
    files_delete();
    options_free(options);
}

struct lane {
    struct mr_sink *sink;
    unsigned number;
};

static void *lane_main(void *argument)
{
    const struct lane *const lane = argument;
    struct box *const box = malloc(sizeof *box);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        box_fill(box, lane->number, turn);
        emit(lane->sink, box);
    }
    free(box);
    return NULL;
}

/* Lanes that find the file full at once: each record is in one file, each lane's in their order, one line of columns
 * in each. */
static void lanes_share_files(void **state)
{
    const char *const given[] = {"rotate_bytes", "4000", "format", "csv", "fsync", "batch", NULL};
    void *const options = options_make(given);
    struct lane lane[LANES];
    pthread_t thread[LANES];
    unsigned next[LANES] = {0};
    size_t count;
    (void)state;
    for (unsigned i = 0; i < LANES; i++) lane[i] = (struct lane){sink_open(options, i), i};
    for (unsigned i = 0; i < LANES; i++) assert_int_equal(pthread_create(&thread[i], NULL, lane_main, &lane[i]), 0);
    for (unsigned i = 0; i < LANES; i++) pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < LANES; i++) mr_sink_find("file")->close(lane[i].sink);
    const size_t most = files_take(next, true, &count);
    for (unsigned i = 0; i < LANES; i++) assert_int_equal(next[i], TURNS * RECORDS);
    assert_true(count > 10);
    assert_in_range(most, 4000, 4000 + RECORDS * 8 + 8);
    files_delete();
    options_free(options);
}

static void a_new_interval_begins_a_file(void **state)
{
    const char *const given[] = {"rotate_interval", "1h", NULL};
    void *const options = options_make(given);
    const struct timespec then[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    unsigned next[LANES] = {0};
    struct box box;
    size_t count;
    (void)state;
    struct mr_sink *const sink = sink_open(options, 0);
    box_fill(&box, 0, 0);
    emit(sink, &box);
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0); /* it was an hour ago */
    box_fill(&box, 0, 1);
    emit(sink, &box);
    mr_sink_find("file")->close(sink);
    files_take(next, false, &count);
    assert_int_equal(count, 1);
    assert_int_equal(next[0], 2 * RECORDS);
    files_delete();
    options_free(options);
}

static void text_write(const char *text)
{
    FILE *const file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void rows_go_on(void **state)
{
    const char *const given[] = {"format", "csv", NULL};
    void *const options = options_make(given);
    const struct mr_sink_ops *const ops = mr_sink_find("file");
    const struct mr_sink_open open = {.options = options, .fields = &fields};
    unsigned next[LANES] = {0};
    struct mr_sink *sink;
    struct mr_err err;
    struct box box;
    size_t count;
    (void)state;
    text_write("lane,n\n0,0\n0,1\n0,\"2\n3"); /* cut short within quotes */
    sink = sink_open(options, 0);
    box_fill(&box, 1, 0);
    emit(sink, &box);
    ops->close(sink);
    files_take(next, true, &count);
    assert_true(next[0] == 2 && next[1] == RECORDS);
    text_write("n,lane\n1,2\n");
    assert_int_equal(ops->open(&open, &sink, &err), MR_EDATA);
    assert_non_null(strstr(err.text, "columns of emit.fields"));
    unlink(path);
    sink = sink_open(options, 0); /* what is no object cannot be a row */
    box_fill(&box, 0, 0);
    box.record[0].value = "7", box.record[0].value_bytes = 1;
    assert_int_equal(ops->emit(sink, &box.outbox, 0, &count, &err), MR_EDATA);
    ops->close(sink);
    files_delete();
    options_free(options);
}

static unsigned syncs_of(const char *policy, unsigned turns)
{
    const char *const given[] = {"fsync", policy, NULL};
    void *const options = options_make(given);
    struct mr_sink *const sink = sink_open(options, 0);
    struct box box;
    syncs = 0;
    for (unsigned turn = 0; turn < turns; turn++) {
        box_fill(&box, 0, turn);
        emit(sink, &box);
    }
    const unsigned before_close = syncs;
    mr_sink_find("file")->close(sink);
    assert_in_range(syncs - before_close, 0, 1);
    files_delete();
    options_free(options);
    return syncs;
}

static void it_syncs_as_it_is_told(void **state)
{
    (void)state;
    assert_int_equal(syncs_of("never", 20), 0);
    assert_int_equal(syncs_of("batch", 20), 20);
    assert_int_equal(syncs_of("1h", 20), 1); /* at the end */
}

/* An interval that passes while nothing more is written: the next poll() syncs. */
static void an_interval_passes(void **state)
{
    const char *const given[] = {"fsync", "1ms", NULL};
    void *const options = options_make(given);
    struct mr_sink *const sink = sink_open(options, 0);
    struct mr_err err;
    struct box box;
    (void)state;
    syncs = 0;
    box_fill(&box, 0, 0);
    emit(sink, &box);
    const int64_t end_us = mr_clock_us() + 20000000;
    while (!syncs && mr_clock_us() < end_us) assert_int_equal(mr_sink_find("file")->poll(sink, 0, &err), MR_OK);
    assert_int_equal(syncs, 1);
    mr_sink_find("file")->close(sink);
    assert_int_equal(syncs, 1); /* nothing was left */
    files_delete();
    options_free(options);
}

static void what_does_nothing_is_refused(void **state)
{
    static const char *const wrong[][5] = {
        {"fsync", "sometimes", NULL}, {"fsync", "0", NULL}, {"fsync", "2h", NULL}, {"keep", "3", NULL}};
    const struct mr_sink_ops *const ops = mr_sink_find("file");
    struct mr_err err;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        void *const options = options_make(wrong[i]);
        assert_int_equal(ops->check(options, &err), MR_ECONFIG);
        assert_non_null(strstr(err.text, wrong[i][0]));
        options_free(options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_files_are_left), cmocka_unit_test(old_files_are_deleted),
        cmocka_unit_test(lanes_share_files),   cmocka_unit_test(a_new_interval_begins_a_file),
        cmocka_unit_test(rows_go_on),          cmocka_unit_test(it_syncs_as_it_is_told),
        cmocka_unit_test(an_interval_passes),  cmocka_unit_test(what_does_nothing_is_refused)};
    strcpy(folder, "/tmp/millrace-file-XXXXXX");
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/scores", folder);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
