/* Every sink that needs no network against its ops table, and the file sink against full disks, missing folders and
 * rotation. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "registry.h"

#define RECORD_MAX 600

static char folder[64];
static struct mr_record record[RECORD_MAX];
static unsigned settled_times[RECORD_MAX];
static size_t settled_next;

static void settled(struct mr_outbox *box, struct mr_record *which, mr_status status, mr_reason reason,
                    const char *text)
{
    (void)reason;
    (void)text;
    assert_int_equal(status, MR_OK);
    assert_in_range(which - box->record, 0, box->count - 1);
    settled_times[which - box->record]++;
}

static void settled_ok(struct mr_outbox *box, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_in_range(settled_next, 0, box->count - 1);
        settled_times[settled_next++]++;
    }
}

/* count records {"n":i}, padded so that all of them need several writes. */
static struct mr_outbox outbox_of(size_t count, size_t padding)
{
    static char text[RECORD_MAX][2000];
    for (size_t i = 0; i < count; i++) {
        const int bytes = snprintf(text[i], sizeof text[i], "{\"n\":%zu,\"pad\":\"%*s\"}", i, (int)padding, "");
        record[i] =
            (struct mr_record){.value = text[i], .value_bytes = (uint32_t)bytes, .row_count = 1, .timestamp_ms = -1};
    }
    memset(settled_times, 0, sizeof settled_times);
    settled_next = 0;
    return (struct mr_outbox){
        .record = record, .count = count, .record_cap = RECORD_MAX, .settled = settled, .settled_ok = settled_ok};
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static char *file_text(const char *path)
{
    static char text[2 * 2000 * RECORD_MAX];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

/* Exactly the lines of records [0, count) of the last outbox, again and again, `times` times. */
static void lines_are(const char *path, size_t count, size_t times)
{
    const char *at = file_text(path);
    for (size_t i = 0; i < count * times; i++) {
        const struct mr_record *want = &record[i % count];
        if (strncmp(at, want->value, want->value_bytes) || at[want->value_bytes] != '\n')
            fail_msg("line %zu of %s: %.60s", i, path, at);
        at += want->value_bytes + 1;
    }
    assert_int_equal(*at, 0);
}

/* A sink opened with its path, where it has one. Options are freed by the caller through *options_out. */
static mr_status sink_open(const struct mr_sink_ops *ops, const char *path, bool fsync, struct mr_sink **sink_out,
                           void **options_out, struct mr_err *err)
{
    void *options = calloc(1, ops->options_size + 1);
    if (ops->options) assert_int_equal(mr_options_init(ops->options, options, err), MR_OK);
    if (path && !strcmp(ops->name, "file")) {
        assert_int_equal(mr_options_set(ops->options, options, "path", path, err), MR_OK);
        if (fsync) assert_int_equal(mr_options_set(ops->options, options, "fsync", "batch", err), MR_OK);
    }
    if (ops->check) assert_int_equal(ops->check(options, err), MR_OK);
    *options_out = options;
    *sink_out = (struct mr_sink *)(uintptr_t)8;
    const struct mr_sink_open open = {.options = options, .job = "test", .lane_count = 1, .memory_bytes = 1 << 20};
    return ops->open(&open, sink_out, err);
}

static void sink_close(const struct mr_sink_ops *ops, struct mr_sink *sink, void *options)
{
    ops->close(sink);
    mr_options_deinit(ops->options, options);
    free(options);
}

static bool is_local(const struct mr_sink_ops *ops)
{
    return !strcmp(ops->name, "file") || !strcmp(ops->name, "console");
}

/* All records are taken and settled, each once, none before poll(); the lines stand in order behind what was there. */
static void test_ops(void **state)
{
    (void)state;
    size_t tried = 0;
    for (size_t i = 0; mr_sinks[i]; i++) {
        const struct mr_sink_ops *ops = mr_sinks[i];
        assert_non_null(ops->name);
        assert_non_null(ops->summary);
        assert_true(ops->open && ops->emit && ops->poll && ops->close);
        ops->close(NULL);
        if (!is_local(ops)) continue;
        tried++;
        for (int fsync = 0; fsync < 2; fsync++) {
            struct mr_err err;
            struct mr_sink *sink;
            void *options;
            const char *path = path_of(ops->name);
            unlink(path);
            fflush(stdout);
            const int stdout_kept = dup(STDOUT_FILENO), fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
            dup2(fd, STDOUT_FILENO);
            close(fd);
            const mr_status opened = sink_open(ops, path, fsync, &sink, &options, &err);
            struct mr_outbox box = outbox_of(RECORD_MAX, 1500); /* three or four gathered writes */
            mr_status emitted = MR_OK, polled = MR_OK;
            size_t taken = 0, settled_early = 0;
            for (int round = 0; round < 2 && !opened; round++) {
                box.count = RECORD_MAX;
                settled_next = 0;
                for (size_t from = 0; from < box.count && (!emitted || emitted == MR_AGAIN) && !polled; from += taken) {
                    emitted = ops->emit(sink, &box, from, &taken, &err);
                    settled_early += settled_next != from;
                    polled = ops->poll(sink, 0, &err);
                }
                settled_early += settled_next != box.count;
            }
            dup2(stdout_kept, STDOUT_FILENO);
            close(stdout_kept);
            assert_int_equal(opened, MR_OK);
            assert_int_equal(emitted, MR_OK);
            assert_int_equal(polled, MR_OK);
            assert_int_equal(settled_early, 0);
            for (size_t k = 0; k < RECORD_MAX; k++) assert_int_equal(settled_times[k], 2);
            sink_close(ops, sink, options);
            lines_are(path_of(ops->name), RECORD_MAX, 2);
        }
    }
    assert_int_equal(tried, 2);
}

/* Line breaks: spaces in a lone object and in an array, kept between joined lines. */
static void test_one_line_each(void **state)
{
    (void)state;
    struct mr_err err;
    struct mr_sink *sink;
    void *options;
    size_t taken;
    const struct mr_sink_ops *ops = mr_sink_find("file");
    struct mr_outbox box = outbox_of(3, 0);
    record[0].value = "{\n\"a\":1}", record[0].value_bytes = 8;
    record[1].value = "[{},\n{}]", record[1].value_bytes = 8, record[1].row_count = 2;
    record[2].value = "{}\n{\"b\":1}", record[2].value_bytes = 10, record[2].row_count = 2;
    unlink(path_of("breaks"));
    assert_int_equal(sink_open(ops, path_of("breaks"), false, &sink, &options, &err), MR_OK);
    assert_int_equal(ops->emit(sink, &box, 0, &taken, &err), MR_OK);
    assert_int_equal(taken, 3);
    sink_close(ops, sink, options); /* what was not settled is simply not settled */
    assert_int_equal(settled_next, 0);
    assert_string_equal(file_text(path_of("breaks")), "{ \"a\":1}\n[{}, {}]\n{}\n{\"b\":1}\n");
}

static void refused(const char *path, const char *expected)
{
    struct mr_err err = {0};
    struct mr_sink *sink;
    void *options;
    const struct mr_sink_ops *ops = mr_sink_find("file");
    assert_int_equal(sink_open(ops, path, false, &sink, &options, &err), MR_EIO);
    assert_null(sink);
    if (!strstr(err.text, path) || !strstr(err.text, expected))
        fail_msg("expected the path and \"%s\" in: %s", expected, err.text);
    sink_close(ops, NULL, options);
}

static void test_open_errors(void **state)
{
    (void)state;
    refused("/nonexistent/folder/scores.jsonl", "create it");
    refused(folder, "it is a folder");
    refused("/dev/null/x", "create it");
}

/* Appends boxes until the sink fails; then the file holds exactly the lines that were settled. */
static void fill_up(const char *path, const char *expected)
{
    struct mr_err err = {0};
    struct mr_sink *sink;
    void *options;
    size_t taken, boxes = 0;
    mr_status status = MR_OK;
    const struct mr_sink_ops *ops = mr_sink_find("file");
    assert_int_equal(sink_open(ops, path, false, &sink, &options, &err), MR_OK);
    struct mr_outbox box = outbox_of(20, 100);
    for (; boxes < 1000; boxes++) {
        settled_next = 0;
        status = ops->emit(sink, &box, 0, &taken, &err);
        if (status) break;
        assert_int_equal(ops->poll(sink, 0, &err), MR_OK);
    }
    assert_int_equal(status, MR_EIO);
    assert_int_equal(taken, 0);
    assert_true(boxes > 0);
    if (!strstr(err.text, path) || !strstr(err.text, expected))
        fail_msg("expected the path and \"%s\" in: %s", expected, err.text);
    settled_next = 0;
    ops->poll(sink, 0, &err);
    assert_int_equal(settled_next, 0);
    sink_close(ops, sink, options);
    lines_are(path, 20, boxes);
}

/* The kernel cuts a write short at the limit: the half-written line must go. */
static void test_size_limit(void **state)
{
    (void)state;
    struct rlimit kept, limit;
    getrlimit(RLIMIT_FSIZE, &kept);
    limit = (struct rlimit){10000, kept.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    unlink(path_of("limited"));
    fill_up(path_of("limited"), "raise the limit");
    setrlimit(RLIMIT_FSIZE, &kept);
    signal(SIGXFSZ, handler);
}

/* A real full disk, where this user may mount one. In a process of its own: the mount is seen by it alone. */
static void test_full_disk(void **state)
{
    (void)state;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
            mount("tmpfs", folder, "tmpfs", 0, "size=64k")) {
            _exit(77);
        }
        fill_up(path_of("full"), "make room");
        mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL);
        refused(path_of("full"), "read-only");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("SKIP: a full and a read-only disk: this user may not mount one\n");
        skip();
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_rotated_and_deleted(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct mr_sink *sink;
    void *options;
    size_t taken;
    char path[128], moved[128];
    const struct mr_sink_ops *ops = mr_sink_find("file");
    snprintf(path, sizeof path, "%s", path_of("rotated"));
    snprintf(moved, sizeof moved, "%s", path_of("rotated.1"));
    unlink(path);
    FILE *torn = fopen(path, "wb"); /* a crash left half a line */
    fputs("{\"n\":", torn);
    fclose(torn);
    assert_int_equal(sink_open(ops, path, false, &sink, &options, &err), MR_OK);
    assert_string_equal(file_text(path), "{\"n\":\n");
    assert_int_equal(truncate(path, 0), 0);

    struct mr_outbox box = outbox_of(5, 0);
    assert_int_equal(ops->emit(sink, &box, 0, &taken, &err), MR_OK);
    assert_int_equal(ops->poll(sink, 0, &err), MR_OK);
    rename(path, moved);
    settled_next = 0;
    assert_int_equal(ops->emit(sink, &box, 0, &taken, &err), MR_OK);
    assert_int_equal(ops->poll(sink, 0, &err), MR_OK);
    lines_are(moved, 5, 1);
    lines_are(path, 5, 1);

    settled_next = 0;
    assert_int_equal(ops->emit(sink, &box, 0, &taken, &err), MR_OK);
    unlink(path); /* between writing and settling: these lines are gone */
    assert_int_equal(ops->poll(sink, 0, &err), MR_EIO);
    assert_non_null(strstr(err.text, "deleted"));
    assert_int_equal(settled_next, 0);
    sink_close(ops, sink, options);
}

static void test_vanished_folder(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct mr_sink *sink;
    void *options;
    size_t taken = 1;
    char inner[96], path[128];
    const struct mr_sink_ops *ops = mr_sink_find("file");
    snprintf(inner, sizeof inner, "%s/inner", folder);
    snprintf(path, sizeof path, "%s/scores.jsonl", inner);
    mkdir(inner, 0755);
    assert_int_equal(sink_open(ops, path, false, &sink, &options, &err), MR_OK);
    struct mr_outbox box = outbox_of(5, 0);
    unlink(path);
    rmdir(inner);
    assert_int_equal(ops->emit(sink, &box, 0, &taken, &err), MR_EIO);
    assert_int_equal(taken, 0);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "create it"));
    mkdir(inner, 0755); /* the folder is back: so is the sink */
    assert_int_equal(ops->emit(sink, &box, 0, &taken, &err), MR_OK);
    assert_int_equal(ops->poll(sink, 0, &err), MR_OK);
    sink_close(ops, sink, options);
    lines_are(path, 5, 1);
    unlink(path);
    rmdir(inner);
}

static int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/millrace-sink-XXXXXX");
    return !mkdtemp(folder);
}

static int folder_remove(void **state)
{
    (void)state;
    static const char *const names[] = {"file", "console", "breaks", "limited", "rotated", "rotated.1"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(path_of(names[i]));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_one_line_each),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_rotated_and_deleted),
        cmocka_unit_test(test_vanished_folder),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
