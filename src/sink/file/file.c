/*
 * The file sink: JSON lines, appended. A write that fails half-way is cut off again, so that the file never ends within
 * a record that was reported as failed; a record is settled only after its line is written, and synced when the job
 * asks for that. Lanes and processes may append to one file: each write happens under its lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "registry.h"
#include "sink/lines.h"

struct file_options {
    char *path;
    bool fsync;
};

struct mr_sink {
    struct mr_lines lines;
    const struct file_options *options;
    int fd;
    bool is_regular; /* not a pipe or a device: may be locked, cut off and rotated */
};

/* The error of one step, with what to do about it. */
static mr_status file_fail(const struct mr_sink *sink, const char *step, int error, struct mr_err *err)
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

static mr_status file_lock(const struct mr_sink *sink, struct mr_err *err)
{
    if (!sink->is_regular) return MR_OK;
    while (flock(sink->fd, LOCK_EX)) {
        if (errno != EINTR) return file_fail(sink, "locking", errno, err);
    }
    return MR_OK;
}

static void file_unlock(const struct mr_sink *sink)
{
    if (sink->is_regular) flock(sink->fd, LOCK_UN);
}

/* A new file's name is durable only once its folder is. */
static mr_status folder_sync(const struct mr_sink *sink, struct mr_err *err)
{
    char folder[PATH_MAX] = ".";
    const char *const path = sink->options->path, *const slash = strrchr(path, '/');
    if (slash) snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int error = fd < 0 || (fsync(fd) && errno != EINVAL) ? errno : 0;
    if (fd >= 0) close(fd);
    return error ? file_fail(sink, "syncing the folder of", error, err) : MR_OK;
}

/* A file that does not end with a line break was cut short, by a crash for instance: its last line is ended first. */
static mr_status torn_line_end(const struct mr_sink *sink, struct mr_err *err)
{
    char last = '\n';
    mr_status status = file_lock(sink, err);
    if (status) return status;
    const off_t end = lseek(sink->fd, 0, SEEK_END);
    const int reader = end > 0 ? open(sink->options->path, O_RDONLY | O_CLOEXEC) : -1;
    if (reader >= 0) {
        if (pread(reader, &last, 1, end - 1) != 1) last = '\n';
        close(reader);
    }
    if (last != '\n') {
        mr_log(MR_LOG_WARN, "file", "%s does not end with a line break: one is added", sink->options->path);
        if (write(sink->fd, "\n", 1) != 1) status = file_fail(sink, "writing to", errno, err);
    }
    file_unlock(sink);
    return status;
}

