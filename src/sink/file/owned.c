/*
 * The file of a follower: a regular one has one writer, and a mark beside it (mark.h): how long it was, and where
 * reading went on, when it was last made durable. What stands behind the mark at a start is cut off before anything is
 * written, for it is given again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "sink/file/file.h"

bool mr_file_has_mark(const struct mr_sink *sink)
{
    return sink->followed && sink->is_regular;
}

mr_status mr_file_unmarked_check(const char *path, struct mr_err *err)
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
    if (errno != EAGAIN && errno != EACCES) return mr_file_fail(sink, "locking", errno, err);
    return mr_fail(err, MR_ESINK,
                   "file sink: \"%s\" is written by another process: end that one, or give each its own path",
                   sink->options->path);
}

static mr_status topic_check(const struct mr_sink *sink, struct mr_err *err)
{
    const char *const path = sink->options->path;
    if (!strcmp(sink->mark.topic, sink->followed)) return MR_OK;
    return mr_fail(
        err, MR_EDATA,
        "file sink: \"%s\" holds records of topic \"%s\", not of \"%s\": give another path, or move it and its "
        ".offsets away",
        path, sink->mark.topic, sink->followed);
}

/* The file against its mark: what is missing is an error. What is behind stays until something is written: by then each
 * partition is known to come again from where the mark ends. */
static mr_status length_check(struct mr_sink *sink, int64_t bytes, struct mr_err *err)
{
    const struct mr_file_mark *const mark = &sink->mark;
    const mr_status status = topic_check(sink, err);
    if (status) return status;
    if (bytes < mark->bytes)
        return mr_fail(err, MR_EDATA,
                       "file sink: \"%s\" has %lld bytes, and its .offsets say that it had %lld: records are gone; put "
                       "back the whole file, or move what is there away and leave the .offsets: then a new file begins "
                       "with what comes next",
                       sink->options->path, (long long)bytes, (long long)mark->bytes);
    sink->written = mark->bytes;
    sink->excess = bytes - mark->bytes;
    return MR_OK;
}

mr_status mr_file_stranger_fail(const struct mr_sink *sink, int64_t bytes, struct mr_err *err)
{
    return mr_fail(
        err, MR_ESINK,
        "file sink: \"%s\" has %lld bytes, of which %lld were written here: something else writes to it, or it "
        "was cut off: give the job a file of its own",
        sink->options->path, (long long)bytes, (long long)sink->written);
}

mr_status mr_file_excess_cut(struct mr_sink *sink, struct mr_err *err)
{
    struct stat info;
    if (!sink->excess) return MR_OK;
    if (fstat(sink->fd, &info)) return mr_file_fail(sink, "looking at", errno, err);
    if (info.st_size != sink->written + sink->excess) return mr_file_stranger_fail(sink, info.st_size, err);
    if (ftruncate(sink->fd, sink->written)) return mr_file_fail(sink, "cutting off", errno, err);
    mr_log(MR_LOG_INFO, "file", "%s: %lld bytes behind its mark are cut off: their records come again",
           sink->options->path, (long long)sink->excess);
    sink->excess = 0;
    return MR_OK;
}

/* A file that is not there, and a whole mark: it was moved away, and a new one begins where it ended. */
static mr_status missing_begin(struct mr_sink *sink, struct mr_err *err)
{
    const mr_status status = topic_check(sink, err);
    if (status) return status;
    mr_log(
        MR_LOG_WARN, "file",
        "%s is not there, and had %lld bytes when it was marked: a new one begins with what came after these; if the "
        "old one has more, that comes again",
        sink->options->path, (long long)sink->mark.bytes);
    mr_file_mark_restart(&sink->mark);
    return mr_file_mark_write(sink->options->path, &sink->mark, err);
}

/* The mark of a file that has none. */
static mr_status mark_make(struct mr_sink *sink, struct mr_err *err)
{
    snprintf(sink->mark.topic, sizeof sink->mark.topic, "%s", sink->followed);
    if (getrandom(&sink->mark.file, sizeof sink->mark.file, GRND_NONBLOCK) != (ssize_t)sizeof sink->mark.file)
        sink->mark.file = (uint64_t)mr_clock_ns() ^ (uint64_t)getpid() << 40;
    return mr_file_mark_write(sink->options->path, &sink->mark, err);
}

