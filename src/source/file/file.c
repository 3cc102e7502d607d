/*
 * The file source: the records of one file, and with `follow` of those that take its place when it is rotated
 * (rotate.c). Where reading goes on is kept beside it.
 */
#include "source/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry.h"

#define LOOK_US 10000 /* between two looks at a file that is followed; a notice would not come from other machines */

static void file_close(struct mr_source *source);

static const char *const starts[] = {"earliest", "latest", NULL};

#define AT(field) offsetof(struct file_options, field)
static const struct mr_option file_options[] = {
    {.key = "path",
     .type = MR_OPT_STRING,
     .offset = AT(path),
     .required = true,
     .is_path = true,
     .doc =
         "File to read: a record a line, CSV records, or rows of fixed width, as record.format says; what ends in .gz "
         "is decompressed.",
     .example = "\"readings.jsonl\""},
    {.key = "follow",
     .type = MR_OPT_BOOL,
     .offset = AT(follow),
     .fallback = "false",
     .doc = "Goes on with what is appended, and with the next file when this one is rotated; a record counts when its "
            "line has ended. Otherwise the run ends where the file does."},
    {.key = "start",
     .type = MR_OPT_ENUM,
     .offset = AT(start),
     .fallback = "earliest",
     .choices = starts,
     .doc = "Where a job without positions begins: at the first record, or behind what is there."},
    {.key = "rate",
     .type = MR_OPT_DOUBLE,
     .offset = AT(rate),
     .fallback = "0",
     .max = 1e9,
     .doc = "Records a second at most (messages, where one holds many), so that a file comes as a stream did; "
            "0: as fast as they are taken."},
    {.key = "positions",
     .type = MR_OPT_STRING,
     .offset = AT(positions),
     .is_path = true,
     .no_path = "none",
     .doc = "File that keeps how far the job has come; by default PATH.<job>.positions, beside the file. \"none\": "
            "each run "
            "begins anew."},
    {0},
};
#undef AT

static mr_status file_check(const void *options, struct mr_err *err)
{
    const struct file_options *const opt = options;
    const size_t bytes = opt->path ? strlen(opt->path) : 0;
    if (!opt->follow || bytes < 3 || strcmp(opt->path + bytes - 3, ".gz") != 0) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "source.follow: a compressed file is read once it is whole: remove it, or decompress "
                   "the file");
}

mr_status mr_source_file_fail(const struct mr_source *source, int error, struct mr_err *err)
{
    const char *const remedy = error == ENOENT || error == ENOTDIR ? "; give the path of a file that is there"
                               : error == EACCES || error == EPERM ? "; give this user the right to read it"
                                                                   : "";
    return mr_fail(err, MR_EINPUT, "file source: \"%s\": %s%s", source->opt->path, strerror(error), remedy);
}

