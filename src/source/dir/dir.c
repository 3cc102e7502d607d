/*
 * The dir source: the records of the files that come to a folder, each file once, in the order of arrival. What was
 * read survives restarts (source/ledger.h).
 */
#include "source/dir/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "registry.h"

static void dir_close(struct mr_source *source);

static const char *const takes[] = {"closed", "moved", NULL};
static const char *const batches[] = {"any", "file", NULL};
static const char *const dones[] = {"keep", "move", "delete", NULL};
static const char *const starts[] = {"earliest", "latest", NULL};

#define AT(field) offsetof(struct dir_options, field)
static const struct mr_option dir_options[] = {
    {.key = "path",
     .type = MR_OPT_STRING,
     .offset = AT(path),
     .required = true,
     .is_path = true,
     .doc = "Folder whose files are read, not those of folders in it. Names that begin with . or _ or end with .tmp, "
            ".part "
            "or ~ are not read, nor are links; what ends in .gz is decompressed.",
     .example = "\"incoming\""},
    {.key = "pattern",
     .type = MR_OPT_STRING,
     .offset = AT(pattern),
     .doc = "Names that are read, with * ? and [a-z]; by default all.",
     .example = "\"*.csv\""},
    {.key = "take",
     .type = MR_OPT_ENUM,
     .offset = AT(take),
     .fallback = "closed",
     .choices = takes,
     .doc =
         "When a file counts: closed, as soon as it is moved in, or was closed after writing; moved, only when it is "
         "moved in (written elsewhere on the file system and renamed), which is never half a file. What is there at "
         "the "
         "start counts, unless it is open for writing."},
    {.key = "batch",
     .type = MR_OPT_ENUM,
     .offset = AT(batch),
     .fallback = "any",
     .choices = batches,
     .doc = "file: the records of a file are a batch of their own, never mixed with those of another: one step of "
            "learning. "
            "A file of more than batch.records_max records makes several."},
    {.key = "done",
     .type = MR_OPT_ENUM,
     .offset = AT(done),
     .fallback = "keep",
     .choices = dones,
     .doc = "What becomes of a file whose records are all committed."},
    {.key = "done_path",
     .type = MR_OPT_STRING,
     .offset = AT(done_path),
     .is_path = true,
     .doc = "Where done \"move\" moves files to, on the same file system; by default PATH/done."},
    {.key = "start",
     .type = MR_OPT_ENUM,
     .offset = AT(start),
     .fallback = "earliest",
     .choices = starts,
     .doc = "Where a job without positions begins: with the files that are there, by time of writing and name, or with "
            "those that come."},
    {.key = "positions",
     .type = MR_OPT_STRING,
     .offset = AT(positions),
     .is_path = true,
     .no_path = "none",
     .doc = "File that keeps what was read; by default PATH/.<job>.positions. \"none\": each run begins anew."},
    {0},
};
#undef AT

static mr_status dir_check(const void *options, struct mr_err *err)
{
    const struct dir_options *const opt = options;
    if (opt->done_path && *opt->done_path && opt->done != DONE_MOVE)
        return mr_fail(err, MR_ECONFIG, "source.done_path: has no effect unless done is \"move\"");
    if (opt->done == DONE_MOVE && opt->path && opt->done_path && !strcmp(opt->path, opt->done_path))
        return mr_fail(err, MR_ECONFIG, "source.done_path: \"%s\" is the folder that is read: name another",
                       opt->done_path);
    return MR_OK;
}

static mr_status dir_open(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err)
{
    struct mr_source *const source = calloc(1, sizeof *source);
    char *fallback = NULL;
    *source_out = NULL;
    if (!source) return mr_fail(err, MR_ENOMEM, "dir source: out of memory");
    source->opt = open->options;
    source->reading.open = *open;
    source->folder = source->notices = source->done_folder = -1;
    mr_status status = mr_dir_watch(source, err); /* first: what comes while names are read is told */
    if (!status && asprintf(&fallback, "%s/.%s.positions", source->opt->path, open->job) < 0)
        status = mr_fail(err, MR_ENOMEM, "dir source: out of memory");
    if (!status)
        status = mr_reading_open(&source->reading, open, "dir", source->opt->path,
                                 mr_reading_positions(source->opt->positions, fallback), err);
    free(fallback);
    if (!status) status = mr_dir_done_open(source, err);
    if (status)
        dir_close(source);
    else
        *source_out = source;
    return status;
}

/* ---- where to begin ---- */

