/*
 * The file sink: JSON lines, appended. A write that fails half-way is cut off again, so that the file never ends within
 * a record that was reported as failed; a record is settled only after its line is written, and synced when the job
 * asks for that. Lanes and processes may append to one file: each write happens under its lock.
 *
 * Fed by a follower (mr_sink_open.followed) a regular file has one writer, and a mark beside it (mark.h): how long it
 * was, and where reading went on, when it was last made durable. What stands behind the mark at a start is cut off, for
 * it is given again: so the file holds each record once, after any crash.
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

#include "base/durable.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "registry.h"
#include "sink/file/mark.h"
#include "sink/lines.h"

struct file_options {
    char *path;
    bool fsync;
};

struct mr_sink {
    struct mr_lines lines;
    const struct file_options *options;
    int fd;
    bool is_regular;          /* not a pipe or a device: may be locked, cut off and rotated */
    const char *followed;     /* the topic that a follower reads for it; NULL: lanes write */
    struct mr_file_mark mark; /* of a regular file that is followed: as it was written last, begun ranges among it */
    int64_t written;          /* length of such a file, by what was written */
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
    if (!status && sink->is_regular && sink->options->fsync && !mr_durable_folder(sink->options->path))
        status = file_fail(sink, "syncing the folder of", errno, err);
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

/* ---- fed by a follower ---- */

static bool has_mark(const struct mr_sink *sink)
{
    return sink->followed && sink->is_regular;
}

/* A lane knows nothing of marks: what it appends would be cut off by the next follower. */
static mr_status unmarked_check(const char *path, struct mr_err *err)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof name, "%s.offsets", path) >= (int)sizeof name || access(name, F_OK)) return MR_OK;
    return mr_fail(err, MR_EDATA,
                   "file sink: \"%s\" belongs to a job with delivery \"exactly-once\" (\"%s\" says so): give another "
                   "path, or move both away",
                   path, name);
}

/* One writer: until this file is closed. Other than flock, this lock is no obstacle to a lane's writes. */
static mr_status file_own(const struct mr_sink *sink, struct mr_err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (!fcntl(sink->fd, F_OFD_SETLK, &lock)) return MR_OK;
    if (errno != EAGAIN && errno != EACCES) return file_fail(sink, "locking", errno, err);
    return mr_fail(err, MR_ESINK,
                   "file sink: \"%s\" is written by another process: end that one, or give each its own path",
                   sink->options->path);
}

/* The file against its mark: what is behind is cut off; what is missing is an error. */
static mr_status length_check(struct mr_sink *sink, int64_t bytes, struct mr_err *err)
{
    const char *const path = sink->options->path;
    const struct mr_file_mark *const mark = &sink->mark;
    if (strcmp(mark->topic, sink->followed) != 0)
        return mr_fail(err, MR_EDATA,
                       "file sink: \"%s\" holds records of topic \"%s\", not of \"%s\": give another path, or move it "
                       "and its .offsets away",
                       path, mark->topic, sink->followed);
    if (bytes < mark->bytes)
        return mr_fail(err, MR_EDATA,
                       "file sink: \"%s\" has %lld bytes, and its .offsets say that it had %lld: records are gone; put "
                       "back what belongs to them, or move both away: then a new file begins with what comes next",
                       path, (long long)bytes, (long long)mark->bytes);
    if (bytes > mark->bytes && ftruncate(sink->fd, mark->bytes)) return file_fail(sink, "cutting off", errno, err);
    if (bytes > mark->bytes)
        mr_log(MR_LOG_INFO, "file", "%s: %lld bytes behind its mark are cut off: their records come again", path,
               (long long)(bytes - mark->bytes));
    sink->written = mark->bytes;
    return MR_OK;
}

/* Opens the path of a follower's file. A file without a mark must be empty; its mark is made before its first line. */
static mr_status owned_attach(struct mr_sink *sink, struct mr_err *err)
{
    const char *const path = sink->options->path;
    struct mr_err read_err;
    struct stat info;
    const bool is_missing = stat(path, &info) && errno == ENOENT;
    mr_status marked = is_missing ? mr_file_mark_read(path, &sink->mark, &read_err) : MR_OK;
    if (is_missing && !marked && sink->mark.bytes) return length_check(sink, 0, err); /* nothing is created */
    mr_file_mark_deinit(&sink->mark);
    sink->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (sink->fd < 0) return file_fail(sink, "opening", errno, err);
    if (fstat(sink->fd, &info)) return file_fail(sink, "opening", errno, err);
    sink->is_regular = S_ISREG(info.st_mode);
    if (!sink->is_regular) return MR_OK;
    mr_status status = file_own(sink, err);
    if (status) return status;
    if (fstat(sink->fd, &info))
        return file_fail(sink, "opening", errno, err); /* again: its writer may just have gone */
    marked = mr_file_mark_read(path, &sink->mark, &read_err);
    if (!marked) return length_check(sink, info.st_size, err);
    if (marked != MR_EINPUT) {
        if (err) *err = read_err;
        return marked;
    }
    if (info.st_size)
        return mr_fail(err, MR_EDATA,
                       "file sink: \"%s\" is not empty, and there is no \"%s.offsets\" to say which records it holds: "
                       "give another path, or move it away",
                       path, path);
    snprintf(sink->mark.topic, sizeof sink->mark.topic, "%s", sink->followed);
    sink->written = 0;
    return mr_file_mark_write(path, &sink->mark, err);
}

