/* The stdin source: the records of a pipe, until it ends. Nothing of it can be read again. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "registry.h"
#include "source/reading.h"

struct mr_source {
    struct mr_source_open open;
    struct mr_pool pool;
    struct mr_stream stream;
    int64_t next;
    bool has_joined;
    struct mr_err failure;
};

static void stdin_close(struct mr_source *source);

static mr_status stdin_open(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err)
{
    struct mr_source *const source = calloc(1, sizeof *source);
    *source_out = NULL;
    if (!source) return mr_fail(err, MR_ENOMEM, "stdin source: out of memory");
    source->open = *open;
    mr_pool_init(&source->pool, open->memory_bytes);
    mr_status status = mr_single_lane_check(open, "stdin", err);
    const int fd = status ? -1 : dup(STDIN_FILENO);
    if (!status && fd < 0)
        status = mr_fail(err, MR_EINPUT, "stdin source: standard input is not open: %s", strerror(errno));
    if (!status) status = mr_stream_open(&source->stream, &source->pool, &open->cut, fd, "<stdin>", false, err);
    if (status) {
        stdin_close(source);
        return status;
    }
    source->stream.is_pipe = source->stream.takes_rest = true;
    *source_out = source;
    return MR_OK;
}

static mr_status stdin_join(struct mr_source *source, struct mr_err *err)
{
    const mr_status status = mr_new_start(&source->open, "<stdin>", &source->next, err);
    source->has_joined = !status;
    return status;
}

static bool stdin_has_joined(const struct mr_source *source)
{
    return source->has_joined;
}

static mr_status stdin_take(void *context, struct mr_message *messages, size_t cap, size_t *count, struct mr_err *err)
{
    struct mr_source *const source = context;
    const uint64_t longer = source->stream.longer;
    const mr_status status = mr_stream_take(&source->stream, &source->next, messages, cap, count, err);
    if (source->stream.longer != longer)
        mr_log(MR_LOG_WARN, "stdin", "a record is longer than record.bytes_max, and is cut off");
    return status;
}

static void stdin_wait(void *context, int64_t wait_us)
{
    const struct mr_source *const source = context;
    struct pollfd ask = {.fd = source->stream.fd, .events = POLLIN};
    poll(&ask, 1, (int)((wait_us + 999) / 1000));
}

static mr_status stdin_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                            int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const struct mr_fill fill = {source, stdin_take, stdin_wait, &source->failure};
    return mr_fill_poll(&fill, messages, mr_stream_cap(&source->open.cut, cap), wait_us, fill_us, count_out, err);
}

static void stdin_release(struct mr_source *source, struct mr_message *messages, size_t count)
{
    mr_pieces_release(&source->pool, messages, count);
}

static const char *stdin_topic_name(const struct mr_source *source, uint32_t topic)
{
    (void)source;
    (void)topic;
    return "<stdin>";
}

static void stdin_close(struct mr_source *source)
{
    if (!source) return;
    mr_stream_close(&source->stream);
    mr_pool_deinit(&source->pool);
    free(source);
}

const struct mr_source_ops mr_source_stdin = {
    .name = "stdin",
    .summary = "standard input, until it ends; a restart cannot read it again",
    .cuts = true,
    .open = stdin_open,
    .lane_count_max = mr_single_lane_count_max,
    .partition_range = mr_single_partition_range,
    .join = stdin_join,
    .has_joined = stdin_has_joined,
    .poll = stdin_poll,
    .release = stdin_release,
    .commit = mr_single_commit_nothing,
    .topic_name = stdin_topic_name,
    .timestamp_ms = mr_single_timestamp_ms,
    .header = mr_single_header,
    .place = mr_single_place,
    .close = stdin_close,
};
