#include "source/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define READ_LEAST_BYTES 4096        /* less room than that is not worth a read */
#define READ_MOST_BYTES  (64u << 10) /* more at once is slower: what was copied is read next, from the cache */

mr_status mr_stream_open(struct mr_stream *stream, struct mr_pool *pool, const struct mr_cut *cut, int fd,
                         const char *name, bool is_gz, struct mr_err *err)
{
    *stream = (struct mr_stream){.pool = pool, .cut = *cut, .fd = fd, .origin = mr_origin_new(name)};
    if (stream->origin && is_gz) stream->gz = gzdopen(fd, "rb");
    if (stream->origin && (!is_gz || stream->gz)) return MR_OK;
    close(fd);
    mr_origin_leave(stream->origin);
    *stream = (struct mr_stream){0};
    return mr_fail(err, MR_ENOMEM, "%s: out of memory", name);
}

void mr_stream_close(struct mr_stream *stream)
{
    if (!stream->origin) return;
    if (stream->piece) mr_piece_leave(stream->pool, stream->piece, 1);
    if (stream->gz)
        gzclose(stream->gz);
    else
        close(stream->fd);
    mr_origin_leave(stream->origin);
    *stream = (struct mr_stream){0};
}

uint64_t mr_stream_line(struct mr_stream *stream)
{
    if (stream->piece) {
        const char *const from = stream->piece->chunk->data + stream->line_at;
        const size_t bytes = stream->at - stream->line_at;
        stream->line += stream->cut.kind == MR_CUT_PACKED ? bytes / stream->cut.row_bytes : mr_cut_lines(from, bytes);
        stream->line_at = stream->at;
    }
    return stream->line;
}

size_t mr_stream_rest(const struct mr_stream *stream)
{
    return stream->end - stream->at;
}

/* Makes room behind the unread bytes: where they stand, or in another chunk, to which they are moved. */
static mr_status room_make(struct mr_stream *stream, struct mr_err *err)
{
    const size_t left = stream->end - stream->at;
    const char *const from = stream->piece ? stream->piece->chunk->data + stream->at : NULL;
    struct mr_chunk *chunk = stream->piece ? stream->piece->chunk : NULL;
    if (chunk && chunk == stream->pool->filling && chunk->used == stream->end &&
        chunk->cap - chunk->used >= READ_LEAST_BYTES)
        return MR_OK;
    const size_t more = left < MR_CHUNK_BYTES / 2 ? left + READ_LEAST_BYTES : 2 * left;
    const mr_status status = mr_pool_fill(stream->pool, more, &chunk, err);
    if (status) return status;
    struct mr_piece *const piece = mr_piece_new(stream->pool, stream->origin);
    if (!piece) return mr_fail(err, MR_ENOMEM, "%s: out of memory", stream->origin->name);
    piece->line = mr_stream_line(stream);
    piece->row_bytes = stream->cut.kind == MR_CUT_PACKED ? stream->cut.row_bytes : 0;
    if (from && left) memcpy(chunk->data + chunk->used, from, left);
    if (stream->piece) mr_piece_leave(stream->pool, stream->piece, 1);
    stream->piece = piece;
    stream->at = stream->line_at = piece->begin;
    chunk->used += left;
    stream->end = chunk->used;
    return MR_OK;
}

static mr_status gz_fail(const struct mr_stream *stream, struct mr_err *err)
{
    int code;
    const char *const text = gzerror(stream->gz, &code);
    if (code == Z_ERRNO) return mr_fail(err, MR_EINPUT, "%s: %s", stream->origin->name, strerror(errno));
    return mr_fail(err, MR_EDATA, "%s: it is no whole gzip file, from byte %llu of its text on: %s",
                   stream->origin->name, (unsigned long long)(stream->byte + mr_stream_rest(stream)), text);
}

/* Whether a read would not have to wait. */
static bool is_ready(const struct mr_stream *stream)
{
    struct pollfd ask = {.fd = stream->fd, .events = POLLIN};
    return !stream->is_pipe || poll(&ask, 1, 0) > 0;
}

/* One read. *count_out -1: nothing is there now; 0: nothing more comes. */
static mr_status bytes_read(struct mr_stream *stream, ssize_t *count_out, struct mr_err *err)
{
    const mr_status status = room_make(stream, err);
    *count_out = -1;
    if (status || !is_ready(stream)) return status;
    struct mr_chunk *const chunk = stream->piece->chunk;
    const size_t room = chunk->cap - chunk->used, bytes = room < READ_MOST_BYTES ? room : READ_MOST_BYTES;
    ssize_t count;
    if (stream->gz) {
        count = gzread(stream->gz, chunk->data + chunk->used, (unsigned)bytes);
        int code = Z_OK;
        if (count == 0) gzerror(stream->gz, &code); /* a file that was cut off ends without an error of the read */
        if (count < 0 || code < 0) return gz_fail(stream, err);
    } else {
        do count = read(stream->fd, chunk->data + chunk->used, bytes);
        while (count < 0 && errno == EINTR);
        if (count < 0 && errno == EAGAIN) return MR_OK;
        if (count < 0) return mr_fail(err, MR_EINPUT, "%s: %s", stream->origin->name, strerror(errno));
    }
    chunk->used += (size_t)count;
    stream->end = chunk->used;
    *count_out = count;
    return MR_OK;
}

