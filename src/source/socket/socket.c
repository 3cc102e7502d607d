/*
 * The socket source: records that come over connections, one a line (or as record.format cuts them). Nothing of it can
 * be read again: what was taken and is not committed is lost with the process. A record that a connection has left
 * unended is dropped, and that is told: half of a number is a number, too.
 */
#include "source/socket/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry.h"

#define RETRY_FIRST_US 100000

struct peer {
    struct mr_stream stream; /* origin NULL: there is none */
    int64_t heard_us;
    int64_t records;
};

struct mr_source {
    const struct socket_options *opt;
    struct mr_source_open open;
    struct mr_address address;
    struct mr_pool pool;
    struct peer peer[MR_PEERS_MAX];
    size_t peer_count;          /* open ones stand first */
    size_t turn;                /* who is asked first */
    int listener;               /* -1: it connects */
    uint64_t arrived;           /* connections so far */
    int64_t retry_us, pause_us; /* when to connect again, and how long to wait after that; 0: it is connected */
    int64_t next;
    bool has_joined;
    struct mr_err failure;
};

static void socket_close(struct mr_source *source);

#define AT(field) offsetof(struct socket_options, field)
static const struct mr_option socket_options[] = {
    {.key = "address",
     .type = MR_OPT_STRING,
     .offset = AT(address),
     .doc = "Connects there: HOST:PORT or unix:/PATH. When the peer closes, it connects again; with --until end the "
            "run ends.",
     .example = "\"localhost:9999\""},
    {.key = "listen",
     .type = MR_OPT_STRING,
     .offset = AT(listen),
     .doc = "Listens there instead, for up to 64 peers at once: PORT of 127.0.0.1, HOST:PORT or unix:/PATH. Whoever "
            "reaches "
            "it may send records."},
    {.key = "connect_timeout",
     .type = MR_OPT_DURATION,
     .offset = AT(connect_timeout),
     .fallback = "10s",
     .min = 1e5,
     .max = 6e8,
     .doc = "How long to wait for a connection; at the start a peer that is not there ends the run."},
    {.key = "retry_max",
     .type = MR_OPT_DURATION,
     .offset = AT(retry_max),
     .fallback = "5s",
     .min = 1e5,
     .max = 3.6e9,
     .doc = "Longest pause between two tries to connect again; the first is 100ms, then twice as long each time."},
    {.key = "quiet_max",
     .type = MR_OPT_DURATION,
     .offset = AT(quiet_max),
     .fallback = "0",
     .max = 8.64e10,
     .doc = "A connection over which nothing has come for so long is closed; 0: never."},
    {0},
};
#undef AT

static const char *text_of(const struct socket_options *opt)
{
    return opt->listen && *opt->listen ? opt->listen : opt->address;
}

static mr_status socket_check(const void *options, struct mr_err *err)
{
    const struct socket_options *const opt = options;
    const bool connects = opt->address && *opt->address, listens = opt->listen && *opt->listen;
    struct mr_address address;
    if (connects == listens)
        return mr_fail(err, MR_ECONFIG, "a source of type socket needs either address, to connect to, or listen");
    return mr_address_parse(listens ? "listen" : "address", text_of(opt), &address, err);
}

/* ---- connections ---- */

static mr_status peer_add(struct mr_source *source, int fd, struct mr_err *err)
{
    struct peer *const peer = &source->peer[source->peer_count];
    char name[320];
    source->arrived++;
    if (source->listener >= 0)
        snprintf(name, sizeof name, "%s connection %llu", text_of(source->opt), (unsigned long long)source->arrived);
    else
        snprintf(name, sizeof name, "%s", text_of(source->opt));
    *peer = (struct peer){.heard_us = mr_clock_us()};
    const mr_status status = mr_stream_open(&peer->stream, &source->pool, &source->open.cut, fd, name, false, err);
    if (!status) source->peer_count++;
    return status;
}

static void retry_later(struct mr_source *source)
{
    source->pause_us = source->pause_us ? 2 * source->pause_us : RETRY_FIRST_US;
    if (source->pause_us > source->opt->retry_max) source->pause_us = source->opt->retry_max;
    source->retry_us = mr_clock_us() + source->pause_us;
}