/* Files of which something is to be read again, before those that are new. */
static mr_status known_enqueue(struct mr_source *source, int64_t known, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    const bool must_be = reading->skip_to < known; /* learned state goes on there: what is missing would be missed */
    mr_status status = MR_OK;
    for (struct mr_file *file = mr_ledger_first(reading->ledger); file && !status; file = file->by_order) {
        if (file->state != MR_FILE_WAITING || file->first < 0) continue;
        if (file->is_there) {
            status = mr_dir_enqueue(source, file, err);
            continue;
        }
        if (must_be)
            return mr_fail(
                err, MR_EDATA,
                "dir source: what was learned reaches to record %lld, and \"%s/%s\", which has records behind "
                "that, is not there any more: put it back, or remove state and positions",
                (long long)reading->skip_to, source->opt->path, file->name);
        mr_log(MR_LOG_WARN, "dir",
               "%s/%s was read up to record %lld, and is not there any more: the rest of it is lost to this job",
               source->opt->path, file->name, (long long)known);
        mr_ledger_end(reading->ledger, file, known, file->byte, file->line, NULL);
        if (file == reading->resume.file) reading->resume.file = NULL;
        reading->next = known;
    }
    return status;
}

/* Files that are there are passed over, when the job begins with those that come. */
static void latest_pass(struct mr_source *source)
{
    struct mr_file *file;
    while ((file = mr_dir_dequeue(source))) mr_ledger_pass(source->reading.ledger, file);
}

/* What a crash has left between its commit and what becomes of it. */
static void done_again(struct mr_source *source)
{
    if (source->opt->done == DONE_KEEP) return;
    for (struct mr_file *file = mr_ledger_first(source->reading.ledger); file; file = file->by_order)
        if (file->state == MR_FILE_DONE) mr_dir_done(source, file);
}

/* Those that were read in part stand before those that are new: the queue is turned until they do. */
static mr_status files_order(struct mr_source *source, int64_t known, struct mr_err *err)
{
    const size_t count = source->queue_count;
    const mr_status status = known_enqueue(source, known, err);
    for (size_t i = 0; i < count && !status; i++) {
        struct mr_file *const file = mr_dir_dequeue(source);
        const mr_status again = mr_dir_enqueue(source, file, err);
        if (again) return again;
    }
    return status;
}

static mr_status dir_join(struct mr_source *source, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    const bool is_new = mr_ledger_is_new(reading->ledger);
    const int64_t known = mr_ledger_next(reading->ledger);
    mr_status status = mr_dir_scan(source, err);
    if (!status) status = mr_ledger_compact(reading->ledger, err);
    if (!status) done_again(source);
    if (!status) status = mr_reading_start(reading, err);
    if (!status) status = files_order(source, known, err);
    if (!status && is_new && !reading->skip_to && source->opt->start == DIR_START_LATEST) latest_pass(source);
    source->has_joined = !status;
    return status;
}

static bool dir_has_joined(const struct mr_source *source)
{
    return source->has_joined;
}

/* ---- one file after the other ---- */

/* Whether somebody has the file open for writing; where that is not for this user to know, it is not. */
static bool is_written(int fd)
{
    if (fcntl(fd, F_SETSIG, SIGURG)) return false; /* of the lease: one that is ignored */
    if (!fcntl(fd, F_SETLEASE, F_RDLCK)) {
        fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
    }
    return errno == EAGAIN;
}

/* The file cannot be read now: says so once; a notice of it, or a scan, makes it wait again. */
static void file_refuse(struct mr_source *source, struct mr_file *file, const char *why)
{
    mr_log(MR_LOG_WARN, "dir", "%s/%s %s", source->opt->path, file->name, why);
    file->is_refused = true;
}