/* Whether the path no longer leads to the file that is open. */
static bool is_moved(const struct mr_sink *sink)
{
    struct stat ours, named;
    return !fstat(sink->fd, &ours) &&
           (stat(sink->options->path, &named) || ours.st_dev != named.st_dev || ours.st_ino != named.st_ino);
}

static mr_status file_marked(struct mr_sink *sink, int32_t partition, int64_t group_offset, int64_t *offset_out,
                             struct mr_err *err)
{
    const int64_t own = has_mark(sink) ? mr_file_mark_next(&sink->mark, partition) : -1;
    const int64_t begin = own > group_offset ? own : group_offset;
    *offset_out = own > group_offset ? own : -1;
    if (!has_mark(sink) || begin < 0) return MR_OK;
    if (own >= 0 && own < group_offset)
        mr_log(MR_LOG_WARN, "file",
               "%s: the group is at offset %lld of %s[%d], the file ends at %lld: what is between was given to another "
               "process, and is not in this file",
               sink->options->path, (long long)group_offset, sink->followed, (int)partition, (long long)own);
    return mr_file_mark_begin(&sink->mark, partition, begin)
               ? MR_OK
               : mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", sink->options->path);
}

static mr_status file_mark(struct mr_sink *sink, const struct mr_position *positions, size_t count, struct mr_err *err)
{
    if (!has_mark(sink)) return MR_OK;
    struct stat other;
    const bool was_moved = is_moved(sink);
    if (was_moved && !stat(sink->options->path, &other) && (!S_ISREG(other.st_mode) || other.st_size))
        return mr_fail(
            err, MR_ESINK,
            "file sink: \"%s\" was moved, and what is there now is not empty: move that away, too, or put it "
            "back; then start again",
            sink->options->path);
    if (fdatasync(sink->fd)) return file_fail(sink, "syncing", errno, err);
    MR_TEST_HOOK("file.synced");
    for (size_t i = 0; i < count; i++)
        mr_file_mark_advance(&sink->mark, positions[i].partition, positions[i].next_offset);
    sink->mark.bytes = sink->written;
    if (was_moved) mr_file_mark_restart(&sink->mark); /* it is whole: what comes now goes into another one */
    const mr_status status = mr_file_mark_write(sink->options->path, &sink->mark, err);
    if (status || !was_moved) return status;
    mr_log(MR_LOG_INFO, "file", "%s was moved: a new one is begun", sink->options->path);
    close(sink->fd);
    sink->fd = -1;
    mr_file_mark_deinit(&sink->mark);
    return owned_attach(sink, err);
}

/* ---- writing ---- */

/* Writes the gathered lines; after an error the file is as long as before. */
static mr_status file_append(struct mr_sink *sink, struct mr_err *err)
{
    size_t written;
    mr_status status = file_lock(sink, err);
    if (status) return status;
    const off_t start = sink->is_regular ? lseek(sink->fd, 0, SEEK_END) : 0;
    if (has_mark(sink) && start >= 0 && start != sink->written) {
        file_unlock(sink);
        return mr_fail(
            err, MR_ESINK,
            "file sink: \"%s\" has %lld bytes, of which %lld were written here: something else writes to it, "
            "or it was cut off: give the job a file of its own",
            sink->options->path, (long long)start, (long long)sink->written);
    }
    const int error = start < 0 ? errno : mr_lines_write(&sink->lines, sink->fd, &written);
    if (error) {
        status = file_fail(sink, "writing to", error, err);
        if (start >= 0 && written && sink->is_regular && ftruncate(sink->fd, start)) {
            mr_log(MR_LOG_ERROR, "file", "%s: could not cut off a half-written line: %s", sink->options->path,
                   strerror(errno));
        }
    }
    file_unlock(sink);
    if (!status) sink->written += (int64_t)sink->lines.used;
    return status;
}

static void file_close(struct mr_sink *sink)
{
    if (!sink) return;
    if (sink->fd >= 0) close(sink->fd);
    mr_lines_deinit(&sink->lines);
    mr_file_mark_deinit(&sink->mark);
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
    sink->followed = open->followed;
    if (!status && !sink->followed) status = unmarked_check(sink->options->path, err);
    if (!status) status = sink->followed ? owned_attach(sink, err) : file_attach(sink, err);
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
    mr_status status = sink->followed ? MR_OK : sink->fd < 0 ? file_attach(sink, err) : file_follow(sink, err);
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
    if (sink->is_regular && !has_mark(sink) && sink->options->fsync && fdatasync(sink->fd))
        return file_fail(sink, "syncing", errno, err);
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
            "away. A relative path counts from the job file's folder. With delivery exactly-once a follower writes it: "
            "PATH.offsets beside it says how long it was and which records of the output topic it held at the last "
            "commit_interval; a start cuts off what is behind that and goes on there, so that it holds each record "
            "once. A file that is not empty and has no such mark is refused, as is one of another topic; pipes and "
            "devices have none: at least once.",
     .example = "\"scores.jsonl\""},
    {.key = "fsync",
     .type = MR_OPT_BOOL,
     .offset = AT(fsync),
     .fallback = "false",
     .doc =
         "Acknowledge records only once they are on the disk (fdatasync a batch): slower, survives a power cut. With "
         "delivery exactly-once what is marked always is."},
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
    .marked = file_marked,
    .mark = file_mark,
    .close = file_close,
};