/* why: "was closed", or an error. */
static void peer_drop(struct mr_source *source, size_t which, const char *why)
{
    struct peer *const peer = &source->peer[which];
    const size_t rest = mr_stream_rest(&peer->stream);
    if (rest)
        mr_log(MR_LOG_WARN, "socket", "%s %s after %lld records, within one: %zu bytes of it are dropped",
               peer->stream.origin->name, why, (long long)peer->records, rest);
    else
        mr_log(MR_LOG_INFO, "socket", "%s %s after %lld records", peer->stream.origin->name, why,
               (long long)peer->records);
    mr_stream_close(&peer->stream);
    *peer = source->peer[--source->peer_count];
    source->peer[source->peer_count] = (struct peer){0};
    if (source->listener < 0) retry_later(source);
}

static mr_status peers_accept(struct mr_source *source, struct mr_err *err)
{
    while (source->listener >= 0 && source->peer_count < MR_PEERS_MAX) {
        const int fd = accept4(source->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return MR_OK; /* none waits, or the one that did has gone */
        const mr_status status = peer_add(source, fd, err);
        if (status) return status;
    }
    return MR_OK;
}

/* The next try, when it is due. It may take as long as a batch may wait for its first record. */
static mr_status again_connect(struct mr_source *source, struct mr_err *err)
{
    struct mr_err why;
    int fd;
    if (source->listener >= 0 || source->peer_count || mr_clock_us() < source->retry_us) return MR_OK;
    const bool is_first = source->pause_us == RETRY_FIRST_US;
    if (mr_address_connect(&source->address, text_of(source->opt), RETRY_FIRST_US, &fd, &why)) {
        if (is_first)
            mr_log(MR_LOG_WARN, "socket", "%s: trying again, every %g s in the end", why.text,
                   (double)source->opt->retry_max / 1e6);
        retry_later(source);
        return MR_OK;
    }
    mr_log(MR_LOG_INFO, "socket", "%s: connected again", text_of(source->opt));
    return peer_add(source, fd, err);
}

static mr_status socket_open(const struct mr_source_open *open, struct mr_source **source_out, struct mr_err *err)
{
    struct mr_source *const source = calloc(1, sizeof *source);
    int fd = -1;
    *source_out = NULL;
    if (!source) return mr_fail(err, MR_ENOMEM, "socket source: out of memory");
    source->opt = open->options;
    source->open = *open;
    source->listener = -1;
    mr_pool_init(&source->pool, open->memory_bytes);
    const bool listens = source->opt->listen && *source->opt->listen;
    mr_status status = mr_single_lane_check(open, "socket", err);
    if (!status) status = socket_check(source->opt, err);
    if (!status) status = mr_address_parse(listens ? "listen" : "address", text_of(source->opt), &source->address, err);
    if (!status && listens) status = mr_address_listen(&source->address, text_of(source->opt), &source->listener, err);
    if (!status && !listens)
        status = mr_address_connect(&source->address, text_of(source->opt), source->opt->connect_timeout, &fd, err);
    if (!status && fd >= 0) status = peer_add(source, fd, err);
    if (status) {
        socket_close(source);
        return status;
    }
    mr_log(MR_LOG_INFO, "socket", "%s: what is taken and not committed when the process is killed cannot be read again",
           text_of(source->opt));
    if (listens && !mr_address_is_local(&source->address))
        mr_log(MR_LOG_WARN, "socket", "%s: other machines may send records, without a password", text_of(source->opt));
    *source_out = source;
    return MR_OK;
}

static mr_status socket_join(struct mr_source *source, struct mr_err *err)
{
    const mr_status status = mr_new_start(&source->open, text_of(source->opt), &source->next, err);
    source->has_joined = !status;
    return status;
}

static bool socket_has_joined(const struct mr_source *source)
{
    return source->has_joined;
}

/* ---- records ---- */

/* What one peer has sent; whether it has gone, and the last one has its place. */
static mr_status peer_take(struct mr_source *source, size_t which, struct mr_message *messages, size_t cap,
                           size_t *count, bool *is_gone_out, struct mr_err *err)
{
    struct peer *const peer = &source->peer[which];
    struct mr_err why = {0};
    const size_t first = *count;
    const uint64_t longer = peer->stream.longer, byte = peer->stream.byte + mr_stream_rest(&peer->stream);
    const mr_status status = mr_stream_take(&peer->stream, &source->next, messages, cap, count, &why);
    peer->records += (int64_t)(*count - first);
    if (peer->stream.longer != longer)
        mr_log(MR_LOG_WARN, "socket", "%s: a record is longer than record.bytes_max, and is cut off",
               peer->stream.origin->name);
    const bool has_spoken = peer->stream.byte + mr_stream_rest(&peer->stream) != byte;
    if (has_spoken) peer->heard_us = mr_clock_us();
    if (has_spoken) source->pause_us = 0;
    const bool is_quiet = source->opt->quiet_max && mr_clock_us() - peer->heard_us > source->opt->quiet_max;
    *is_gone_out =
        status == MR_END || status == MR_EINPUT || status == MR_EDATA || (!status && is_quiet && *count < cap);
    if (*is_gone_out)
        peer_drop(source, which,
                  status == MR_END      ? "was closed"
                  : is_quiet && !status ? "is closed: it said nothing for too long,"
                                        : "broke off");
    if (*is_gone_out && (status == MR_EINPUT || status == MR_EDATA)) mr_log(MR_LOG_WARN, "socket", "%s", why.text);
    if (*is_gone_out || !status || status == MR_AGAIN) return status == MR_AGAIN ? status : MR_OK;
    if (err) *err = why;
    return status;
}

static bool is_over(const struct mr_source *source)
{
    return source->open.is_bounded && source->arrived && !source->peer_count;
}

static mr_status socket_take(void *context, struct mr_message *messages, size_t cap, size_t *count, struct mr_err *err)
{
    struct mr_source *const source = context;
    if (is_over(source)) return MR_END;
    mr_status status = peers_accept(source, err);
    if (!status) status = again_connect(source, err);
    source->turn++; /* nobody is always the last */
    for (size_t i = 0; !status && i < source->peer_count && *count < cap;) {
        bool is_gone;
        status = peer_take(source, (source->turn + i) % source->peer_count, messages, cap, count, &is_gone, err);
        i += !is_gone;
    }
    return status ? status : is_over(source) ? MR_END : MR_OK;
}

static void socket_wait(void *context, int64_t wait_us)
{
    const struct mr_source *const source = context;
    struct pollfd ask[MR_PEERS_MAX + 1];
    size_t count = 0;
    int64_t most_us = wait_us;
    for (; count < source->peer_count; count++)
        ask[count] = (struct pollfd){.fd = source->peer[count].stream.fd, .events = POLLIN};
    if (source->listener >= 0 && count < MR_PEERS_MAX)
        ask[count++] = (struct pollfd){.fd = source->listener, .events = POLLIN};
    const int64_t retry_us = source->retry_us - mr_clock_us();
    if (source->listener < 0 && !source->peer_count && retry_us < most_us) most_us = retry_us < 0 ? 0 : retry_us;
    poll(ask, count, (int)((most_us + 999) / 1000));
}

static mr_status socket_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                             int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const struct mr_fill fill = {source, socket_take, socket_wait, &source->failure};
    return mr_fill_poll(&fill, messages, mr_stream_cap(&source->open.cut, cap), wait_us, fill_us, count_out, err);
}

