#include "sink/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mr_status mr_lines_init(struct mr_lines *lines, struct mr_err *err)
{
    *lines = (struct mr_lines){.cap = MR_LINES_BYTES, .buffer = malloc(MR_LINES_BYTES)};
    return lines->buffer ? MR_OK : mr_fail(err, MR_ENOMEM, "sink: out of memory");
}

void mr_lines_deinit(struct mr_lines *lines)
{
    free(lines->buffer);
    *lines = (struct mr_lines){0};
}

static bool lines_grow(struct mr_lines *lines, size_t bytes)
{
    char *grown = bytes > lines->cap ? realloc(lines->buffer, bytes) : NULL;
    if (!grown) return false;
    lines->buffer = grown;
    lines->cap = bytes;
    return true;
}

static size_t line_bytes(const struct mr_lines *lines, const struct mr_record *record)
{
    if (lines->csv) return mr_csv_bytes_max(lines->csv, record->value, record->value ? record->value_bytes : 0);
    return record->value ? (size_t)record->value_bytes + 1 : sizeof "null";
}

static void line_add(struct mr_lines *lines, const struct mr_record *record)
{
    char *out = lines->buffer + lines->used;
    lines->used += line_bytes(lines, record);
    if (!record->value) {
        memcpy(out, "null\n", sizeof "null");
        return;
    }
    memcpy(out, record->value, record->value_bytes);
    /* Several objects that begin with a brace are lines already; an array or a lone object is to be one line. */
    if (record->row_count <= 1 || (record->value_bytes && *out == '[')) {
        for (char *at = out, *end = out + record->value_bytes; (at = memchr(at, '\n', (size_t)(end - at)));) *at = ' ';
    }
    out[record->value_bytes] = '\n';
}

/* False: it cannot be a row. */
static bool record_add(struct mr_lines *lines, const struct mr_record *record)
{
    size_t bytes;
    if (!lines->csv) {
        line_add(lines, record);
        return true;
    }
    if (!record->value ||
        !mr_csv_write(lines->csv, record->value, record->value_bytes, lines->buffer + lines->used, &bytes))
        return false;
    lines->used += bytes;
    return true;
}

mr_status mr_lines_gather(struct mr_lines *lines, const struct mr_outbox *box, size_t from, size_t *count_out,
                          struct mr_err *err)
{
    size_t at = from;
    lines->used = *count_out = 0;
    for (; at < box->count; at++) {
        const size_t bytes = line_bytes(lines, &box->record[at]);
        if (bytes > lines->cap - lines->used) {
            if (lines->used) break;
            if (!lines_grow(lines, bytes))
                return mr_fail(err, MR_ENOMEM, "sink: no memory for a record of %zu bytes", bytes);
        }
        if (!record_add(lines, &box->record[at]))
            return mr_fail(
                err, MR_EDATA,
                "sink: format \"csv\": the record of partition %d, offset %lld is no object that can be a row",
                (int)box->record[at].source_partition, (long long)box->record[at].offset);
    }
    *count_out = at - from;
    return MR_OK;
}

int mr_lines_write(const struct mr_lines *lines, int fd, size_t *written_out)
{
    size_t done = 0;
    int error = 0;
    while (done < lines->used && !error) {
        const ssize_t count = write(fd, lines->buffer + done, lines->used - done);
        if (count > 0) {
            done += (size_t)count;
        } else if (count == 0) {
            error = EIO;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) { /* someone made the pipe non-blocking */
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            if (poll(&ready, 1, -1) < 0 && errno != EINTR) error = errno;
        } else if (errno != EINTR) {
            error = errno;
        }
    }
    *written_out = done;
    return error;
}
