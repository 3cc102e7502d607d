#include "source/reading.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

mr_status mr_single_lane_check(const struct mr_source_open *open, const char *type, struct mr_err *err)
{
    if (open->lane_count <= 1) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "lanes: %u: a source of type %s is read by one lane: set lanes to 1, or leave it out",
                   open->lane_count, type);
}

mr_status mr_single_lane_count_max(const void *options, unsigned *count_out, struct mr_err *err)
{
    (void)options;
    (void)err;
    *count_out = 1;
    return MR_OK;
}

mr_status mr_single_partition_range(struct mr_source *source, int32_t *min_out, int32_t *max_out, struct mr_err *err)
{
    (void)source;
    (void)err;
    *min_out = *max_out = 1;
    return MR_OK;
}

mr_status mr_single_commit_nothing(struct mr_source *source, const struct mr_position *positions, size_t count,
                                   bool wait, struct mr_err *err)
{
    (void)source;
    (void)positions;
    (void)count;
    (void)wait;
    (void)err;
    return MR_OK;
}

int64_t mr_single_timestamp_ms(const struct mr_source *source, const struct mr_message *message)
{
    (void)source;
    return mr_piece_timestamp_ms(message);
}

bool mr_single_header(const struct mr_source *source, const struct mr_message *message, const char *name,
                      struct mr_span *value_out)
{
    (void)source;
    (void)message;
    (void)name;
    (void)value_out;
    return false;
}

bool mr_single_place(const struct mr_source *source, const struct mr_message *message, size_t byte, char *text,
                     size_t bytes)
{
    (void)source;
    return mr_piece_place(message, byte, text, bytes);
}

mr_status mr_new_start(const struct mr_source_open *open, const char *topic, int64_t *offset_out, struct mr_err *err)
{
    const struct mr_source_events *const events = &open->events;
    mr_status status = MR_OK;
    *offset_out = -1;
    if (events->start) status = events->start(events->context, topic, 0, -1, "", offset_out, err);
    if (status || *offset_out >= 0) return status;
    *offset_out = 0;
    return events->began ? events->began(events->context, topic, 0, 0, err) : MR_OK;
}

mr_status mr_reading_open(struct mr_reading *reading, const struct mr_source_open *open, const char *type,
                          const char *topic, const char *positions, struct mr_err *err)
{
    *reading = (struct mr_reading){.type = type, .topic = topic, .open = *open};
    mr_pool_init(&reading->pool, open->memory_bytes);
    const mr_status status = mr_single_lane_check(open, type, err);
    return status ? status : mr_ledger_open(positions, type, open->job, &reading->ledger, err);
}

void mr_reading_close(struct mr_reading *reading)
{
    mr_stream_close(&reading->stream);
    mr_ledger_close(reading->ledger);
    mr_pool_deinit(&reading->pool);
}

const char *mr_reading_positions(const char *said, const char *fallback)
{
    return !said || !*said ? fallback : strcmp(said, "none") != 0 ? said : NULL;
}

/* What the lane says to where the ledger would go on. */
static mr_status start_ask(struct mr_reading *reading, int64_t *offset_out, struct mr_err *err)
{
    const struct mr_source_events *const events = &reading->open.events;
    const int64_t committed = mr_ledger_is_new(reading->ledger) ? -1 : mr_ledger_next(reading->ledger);
    int64_t offset = -1;
    mr_status status = MR_OK;
    if (events->start) status = events->start(events->context, reading->topic, 0, committed, "", &offset, err);
    if (status) return status;
    const bool is_told = offset < 0 && committed < 0 && events->began;
    *offset_out = offset >= 0 ? offset : committed >= 0 ? committed : 0;
    return is_told ? events->began(events->context, reading->topic, 0, 0, err) : MR_OK;
}

mr_status mr_reading_start(struct mr_reading *reading, struct mr_err *err)
{
    const int64_t known = mr_ledger_next(reading->ledger);
    int64_t offset;
    const mr_status status = start_ask(reading, &offset, err);
    if (status) return status;
    const int64_t from = offset < known ? offset : known; /* what the ledger does not know yet is counted */
    const bool is_found = mr_ledger_locate(reading->ledger, from, &reading->resume.file, &reading->resume.mark,
                                           &reading->resume.byte, &reading->resume.line);
    if (!is_found && from < known)
        return mr_fail(err, MR_EDATA,
                       "%s source: %s: what was learned reaches to record %lld, and the positions know of no file that "
                       "holds it, only of records up to %lld: put back the positions or the state that belong together",
                       reading->type, reading->topic, (long long)offset, (long long)known);
    mr_ledger_rewind(reading->ledger, from);
    reading->next = is_found ? reading->resume.mark : from;
    reading->skip_to = offset;
    if (offset != known)
        mr_log(MR_LOG_INFO, reading->type,
               "%s: going on at record %lld, where the learned state ends; %lld are committed", reading->topic,
               (long long)offset, (long long)known);
    return MR_OK;
}

/* Another file may have the name, or the inode, of the one that was read. */
static mr_status same_check(const struct mr_reading *reading, const struct mr_file *file, int fd, const char *name,
                            const struct stat *info, struct mr_err *err)
{
    const uint64_t byte = file == reading->resume.file ? reading->resume.byte : file->begin_byte;
    struct mr_file_id now;
    mr_file_id_of(info, &now);
    if (!mr_file_head_read(fd, &now, file->id.head_bytes))
        return mr_fail(err, MR_EINPUT, "%s: %s", name, strerror(errno));
    if (now.head_bytes == file->id.head_bytes && now.head == file->id.head && now.size >= byte) return MR_OK;
    return mr_fail(
        err, MR_EDATA,
        "%s source: %s was read up to byte %llu, and is not that file any more (%llu bytes now): put it back, "
        "or remove the positions, to read everything from the beginning",
        reading->type, name, (unsigned long long)byte, (unsigned long long)now.size);
}

