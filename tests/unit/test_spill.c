/* Records on the disk: what goes in comes out in its order, over files, restarts, cut-off ends and full spills. */
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sink/remote/spill.h"

static char folder[64];

static struct mr_spill *spill_open(unsigned lane, unsigned lane_count, uint64_t bytes_max)
{
    const struct mr_spill_open open = {folder, "job-1", "test sink", lane, lane_count, bytes_max};
    struct mr_spill *spill;
    struct mr_err err;
    if (mr_spill_open(&open, &spill, &err)) fail_msg("%s", err.text);
    return spill;
}

static mr_status add(struct mr_spill *spill, int number)
{
    char value[2000];
    struct mr_err err;
    const int bytes = snprintf(value, sizeof value, "%d:%*s", number, number * 7 % 1500, "");
    const struct mr_remote_entry entry = {
        .offset = number, .event_ms = -1, .row = 3, .partition = 1, .value_bytes = (uint32_t)bytes};
    const struct mr_span topic = {"a topic!", 7};
    return mr_spill_add(spill, &entry, value, &topic, &err);
}

static void next_is(struct mr_spill *spill, int number)
{
    const struct mr_remote_entry *const entry = mr_spill_next(spill);
    if (!entry) fail_msg("no record, expected %d", number);
    assert_int_equal(entry->offset, number);
    assert_int_equal(atoi(entry->value), number);
    assert_int_equal(entry->row, 3);
    assert_string_equal(entry->topic_name, "a topic");
}

static size_t files(void)
{
    size_t count = 0;
    DIR *const dir = opendir(folder);
    for (const struct dirent *entry; (entry = readdir(dir));) count += strstr(entry->d_name, ".spill") != NULL;
    closedir(dir);
    return count;
}

/* Reads all that is there, in steps that divide nothing, and begins at `first`. */
static void drain(struct mr_spill *spill, int first, int end)
{
    for (int at = first; at < end;) {
        for (int step = 0; step < 37 && at < end; step++) next_is(spill, at++);
        if (at < end) {
            next_is(spill, at);
            mr_spill_unread(spill);
        }
        mr_spill_done(spill);
    }
    assert_null(mr_spill_next(spill));
    mr_spill_done(spill);
    assert_true(mr_spill_is_empty(spill));
    assert_int_equal(mr_spill_bytes(spill), 0);
    assert_int_equal(files(), 0);
}

static void test_order(void **state)
{
    (void)state;
    struct mr_spill *const spill = spill_open(0, 1, 8 << 20); /* files of 2 MiB */
    int put = 0, got = 0;
    assert_true(mr_spill_is_empty(spill));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2000; i++) assert_int_equal(add(spill, put++), MR_OK);
        for (int i = 0; i < 700; i++) next_is(spill, got++);
        mr_spill_done(spill);
    }
    drain(spill, got, put);
    assert_int_equal(add(spill, 1), MR_OK); /* and on */
    drain(spill, 1, 2);
    mr_spill_close(spill);
}

/* The next run finds what was left, older things first, also of lanes that there are no more. */
static void test_restart(void **state)
{
    (void)state;
    struct mr_spill *spill = spill_open(0, 3, 8 << 20);
    for (int i = 100; i < 4000; i++) assert_int_equal(add(spill, i), MR_OK);
    for (int i = 100; i < 200; i++) next_is(spill, i);
    struct mr_err err;
    assert_int_equal(mr_spill_front(spill, &err), MR_OK); /* the end: what was in the queue is older */
    for (int i = 0; i < 100; i++) assert_int_equal(add(spill, i), MR_OK);
    mr_spill_close(spill);
    spill = spill_open(0, 3, 8 << 20);
    drain(spill, 0, 4000);
    mr_spill_close(spill);

    spill = spill_open(2, 3, 8 << 20);
    for (int i = 0; i < 10; i++) assert_int_equal(add(spill, i), MR_OK);
    mr_spill_close(spill);
    struct mr_spill *const other = spill_open(1, 2, 8 << 20);
    assert_true(mr_spill_is_empty(other)); /* lane 2 of 3 is lane 0's of 2 */
    mr_spill_close(other);
    spill = spill_open(0, 2, 8 << 20);
    drain(spill, 0, 10);
    mr_spill_close(spill);
}

