/*
 * The file sink: lines or rows, appended. A write that fails half-way is cut off again, so that the file never ends
 * within a record that was reported as failed; a record is settled only after its line is written, and synced when the
 * job asks for that. Lanes and processes may append to one file: each write happens under its lock.
 *
 * Fed by a follower (mr_sink_open.followed) it holds each record once, after any crash: owned.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "registry.h"
#include "sink/file/file.h"

/* What waits to be settled may have gone with its file; not where old files are deleted on purpose. */
static mr_status deleted_check(const struct mr_sink *sink, struct mr_err *err)
{
    struct stat info;
    bool is_moved;
    if (!sink->is_regular || !sink->lines.pending.count || fstat(sink->fd, &info) || info.st_nlink ||
        sink->options->keep)
        return MR_OK;
    if (mr_file_has_mark(sink)) return mr_file_moved_check(sink, &is_moved, err);
    return mr_fail(
        err, MR_EIO,
        "file sink: \"%s\" was deleted while records were written to it; they are not acknowledged: start again",
        sink->options->path);
}

/* Under the lock of the file that the path names. Whoever finds it full moves it, and all begin a new one. */
static mr_status place_find(struct mr_sink *sink, struct mr_err *err)
{
    const bool may_rotate =
        sink->is_regular && !mr_file_has_mark(sink) && (sink->options->rotate_bytes || sink->options->rotate_interval);
    mr_status status = mr_file_lock(sink, err);
    while (!status && may_rotate && !(mr_file_is_named(sink) && !mr_file_is_full(sink))) {
        if (mr_file_is_named(sink)) status = mr_file_rotate(sink, err);
        if (!status) status = mr_file_sync(sink, true, err); /* what is acknowledged next may stand in this one */
        if (!status) status = deleted_check(sink, err);
        mr_file_unlock(sink);
        if (status) return status;
        close(sink->fd);
        sink->fd = -1;
        status = mr_file_attach(sink, err);
        if (!status) status = mr_file_lock(sink, err);
    }
    return status;
}

/* All of some bytes at the end of the file, which has `start`; after an error it is as long as before. */
static mr_status bytes_append(struct mr_sink *sink, const struct mr_lines *lines, off_t start, struct mr_err *err)
{
    size_t written = 0;
    const int error = start < 0 ? errno : mr_lines_write(lines, sink->fd, &written);
    if (!error) return MR_OK;
    const mr_status status = mr_file_fail(sink, "writing to", error, err);
    if (start >= 0 && written && sink->is_regular && ftruncate(sink->fd, start))
        mr_log(MR_LOG_ERROR, "file", "%s: could not cut off a half-written line: %s", sink->options->path,
               strerror(errno));
    return status;
}

/* Writes the gathered lines; columns first where there is nothing yet. */
static mr_status file_append(struct mr_sink *sink, struct mr_err *err)
{
    mr_status status = mr_file_excess_cut(sink, err);
    if (!status) status = place_find(sink, err);
    if (status) return status;
    const off_t start = sink->is_regular ? lseek(sink->fd, 0, SEEK_END) : 0;
    const bool has_columns = sink->lines.csv && (sink->is_regular ? start == 0 : sink->is_first && !sink->written);
    const struct mr_lines columns = {.buffer = sink->csv.header, .used = has_columns ? sink->csv.header_bytes : 0};
    if (mr_file_has_mark(sink) && start >= 0 && start != sink->written) {
        mr_file_unlock(sink);
        return mr_file_stranger_fail(sink, start, err);
    }
    status = bytes_append(sink, &columns, start, err);
    if (!status) status = bytes_append(sink, &sink->lines, start + (off_t)columns.used, err);
    if (status && columns.used && sink->is_regular && ftruncate(sink->fd, start))
        mr_log(MR_LOG_ERROR, "file", "%s: could not cut off its columns: %s", sink->options->path, strerror(errno));
    mr_file_unlock(sink);
    if (!status) sink->written += (int64_t)(columns.used + sink->lines.used);
    if (!status && sink->sync_us && !sink->sync_due_us) sink->sync_due_us = mr_clock_us() + sink->sync_us;
    return status;
}

static void file_close(struct mr_sink *sink)
{
    if (!sink) return;
    struct mr_err err;
    if (sink->fd >= 0 && sink->sync_us && mr_file_sync(sink, true, &err)) mr_log(MR_LOG_ERROR, "file", "%s", err.text);
    if (sink->fd >= 0) close(sink->fd);
    mr_csv_deinit(&sink->csv);
    mr_lines_deinit(&sink->lines);
    mr_file_mark_deinit(&sink->mark);
    free(sink->holders);
    free(sink);
}

/* "never", "batch", or how often; false: none of these. */
static bool fsync_read(const char *text, bool *syncs_out, int64_t *sync_us_out)
{
    static const struct mr_option interval = {.type = MR_OPT_DURATION, .min = 1e3, .max = 3.6e9};
    *syncs_out = !strcmp(text, "batch");
    *sync_us_out = 0;
    return *syncs_out || !strcmp(text, "never") || mr_option_scan(&interval, text, sync_us_out);
}

static mr_status columns_make(struct mr_sink *sink, const struct mr_map *fields, struct mr_err *err)
{
    if (!fields || !fields->count)
        return mr_fail(err, MR_ECONFIG, "file sink: format \"csv\" needs emit.fields, which are its columns");
    if (!mr_csv_init(&sink->csv, fields)) return mr_fail(err, MR_ENOMEM, "file sink: out of memory");
    sink->lines.csv = &sink->csv;
    return MR_OK;
}

