/** Messages cut out of a file, a pipe or a connection, read in large steps into the chunks of a pool. */
#ifndef MR_SOURCE_STREAM_H
#define MR_SOURCE_STREAM_H

#include <zlib.h>

#include "base/cut.h"
#include "source/chunk.h"

/** Bytes of a message that holds many records; it ends before a multiple of this in the input, so that a file always
 * makes the same messages. */
#define MR_STREAM_BLOCK_BYTES (64u << 10)

struct mr_stream {
    struct mr_pool *pool;
    struct mr_cut cut;
    int fd;
    gzFile gz;                /* in the place of fd; NULL: it is not compressed */
    bool is_pipe;             /* a read may wait: it is asked first whether anything is there */
    bool takes_rest;          /* what stands behind the last line break when nothing more comes is a record */
    struct mr_origin *origin; /* NULL: closed */
    struct mr_piece *piece;   /* its chunk holds the unread bytes [at, end) */
    size_t at, end;
    uint64_t byte; /* of the input, at `at` */
    uint64_t line; /* lines or rows before [line_at] of the chunk */
    size_t line_at;
    bool is_begun;   /* byte order mark and header are behind */
    bool skips;      /* the rest of a record that was too long */
    uint64_t longer; /* such records */
};

/** Takes fd over, also on an error. name: for people. is_gz: as gzip writes. */
mr_status mr_stream_open(struct mr_stream *stream, struct mr_pool *pool, const struct mr_cut *cut, int fd,
                         const char *name, bool is_gz, struct mr_err *err);

/** Goes on at a byte with so many lines before it, at which a record begins. Before the first take. The header is read
 * at its place. MR_EDATA: the input ends before that. */
mr_status mr_stream_seek(struct mr_stream *stream, uint64_t byte, uint64_t line, struct mr_err *err);

/**
 * Appends messages, *count of cap so far; their offsets ascend from *next_io, which is behind them then. MR_OK: cap is
 * reached, or nothing more is there now; MR_END: the input has ended, as far as it is there; MR_AGAIN: no buffer is
 * free; MR_EINPUT: it cannot be read; MR_EDATA: its header does not end, or it is no whole gzip file.
 */
mr_status mr_stream_take(struct mr_stream *stream, int64_t *next_io, struct mr_message *messages, size_t cap,
                         size_t *count, struct mr_err *err);

/** Lines, or rows, before the next message. */
uint64_t mr_stream_line(struct mr_stream *stream);

/** Bytes that were read and are no whole record yet. */
size_t mr_stream_rest(const struct mr_stream *stream);

/** Accepts a zeroed one. Messages stay. */
void mr_stream_close(struct mr_stream *stream);

#endif