static void bytes_drop(struct mr_stream *stream, size_t count)
{
    stream->at += count;
    stream->byte += count;
}

/* The header, when it is whole; it is copied, for messages of any chunk refer to it. */
static mr_status header_take(struct mr_stream *stream, bool is_last, struct mr_err *err)
{
    struct mr_origin *const origin = stream->origin;
    const char *const text = stream->piece->chunk->data + stream->at;
    const size_t left = mr_stream_rest(stream), bytes = left ? mr_cut_record(&stream->cut, text, left, is_last) : 0;
    if (!bytes) {
        if (left <= mr_cut_bytes_max(&stream->cut)) return MR_OK;
        return mr_fail(err, MR_EDATA, "%s: the first line must name the columns, and does not end within %zu bytes",
                       origin->name, left);
    }
    origin->header_text = malloc(bytes);
    if (!origin->header_text) return mr_fail(err, MR_ENOMEM, "%s: out of memory", origin->name);
    memcpy(origin->header_text, text, bytes);
    origin->header = (struct mr_span){origin->header_text, bytes};
    bytes_drop(stream, bytes);
    stream->is_begun = true;
    return MR_OK;
}

/* What stands before the first record: a byte order mark, the header. */
static mr_status begin(struct mr_stream *stream, bool is_last, struct mr_err *err)
{
    static const char mark[] = {'\xef', '\xbb', '\xbf'};
    const size_t left = mr_stream_rest(stream), seen = left < sizeof mark ? left : sizeof mark;
    if (stream->cut.kind == MR_CUT_PACKED) {
        stream->is_begun = true;
        return MR_OK;
    }
    if (!stream->piece) return MR_OK;
    const bool may_be_mark = !stream->byte && !memcmp(stream->piece->chunk->data + stream->at, mark, seen);
    if (may_be_mark && seen < sizeof mark && !is_last) return MR_OK;
    if (may_be_mark && seen == sizeof mark) bytes_drop(stream, sizeof mark);
    if (stream->cut.has_header) return header_take(stream, is_last, err);
    stream->is_begun = true;
    return MR_OK;
}

/* Drops the rest of a record that was too long. */
static void rest_skip(struct mr_stream *stream)
{
    const size_t left = mr_stream_rest(stream);
    const char *const text = stream->piece->chunk->data + stream->at, *const newline = memchr(text, '\n', left);
    stream->skips = !newline;
    bytes_drop(stream, newline ? (size_t)(newline - text) + 1 : left);
}

/* Behind the next message; 0: it is not whole. is_dry: no more is there now, so a block may be short. */
static size_t message_end(const struct mr_stream *stream, const char *text, size_t left, bool is_last, bool is_dry)
{
    const struct mr_cut *const cut = &stream->cut;
    if (!cut->is_block) return mr_cut_record(cut, text, left, is_last);
    const size_t block = MR_STREAM_BLOCK_BYTES - stream->byte % MR_STREAM_BLOCK_BYTES;
    if (left < block && !is_dry) return 0;
    if (left <= block && is_last && cut->kind != MR_CUT_PACKED) return left;
    const size_t end = mr_cut_whole(cut->kind, text, left < block ? left : block, cut->row_bytes);
    return end ? end : mr_cut_record(cut, text, left, is_last);
}

static inline void message_put(const struct mr_stream *stream, const char *text, size_t bytes, int64_t offset,
                               struct mr_message *message)
{
    *message = (struct mr_message){.value = text,
                                   .value_bytes = bytes,
                                   .offset = offset,
                                   .handle = stream->piece,
                                   .header = stream->origin->header.data ? &stream->origin->header : NULL};
}

/*
 * The fast way, for a record a line: line breaks are found 64 bytes at a time. Stops where the buffer ends, and at a
 * line with quotes of which CSV has to be read.
 */
