/* The console sink: records as lines on stdout. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registry.h"
#include "sink/lines.h"

struct mr_sink {
    struct mr_lines lines;
};

static void console_close(struct mr_sink *sink)
{
    if (!sink) return;
    mr_lines_deinit(&sink->lines);
    free(sink);
}

static mr_status console_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    (void)open;
    *sink_out = NULL;
    struct mr_sink *sink = calloc(1, sizeof *sink);
    if (!sink) return mr_fail(err, MR_ENOMEM, "console sink: out of memory");
    const mr_status status = mr_lines_init(&sink->lines, err);
    if (status) {
        console_close(sink);
        return status;
    }
    *sink_out = sink;
    return MR_OK;
}

static mr_status console_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                              struct mr_err *err)
{
    *taken_out = 0;
    if (!mr_pending_has_room(&sink->lines.pending, box)) return MR_AGAIN;
    while (from + *taken_out < box->count) {
        size_t count, written;
        const mr_status status = mr_lines_gather(&sink->lines, box, from + *taken_out, &count, err);
        if (status) return status;
        const int error = mr_lines_write(&sink->lines, STDOUT_FILENO, &written);
        if (error) {
            return mr_fail(err, error == EPIPE ? MR_ESINK : MR_EIO, "console sink: writing to stdout: %s%s",
                           strerror(error), error == EPIPE ? " (its reader has gone)" : "");
        }
        mr_pending_took(&sink->lines.pending, box, count);
        *taken_out += count;
    }
    return MR_OK;
}

static mr_status console_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    (void)wait_us; /* what emit() took is written: there is nothing to wait for */
    (void)err;
    mr_pending_settle(&sink->lines.pending);
    return MR_OK;
}

const struct mr_sink_ops mr_sink_console = {
    .name = "console",
    .summary = "lines on stdout, to look at or to pipe on",
    .open = console_open,
    .emit = console_emit,
    .poll = console_poll,
    .close = console_close,
};
