/* The path of a file sink and what is open: for lanes, which may share a file with each other and other processes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/log.h"
#include "sink/file/file.h"

mr_status mr_file_fail(const struct mr_sink *sink, const char *step, int error, struct mr_err *err)
{
    const char *remedy =
        error == ENOSPC || error == EDQUOT    ? "make room, then start again: nothing that was acknowledged is lost"
        : error == EROFS                      ? "the file system is read-only: give another path"
        : error == EACCES || error == EPERM   ? "give this user the right to write there, or another path"
        : error == ENOENT || error == ENOTDIR ? "its folder is not there: create it, or give another path"
        : error == EISDIR                     ? "it is a folder: give the path of a file"
        : error == EFBIG                      ? "the file may not grow: raise the limit (ulimit -f), or rotate it"
        : error == EPIPE                      ? "its reader has gone"
                                              : "see the system's log";
    return mr_fail(err, MR_EIO, "file sink: %s \"%s\": %s; %s", step, sink->options->path, strerror(error), remedy);
}

mr_status mr_file_lock(const struct mr_sink *sink, struct mr_err *err)
{
    if (!sink->is_regular) return MR_OK;
    while (flock(sink->fd, LOCK_EX)) {
        if (errno != EINTR) return mr_file_fail(sink, "locking", errno, err);
    }
    return MR_OK;
}

void mr_file_unlock(const struct mr_sink *sink)
{
    if (sink->is_regular) flock(sink->fd, LOCK_UN);
}

#define TORN_MAX (16 << 20) /* bytes that a write which was cut short may have left */

/* Where the last whole row of CSV ends: at a line break outside of quotes. -1: it cannot be read. */
static off_t rows_end(int reader)
{
    char block[65536];
    off_t at = 0, end = 0;
    bool is_quoted = false;
    for (ssize_t count; (count = pread(reader, block, sizeof block, at)); at += count) {
        if (count < 0) return -1;
        for (ssize_t i = 0; i < count; i++) {
            is_quoted ^= block[i] == '"'; /* a doubled one ends and begins */
            if (block[i] == '\n' && !is_quoted) end = at + i + 1;
        }
    }
    return end;
}

/* What was cut short, by a crash for instance: a line is ended, a row, which may be within quotes, is cut off. */
static mr_status torn_end(const struct mr_sink *sink, int reader, struct mr_err *err)
{
    const char *const path = sink->options->path;
    if (sink->options->format == MR_FILE_CSV) {
        const off_t end = rows_end(reader), all = lseek(sink->fd, 0, SEEK_END);
        if (end >= 0 && all - end > TORN_MAX)
            return mr_fail(
                err, MR_EDATA,
                "file sink: \"%s\" ends within quotes that begin more than %d bytes before: it was changed by "
                "something else; move it away",
                path, TORN_MAX);
        mr_log(MR_LOG_WARN, "file", "%s ends within a row: what there is of it is cut off", path);
        return end < 0 || ftruncate(sink->fd, end) ? mr_file_fail(sink, "cutting off", errno, err) : MR_OK;
    }
    mr_log(MR_LOG_WARN, "file", "%s does not end with a line break: one is added", path);
    return write(sink->fd, "\n", 1) == 1 ? MR_OK : mr_file_fail(sink, "writing to", errno, err);
}

/* A file of CSV that has other columns than this job. */
static mr_status header_check(const struct mr_sink *sink, int reader, struct mr_err *err)
{
    const size_t bytes = sink->csv.header_bytes;
    if (sink->options->format != MR_FILE_CSV) return MR_OK;
    char *const there = malloc(bytes);
    if (!there) return mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", sink->options->path);
    const bool is_same = pread(reader, there, bytes, 0) == (ssize_t)bytes && !memcmp(there, sink->csv.header, bytes);
    free(there);
    if (is_same) return MR_OK;
    return mr_fail(
        err, MR_EDATA,
        "file sink: \"%s\" does not begin with the columns of emit.fields: give another path, or move it away",
        sink->options->path);
}

mr_status mr_file_content_check(const struct mr_sink *sink, off_t end, struct mr_err *err)
{
    char last = '\n';
    struct stat ours, named;
    const int reader = end > 0 ? open(sink->options->path, O_RDONLY | O_CLOEXEC) : -1;
    if (reader < 0) return MR_OK;
    /* Another lane may have moved it meanwhile: then what is open is left before anything is written. */
    const bool is_ours = !fstat(sink->fd, &ours) && !fstat(reader, &named) && ours.st_ino == named.st_ino;
    if (!is_ours || pread(reader, &last, 1, end - 1) != 1) last = '\n';
    mr_status status = is_ours ? header_check(sink, reader, err) : MR_OK;
    if (!status && last != '\n' && !sink->followed) status = torn_end(sink, reader, err);
    close(reader);
    return status;
}

/* A file that does not end with a line break was cut short. */
static mr_status content_check(const struct mr_sink *sink, struct mr_err *err)
{
    mr_status status = mr_file_lock(sink, err);
    if (status) return status;
    status = mr_file_content_check(sink, lseek(sink->fd, 0, SEEK_END), err);
    mr_file_unlock(sink);
    return status;
}

mr_status mr_file_attach(struct mr_sink *sink, struct mr_err *err)
{
    struct stat info;
    sink->fd = open(sink->options->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (sink->fd < 0) return mr_file_fail(sink, "opening", errno, err);
    mr_status status = fstat(sink->fd, &info) ? mr_file_fail(sink, "opening", errno, err) : MR_OK;
    sink->is_regular = !status && S_ISREG(info.st_mode);
    if (!status && sink->is_regular) status = content_check(sink, err);
    if (!status && sink->is_regular && (sink->syncs || sink->sync_us) && !mr_durable_folder(sink->options->path))
        status = mr_file_fail(sink, "syncing the folder of", errno, err);
    if (status) {
        close(sink->fd);
        sink->fd = -1;
    }
    return status;
}

bool mr_file_is_named(const struct mr_sink *sink)
{
    struct stat ours, named;
    return !fstat(sink->fd, &ours) && !stat(sink->options->path, &named) && ours.st_dev == named.st_dev &&
           ours.st_ino == named.st_ino;
}

mr_status mr_file_follow(struct mr_sink *sink, struct mr_err *err)
{
    if (!sink->is_regular || sink->lines.pending.count || mr_file_is_named(sink))
        return MR_OK; /* unsettled lines belong to the open one */
    const mr_status status = mr_file_sync(sink, true, err);
    if (status) return status;
    mr_log(MR_LOG_INFO, "file", "%s was moved or deleted: a new one is begun", sink->options->path);
    close(sink->fd);
    sink->fd = -1;
    return mr_file_attach(sink, err);
}

mr_status mr_file_sync(struct mr_sink *sink, bool is_last, struct mr_err *err)
{
    const bool is_due = sink->sync_due_us && (is_last || mr_clock_us() >= sink->sync_due_us);
    if (!sink->is_regular || mr_file_has_mark(sink) || (!is_due && !sink->syncs)) return MR_OK;
    sink->sync_due_us = 0;
    return fdatasync(sink->fd) ? mr_file_fail(sink, "syncing", errno, err) : MR_OK;
}
