#include "source/chunk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cut.h"

void mr_pool_init(struct mr_pool *pool, size_t bytes_max)
{
    *pool = (struct mr_pool){.bytes_max = bytes_max < 4 * MR_CHUNK_BYTES ? 4 * MR_CHUNK_BYTES : bytes_max};
}

static void chunk_free(struct mr_pool *pool, struct mr_chunk *chunk)
{
    pool->bytes -= chunk->cap;
    *(chunk->before ? &chunk->before->after : &pool->first_chunk) = chunk->after;
    if (chunk->after) chunk->after->before = chunk->before;
    free(chunk->data);
    free(chunk);
}

static void chunk_leave(struct mr_pool *pool, struct mr_chunk *chunk)
{
    if (--chunk->refs) return;
    if (chunk->cap != MR_CHUNK_BYTES) {
        chunk_free(pool, chunk);
        return;
    }
    chunk->used = 0;
    chunk->next = pool->free_chunk;
    pool->free_chunk = chunk;
}

void mr_pool_deinit(struct mr_pool *pool)
{
    for (struct mr_piece *piece = pool->first_piece, *after; piece; piece = after) {
        after = piece->after;
        if (piece->refs) mr_origin_leave(piece->origin);
        free(piece);
    }
    for (struct mr_chunk *chunk = pool->first_chunk, *after; chunk; chunk = after) {
        after = chunk->after;
        free(chunk->data);
        free(chunk);
    }
    *pool = (struct mr_pool){0};
}

/* A chunk with one reference. MR_AGAIN: all are in use. */
static mr_status chunk_new(struct mr_pool *pool, size_t cap, struct mr_chunk **chunk_out, struct mr_err *err)
{
    struct mr_chunk *chunk = pool->free_chunk;
    if (chunk && cap == MR_CHUNK_BYTES) {
        pool->free_chunk = chunk->next;
    } else {
        if (pool->out && pool->bytes + cap > pool->bytes_max) return MR_AGAIN;
        chunk = calloc(1, sizeof *chunk);
        if (chunk) chunk->data = malloc(cap);
        if (!chunk || !chunk->data) {
            free(chunk);
            return mr_fail(err, MR_ENOMEM, "no memory for a read buffer of %zu bytes", cap);
        }
        chunk->cap = cap;
        chunk->after = pool->first_chunk;
        if (chunk->after) chunk->after->before = chunk;
        pool->first_chunk = chunk;
        pool->bytes += cap;
    }
    chunk->refs = 1;
    *chunk_out = chunk;
    return MR_OK;
}

mr_status mr_pool_fill(struct mr_pool *pool, size_t more, struct mr_chunk **chunk_out, struct mr_err *err)
{
    struct mr_chunk *chunk = pool->filling;
    if (!chunk || chunk->cap - chunk->used < more) {
        const mr_status status = chunk_new(pool, more > MR_CHUNK_BYTES ? more : MR_CHUNK_BYTES, &chunk, err);
        if (status) return status;
        if (pool->filling) chunk_leave(pool, pool->filling);
        pool->filling = chunk;
    }
    *chunk_out = chunk;
    return MR_OK;
}

struct mr_piece *mr_piece_new(struct mr_pool *pool, struct mr_origin *origin)
{
    struct mr_piece *piece = pool->free_piece;
    if (piece) {
        pool->free_piece = piece->next;
    } else {
        if (!(piece = malloc(sizeof *piece))) return NULL;
        piece->after = pool->first_piece;
        pool->first_piece = piece;
    }
    *piece = (struct mr_piece){.after = piece->after,
                               .chunk = pool->filling,
                               .origin = origin,
                               .refs = 1,
                               .begin = pool->filling->used,
                               .read_ms = mr_clock_epoch_ms()};
    piece->seen = piece->begin;
    pool->filling->refs++;
    origin->refs++;
    return piece;
}

void mr_piece_leave(struct mr_pool *pool, struct mr_piece *piece, unsigned refs)
{
    piece->refs -= refs;
    if (piece->refs) return;
    chunk_leave(pool, piece->chunk);
    mr_origin_leave(piece->origin);
    piece->next = pool->free_piece;
    pool->free_piece = piece;
}

struct mr_origin *mr_origin_new(const char *name)
{
    struct mr_origin *const origin = calloc(1, sizeof *origin);
    if (origin) origin->name = strdup(name);
    if (!origin || !origin->name) {
        free(origin);
        return NULL;
    }
    origin->refs = 1;
    return origin;
}

void mr_origin_leave(struct mr_origin *origin)
{
    if (!origin || --origin->refs) return;
    free(origin->header_text);
    free(origin->name);
    free(origin);
}

void mr_pieces_release(struct mr_pool *pool, const struct mr_message *messages, size_t count)
{
    pool->out -= count;
    for (size_t i = 0; i < count;) {
        struct mr_piece *const piece = messages[i].handle;
        const size_t first = i;
        while (i < count && messages[i].handle == piece) i++; /* they come in long runs */
        mr_piece_leave(pool, piece, (unsigned)(i - first));
    }
}

bool mr_piece_place(const struct mr_message *message, size_t byte, char *text, size_t bytes)
{
    struct mr_piece *const piece = message->handle;
    const size_t at = (size_t)(message->value + byte - piece->chunk->data);
    const char *name = piece->origin->name;
    char number[32];
    if (at < piece->seen) {
        piece->seen = piece->begin;
        piece->seen_line = 0;
    }
    piece->seen_line += piece->row_bytes ? (at - piece->seen) / piece->row_bytes
                                         : mr_cut_lines(piece->chunk->data + piece->seen, at - piece->seen);
    piece->seen = at;
    const uint64_t line = piece->line + piece->seen_line + 1;
    const size_t tail =
        (size_t)snprintf(number, sizeof number, "%s%llu", piece->row_bytes ? ": row " : ":", (unsigned long long)line);
    if (bytes <= tail) return false;
    if (strlen(name) + tail >= bytes) name += strlen(name) + tail + 1 - bytes; /* its end says more */
    snprintf(text, bytes, "%s%s", name, number);
    return true;
}