static bool has_suffix(const char *name, const char *suffix)
{
    const size_t bytes = strlen(name), suffix_bytes = strlen(suffix);
    return bytes > suffix_bytes && !strcmp(name + bytes - suffix_bytes, suffix);
}

mr_status mr_reading_file_begin(struct mr_reading *reading, struct mr_file *file, int fd, const char *name,
                                struct mr_err *err)
{
    const bool is_resumed = file == reading->resume.file, is_gz = has_suffix(name, ".gz");
    const struct mr_file_id known = file->id;
    struct stat info;
    mr_status status = fstat(fd, &info) ? mr_fail(err, MR_EINPUT, "%s: %s", name, strerror(errno)) : MR_OK;
    if (!status && file->first >= 0 && known.head_bytes && !is_gz)
        status = same_check(reading, file, fd, name, &info, err);
    if (!status && !mr_file_head_read(fd, &file->id, 0))
        status = mr_fail(err, MR_EINPUT, "%s: %s", name, strerror(errno));
    if (status) {
        close(fd);
        return status;
    }
    status = mr_stream_open(&reading->stream, &reading->pool, &reading->open.cut, fd, name, is_gz, err);
    if (!status)
        status = mr_stream_seek(&reading->stream, is_resumed ? reading->resume.byte : file->begin_byte,
                                is_resumed ? reading->resume.line : file->begin_line, err);
    if (status) {
        mr_stream_close(&reading->stream);
        return status;
    }
    reading->stream.takes_rest = true;
    reading->file = file;
    reading->resume.file = is_resumed ? NULL : reading->resume.file;
    mr_ledger_begin(reading->ledger, file, reading->next);
    return MR_OK;
}

/* Those before skip_to, which were done before the start. */
static void done_drop(struct mr_reading *reading, struct mr_message *messages, size_t first, size_t *count)
{
    const int64_t left = reading->skip_to - messages[first].offset;
    const size_t dropped = left < (int64_t)(*count - first) ? (size_t)left : *count - first;
    mr_pieces_release(&reading->pool, messages + first, dropped);
    memmove(messages + first, messages + first + dropped, (*count - first - dropped) * sizeof *messages);
    *count -= dropped;
}

mr_status mr_reading_take(struct mr_reading *reading, struct mr_message *messages, size_t cap, size_t *count,
                          struct mr_err *err)
{
    for (;;) {
        const size_t first = *count;
        const uint64_t longer = reading->stream.longer;
        const bool skips = reading->next < reading->skip_to;
        const mr_status status = mr_stream_take(&reading->stream, &reading->next, messages, cap, count, err);
        const bool is_full = *count == cap && skips;
        if (reading->stream.longer != longer)
            mr_log(MR_LOG_WARN, reading->type, "%s: a record is longer than record.bytes_max, and is cut off",
                   reading->stream.origin->name);
        if (skips && *count > first) done_drop(reading, messages, first, count);
        if (!is_full || status) return status;
    }
}

bool mr_reading_file_end(struct mr_reading *reading, struct stat *info)
{
    const int error = fstat(reading->stream.fd, info) ? errno : 0;
    mr_ledger_end(reading->ledger, reading->file, reading->next, reading->stream.byte, mr_stream_line(&reading->stream),
                  error ? NULL : info);
    mr_stream_close(&reading->stream);
    reading->file = NULL;
    errno = error;
    return !error;
}

void mr_reading_mark(struct mr_reading *reading)
{
    /* Within a record that was too long nothing begins: a restart there would take its rest for a record. */
    if (reading->file && !reading->stream.skips)
        mr_ledger_mark(reading->ledger, reading->file, reading->next, reading->stream.byte,
                       mr_stream_line(&reading->stream));
}

mr_status mr_reading_commit(struct mr_reading *reading, const struct mr_position *positions, size_t count,
                            void (*done)(void *context, struct mr_file *file), void *context, struct mr_err *err)
{
    int64_t offset = -1;
    for (size_t i = 0; i < count; i++)
        if (positions[i].next_offset > offset) offset = positions[i].next_offset;
    if (offset < 0) offset = mr_ledger_next(reading->ledger); /* files without records may be done */
    return mr_ledger_commit(reading->ledger, offset, done, context, err);
}

mr_status mr_fill_poll(const struct mr_fill *fill, struct mr_message *messages, size_t cap, int64_t wait_us,
                       int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const int64_t began_us = mr_clock_us();
    int64_t due_us = began_us + wait_us;
    struct mr_err why = {0};
    size_t count = 0;
    mr_status status = MR_OK;
    *count_out = 0;
    if (fill->failure->status) {
        if (err) *err = *fill->failure;
        return fill->failure->status;
    }
    while (cap) {
        const bool was_empty = !count;
        status = fill->take(fill->context, messages, cap, &count, &why);
        if (count && was_empty) due_us = mr_clock_us() + fill_us;
        const int64_t left_us = due_us - mr_clock_us();
        if (status || count == cap || left_us <= 0) break;
        fill->wait(fill->context, left_us);
    }
    *count_out = count;
    if (status == MR_AGAIN || (status == MR_END && count)) return MR_OK;
    if (!status || status == MR_END) return status;
    *fill->failure = why;
    fill->failure->status = status;
    if (count) return MR_OK; /* first what came before it */
    if (err) *err = *fill->failure;
    return status;
}
