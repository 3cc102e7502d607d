/* What was read of which file: kept across restarts and crashes, found again by record, written anew when most is old.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "source/ledger.h"

static char folder[] = "/tmp/millrace-ledger-XXXXXX";
static char path[64];

static struct mr_ledger *ledger_open(void)
{
    struct mr_ledger *ledger;
    struct mr_err err = {0};
    if (mr_ledger_open(path, "dir", "job \"one\"", &ledger, &err)) fail_msg("%s", err.text);
    return ledger;
}

static struct mr_file *file_add(struct mr_ledger *ledger, uint64_t inode, const char *name)
{
    const struct mr_file_id id = {.device = 1, .inode = inode, .size = 100};
    struct mr_file *const file = mr_ledger_add(ledger, &id, name);
    assert_non_null(file);
    return file;
}

/* Reads a file of so many records of 10 bytes. */
static void file_read(struct mr_ledger *ledger, uint64_t inode, const char *name, int64_t first, int64_t count)
{
    const struct stat info = {.st_size = 10 * count};
    struct mr_file *const file = file_add(ledger, inode, name);
    mr_ledger_begin(ledger, file, first);
    mr_ledger_mark(ledger, file, first + count / 2, (uint64_t)(count / 2 * 10), (uint64_t)(count / 2));
    mr_ledger_end(ledger, file, first + count, (uint64_t)(10 * count), (uint64_t)count, &info);
}

static int64_t done_sum;

static void on_done(void *context, struct mr_file *file)
{
    assert_ptr_equal(context, &done_sum);
    done_sum += file->next - file->first;
}

static void commit(struct mr_ledger *ledger, int64_t offset)
{
    struct mr_err err = {0};
    if (mr_ledger_commit(ledger, offset, on_done, &done_sum, &err)) fail_msg("%s", err.text);
}

static size_t text_read(char *text, size_t cap)
{
    FILE *const file = fopen(path, "rb");
    assert_non_null(file);
    const size_t bytes = fread(text, 1, cap - 1, file);
    fclose(file);
    text[bytes] = '\0';
    return bytes;
}

static void text_write(const char *text, size_t bytes)
{
    FILE *const file = fopen(path, "wb");
    assert_int_equal(fwrite(text, 1, bytes, file), bytes);
    fclose(file);
}

static void place_is(const struct mr_ledger *ledger, int64_t offset, const char *name, int64_t mark, uint64_t byte)
{
    struct mr_file *file;
    int64_t got_mark;
    uint64_t got_byte, line;
    assert_true(mr_ledger_locate(ledger, offset, &file, &got_mark, &got_byte, &line));
    assert_string_equal(file->name, name);
    assert_int_equal(got_mark, mark);
    assert_int_equal(got_byte, byte);
}

static void test_kept(void **state)
{
    (void)state;
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    assert_true(mr_ledger_is_new(ledger));
    file_read(ledger, 1, "a\tb\n", 0, 10); /* any name */
    file_read(ledger, 2, "empty", 10, 0);
    file_read(ledger, 3, "c", 10, 20);
    done_sum = 0;
    commit(ledger, 20);
    assert_int_equal(done_sum, 10); /* a and the empty one; c is half done */
    mr_ledger_close(ledger);

    ledger = ledger_open();
    assert_false(mr_ledger_is_new(ledger));
    assert_int_equal(mr_ledger_next(ledger), 20);
    const struct mr_file_id ids[] = {{.device = 1, .inode = 1}, {.device = 1, .inode = 2}, {.device = 1, .inode = 3}};
    assert_string_equal(mr_ledger_find(ledger, &ids[0])->name, "a\tb\n");
    assert_int_equal(mr_ledger_find(ledger, &ids[0])->state, MR_FILE_DONE);
    assert_int_equal(mr_ledger_find(ledger, &ids[1])->state, MR_FILE_DONE);
    assert_int_equal(mr_ledger_find(ledger, &ids[2])->state, MR_FILE_READING);
    place_is(ledger, 20, "c", 20, 100);
    place_is(ledger, 25, "c", 20, 100);
    place_is(ledger, 12, "c", 10, 0);
    place_is(ledger, 3, "a\tb\n", 0, 0);
    mr_ledger_rewind(ledger, 3);
    assert_int_equal(mr_ledger_find(ledger, &ids[0])->state, MR_FILE_WAITING);
    mr_ledger_close(ledger);
}

