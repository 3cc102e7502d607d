#include "cli/score_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mr_status score_input_open(struct score_input *input, const char *path, score_cut cut, size_t row_bytes,
                           bool has_header, struct mr_err *err)
{
    const bool is_stdin = !path || !strcmp(path, "-");
    *input = (struct score_input){.fd = STDIN_FILENO,
                                  .path = is_stdin ? "<stdin>" : path,
                                  .cut = cut,
                                  .row_bytes = row_bytes,
                                  .has_header = has_header,
                                  .buffer = malloc(SCORE_BLOCK_BYTES)};
    if (!input->buffer) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (is_stdin) return MR_OK;
    input->fd = open(path, O_RDONLY | O_CLOEXEC);
    return input->fd >= 0 ? MR_OK : mr_fail(err, MR_EINPUT, "%s: %s", path, strerror(errno));
}

static uint64_t lines_count(const char *text, size_t bytes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < bytes; i++) count += text[i] == '\n';
    return count;
}

/* Behind the last line break of [from, used) with an even number of quotes before it; from when there is none. */
static size_t quoted_end(const struct score_input *input, size_t from)
{
    size_t best = from;
    bool is_quoted = false;
    for (size_t at = from; at < input->used;) {
        const char *const text = input->buffer + at, *const quote = memchr(text, '"', input->used - at);
        const size_t stop = quote ? (size_t)(quote - text) : input->used - at;
        const char *const newline = is_quoted ? NULL : memrchr(text, '\n', stop);
        if (newline) best = (size_t)(newline - input->buffer) + 1;
        is_quoted = !is_quoted;
        at += stop + 1;
    }
    return best;
}

static size_t line_end(const struct score_input *input, size_t from)
{
    const char *const newline = memrchr(input->buffer + from, '\n', input->used - from);
    return newline ? (size_t)(newline - input->buffer) + 1 : from;
}

/* End of the whole rows in the buffer; the header's end when there is none yet. */
static size_t rows_end(const struct score_input *input)
{
    const size_t from = input->header_bytes;
    if (input->cut == SCORE_PACKED) return from + (input->used - from) / input->row_bytes * input->row_bytes;
    return input->cut == SCORE_QUOTED ? quoted_end(input, from) : line_end(input, from);
}

/* One read; is_ended when there is no more. */
static mr_status buffer_fill(struct score_input *input, struct mr_err *err)
{
    ssize_t count;
    do count = read(input->fd, input->buffer + input->used, SCORE_BLOCK_BYTES - input->used);
    while (count < 0 && errno == EINTR);
    if (count < 0) return mr_fail(err, MR_EINPUT, "%s: %s", input->path, strerror(errno));
    input->used += (size_t)count;
    input->is_ended = count == 0;
    return MR_OK;
}

/* Drops the block that was handed over, and the rest of a line that was too long. */
static void block_drop(struct score_input *input)
{
    const size_t from = input->header_bytes;
    if (input->block_end <= from) return;
    input->line += lines_count(input->buffer + from, input->block_end - from);
    if (input->row_bytes) input->row += (input->block_end - from) / input->row_bytes;
    memmove(input->buffer + from, input->buffer + input->block_end, input->used - input->block_end);
    input->used -= input->block_end - from;
    input->block_end = from;
}

/* Skips up to the line break that ends a line whose beginning was handed over. */
static void line_skip(struct score_input *input)
{
    const size_t from = input->header_bytes;
    const char *const newline = memchr(input->buffer + from, '\n', input->used - from);
    input->block_end = newline ? (size_t)(newline - input->buffer) + 1 : input->used;
    input->skips_line = !newline;
    block_drop(input);
}

/* The first line stays in front. */
static mr_status header_read(struct score_input *input, struct mr_err *err)
{
    while (!input->is_ended && !memchr(input->buffer, '\n', input->used) && input->used < SCORE_BLOCK_BYTES) {
        const mr_status status = buffer_fill(input, err);
        if (status) return status;
    }
    const char *const newline = memchr(input->buffer, '\n', input->used);
    if (!newline && input->used)
        return mr_fail(err, MR_EDATA, "%s: the first line must name the columns, and does not end", input->path);
    input->header_bytes = input->block_end = newline ? (size_t)(newline - input->buffer) + 1 : 0;
    input->has_header = false;
    input->line = 1;
    return MR_OK;
}

mr_status score_input_next(struct score_input *input, struct mr_message *message, struct mr_err *err)
{
    mr_status status = input->has_header ? header_read(input, err) : MR_OK;
    block_drop(input);
    while (!status) {
        if (input->skips_line) line_skip(input);
        size_t end = rows_end(input);
        if (end == input->header_bytes && input->used == SCORE_BLOCK_BYTES) { /* no row ends within a whole block */
            end = line_end(input, input->header_bytes);
            if (end == input->header_bytes) {
                end = input->used;
                input->skips_line = true;
            }
        }
        if (input->is_ended) end = input->used;
        if (end > input->header_bytes) {
            input->block_end = end;
            *message = (struct mr_message){.value = input->buffer, .value_bytes = end, .offset = (int64_t)input->line};
            return MR_OK;
        }
        if (input->is_ended) return MR_END;
        status = buffer_fill(input, err);
    }
    return status;
}

uint64_t score_input_place(const struct score_input *input, size_t offset)
{
    if (input->cut == SCORE_PACKED) return input->row + offset / input->row_bytes + 1;
    if (offset < input->header_bytes) return 1;
    return input->line + lines_count(input->buffer + input->header_bytes, offset - input->header_bytes) + 1;
}

void score_input_close(struct score_input *input)
{
    if (input->fd > STDIN_FILENO) close(input->fd);
    free(input->buffer);
    *input = (struct score_input){0};
}