mr_status mr_file_owned_attach(struct mr_sink *sink, struct mr_err *err)
{
    const char *const path = sink->options->path;
    struct mr_err read_err;
    struct stat info;
    const bool is_missing = stat(path, &info) && errno == ENOENT;
    mr_status marked = is_missing ? mr_file_mark_read(path, &sink->mark, &read_err) : MR_OK;
    mr_status status = is_missing && !marked && sink->mark.bytes ? missing_begin(sink, err) : MR_OK;
    mr_file_mark_deinit(&sink->mark);
    if (status) return status; /* nothing is created */
    sink->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (sink->fd < 0) return mr_file_fail(sink, "opening", errno, err);
    if (fstat(sink->fd, &info)) return mr_file_fail(sink, "opening", errno, err);
    sink->is_regular = S_ISREG(info.st_mode);
    if (!sink->is_regular) return MR_OK;
    status = file_own(sink, err);
    if (status) return status;
    if (fstat(sink->fd, &info))
        return mr_file_fail(sink, "opening", errno, err); /* again: its writer may just have gone */
    sink->written = sink->excess = 0;
    marked = mr_file_mark_read(path, &sink->mark, &read_err);
    if (!marked) {
        status = length_check(sink, info.st_size, err);
        return status ? status : mr_file_content_check(sink, sink->written, err);
    }
    if (marked != MR_EINPUT) {
        if (err) *err = read_err;
        return marked;
    }
    if (info.st_size)
        return mr_fail(err, MR_EDATA,
                       "file sink: \"%s\" is not empty, and there is no \"%s.offsets\" to say which records it holds: "
                       "give another path, or move it away",
                       path, path);
    return mark_make(sink, err);
}

mr_status mr_file_moved_check(const struct mr_sink *sink, bool *is_moved_out, struct mr_err *err)
{
    struct stat ours, named;
    const char *const path = sink->options->path;
    *is_moved_out = false;
    if (fstat(sink->fd, &ours)) return mr_file_fail(sink, "looking at", errno, err);
    const int error = stat(path, &named) ? errno : 0;
    if (error && error != ENOENT) return mr_file_fail(sink, "looking at", error, err);
    if (!error && ours.st_dev == named.st_dev && ours.st_ino == named.st_ino) return MR_OK;
    if (!error && (!S_ISREG(named.st_mode) || named.st_size))
        return mr_fail(
            err, MR_ESINK,
            "file sink: \"%s\" was moved, and what is there now is not empty: move that away, too, or put it "
            "back; then start again",
            path);
    if (!ours.st_nlink)
        return mr_fail(err, MR_ERESTART,
                       "file sink: \"%s\" was deleted while it was written: start again: a new one "
                       "begins where its .offsets ends",
                       path);
    *is_moved_out = true;
    return MR_OK;
}

mr_status mr_file_mark_sink(struct mr_sink *sink, const struct mr_position *positions, size_t count, struct mr_err *err)
{
    bool was_moved;
    if (!mr_file_has_mark(sink)) return MR_OK;
    mr_status status = mr_file_moved_check(sink, &was_moved, err);
    if (!status) status = mr_file_excess_cut(sink, err);
    if (status) return status;
    if (fdatasync(sink->fd)) return mr_file_fail(sink, "syncing", errno, err);
    MR_TEST_HOOK("file.synced");
    for (size_t i = 0; i < count; i++)
        mr_file_mark_advance(&sink->mark, positions[i].partition, positions[i].next_offset);
    sink->mark.bytes = sink->written;
    if (was_moved) mr_file_mark_restart(&sink->mark); /* it is whole: what comes now goes into another one */
    status = mr_file_mark_write(sink->options->path, &sink->mark, err);
    if (!status && !was_moved && mr_file_is_full(sink)) { /* all of it is marked: the time to leave it */
        status = mr_file_rotate(sink, err);
        mr_file_mark_restart(&sink->mark);
        if (!status) status = mr_file_mark_write(sink->options->path, &sink->mark, err);
        MR_TEST_HOOK("file.restarted");
    } else if (was_moved && !status) {
        mr_log(MR_LOG_INFO, "file", "%s was moved: a new one is begun", sink->options->path);
    } else {
        return status;
    }
    if (status) return status;
    close(sink->fd);
    sink->fd = -1;
    mr_file_mark_deinit(&sink->mark);
    return mr_file_owned_attach(sink, err);
}