/* A file that was cut off, or changed: what is whole before that comes, then the next file. */
static void test_damage(void **state)
{
    (void)state;
    struct mr_spill *spill = spill_open(0, 1, 1 << 20); /* files of 256 KiB */
    for (int i = 0; i < 600; i++) assert_int_equal(add(spill, i), MR_OK);
    mr_spill_close(spill);
    char path[128];
    struct stat info;
    snprintf(path, sizeof path, "%s/job-1-0-10000000.spill", folder);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 1), 0);
    spill = spill_open(0, 1, 1 << 20);
    int at = 0;
    const struct mr_remote_entry *entry;
    size_t missing = 0;
    for (int next = 0; (entry = mr_spill_next(spill)); next = at + 1) {
        at = (int)entry->offset;
        assert_true(at >= next);
        missing += (size_t)(at - next);
    }
    assert_int_equal(at, 599);
    assert_int_equal(missing, 1);
    mr_spill_done(spill);
    assert_int_equal(files(), 0);
    mr_spill_close(spill);
}

/* A byte that is another one: nothing of that record, or behind it in its file, is taken for what it was. */
static void test_changed(void **state)
{
    (void)state;
    char path[128];
    struct mr_spill *spill = spill_open(0, 1, 1 << 20);
    for (int i = 0; i < 50; i++) assert_int_equal(add(spill, i), MR_OK);
    mr_spill_close(spill);
    snprintf(path, sizeof path, "%s/job-1-0-10000000.spill", folder);
    FILE *const file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -3, SEEK_END), 0);
    assert_int_equal(fputc('#', file), '#');
    fclose(file);
    spill = spill_open(0, 1, 1 << 20);
    for (int i = 0; i < 49; i++) next_is(spill, i);
    assert_null(mr_spill_next(spill));
    mr_spill_done(spill);
    assert_int_equal(files(), 0);
    mr_spill_close(spill);
}

static void test_full(void **state)
{
    (void)state;
    struct mr_spill *const spill = spill_open(0, 1, 1 << 20);
    int count = 0;
    while (add(spill, count) == MR_OK) count++;
    assert_true(count > 500 && mr_spill_bytes(spill) <= 1 << 20);
    assert_int_equal(add(spill, count), MR_AGAIN);
    for (int i = 0; i < count / 2; i++) next_is(spill, i);
    mr_spill_done(spill);
    assert_int_equal(add(spill, count), MR_OK);
    drain(spill, count / 2, count + 1);
    mr_spill_close(spill);
}

/* Of what does not fit the whole records stay, the others are told, and no file is made for each try. */
static void test_disk_full(void **state)
{
    (void)state;
    struct mr_spill *spill = spill_open(0, 1, 8 << 20);
    struct rlimit old, small;
    struct mr_err err = {0};
    int count = 0;
    for (; count < 50; count++) assert_int_equal(add(spill, count), MR_OK);
    assert_int_equal(mr_spill_flush(spill, &err), MR_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = mr_spill_bytes(spill) + 20000, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 50; i < 150; i++) assert_int_equal(add(spill, i), MR_OK);
    assert_int_equal(mr_spill_flush(spill, &err), MR_EIO);
    assert_non_null(strstr(err.text, folder));
    const int kept = 150 - (int)mr_spill_lost(spill);
    assert_true(kept > 55 && kept < 145 && mr_spill_bytes(spill) <= small.rlim_cur);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(add(spill, 214), MR_OK); /* one of the largest */
        assert_int_equal(mr_spill_flush(spill, &err), MR_EIO);
        assert_int_equal(mr_spill_lost(spill), 1);
    }
    assert_int_equal(files(), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    for (int i = kept; i < 300; i++) assert_int_equal(add(spill, i), MR_OK);
    mr_spill_close(spill);
    spill = spill_open(0, 1, 8 << 20);
    drain(spill, 0, 300);
    mr_spill_close(spill);
}

static void test_one_owner(void **state)
{
    (void)state;
    struct mr_spill *const spill = spill_open(0, 2, 1 << 20);
    const struct mr_spill_open open = {folder, "job-1", "test sink", 0, 1, 1 << 20};
    struct mr_spill *second;
    struct mr_err err;
    assert_int_equal(mr_spill_open(&open, &second, &err), MR_ESINK);
    assert_null(second);
    assert_non_null(strstr(err.text, folder));
    mr_spill_close(spill);
}

static int folder_make(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/millrace-spill-XXXXXX");
    return !mkdtemp(folder);
}

static int folder_remove(void **state)
{
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/job-1.lock", folder);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),     cmocka_unit_test(test_restart), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_changed),   cmocka_unit_test(test_full),    cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_one_owner),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
