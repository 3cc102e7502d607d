/*
 * The file sink: JSON lines, appended. A write that fails half-way is cut off again, so that the file never ends within
 * a record that was reported as failed; a record is settled only after its line is written, and synced when the job
 * asks for that. Lanes and processes may append to one file: each write happens under its lock.
 *
 * Fed by a follower (mr_sink_open.followed) a regular file has one writer, and a mark beside it (mark.h): how long it
 * was, and where reading went on, when it was last made durable. What stands behind the mark at a start is cut off
 * before anything is written, for it is given again: so the file holds each record once, after any crash.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/durable.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "registry.h"
#include "sink/file/holders.h"
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
    bool is_regular;            /* not a pipe or a device: may be locked, cut off and rotated */
    const char *followed;       /* the topic that a follower reads for it; NULL: lanes write */
    struct mr_file_mark mark;   /* of a regular file that is followed: as it was written last, begun ranges among it */
    int64_t written;            /* length of such a file, by what was written */
    int64_t excess;             /* bytes behind that, found at the start: cut off before anything is written */
    struct mr_holders *holders; /* [holders_cap], by partition: as the group keeps them with what is stored next */
    int32_t holders_cap;
    char note[MR_HOLDERS_TEXT_MAX];
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
    if (!sink->is_regular || sink->lines.pending.count) return MR_OK; /* unsettled lines belong to the open one */
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

static mr_status stranger_fail(const struct mr_sink *sink, int64_t bytes, struct mr_err *err)
{
    return mr_fail(
        err, MR_ESINK,
        "file sink: \"%s\" has %lld bytes, of which %lld were written here: something else writes to it, or it "
        "was cut off: give the job a file of its own",
        sink->options->path, (long long)bytes, (long long)sink->written);
}

static mr_status excess_cut(struct mr_sink *sink, struct mr_err *err)
{
    struct stat info;
    if (!sink->excess) return MR_OK;
    if (fstat(sink->fd, &info)) return file_fail(sink, "looking at", errno, err);
    if (info.st_size != sink->written + sink->excess) return stranger_fail(sink, info.st_size, err);
    if (ftruncate(sink->fd, sink->written)) return file_fail(sink, "cutting off", errno, err);
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

/* Opens the path of a follower's file. A file without a mark must be empty; its mark is made before its first line. */
static mr_status owned_attach(struct mr_sink *sink, struct mr_err *err)
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
    if (sink->fd < 0) return file_fail(sink, "opening", errno, err);
    if (fstat(sink->fd, &info)) return file_fail(sink, "opening", errno, err);
    sink->is_regular = S_ISREG(info.st_mode);
    if (!sink->is_regular) return MR_OK;
    status = file_own(sink, err);
    if (status) return status;
    if (fstat(sink->fd, &info))
        return file_fail(sink, "opening", errno, err); /* again: its writer may just have gone */
    sink->written = sink->excess = 0;
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
    return mark_make(sink, err);
}

/* Whether the path no longer leads to the file that is open. MR_ERESTART: what is open has no name any more, so what it
 * was given since its mark is gone; MR_ESINK: somebody else's file is in its place. */
