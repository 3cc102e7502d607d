/* A file that is written as a whole or not at all: whichever step fails, the old one is there. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/durable.h"
#include "millrace/blob.h"

static unsigned sync_count, sync_fails_at; /* the n-th from 1; 0: none */
static int sync_error;

/* Instead of the system's. */
int fsync(int fd)
{
    assert_true(fd >= 0);
    if (++sync_count != sync_fails_at) return 0;
    errno = sync_error;
    return -1;
}

static char folder[] = "/tmp/millrace-durable-XXXXXX", path[64];

static int folder_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/state", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder); /* nothing else may be left */
}

static mr_status text_write(const char *text, struct mr_err *err)
{
    const size_t half = strlen(text) / 2;
    const struct iovec part[] = {
        {(char *)(uintptr_t)text, half}, {NULL, 0}, {(char *)(uintptr_t)text + half, strlen(text) - half}};
    return mr_durable_write(path, part, 3, err);
}

static void text_is(const char *text)
{
    char found[64] = "";
    FILE *const file = fopen(path, "re");
    assert_non_null(file);
    const size_t bytes = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    assert_int_equal(bytes, strlen(text));
    assert_string_equal(found, text);
}

static void fails(const char *reason)
{
    struct mr_err err = {0};
    assert_int_equal(text_write("a newer text", &err), MR_EIO);
    if (!strstr(err.text, path) || !strstr(err.text, reason))
        fail_msg("\"%s\" does not name the file and \"%s\"", err.text, reason);
}

static void parts_stand_behind_each_other(void **state)
{
    struct mr_err err = {0};
    (void)state;
    sync_count = sync_fails_at = 0;
    if (text_write("one", &err)) fail_msg("%s", err.text);
    assert_int_equal(sync_count, 2); /* the file, its folder */
    text_is("one");
    if (text_write("two of them", &err)) fail_msg("%s", err.text);
    text_is("two of them");
}

static void a_failing_sync_leaves_the_old_file(void **state)
{
    struct mr_err err = {0};
    (void)state;
    sync_fails_at = 0;
    assert_int_equal(text_write("old", &err), MR_OK);
    sync_count = 0, sync_fails_at = 1, sync_error = EIO;
    fails(strerror(EIO));
    assert_int_equal(sync_count, 1); /* never tried twice */
    text_is("old");
    sync_count = 0, sync_fails_at = 2;
    fails("loss of power");
    text_is("a newer text");
    sync_count = 0, sync_error = EINVAL; /* no such thing as a folder that is synced */
    assert_int_equal(text_write("old", &err), MR_OK);
    sync_fails_at = 0;
}

static void a_full_disk_leaves_the_old_file(void **state)
{
    struct rlimit old, small = {0};
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(text_write("old", &err), MR_OK);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 5, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const mr_status status = text_write("a newer text", &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, MR_EIO);
    assert_non_null(strstr(err.text, strerror(EFBIG)));
    text_is("old");
}

static void a_missing_folder_is_named(void **state)
{
    char text[] = "text";
    const struct iovec part = {text, 4};
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_durable_write("/nonexistent/x", &part, 1, &err), MR_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    assert_non_null(strstr(err.text, strerror(ENOENT)));
}

static void a_blob_grows_and_stays(void **state)
{
    struct mr_blob blob = {0};
    (void)state;
    assert_true(mr_blob_put(&blob, NULL, 0));
    assert_null(blob.data);
    for (int i = 0; i < 1000; i++) assert_true(mr_blob_put(&blob, &i, sizeof i));
    for (int i = 0; i < 1000; i++) assert_memory_equal(blob.data + (size_t)i * sizeof i, &i, sizeof i);
    const char *const data = blob.data;
    blob.bytes = 0;
    assert_true(mr_blob_reserve(&blob, 4000));
    assert_ptr_equal(blob.data, data);
    blob.bytes = 10;
    assert_false(mr_blob_reserve(&blob, SIZE_MAX - 5)); /* wraps */
    assert_int_equal(blob.bytes, 10);
    assert_ptr_equal(blob.data, data);
    mr_blob_deinit(&blob);
    assert_null(blob.data);
    mr_blob_deinit(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_stand_behind_each_other),   cmocka_unit_test(a_failing_sync_leaves_the_old_file),
        cmocka_unit_test(a_full_disk_leaves_the_old_file), cmocka_unit_test(a_missing_folder_is_named),
        cmocka_unit_test(a_blob_grows_and_stays),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