/* Opens what the path names now. *fd_out is -1 when nothing is there and that may be. */
mr_status mr_file_named(struct mr_source *source, bool may_miss, int *fd_out, struct stat *info_out, struct mr_err *err)
{
    const int fd = open(source->opt->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *fd_out = -1;
    if (fd < 0 && errno == ENOENT && may_miss) return MR_OK;
    if (fd < 0) return mr_source_file_fail(source, errno, err);
    if (fstat(fd, info_out)) {
        const int error = errno;
        close(fd);
        return mr_source_file_fail(source, error, err);
    }
    if (!S_ISREG(info_out->st_mode)) {
        close(fd);
        return mr_fail(
            err, MR_EINPUT,
            "file source: \"%s\" is no regular file: a pipe is read as standard input (source.type stdin), a "
            "folder by source.type dir",
            source->opt->path);
    }
    *fd_out = fd;
    return MR_OK;
}

mr_status mr_file_begin(struct mr_source *source, struct mr_file *file, int fd, const struct stat *info,
                        struct mr_err *err)
{
    struct mr_file_id id;
    mr_file_id_of(info, &id);
    if (!file && !(file = mr_ledger_add(source->reading.ledger, &id, source->opt->path))) {
        close(fd);
        return mr_fail(err, MR_ENOMEM, "file source: out of memory");
    }
    const mr_status status = mr_reading_file_begin(&source->reading, file, fd, source->opt->path, err);
    if (!status) source->reading.stream.takes_rest = !source->opt->follow;
    return status;
}

/* What has the name is not what was read. */
static mr_status changed_fail(const struct mr_source *source, struct mr_err *err)
{
    return mr_fail(
        err, MR_EDATA,
        "file source: \"%s\" is not the file that was read before, up to record %lld: put that back, or remove "
        "its positions to read this one from the beginning (a file that is replaced again and again is for "
        "source.type dir)",
        source->opt->path, (long long)mr_ledger_next(source->reading.ledger));
}

/* Without positions, and told so: behind the last line break that is there. */
static mr_status latest_seek(struct mr_source *source, const struct stat *info, struct mr_err *err)
{
    struct mr_stream *const stream = &source->reading.stream;
    const uint64_t bytes = (uint64_t)info->st_size, row = stream->cut.row_bytes;
    const bool is_packed = stream->cut.kind == MR_CUT_PACKED;
    char last = '\n';
    if (!bytes) return MR_OK;
    if (!is_packed && pread(stream->fd, &last, 1, info->st_size - 1) != 1)
        return mr_source_file_fail(source, errno, err);
    const uint64_t byte = is_packed ? bytes / row * row : bytes;
    const mr_status status = mr_stream_seek(stream, byte, 0, err);
    stream->skips = last != '\n'; /* the record that is being written began before the start */
    source->reading.file->begin_byte = byte;
    return status;
}

/* The file that reading goes on in. */
static mr_status first_begin(struct mr_source *source, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    struct mr_file *file = reading->resume.file;
    const bool is_first = !file && mr_ledger_is_new(reading->ledger) && !reading->next;
    struct stat info;
    int fd;
    if (file && source->opt->follow) return mr_rotated_begin(source, file, err);
    mr_status status = mr_file_named(source, false, &fd, &info, err);
    if (status) return status;
    if (!file && mr_ledger_first(reading->ledger)) {
        status = mr_appended_find(source, fd, &info, &file, err);
        if (!status && !file && !source->opt->follow) status = changed_fail(source, err);
        if (status) close(fd);
        if (status) return status;
    }
    status = mr_file_begin(source, file, fd, &info, err);
    return !status && is_first && source->opt->start == START_LATEST ? latest_seek(source, &info, err) : status;
}

static mr_status file_open(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err)
{
    struct mr_source *const source = calloc(1, sizeof *source);
    char *fallback = NULL;
    struct stat info;
    int fd = -1;
    *source_out = NULL;
    if (!source) return mr_fail(err, MR_ENOMEM, "file source: out of memory");
    source->opt = open->options;
    mr_status status = file_check(source->opt, err);
    if (!status)
        status = mr_file_named(source, false, &fd, &info, err); /* a wrong name is found before anything is made */
    if (fd >= 0) close(fd);
    if (!status && asprintf(&fallback, "%s.%s.positions", source->opt->path, open->job) < 0)
        status = mr_fail(err, MR_ENOMEM, "file source: out of memory");
    if (!status)
        status = mr_reading_open(&source->reading, open, "file", source->opt->path,
                                 mr_reading_positions(source->opt->positions, fallback), err);
    free(fallback);
    if (status)
        file_close(source);
    else
        *source_out = source;
    return status;
}

/* From this record on; those before it, of which some are still at work, keep their time. */
static void pace_begin(struct mr_source *source, int64_t first)
{
    source->pace_before = source->pace;
    mr_pace_begin(&source->pace.pace, source->opt->rate);
    source->pace.first = first;
    source->is_paused = false;
}

static mr_status file_join(struct mr_source *source, struct mr_err *err)
{
    mr_status status = mr_reading_start(&source->reading, err);
    if (!status) status = first_begin(source, err);
    const struct mr_reading *const reading = &source->reading;
    if (!status) pace_begin(source, reading->next > reading->skip_to ? reading->next : reading->skip_to);
    source->has_joined = !status;
    return status;
}

static bool file_has_joined(const struct mr_source *source)
{
    return source->has_joined;
}

/* The end of the file, which is not followed: it must have as much as was read of it. */
static mr_status end_take(struct mr_source *source, struct mr_err *err)
{
    struct mr_reading *const reading = &source->reading;
    const uint64_t byte = reading->stream.byte;
    const bool is_plain = !reading->stream.gz;
    struct stat info;
    const bool is_known = mr_reading_file_end(reading, &info);
    source->is_over = true;
    if (is_known && is_plain && (uint64_t)info.st_size < byte)
        return mr_fail(err, MR_EDATA,
                       "file source: \"%s\" has shrunk to %lld bytes while it was read, up to byte %llu: what was read "
                       "stands; give the job a file that nobody writes to, or say \"follow\": true",
                       source->opt->path, (long long)info.st_size, (unsigned long long)byte);
    if (reading->next < reading->skip_to)
        return mr_fail(err, MR_EDATA,
                       "file source: \"%s\" holds %lld records, and what was learned reaches to record %lld: it is not "
                       "the file that this was learned from",
                       source->opt->path, (long long)reading->next, (long long)reading->skip_to);
    return MR_END;
}

/* Records that may be taken now. Those before the start are read without waiting; after a pause the schedule begins
 * anew with the first that comes: what was not there is not late. */
static size_t due_count(const struct mr_source *source, size_t cap)
{
    const int64_t due = mr_pace_due(&source->pace.pace), taken = source->reading.next - source->pace.first;
    if (due == INT64_MAX) return cap;
    if (source->is_paused) return 1;
    if (due <= taken) return 0;
    return (uint64_t)(due - taken) < cap ? (size_t)(due - taken) : cap;
}

static mr_status file_take(void *context, struct mr_message *messages, size_t cap, size_t *count, struct mr_err *err)
{
    struct mr_source *const source = context;
    while (!source->is_over) {
        mr_status status = source->was_dry ? mr_rewritten_look(source, err) : MR_OK;
        const size_t had = *count, due = due_count(source, cap - had);
        if (status || !due) return status;
        status = source->reading.file ? mr_reading_take(&source->reading, messages, had + due, count, err) : MR_END;
        if (source->is_paused && *count > had) pace_begin(source, messages[had].offset);
        if (status != MR_END) return status;
        if (!source->opt->follow) return end_take(source, err);
        source->was_dry = source->is_paused = true;
        status = mr_rotate(source, err); /* MR_AGAIN: another file has come, or the rest of the old one */
        if (status != MR_AGAIN) return status;
    }
    return MR_END;
}

static void file_wait(void *context, int64_t wait_us)
{
    const struct mr_source *const source = context;
    const int64_t step_us = wait_us < LOOK_US ? wait_us : LOOK_US;
    const struct timespec step = {.tv_nsec = step_us * 1000};
    if (!due_count(source, 1))
        mr_pace_wait(&source->pace.pace, source->reading.next - source->pace.first, wait_us);
    else
        nanosleep(&step, NULL);
}

static mr_status file_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                           int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const struct mr_fill fill = {source, file_take, file_wait, &source->reading.failure};
    const mr_status status =
        mr_fill_poll(&fill, messages, mr_stream_cap(&source->reading.open.cut, cap), wait_us, fill_us, count_out, err);
    mr_reading_mark(&source->reading);
    return status;
}