/* A crash within a line: all before it counts. */
static void test_torn(void **state)
{
    (void)state;
    char text[4096];
    struct stat info;
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    file_read(ledger, 1, "a", 0, 10);
    commit(ledger, 10);
    assert_int_equal(stat(path, &info), 0);
    const size_t whole = (size_t)info.st_size;
    file_read(ledger, 2, "b", 10, 10);
    commit(ledger, 20);
    mr_ledger_close(ledger);
    const size_t bytes = text_read(text, sizeof text);
    for (size_t cut = whole; cut < bytes; cut++) {
        text_write(text, cut);
        ledger = ledger_open();
        assert_int_equal(mr_ledger_next(ledger), 10);
        file_read(ledger, 3, "c", 10, 5); /* what comes now stands on a line of its own */
        commit(ledger, 15);
        mr_ledger_close(ledger);
        ledger = ledger_open();
        assert_int_equal(mr_ledger_next(ledger), 15);
        mr_ledger_close(ledger);
    }
}

static void refused(const char *type, const char *job, mr_status want, const char *words)
{
    struct mr_ledger *ledger;
    struct mr_err err = {0};
    assert_int_equal(mr_ledger_open(path, type, job, &ledger, &err), want);
    assert_null(ledger);
    if (!strstr(err.text, words) || !strstr(err.text, path))
        fail_msg("expected \"%s\" and the path in: %s", words, err.text);
}

static void test_refused(void **state)
{
    (void)state;
    char text[4096];
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    refused("dir", "job \"one\"", MR_EINPUT, "another run");
    file_read(ledger, 1, "a", 0, 10);
    file_read(ledger, 2, "b", 10, 10);
    commit(ledger, 20);
    mr_ledger_close(ledger);
    refused("dir", "job two", MR_EDATA, "another job");
    refused("file", "job \"one\"", MR_EDATA, "another job");
    const size_t bytes = text_read(text, sizeof text);
    const char *const last = memrchr(text, '\n', bytes - 1);
    for (size_t at = 0; at < bytes; at++) { /* a bit anywhere: never taken for something else */
        struct mr_err err;
        text[at] ^= 1;
        text_write(text, bytes);
        const mr_status status = mr_ledger_open(path, "dir", "job \"one\"", &ledger, &err);
        if (!status && at < (size_t)(last - text)) fail_msg("a changed byte %zu was not seen", at);
        /* The last line is taken for one that was cut off; so are the last two without the break between them. */
        if (!status) assert_int_equal(mr_ledger_next(ledger), text + at == last ? 0 : 10);
        if (!status) mr_ledger_close(ledger);
        text[at] ^= 1;
    }
    text_write("hello\n", 6);
    refused("dir", "job \"one\"", MR_EDATA, "damaged");
    strcpy(text, path);
    snprintf(path, sizeof path, "%s/none/x", folder);
    refused("dir", "job \"one\"", MR_EIO, "make its folder");
    strcpy(path, text);
}

/* Files that are gone leave it; what is there, and how far all is, stays. */
static void test_compact(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct stat before, after;
    char name[32];
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    for (int64_t i = 0; i < 6000; i++) {
        snprintf(name, sizeof name, "f%lld", (long long)i);
        file_read(ledger, (uint64_t)i + 1, name, i, 1);
    }
    commit(ledger, 6000);
    mr_ledger_close(ledger);
    assert_int_equal(stat(path, &before), 0);
    ledger = ledger_open();
    for (uint64_t inode = 5901; inode <= 6000; inode++)
        mr_ledger_find(ledger, &(struct mr_file_id){.device = 1, .inode = inode})->is_there = true;
    assert_int_equal(mr_ledger_compact(ledger, &err), MR_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size * 20 < before.st_size);
    refused("dir", "job \"one\"", MR_EINPUT, "another run"); /* the new file is locked, too */
    mr_ledger_close(ledger);
    ledger = ledger_open();
    assert_int_equal(mr_ledger_next(ledger), 6000);
    assert_null(mr_ledger_find(ledger, &(struct mr_file_id){.device = 1, .inode = 1}));
    assert_int_equal(mr_ledger_find(ledger, &(struct mr_file_id){.device = 1, .inode = 6000})->state, MR_FILE_DONE);
    mr_ledger_close(ledger);
}

static bool is_known(const struct mr_ledger *ledger, uint64_t inode)
{
    return mr_ledger_find(ledger, &(struct mr_file_id){.device = 1, .inode = inode}) != NULL;
}

