/*
 * Files that are full. In a job whose lanes write, whoever finds the file full moves it under its lock, and the others
 * see that before they write. A follower does it right behind a mark, when all of the file is marked: its mark goes
 * along as PATH.N.offsets, then the file, then the mark of PATH begins anew. Killed before the file has gone, it goes
 * on with it; killed after that, it finds no file and a whole mark, as when somebody has moved the file by hand: in
 * either case each record is in one file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "sink/file/file.h"
#include "sink/file/rotated.h"

void mr_file_rotated_name(const char *path, uint64_t number, char *out)
{
    sprintf(out, "%s.%06" PRIu64, path, number);
}

/* The number of a file in the folder, 0: it is none of ours. */
static uint64_t number_of(const char *name, const char *base)
{
    const size_t bytes = strlen(base);
    const char *const digits = name + bytes + 1;
    if (strncmp(name, base, bytes) != 0 || name[bytes] != '.') return 0;
    const size_t count = strspn(digits, "0123456789");
    return count >= 6 && count <= 18 && !digits[count] ? strtoull(digits, NULL, 10) : 0;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t *const x = a, *const y = b;
    return (*x > *y) - (*x < *y);
}

mr_status mr_file_rotated(const char *path, uint64_t **numbers_out, size_t *count_out, struct mr_err *err)
{
    const char *const slash = strrchr(path, '/'), *const base = slash ? slash + 1 : path;
    char folder[PATH_MAX];
    size_t cap = 0;
    *numbers_out = NULL;
    *count_out = 0;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    DIR *const open = opendir(folder);
    if (!open) return mr_fail(err, MR_EIO, "file sink: looking into \"%s\": %s", folder, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(open));) {
        const uint64_t number = number_of(entry->d_name, base);
        if (!number) continue;
        if (*count_out == cap) {
            cap = cap ? 2 * cap : 64;
            uint64_t *const grown = realloc(*numbers_out, cap * sizeof *grown);
            if (!grown) {
                closedir(open);
                free(*numbers_out);
                *numbers_out = NULL;
                return mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", path);
            }
            *numbers_out = grown;
        }
        (*numbers_out)[(*count_out)++] = number;
    }
    closedir(open);
    if (*count_out) qsort(*numbers_out, *count_out, sizeof **numbers_out, ascending);
    return MR_OK;
}

bool mr_file_is_full(const struct mr_sink *sink)
{
    const struct mr_file_options *const options = sink->options;
    struct stat info;
    if (!sink->is_regular || (!options->rotate_bytes && !options->rotate_interval) || fstat(sink->fd, &info) ||
        info.st_size <= (options->format == MR_FILE_CSV ? (off_t)sink->csv.header_bytes : 0))
        return false;
    if (options->rotate_bytes && info.st_size >= options->rotate_bytes) return true;
    /* Intervals are those of the calendar in UTC, and the file is of that in which it was written last. */
    const int64_t last_us = (int64_t)info.st_mtim.tv_sec * 1000000 + info.st_mtim.tv_nsec / 1000;
    return options->rotate_interval &&
           mr_clock_epoch_ms() * 1000 / options->rotate_interval > last_us / options->rotate_interval;
}

/* Deletes the oldest ones over `keep`. What cannot be deleted stays, and is said. */
static void oldest_delete(const char *path, const uint64_t *numbers, size_t count, int64_t keep)
{
    char *const name = malloc(MR_FILE_ROTATED_BYTES(strlen(path)) + sizeof ".offsets");
    for (size_t i = 0; name && keep && i + (size_t)keep < count; i++) {
        mr_file_rotated_name(path, numbers[i], name);
        if (unlink(name))
            mr_log(MR_LOG_WARN, "file", "%s is over keep, and cannot be deleted: %s", name, strerror(errno));
        unlink(strcat(name, ".offsets"));
    }
    free(name);
}

/* The mark of a file that is left goes along with it; one that is there belongs to a file that is not. */
static mr_status mark_copy(const struct mr_sink *sink, const char *name, struct mr_err *err)
{
    return mr_file_has_mark(sink) ? mr_file_mark_write(name, &sink->mark, err) : MR_OK;
}

/* A file system that cannot promise to replace nothing: nobody else makes such names. */
static int rename_new(const char *from, const char *to)
{
    if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE)) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -1;
    return rename(from, to);
}

mr_status mr_file_rotate(struct mr_sink *sink, struct mr_err *err)
{
    const char *const path = sink->options->path;
    uint64_t *numbers, number;
    size_t count;
    mr_status status = mr_file_rotated(path, &numbers, &count, err);
    char *const name = malloc(MR_FILE_ROTATED_BYTES(strlen(path)));
    if (!status && !name) status = mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", path);
    if (!status) {
        uint64_t *const grown = realloc(numbers, (count + 1) * sizeof *grown);
        if (grown) numbers = grown;
        number = count ? numbers[count - 1] + 1 : 1;
        mr_file_rotated_name(path, number, name);
        status = grown ? mark_copy(sink, name, err) : mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", path);
        MR_TEST_HOOK("file.copied");
        if (!status && rename_new(path, name)) status = mr_file_fail(sink, "rotating", errno, err);
        if (!status && !mr_durable_folder(path)) status = mr_file_fail(sink, "syncing the folder of", errno, err);
        MR_TEST_HOOK("file.rotated");
    }
    if (!status) {
        mr_log(MR_LOG_INFO, "file", "%s is full: it is %s now", path, name);
        numbers[count++] = number;
        oldest_delete(path, numbers, count, sink->options->keep);
    }
    free(numbers);
    free(name);
    return status;
}