static mr_status file_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    *sink_out = NULL;
    struct mr_sink *sink = calloc(1, sizeof *sink);
    if (!sink) return mr_fail(err, MR_ENOMEM, "file sink: out of memory");
    sink->fd = -1;
    sink->options = open->options;
    sink->is_first = open->lane == 0;
    mr_status status = mr_lines_init(&sink->lines, err);
    sink->followed = open->followed;
    fsync_read(sink->options->fsync, &sink->syncs, &sink->sync_us);
    if (!status && sink->options->format == MR_FILE_CSV) status = columns_make(sink, open->fields, err);
    if (!status && !sink->followed) status = mr_file_unmarked_check(sink->options->path, err);
    if (!status) status = sink->followed ? mr_file_owned_attach(sink, err) : mr_file_attach(sink, err);
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
    mr_status status = sink->followed ? MR_OK : sink->fd < 0 ? mr_file_attach(sink, err) : mr_file_follow(sink, err);
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
    (void)wait_us; /* what emit() took is written: there is nothing to wait for */
    if (!sink->lines.pending.count) return sink->sync_due_us ? mr_file_sync(sink, false, err) : MR_OK;
    mr_status status = mr_file_sync(sink, false, err);
    if (!status) status = deleted_check(sink, err);
    if (!status) mr_pending_settle(&sink->lines.pending);
    return status;
}

static mr_status file_check(const void *options, struct mr_err *err)
{
    const struct mr_file_options *const file = options;
    bool syncs;
    int64_t sync_us;
    if (!file->path || !*file->path) return mr_fail(err, MR_ECONFIG, "file sink: path is empty");
    if (!fsync_read(file->fsync, &syncs, &sync_us))
        return mr_fail(err, MR_ECONFIG,
                       "file sink: fsync: \"%s\": expected \"never\", \"batch\", or how often: \"1ms\" to \"1h\"",
                       file->fsync);
    if (file->keep && !file->rotate_bytes && !file->rotate_interval)
        return mr_fail(err, MR_ECONFIG, "file sink: keep: does nothing without rotate_bytes or rotate_interval");
    return MR_OK;
}

static const char *const formats[] = {"json", "csv", NULL};

#define AT(field) offsetof(struct mr_file_options, field)
static const struct mr_option file_option_table[] = {
    {.key = "path",
     .type = MR_OPT_STRING,
     .offset = AT(path),
     .required = true,
     .is_path = true,
     .doc = "File to append to, one record a line; it is created when missing, and begun anew after it was moved "
            "away. A relative path counts from the job file's folder. With delivery exactly-once a follower writes it: "
            "PATH.offsets beside it says how long it was and which records of the output topic it held at the last "
            "commit_interval; a start cuts off what is behind that and goes on there, so that it holds each record "
            "once. Move the file alone: its .offsets say where the new one begins. A file that is not empty and has no "
            "such mark is refused, as is one of another topic; pipes and "
            "devices have none: at least once.",
     .example = "\"scores.jsonl\""},
    {.key = "format",
     .type = MR_OPT_ENUM,
     .offset = AT(format),
     .fallback = "json",
     .choices = formats,
     .doc =
         "json: records as they are, a line each. csv: the members of emit.fields as columns in their order, under a "
         "line with their names; null is an empty cell, an empty text \"\". A file with other columns is refused. A "
         "text may hold line breaks, within its quotes."},
    {.key = "rotate_bytes",
     .type = MR_OPT_SIZE,
     .offset = AT(rotate_bytes),
     .fallback = "0",
     .max = 1e18,
     .doc =
         "A file that has this many bytes is moved to PATH.000001, the next one to PATH.000002 and so on, and a new "
         "one begun; 0: never. Always between two records. With delivery exactly-once right behind a mark, so at most "
         "once a commit_interval, and each has its .offsets."},
    {.key = "rotate_interval",
     .type = MR_OPT_DURATION,
     .offset = AT(rotate_interval),
     .fallback = "0",
     .max = 3.2e13,
     .doc =
         "The same with the first record of a new interval: \"1h\" at each full hour, \"24h\" at midnight, of UTC. 0: "
         "never."},
    {.key = "keep",
     .type = MR_OPT_INT,
     .offset = AT(keep),
     .fallback = "0",
     .max = 1e6,
     .doc = "How many rotated files are kept, the newest ones; older ones are deleted. 0: all."},
    {.key = "fsync",
     .type = MR_OPT_STRING,
     .offset = AT(fsync),
     .fallback = "never",
     .doc = "never: a record is acknowledged once it is written, which survives the end of the program, but not a loss "
            "of power. batch: once it is on the disk (fdatasync a batch): slower. A duration such as \"1s\": as never, "
            "and what is written is on the disk that much later. With delivery exactly-once what is marked always is."},
    {0},
};
#undef AT

const struct mr_sink_ops mr_sink_file = {
    .name = "file",
    .summary = "JSON lines or CSV appended to a file, which may rotate",
    .options = file_option_table,
    .options_size = sizeof(struct mr_file_options),
    .check = file_check,
    .open = file_open,
    .emit = file_emit,
    .poll = file_poll,
    .marked = mr_file_marked,
    .mark = mr_file_mark_sink,
    .note = mr_file_note,
    .close = file_close,
};