static void file_release(struct mr_source *source, struct mr_message *messages, size_t count)
{
    mr_pieces_release(&source->reading.pool, messages, count);
}

static mr_status file_commit(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                             struct mr_err *err)
{
    (void)wait;
    return mr_reading_commit(&source->reading, positions, count, NULL, NULL, err);
}

/* At a rate: when it was due. */
static int64_t file_timestamp_ms(const struct mr_source *source, const struct mr_message *message)
{
    if (source->opt->rate <= 0) return mr_piece_timestamp_ms(message);
    const struct file_pace *const pace = message->offset < source->pace.first ? &source->pace_before : &source->pace;
    return mr_pace_ms(&pace->pace, message->offset - pace->first);
}

static const char *file_topic_name(const struct mr_source *source, uint32_t topic)
{
    (void)topic;
    return source->opt->path;
}

static void file_close(struct mr_source *source)
{
    if (!source) return;
    mr_reading_close(&source->reading);
    free(source);
}

const struct mr_source_ops mr_source_file = {
    .name = "file",
    .summary = "a file, read once or followed while it grows",
    .options = file_options,
    .options_size = sizeof(struct file_options),
    .cuts = true,
    .repeats = true,
    .check = file_check,
    .open = file_open,
    .lane_count_max = mr_single_lane_count_max,
    .partition_range = mr_single_partition_range,
    .join = file_join,
    .has_joined = file_has_joined,
    .poll = file_poll,
    .release = file_release,
    .commit = file_commit,
    .topic_name = file_topic_name,
    .timestamp_ms = file_timestamp_ms,
    .header = mr_single_header,
    .place = mr_single_place,
    .close = file_close,
};