static void lines_cut(struct mr_stream *stream, int64_t next, struct mr_message *messages, size_t cap, size_t *count)
{
    const bool is_quoted = stream->cut.kind == MR_CUT_QUOTED;
    const char *const text = stream->piece->chunk->data + stream->at, *const end =
                                                                          stream->piece->chunk->data + stream->end;
    const char *line = text;
    uint64_t quotes = 0;
    size_t used = *count;
    next -= (int64_t)used;
    for (const char *at = text; end - at >= 64 && used < cap && !quotes; at += 64) {
        uint64_t breaks = mr_cut_mask(at, '\n');
        quotes = is_quoted ? mr_cut_mask(at, '"') : 0;
        if (quotes) breaks &= (quotes & -quotes) - 1;
        for (; breaks && used < cap; breaks &= breaks - 1) {
            const char *const stop = at + __builtin_ctzll(breaks);
            size_t bytes = (size_t)(stop - line);
            if (bytes && stop[-1] == '\r') bytes--;
            if (bytes) message_put(stream, line, bytes, next + (int64_t)used, &messages[used]), used++;
            line = stop + 1;
        }
    }
    stream->piece->refs += (unsigned)(used - *count);
    stream->pool->out += used - *count;
    *count = used;
    bytes_drop(stream, (size_t)(line - text));
}

/* One record, or a block of them. */
static void record_put(struct mr_stream *stream, const char *text, size_t bytes, int64_t offset,
                       struct mr_message *message)
{
    if (!stream->cut.is_block && stream->cut.kind != MR_CUT_PACKED) {
        if (bytes && text[bytes - 1] == '\n') bytes--;
        if (bytes && text[bytes - 1] == '\r') bytes--;
    }
    message_put(stream, text, bytes, offset, message);
    stream->piece->refs++;
    stream->pool->out++;
}

/* A line of its own that holds nothing is no record; within a block the codec passes over it. */
static bool is_blank(const struct mr_stream *stream, const char *text, size_t bytes)
{
    if (stream->cut.is_block || stream->cut.kind == MR_CUT_PACKED) return false;
    return *text == '\n' || (*text == '\r' && bytes == 2 && text[1] == '\n');
}

/* Messages that are whole in the buffer; the first one gets the offset `next`. */
static void messages_cut(struct mr_stream *stream, bool is_last, bool is_dry, int64_t next, struct mr_message *messages,
                         size_t cap, size_t *count)
{
    const bool has_lines = !stream->cut.is_block && stream->cut.kind != MR_CUT_PACKED;
    const size_t first = *count;
    while (*count < cap && stream->at < stream->end) {
        const char *const text = stream->piece->chunk->data + stream->at;
        const size_t left = stream->end - stream->at;
        if (stream->skips) {
            rest_skip(stream);
            continue;
        }
        if (has_lines && left >= 64) {
            const size_t at = stream->at;
            lines_cut(stream, next + (int64_t)(*count - first), messages, cap, count);
            if (stream->at != at) continue;
        }
        size_t end = message_end(stream, text, left, is_last, is_dry);
        if (!end && left > mr_cut_bytes_max(&stream->cut) && left > MR_STREAM_BLOCK_BYTES) {
            end = left; /* longer than a record may be: the codec sees that, too */
            stream->skips = true;
            stream->longer++;
        }
        if (!end) return;
        if (!is_blank(stream, text, end)) {
            record_put(stream, text, end, next + (int64_t)(*count - first), &messages[*count]);
            ++*count;
        }
        bytes_drop(stream, end);
    }
}

mr_status mr_stream_take(struct mr_stream *stream, int64_t *next_io, struct mr_message *messages, size_t cap,
                         size_t *count, struct mr_err *err)
{
    bool is_over = false, is_dry = false;
    for (;;) {
        const bool is_last = is_over && stream->takes_rest;
        ssize_t got;
        mr_status status = stream->is_begun ? MR_OK : begin(stream, is_last, err);
        if (status) return status;
        const size_t first = *count;
        if (stream->is_begun) messages_cut(stream, is_last, is_dry, *next_io, messages, cap, count);
        *next_io += (int64_t)(*count - first);
        if (*count == cap) return MR_OK;
        if (is_over) return MR_END;
        if (is_dry) return MR_OK;
        status = bytes_read(stream, &got, err);
        if (status) return status;
        is_over = got == 0;
        is_dry = got <= 0;
    }
}

mr_status mr_stream_seek(struct mr_stream *stream, uint64_t byte, uint64_t line, struct mr_err *err)
{
    ssize_t got = 1;
    mr_status status = MR_OK;
    if (!byte) return MR_OK;
    while (!status && !stream->is_begun && got > 0) {
        status = bytes_read(stream, &got, err);
        if (!status) status = begin(stream, got <= 0, err);
    }
    if (status) return status;
    const int64_t at =
        stream->gz ? gzseek(stream->gz, (z_off_t)byte, SEEK_SET) : lseek(stream->fd, (off_t)byte, SEEK_SET);
    if (at < 0 && stream->gz) return gz_fail(stream, err);
    if (at < 0)
        return mr_fail(err, MR_EINPUT, "%s: byte %llu: %s", stream->origin->name, (unsigned long long)byte,
                       strerror(errno));
    if (stream->piece) mr_piece_leave(stream->pool, stream->piece, 1);
    stream->piece = NULL;
    stream->at = stream->end = stream->line_at = 0;
    stream->is_begun = true;
    stream->byte = byte;
    stream->line = line;
    return MR_OK;
}