/* Opens the file that waits. *fd_out -1: it is not to be read now, which was told. */
static mr_status file_open(struct mr_source *source, struct mr_file *file, int *fd_out, struct mr_err *err)
{
    char why[256];
    struct stat info;
    const int fd = openat(source->folder, file->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    *fd_out = -1;
    if (fd < 0 || fstat(fd, &info)) {
        snprintf(why, sizeof why, errno == ENOENT ? "has gone before it was read" : "is not read: %s", strerror(errno));
        if (fd >= 0) close(fd);
        file_refuse(source, file, why);
        return MR_OK;
    }
    if (info.st_ino != file->id.inode || info.st_dev != file->id.device || !S_ISREG(info.st_mode)) {
        close(fd); /* another one has its name: that is the one that came */
        return mr_dir_look(source, file->name, true, err);
    }
    if (file->is_found && is_written(fd)) {
        close(fd);
        file_refuse(source, file, "is open for writing: it is read when it is closed");
        return MR_OK;
    }
    *fd_out = fd;
    return MR_OK;
}

/* What is no text of records: the rest of the run can do without it. */
static bool is_of_file(mr_status status)
{
    return status == MR_EDATA || status == MR_EINPUT;
}

/* Opens files until one can be read. MR_END: none waits. */
static mr_status next_begin(struct mr_source *source, struct mr_err *err)
{
    struct mr_file *file;
    while (source->folder >= 0 && (file = mr_dir_dequeue(source))) {
        struct mr_reading *const reading = &source->reading;
        char *name;
        int fd;
        mr_status status = file_open(source, file, &fd, err);
        if (status || fd < 0) {
            if (status) return status;
            continue;
        }
        if (asprintf(&name, "%s/%s", source->opt->path, file->name) < 0) {
            close(fd);
            return mr_fail(err, MR_ENOMEM, "dir source: out of memory");
        }
        const bool is_repeat = file->first >= 0 && reading->next < reading->skip_to;
        status = mr_reading_file_begin(reading, file, fd, name, err);
        free(name);
        if (status && (!is_of_file(status) || is_repeat)) return status;
        source->batch_rows = 0;
        if (!status) return MR_OK;
        mr_log(MR_LOG_WARN, "dir", "%s", err->text);
        file->is_refused = true;
    }
    return MR_END;
}

/* The file is read, or cannot be read any further: says what has happened to it meanwhile. */
static void file_end(struct mr_source *source, bool is_whole)
{
    struct mr_reading *const reading = &source->reading;
    const struct mr_file *const file = reading->file;
    const uint64_t byte = reading->stream.byte;
    const bool is_plain = !reading->stream.gz;
    struct stat info;
    if (!mr_reading_file_end(reading, &info) || !is_plain || !is_whole || (uint64_t)info.st_size == byte) return;
    const bool has_grown = (uint64_t)info.st_size > byte;
    mr_log(MR_LOG_WARN, "dir",
           "%s/%s has %s while it was read, to %lld bytes: what was read, up to byte %llu, stands%s; files must be "
           "whole when "
           "they come: write them elsewhere, or under a name that begins with a dot, and rename them",
           source->opt->path, file->name, has_grown ? "grown" : "shrunk", (long long)info.st_size,
           (unsigned long long)byte, has_grown ? ", and the rest is not read" : "");
}

/* A file that is larger than a batch, where each is to be one. */
static void large_tell(struct mr_source *source, size_t count, size_t cap)
{
    source->batch_rows += count;
    if (source->told_large || count < cap || source->opt->batch != BATCH_FILE) return;
    mr_log(
        MR_LOG_WARN, "dir",
        "%s/%s has %zu records or more, and makes several batches: raise batch.records_max, if each file is to be one",
        source->opt->path, source->reading.file->name, source->batch_rows);
    source->told_large = true;
}

static mr_status dir_take(void *context, struct mr_message *messages, size_t cap, size_t *count, struct mr_err *err)
{
    struct mr_source *const source = context;
    struct mr_reading *const reading = &source->reading;
    mr_status status = mr_dir_notices(source, err);
    while (!status) {
        const size_t first = *count;
        if (!reading->file) status = next_begin(source, err);
        if (status == MR_END) return reading->open.is_bounded ? MR_END : MR_OK;
        if (status) return status;
        status = mr_reading_take(reading, messages, cap, count, err);
        large_tell(source, *count - first, cap);
        const bool is_whole = !is_of_file(status);
        if (!is_whole) {
            mr_log(MR_LOG_WARN, "dir", "%s: what was read of it before stands, the rest is not read", err->text);
            status = MR_END;
        }
        if (status != MR_END) return status;
        file_end(source, is_whole);
        if (*count && source->opt->batch == BATCH_FILE) return MR_AGAIN; /* the batch ends here */
        status = MR_OK;
    }
    return status;
}

static mr_status dir_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                          int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const struct mr_fill fill = {source, dir_take, mr_dir_wait, &source->reading.failure};
    const mr_status status =
        mr_fill_poll(&fill, messages, mr_stream_cap(&source->reading.open.cut, cap), wait_us, fill_us, count_out, err);
    mr_reading_mark(&source->reading);
    return status;
}

static void dir_release(struct mr_source *source, struct mr_message *messages, size_t count)
{
    mr_pieces_release(&source->reading.pool, messages, count);
}

static mr_status dir_commit(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                            struct mr_err *err)
{
    (void)wait;
    return mr_reading_commit(&source->reading, positions, count, mr_dir_done, source, err);
}

static const char *dir_topic_name(const struct mr_source *source, uint32_t topic)
{
    (void)topic;
    return source->opt->path;
}

static void dir_close(struct mr_source *source)
{
    if (!source) return;
    mr_reading_close(&source->reading);
    if (source->folder >= 0) close(source->folder);
    if (source->notices >= 0) close(source->notices);
    mr_dir_done_close(source);
    free(source->queue);
    free(source);
}

const struct mr_source_ops mr_source_dir = {
    .name = "dir",
    .summary = "files that come to a folder, each once, in the order of arrival",
    .options = dir_options,
    .options_size = sizeof(struct dir_options),
    .cuts = true,
    .repeats = true,
    .check = dir_check,
    .open = dir_open,
    .lane_count_max = mr_single_lane_count_max,
    .partition_range = mr_single_partition_range,
    .join = dir_join,
    .has_joined = dir_has_joined,
    .poll = dir_poll,
    .release = dir_release,
    .commit = dir_commit,
    .topic_name = dir_topic_name,
    .timestamp_ms = mr_single_timestamp_ms,
    .header = mr_single_header,
    .place = mr_single_place,
    .close = dir_close,
};