static void socket_release(struct mr_source *source, struct mr_message *messages, size_t count)
{
    mr_pieces_release(&source->pool, messages, count);
}

static const char *socket_topic_name(const struct mr_source *source, uint32_t topic)
{
    (void)topic;
    return text_of(source->opt);
}

static void socket_close(struct mr_source *source)
{
    if (!source) return;
    while (source->peer_count) mr_stream_close(&source->peer[--source->peer_count].stream);
    if (source->listener >= 0) close(source->listener);
    if (source->listener >= 0 && source->address.is_unix) unlink(source->address.host);
    mr_pool_deinit(&source->pool);
    free(source);
}

const struct mr_source_ops mr_source_socket = {
    .name = "socket",
    .summary = "records over TCP or unix sockets, as a client or a listener; a restart cannot read them again",
    .options = socket_options,
    .options_size = sizeof(struct socket_options),
    .cuts = true,
    .check = socket_check,
    .open = socket_open,
    .lane_count_max = mr_single_lane_count_max,
    .partition_range = mr_single_partition_range,
    .join = socket_join,
    .has_joined = socket_has_joined,
    .poll = socket_poll,
    .release = socket_release,
    .commit = mr_single_commit_nothing,
    .topic_name = socket_topic_name,
    .timestamp_ms = mr_single_timestamp_ms,
    .header = mr_single_header,
    .place = mr_single_place,
    .close = socket_close,
};
