#include "table/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cut.h"

mr_status mr_input_open(struct mr_input *input, const char *path, mr_cut_kind cut, size_t row_bytes, bool has_header,
                        struct mr_err *err)
{
    const bool is_stdin = !path || !strcmp(path, "-");
    *input = (struct mr_input){.fd = STDIN_FILENO,
                               .path = is_stdin ? "<stdin>" : path,
                               .cut = cut,
                               .row_bytes = row_bytes,
                               .has_header = has_header,
                               .buffer = malloc(MR_INPUT_BLOCK_BYTES)};
    if (!input->buffer) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (is_stdin) return MR_OK;
    input->fd = open(path, O_RDONLY | O_CLOEXEC);
    return input->fd >= 0 ? MR_OK : mr_fail(err, MR_EINPUT, "%s: %s", path, strerror(errno));
}

mr_status mr_input_open_topic(struct mr_input *input, struct mr_topic_input *topic, const char *path, mr_cut_kind cut,
                              size_t row_bytes, struct mr_err *err)
{
    *input = (struct mr_input){.fd = -1,
                               .topic = topic,
                               .path = path,
                               .cut = cut,
                               .row_bytes = row_bytes,
                               .buffer = malloc(MR_INPUT_BLOCK_BYTES)};
    return input->buffer ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static size_t line_end(const struct mr_input *input, size_t from)
{
    return from + mr_cut_whole(MR_CUT_LINES, input->buffer + from, input->used - from, 0);
}

/* End of the whole rows in the buffer; the header's end when there is none yet. */
static size_t rows_end(const struct mr_input *input)
{
    const size_t from = input->header_bytes;
    return from + mr_cut_whole(input->cut, input->buffer + from, input->used - from, input->row_bytes);
}

/* So many bytes came. */
static mr_status filled(struct mr_input *input, size_t count)
{
    if (input->sha) mr_sha256_add(input->sha, input->buffer + input->used, count);
    input->used += count;
    input->is_ended = count == 0;
    return MR_OK;
}

/* One read; is_ended when there is no more. */
static mr_status buffer_fill(struct mr_input *input, struct mr_err *err)
{
    ssize_t count;
    if (input->topic) {
        size_t bytes;
        const mr_status status = mr_topic_input_read(input->topic, input->buffer + input->used,
                                                     MR_INPUT_BLOCK_BYTES - input->used, &bytes, err);
        if (status) return status;
        return filled(input, bytes);
    }
    do count = read(input->fd, input->buffer + input->used, MR_INPUT_BLOCK_BYTES - input->used);
    while (count < 0 && errno == EINTR);
    if (count < 0) return mr_fail(err, MR_EINPUT, "%s: %s", input->path, strerror(errno));
    return filled(input, (size_t)count);
}

/* The first bytes: a byte order mark, which spreadsheets put before text, is no part of the first cell. */
static mr_status text_begin(struct mr_input *input, struct mr_err *err)
{
    while (!input->is_ended && input->used < 3) {
        const mr_status status = buffer_fill(input, err);
        if (status) return status;
    }
    input->is_begun = true;
    if (input->used < 3 || memcmp(input->buffer, "\xef\xbb\xbf", 3)) return MR_OK;
    input->used -= 3;
    memmove(input->buffer, input->buffer + 3, input->used);
    return MR_OK;
}

mr_status mr_input_first(struct mr_input *input, struct mr_span *line_out, struct mr_err *err)
{
    mr_status status = input->is_begun ? MR_OK : text_begin(input, err);
    while (!status) {
        const char *const end = input->buffer + input->used;
        const char *line = input->buffer;
        while (input->cut == MR_CUT_LINES && line < end && (*line == '\n' || *line == '\r')) line++;
        const char *const newline = memchr(line, '\n', (size_t)(end - line));
        if (newline || input->is_ended || input->used == MR_INPUT_BLOCK_BYTES) {
            size_t bytes = (size_t)((newline ? newline : end) - line);
            if (bytes && line[bytes - 1] == '\r') bytes--;
            *line_out = (struct mr_span){line, bytes};
            return bytes ? MR_OK : MR_END;
        }
        status = buffer_fill(input, err);
    }
    return status;
}

mr_status mr_input_rewind(struct mr_input *input, struct mr_err *err)
{
    if (input->topic) {
        mr_topic_input_rewind(input->topic);
    } else if (lseek(input->fd, 0, SEEK_SET) < 0) {
        if (errno == ESPIPE)
            return mr_fail(err, MR_EUSAGE, "%s: a pipe cannot be read a second time: give a file", input->path);
        return mr_fail(err, MR_EINPUT, "%s: %s", input->path, strerror(errno));
    }
    input->has_header = input->has_header || input->header_bytes;
    input->header_bytes = input->used = input->block_end = 0;
    input->is_ended = input->skips_line = input->is_begun = false;
    input->line = input->row = 0;
    input->sha = NULL; /* it has had them */
    return MR_OK;
}

/* Drops the block that was handed over, and the rest of a line that was too long. */
static void block_drop(struct mr_input *input)
{
    const size_t from = input->header_bytes;
    if (input->block_end <= from) return;
    input->line += mr_cut_lines(input->buffer + from, input->block_end - from);
    if (input->row_bytes) input->row += (input->block_end - from) / input->row_bytes;
    memmove(input->buffer + from, input->buffer + input->block_end, input->used - input->block_end);
    input->used -= input->block_end - from;
    input->block_end = from;
    if (input->topic) mr_topic_input_forget(input->topic, input->row_bytes ? input->row : input->line);
}

/* Skips up to the line break that ends a line whose beginning was handed over. */
static void line_skip(struct mr_input *input)
{
    const size_t from = input->header_bytes;
    const char *const newline = memchr(input->buffer + from, '\n', input->used - from);
    input->block_end = newline ? (size_t)(newline - input->buffer) + 1 : input->used;
    input->skips_line = !newline;
    block_drop(input);
}

/* The first line stays in front. */
static mr_status header_read(struct mr_input *input, struct mr_err *err)
{
    while (!input->is_ended && !memchr(input->buffer, '\n', input->used) && input->used < MR_INPUT_BLOCK_BYTES) {
        const mr_status status = buffer_fill(input, err);
        if (status) return status;
    }
    const char *const newline = memchr(input->buffer, '\n', input->used);
    if (!newline)
        return mr_fail(err, MR_EDATA, "%s: %s", input->path,
                       input->used ? "the first line must name the columns, and does not end"
                                   : "it is empty: the first line must name the columns");
    input->header_bytes = input->block_end = (size_t)(newline - input->buffer) + 1;
    input->has_header = false;
    input->line = 1;
    return MR_OK;
}

mr_status mr_input_next(struct mr_input *input, struct mr_message *message, struct mr_err *err)
{
    mr_status status = input->is_begun || input->cut == MR_CUT_PACKED ? MR_OK : text_begin(input, err);
    if (!status && input->has_header) status = header_read(input, err);
    block_drop(input);
    while (!status) {
        if (input->skips_line) line_skip(input);
        size_t end = rows_end(input);
        if (end == input->header_bytes && input->used == MR_INPUT_BLOCK_BYTES) { /* no row ends within a whole block */
            end = line_end(input, input->header_bytes);
            if (end == input->header_bytes) {
                end = input->used;
                input->skips_line = true;
            }
        }
        /* what ends without a line break is a row; floats that are none are handed over by themselves */
        if (input->is_ended && (input->cut != MR_CUT_PACKED || end == input->header_bytes)) end = input->used;
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

uint64_t mr_input_place(const struct mr_input *input, size_t offset)
{
    if (input->cut == MR_CUT_PACKED) return input->row + offset / input->row_bytes + 1;
    if (offset < input->header_bytes) return 1;
    return input->line + mr_cut_lines(input->buffer + input->header_bytes, offset - input->header_bytes) + 1;
}

void mr_input_place_text(const struct mr_input *input, size_t offset, char *text, size_t bytes)
{
    const uint64_t place = mr_input_place(input, offset);
    if (input->topic)
        mr_topic_input_place(input->topic, place, text, bytes);
    else
        snprintf(text, bytes, "%s %llu", input->cut == MR_CUT_PACKED ? "row" : "line", (unsigned long long)place);
}

void mr_input_close(struct mr_input *input)
{
    mr_topic_input_close(input->topic);
    if (input->fd > STDIN_FILENO) close(input->fd);
    free(input->buffer);
    *input = (struct mr_input){0};
}