static mr_status moved_check(const struct mr_sink *sink, bool *is_moved_out, struct mr_err *err)
{
    struct stat ours, named;
    const char *const path = sink->options->path;
    *is_moved_out = false;
    if (fstat(sink->fd, &ours)) return file_fail(sink, "looking at", errno, err);
    const int error = stat(path, &named) ? errno : 0;
    if (error && error != ENOENT) return file_fail(sink, "looking at", error, err);
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

/* ---- where a partition begins ---- */

static mr_status old_mark_fail(const struct mr_sink *sink, const struct mr_sink_place *place, int64_t own,
                               const char *why, struct mr_err *err)
{
    return mr_fail(
        err, MR_EDATA,
        "file sink: the .offsets of \"%s\" are old: records of %s[%d] from offset %lld on were written to it "
        "after that, and %s: nothing was changed; put back the .offsets and the file that were written "
        "last, or move both away: then a new file begins at the group's offset, %lld",
        sink->options->path, sink->followed, (int)place->partition, (long long)own, why,
        (long long)place->group_offset);
}

/* The group is further than the mark. Where another file has what is between, it is right. Where this one had it, an
 * old mark was put back: it wins, and what is between comes again. */
static mr_status behind_choose(const struct mr_sink *sink, const struct mr_sink_place *place,
                               const struct mr_holders *holders, int64_t own, int64_t *begin_out, struct mr_err *err)
{
    const char *const path = sink->options->path;
    const mr_held held = mr_holders_of(holders, sink->mark.file, own);
    const bool is_elsewhere = held == MR_HELD_ELSEWHERE || (held == MR_HELD_UNKNOWN && holders->count);
    if (held == MR_HELD_HERE_BEFORE)
        return old_mark_fail(sink, place, own, "another process has gone on with the partition since", err);
    if (held == MR_HELD_HERE && own < place->low)
        return old_mark_fail(sink, place, own, "the topic does not have all of them any more", err);
    *begin_out = is_elsewhere || own < place->low ? place->group_offset : own;
    if (is_elsewhere)
        mr_log(MR_LOG_INFO, "file",
               "%s: of %s[%d] it ends at offset %lld, the group is at %lld: what is between was given to another "
               "process%s",
               path, sink->followed, (int)place->partition, (long long)own, (long long)place->group_offset,
               held == MR_HELD_UNKNOWN ? ", as far as is known" : "");
    else if (own < place->low)
        mr_log(
            MR_LOG_WARN, "file",
            "%s: of %s[%d] it ends at offset %lld, the topic begins at %lld, and somebody has set the group to %lld: "
            "what is between is not in the file",
            path, sink->followed, (int)place->partition, (long long)own, (long long)place->low,
            (long long)place->group_offset);
    else
        mr_log(
            MR_LOG_WARN, "file",
            "%s: of %s[%d] its .offsets end at %lld, the group is at %lld, and no other file has what is between: it "
            "goes on at %lld",
            path, sink->followed, (int)place->partition, (long long)own, (long long)place->group_offset,
            (long long)own);
    return MR_OK;
}

static mr_status begin_choose(const struct mr_sink *sink, const struct mr_sink_place *place,
                              const struct mr_holders *holders, int64_t *begin_out, struct mr_err *err)
{
    const int64_t own = mr_file_mark_next(&sink->mark, place->partition);
    if (own > place->end)
        return mr_fail(
            err, MR_EDATA,
            "file sink: \"%s\" holds records of %s[%d] up to offset %lld, and the partition ends at %lld (the "
            "topic was made anew, or has lost its end): move the file and its .offsets away, or restore the "
            "topic; nothing was changed",
            sink->options->path, sink->followed, (int)place->partition, (long long)own, (long long)place->end);
    *begin_out = own > place->group_offset ? own : place->group_offset;
    return own >= 0 && own < place->group_offset ? behind_choose(sink, place, holders, own, begin_out, err) : MR_OK;
}

static bool holders_keep(struct mr_sink *sink, int32_t partition, const struct mr_holders *holders)
{
    if (partition >= sink->holders_cap) {
        const int32_t cap = partition + 16;
        struct mr_holders *const grown = realloc(sink->holders, (size_t)cap * sizeof *grown);
        if (!grown) return false;
        sink->holders = grown;
        while (sink->holders_cap < cap) grown[sink->holders_cap++] = (struct mr_holders){0};
    }
    sink->holders[partition] = *holders;
    return true;
}

static mr_status file_marked(struct mr_sink *sink, const struct mr_sink_place *place, int64_t *offset_out,
                             struct mr_err *err)
{
    const int64_t group = place->group_offset;
    struct mr_holders holders;
    int64_t begin = -1;
    *offset_out = -1;
    if (!has_mark(sink)) return MR_OK;
    mr_holders_parse(place->note, &holders);
    const mr_status status = begin_choose(sink, place, &holders, &begin, err);
    if (status || begin < 0) return status;
    if (begin != group) *offset_out = begin;
    mr_holders_take(&holders, sink->mark.file, group < 0 || group > begin ? begin : group);
    return holders_keep(sink, place->partition, &holders) && mr_file_mark_begin(&sink->mark, place->partition, begin)
               ? MR_OK
               : mr_fail(err, MR_ENOMEM, "file sink: \"%s\": out of memory", sink->options->path);
}

static const char *file_note(struct mr_sink *sink, int32_t partition)
{
    if (partition >= sink->holders_cap || !sink->holders[partition].count) return NULL;
    mr_holders_print(&sink->holders[partition], sink->note);
    return sink->note;
}

static mr_status file_mark(struct mr_sink *sink, const struct mr_position *positions, size_t count, struct mr_err *err)
{
    bool was_moved;
    if (!has_mark(sink)) return MR_OK;
    mr_status status = moved_check(sink, &was_moved, err);
    if (!status) status = excess_cut(sink, err);
    if (status) return status;
    if (fdatasync(sink->fd)) return file_fail(sink, "syncing", errno, err);
    MR_TEST_HOOK("file.synced");
    for (size_t i = 0; i < count; i++)
        mr_file_mark_advance(&sink->mark, positions[i].partition, positions[i].next_offset);
    sink->mark.bytes = sink->written;
    if (was_moved) mr_file_mark_restart(&sink->mark); /* it is whole: what comes now goes into another one */
    status = mr_file_mark_write(sink->options->path, &sink->mark, err);
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
    mr_status status = excess_cut(sink, err);
    if (!status) status = file_lock(sink, err);
    if (status) return status;
    const off_t start = sink->is_regular ? lseek(sink->fd, 0, SEEK_END) : 0;
    if (has_mark(sink) && start >= 0 && start != sink->written) {
        file_unlock(sink);
        return stranger_fail(sink, start, err);
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
    free(sink->holders);
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
    if (!mr_pending_has_room(&sink->lines.pending, box)) return MR_AGAIN;
    mr_status status = sink->followed ? MR_OK : sink->fd < 0 ? file_attach(sink, err) : file_follow(sink, err);
    while (!status && from + *taken_out < box->count) {
        size_t count;
        status = mr_lines_gather(&sink->lines, box, from + *taken_out, &count, err);
        if (!status) status = file_append(sink, err);
        if (status) break;
        mr_pending_took(&sink->lines.pending, box, count);
        *taken_out += count;
    }
    return status;
}

static mr_status file_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    struct stat info;
    (void)wait_us; /* what emit() took is written: there is nothing to wait for */
    if (!sink->lines.pending.count) return MR_OK;
    if (sink->is_regular && !has_mark(sink) && sink->options->fsync && fdatasync(sink->fd))
        return file_fail(sink, "syncing", errno, err);
    if (sink->is_regular && !fstat(sink->fd, &info) && info.st_nlink == 0) {
        bool is_moved;
        if (has_mark(sink)) return moved_check(sink, &is_moved, err);
        return mr_fail(
            err, MR_EIO,
            "file sink: \"%s\" was deleted while records were written to it; they are not acknowledged: start again",
            sink->options->path);
    }
    mr_pending_settle(&sink->lines.pending);
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
            "once. Move the file alone: its .offsets say where the new one begins. A file that is not empty and has no "
            "such mark is refused, as is one of another topic; pipes and "
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
    .note = file_note,
    .close = file_close,
};