/* A file that is followed for months, and files that are deleted when they are done: neither the ledger's file nor its
 * memory grows with what was read, and both say at any time where to go on. */
static void test_stays_small(void **state)
{
    (void)state;
    struct mr_err err = {0};
    struct stat before, after;
    size_t known = 0;
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    struct mr_file *const followed = file_add(ledger, 1, "followed");
    mr_ledger_begin(ledger, followed, 0);
    for (int64_t i = 1; i <= 4200; i++) {
        mr_ledger_mark(ledger, followed, i, (uint64_t)(10 * i), (uint64_t)i);
        commit(ledger, i);
        if (i == 4000) assert_int_equal(stat(path, &before), 0);
    }
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size * 10 < before.st_size);
    refused("dir", "job \"one\"", MR_EINPUT, "another run"); /* the new file is locked, too */
    mr_ledger_close(ledger);
    ledger = ledger_open();
    assert_int_equal(mr_ledger_next(ledger), 4200);
    place_is(ledger, 4200, "followed", 4200, 42000);
    mr_ledger_end(ledger, mr_ledger_first(ledger), 4200, 42000, 4200, NULL);
    assert_int_equal(mr_ledger_compact(ledger, &err), MR_OK); /* all were looked for */
    for (uint64_t i = 0; i < 6000; i++) {
        file_read(ledger, 10 + i, "short", 4200 + (int64_t)i, 1);
        if (i % 100 != 99) continue;
        commit(ledger, 4201 + (int64_t)i);
        for (uint64_t k = i - 99; k <= i; k++) /* deleted */
            mr_ledger_find(ledger, &(struct mr_file_id){.device = 1, .inode = 10 + k})->is_there = false;
    }
    for (uint64_t i = 0; i < 6000; i++) known += is_known(ledger, 10 + i);
    assert_true(known < 4200 && is_known(ledger, 6009));
    mr_ledger_close(ledger);
    ledger = ledger_open();
    assert_int_equal(mr_ledger_next(ledger), 10200);
    assert_true(is_known(ledger, 6009) && !is_known(ledger, 10));
    mr_ledger_close(ledger);
}

/* Written anew in the middle of a file that is read to its end: it goes on where it is committed. */
static void test_rewritten_within(void **state)
{
    (void)state;
    struct mr_err err = {0};
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    file_read(ledger, 1, "a", 0, 100);
    commit(ledger, 60);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mr_ledger_keep(ledger, &err), MR_OK); /* its folder was gone */
    mr_ledger_close(ledger);
    ledger = ledger_open();
    assert_int_equal(mr_ledger_next(ledger), 60);
    place_is(ledger, 60, "a", 50, 500);
    mr_ledger_close(ledger);
}

/* Another file has got the inode of one that is done. */
static void test_inode_again(void **state)
{
    (void)state;
    unlink(path);
    struct mr_ledger *ledger = ledger_open();
    file_read(ledger, 1, "a", 0, 10);
    commit(ledger, 10);
    file_read(ledger, 1, "b", 10, 10);
    for (uint64_t i = 2; i < 300; i++) file_add(ledger, i, "x"); /* the table grows */
    const struct mr_file_id id = {.device = 1, .inode = 1};
    assert_string_equal(mr_ledger_find(ledger, &id)->name, "b");
    commit(ledger, 20);
    mr_ledger_close(ledger);
    ledger = ledger_open();
    assert_string_equal(mr_ledger_find(ledger, &id)->name, "b");
    place_is(ledger, 5, "a", 0, 0);
    mr_ledger_close(ledger);
}

static void test_none(void **state)
{
    (void)state;
    struct mr_ledger *ledger;
    struct mr_err err = {0};
    assert_int_equal(mr_ledger_open(NULL, "dir", "j", &ledger, &err), MR_OK);
    file_read(ledger, 1, "a", 0, 10);
    commit(ledger, 10);
    assert_int_equal(mr_ledger_next(ledger), 10);
    mr_ledger_close(ledger);
    mr_ledger_close(NULL);
}

static int folder_make(void **state)
{
    (void)state;
    mr_log_level_set(MR_LOG_ERROR);
    const bool is_made = mkdtemp(folder) != NULL;
    snprintf(path, sizeof path, "%s/positions", folder);
    return !is_made;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),        cmocka_unit_test(test_torn),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_compact),     cmocka_unit_test(test_stays_small), cmocka_unit_test(test_rewritten_within),
        cmocka_unit_test(test_inode_again), cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
