/**
 * Read buffers of sources that cut messages out of a stream of bytes. Messages are spans into chunks; a piece is the
 * part of a chunk that came from one input, and knows its name and at which line it begins. One thread at a time.
 */
#ifndef MR_SOURCE_CHUNK_H
#define MR_SOURCE_CHUNK_H

#include "millrace/source.h"

#define MR_CHUNK_BYTES (256u << 10)

/** One input: a file, a connection. Lives as long as a piece of it. */
struct mr_origin {
    char *name;            /* for people */
    char *header_text;     /* malloc */
    struct mr_span header; /* its line of column names; data NULL: none */
    unsigned refs;
};

struct mr_chunk {
    char *data;
    size_t cap, used;
    unsigned refs;                   /* pieces, and the pool that still fills it */
    struct mr_chunk *next;           /* free ones */
    struct mr_chunk *after, *before; /* of all that there are */
};

struct mr_piece {
    struct mr_chunk *chunk;
    struct mr_origin *origin;
    unsigned refs;    /* messages, and the stream that still cuts it */
    size_t begin;     /* in the chunk */
    size_t row_bytes; /* 0: lines */
    uint64_t line;    /* lines, or rows, before begin */
    int64_t read_ms;
    size_t seen; /* up to here lines were counted last: places are asked for in order */
    uint64_t seen_line;
    struct mr_piece *next;  /* free ones */
    struct mr_piece *after; /* of all that there are */
};

struct mr_pool {
    size_t bytes, bytes_max;  /* of all chunks, allowed */
    size_t out;               /* messages that were not released */
    struct mr_chunk *filling; /* what comes next is read into it; NULL: none yet */
    struct mr_chunk *free_chunk, *first_chunk;
    struct mr_piece *free_piece, *first_piece;
};

void mr_pool_init(struct mr_pool *pool, size_t bytes_max);
/** All streams must be closed. Messages that were not released are gone. */
void mr_pool_deinit(struct mr_pool *pool);

/**
 * A chunk with room for `more` bytes behind its `used` ones, which is pool->filling from then on. MR_AGAIN: there is no
 * more room until messages are released; MR_ENOMEM.
 */
mr_status mr_pool_fill(struct mr_pool *pool, size_t more, struct mr_chunk **chunk_out, struct mr_err *err);

/** A new piece at the end of pool->filling, with one reference. NULL: no memory. */
struct mr_piece *mr_piece_new(struct mr_pool *pool, struct mr_origin *origin);
void mr_piece_leave(struct mr_pool *pool, struct mr_piece *piece, unsigned refs);

struct mr_origin *mr_origin_new(const char *name); /* with one reference; NULL: no memory */
void mr_origin_leave(struct mr_origin *origin);

/** What sources with pieces share of their ops: the handle of each message is its piece. */
void mr_pieces_release(struct mr_pool *pool, const struct mr_message *messages, size_t count);
bool mr_piece_place(const struct mr_message *message, size_t byte, char *text, size_t bytes);

static inline int64_t mr_piece_timestamp_ms(const struct mr_message *message)
{
    return ((const struct mr_piece *)message->handle)->read_ms;
}

#endif