/* Opens the path, creating the file. sink->fd is -1 before, and after an error. */
static mr_status file_attach(struct mr_sink *sink, struct mr_err *err)
{
    struct stat info;
    sink->fd = open(sink->options->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (sink->fd < 0) return file_fail(sink, "opening", errno, err);
    mr_status status = fstat(sink->fd, &info) ? file_fail(sink, "opening", errno, err) : MR_OK;
    sink->is_regular = !status && S_ISREG(info.st_mode);
    if (!status && sink->is_regular) status = torn_line_end(sink, err);
    if (!status && sink->is_regular && sink->options->fsync) status = folder_sync(sink, err);
    if (status) {
        close(sink->fd);
        sink->fd = -1;
    }
    return status;
}

/* Is what is open still what the path names? A rotated or deleted file is left, and a new one begun. */
static mr_status file_follow(struct mr_sink *sink, struct mr_err *err)
{
    struct stat ours, named;
    if (!sink->is_regular || sink->lines.pending_count) return MR_OK; /* unsettled lines belong to the open one */
    if (fstat(sink->fd, &ours)) return file_fail(sink, "looking at", errno, err);
    if (!stat(sink->options->path, &named) && ours.st_dev == named.st_dev && ours.st_ino == named.st_ino) return MR_OK;
    mr_log(MR_LOG_INFO, "file", "%s was moved or deleted: a new one is begun", sink->options->path);
    close(sink->fd);
    sink->fd = -1;
    return file_attach(sink, err);
}

/* Writes the gathered lines; after an error the file is as long as before. */
static mr_status file_append(const struct mr_sink *sink, struct mr_err *err)
{
    size_t written;
    mr_status status = file_lock(sink, err);
    if (status) return status;
    const off_t start = sink->is_regular ? lseek(sink->fd, 0, SEEK_END) : 0;
    const int error = start < 0 ? errno : mr_lines_write(&sink->lines, sink->fd, &written);
    if (error) {
        status = file_fail(sink, "writing to", error, err);
        if (start >= 0 && written && sink->is_regular && ftruncate(sink->fd, start)) {
            mr_log(MR_LOG_ERROR, "file", "%s: could not cut off a half-written line: %s", sink->options->path,
                   strerror(errno));
        }
    }
    file_unlock(sink);
    return status;
}

static void file_close(struct mr_sink *sink)
{
    if (!sink) return;
    if (sink->fd >= 0) close(sink->fd);
    mr_lines_deinit(&sink->lines);
    free(sink);
}

static mr_status file_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    *sink_out = NULL;
    struct mr_sink *sink = calloc(1, sizeof *sink);
    if (!sink) return mr_fail(err, MR_ENOMEM, "file sink: out of memory");
    sink->fd = -1;
    sink->options = open->options;
    mr_status status = mr_lines_init(&sink->lines, err);
    if (!status) status = file_attach(sink, err);
    if (status) {
        file_close(sink);
        return status;
    }
    *sink_out = sink;
    return MR_OK;
}

static mr_status file_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                           struct mr_err *err)
{
    *taken_out = 0;
    if (!mr_lines_has_room(&sink->lines, box)) return MR_AGAIN;
    mr_status status = sink->fd < 0 ? file_attach(sink, err) : file_follow(sink, err);
    while (!status && from + *taken_out < box->count) {
        size_t count;
        status = mr_lines_gather(&sink->lines, box, from + *taken_out, &count, err);
        if (!status) status = file_append(sink, err);
        if (status) break;
        mr_lines_took(&sink->lines, box, count);
        *taken_out += count;
    }
    return status;
}

static mr_status file_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    struct stat info;
    (void)wait_us; /* what emit() took is written: there is nothing to wait for */
    if (!sink->lines.pending_count) return MR_OK;
    if (sink->is_regular && sink->options->fsync && fdatasync(sink->fd)) return file_fail(sink, "syncing", errno, err);
    if (sink->is_regular && !fstat(sink->fd, &info) && info.st_nlink == 0) {
        return mr_fail(
            err, MR_EIO,
            "file sink: \"%s\" was deleted while records were written to it; they are not acknowledged: start again",
            sink->options->path);
    }
    mr_lines_settle(&sink->lines);
    return MR_OK;
}

static mr_status file_check(const void *options, struct mr_err *err)
{
    const struct file_options *file = options;
    return file->path && *file->path ? MR_OK : mr_fail(err, MR_ECONFIG, "file sink: path is empty");
}

#define AT(field) offsetof(struct file_options, field)
static const struct mr_option file_option_table[] = {
    {.key = "path",
     .type = MR_OPT_STRING,
     .offset = AT(path),
     .required = true,
     .is_path = true,
     .doc = "File to append to, one JSON record a line; it is created when missing, and begun anew after it was moved "
            "away. A relative path counts from the job file's folder.",
     .example = "\"scores.jsonl\""},
    {.key = "fsync",
     .type = MR_OPT_BOOL,
     .offset = AT(fsync),
     .fallback = "false",
     .doc = "Acknowledge records only once they are on the disk (fdatasync a batch): slower, survives a power cut."},
    {0},
};
#undef AT

const struct mr_sink_ops mr_sink_file = {
    .name = "file",
    .summary = "JSON lines appended to a file",
    .options = file_option_table,
    .options_size = sizeof(struct file_options),
    .check = file_check,
    .open = file_open,
    .emit = file_emit,
    .poll = file_poll,
    .close = file_close,
};
