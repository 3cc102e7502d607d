#include "http/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/guard.h"
#include "http/open_files.h"
#include "http/stream.h"

#define MEMORY_BYTES    (24u * 1024) /* of a connection: its request line and headers */
#define LINES_MAX       64
#define OTHERS_MAX      160 /* connections that are no event streams */
#define SILENT_MAX      64  /* of these, that have not asked anything yet */
#define OTHERS_FULL     128 /* then the one whose time ends first makes room for one that comes */
#define FIRST_NS        (5 * 1000000000LL)
#define WHOLE_NS        (10 * 1000000000LL)
#define IDLE_NS         (30 * 1000000000LL)
#define IDLE_S          30
#define THREAD_NICENESS 10 /* lanes go first */
#define POLICY                                                                                                         \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "              \
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/* A connection that is open. */
struct peer {
    struct peer *before, *next; /* the newest first */
    int fd;
    int64_t until_ns; /* 0: it has all the time it wants */
    bool has_asked, is_ended;
};

struct mr_http {
    struct mr_http_open open;
    struct MHD_Daemon *daemon;
    char address[128];
    pthread_mutex_t lock; /* of the peers */
    struct peer *first;
    size_t silent, others; /* that have asked nothing yet; that are no event streams */
    bool is_ours;          /* its thread has name and priority */
};

/* ---- the address ---- */

/* "127.0.0.1:8420" in two; an empty host is all addresses. */
static mr_status address_split(const char *listen, char host[256], char port[8], struct mr_err *err)
{
    const char *const colon = strrchr(listen, ':');
    const char *from = listen, *to = colon;
    if (colon && *listen == '[' && colon[-1] == ']') from++, to--;
    const bool is_port = colon && colon[1] && strlen(colon + 1) < 6 &&
                         strspn(colon + 1, "0123456789") == strlen(colon + 1) && atoi(colon + 1) < 65536;
    if (!is_port || to < from || to - from > 255 || (from == listen && memchr(from, ':', (size_t)(to - from))))
        return mr_fail(err, MR_ECONFIG, "\"%s\" is no address to listen on: \"127.0.0.1:8420\", \"[::1]:8420\"",
                       listen);
    snprintf(host, 256, "%.*s", (int)(to - from), from);
    snprintf(port, 8, "%s", colon + 1);
    return MR_OK;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static mr_status reach_check(const char *listen, const struct sockaddr *address, bool has_token, struct mr_err *err)
{
    if (has_token || is_loopback(address)) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "\"%s\" can be reached from other machines: give a token_file, or listen on 127.0.0.1", listen);
}

static mr_status address_find(const char *listen, bool has_token, struct addrinfo **found_out, struct mr_err *err)
{
    char host[256], port[8];
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    mr_status status = address_split(listen, host, port, err);
    if (status) return status;
    const int reason = getaddrinfo(*host ? host : NULL, port, &hints, found_out);
    if (reason) return mr_fail(err, MR_ECONFIG, "\"%s\": %s", listen, gai_strerror(reason));
    status = reach_check(listen, (*found_out)->ai_addr, has_token, err);
    if (status) freeaddrinfo(*found_out);
    return status;
}

mr_status mr_http_check(const char *listen, bool has_token, struct mr_err *err)
{
    char host[256], port[8];
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    const mr_status status = address_split(listen, host, port, err);
    if (status) return status;
    if (!strcmp(host, "localhost") || getaddrinfo(*host ? host : NULL, port, &hints, &found)) return MR_OK; /* a name */
    const mr_status reached = reach_check(listen, found->ai_addr, has_token, err);
    freeaddrinfo(found);
    return reached;
}

/* ---- connections ---- */

/* The one whose time ends first, of those that have asked nothing or of all that are no event streams. */
static void one_end(struct mr_http *http, bool is_silent)
{
    struct peer *first = NULL;
    for (struct peer *peer = http->first; peer; peer = peer->next) {
        if (!peer->until_ns || peer->is_ended || (is_silent && peer->has_asked)) continue;
        if (!first || peer->until_ns < first->until_ns) first = peer;
    }
    if (!first) return;
    first->is_ended = true;
    shutdown(first->fd, SHUT_RDWR); /* the server's thread sees it, and closes */
}

static void peer_come(struct mr_http *http, struct MHD_Connection *connection, void **peer_out)
{
    struct peer *const peer = calloc(1, sizeof *peer);
    *peer_out = peer;
    if (!peer) return;
    peer->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    peer->until_ns = mr_clock_ns() + FIRST_NS;
    pthread_mutex_lock(&http->lock);
    if (http->silent++ >= SILENT_MAX)
        one_end(http, true);
    else if (http->others >= OTHERS_FULL)
        one_end(http, false);
    http->others++;
    peer->next = http->first;
    if (http->first) http->first->before = peer;
    http->first = peer;
    pthread_mutex_unlock(&http->lock);
}

static void peer_go(struct mr_http *http, struct peer *peer)
{
    if (!peer) return;
    pthread_mutex_lock(&http->lock);
    http->silent -= !peer->has_asked;
    http->others -= peer->until_ns != 0;
    *(peer->before ? &peer->before->next : &http->first) = peer->next;
    if (peer->next) peer->next->before = peer->before;
    pthread_mutex_unlock(&http->lock);
    free(peer);
}

/* On the server's thread, before the connection is closed: its descriptor is nobody else's yet. */
static void connection_notify(void *context, struct MHD_Connection *connection, void **peer_io,
                              enum MHD_ConnectionNotificationCode code)
{
    struct mr_http *const http = context;
    if (!http->is_ours) { /* microhttpd has made it */
        prctl(PR_SET_NAME, "http");
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), THREAD_NICENESS);
        http->is_ours = true;
    }
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        peer_come(http, connection, peer_io);
    else
        peer_go(http, *peer_io);
}

static void peer_allow(struct mr_http *http, struct MHD_Connection *connection, int64_t until_ns)
{
    const union MHD_ConnectionInfo *const info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct peer *const peer = info ? info->socket_context : NULL;
    if (!peer) return;
    pthread_mutex_lock(&http->lock);
    http->silent -= !peer->has_asked;
    peer->has_asked = true;
    http->others += (until_ns != 0) - (peer->until_ns != 0); /* 0: an event stream */
    peer->until_ns = until_ns;
    pthread_mutex_unlock(&http->lock);
}

void mr_http_sweep(struct mr_http *http)
{
    const int64_t now_ns = mr_clock_ns();
    pthread_mutex_lock(&http->lock);
    for (const struct peer *peer = http->first; peer; peer = peer->next)
        if (peer->until_ns && now_ns > peer->until_ns) shutdown(peer->fd, SHUT_RDWR);
    pthread_mutex_unlock(&http->lock);
}

/* ---- answers ---- */

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static void headers_add(struct MHD_Response *response, const struct mr_http_answer *answer)
{
    MHD_add_response_header(response, "Content-Security-Policy", POLICY);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Cache-Control", answer->etag ? "no-cache" : "no-store");
    if (answer->type) MHD_add_response_header(response, "Content-Type", answer->type);
    if (answer->etag) MHD_add_response_header(response, "ETag", answer->etag);
}

static enum MHD_Result plain_answer(struct MHD_Connection *connection, unsigned code, const char *text)
{
    const struct mr_http_answer answer = {.type = "text/plain; charset=utf-8"};
    struct MHD_Response *const response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (!response) return MHD_NO;
    headers_add(response, &answer);
    if (code == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"millrace\", charset=\"UTF-8\"");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED) MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (code == MHD_HTTP_SERVICE_UNAVAILABLE) MHD_add_response_header(response, "Retry-After", "5");
    const enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

/* What was compressed, for one who does not take it so: as an answer of its own. False: no memory. */
static bool inflate_whole(struct mr_http_answer *answer)
{
    size_t cap = 8 * answer->bytes + 4096;
    char *const out = malloc(cap);
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)answer->body, .avail_in = (uInt)answer->bytes};
    if (!out || inflateInit2(&zip, 15 + 16) != Z_OK) {
        free(out);
        return false;
    }
    zip.next_out = (Bytef *)out;
    zip.avail_out = (uInt)cap;
    const int reason = inflate(&zip, Z_FINISH);
    cap = zip.total_out;
    inflateEnd(&zip);
    if (reason != Z_STREAM_END) {
        free(out);
        return false;
    }
    if (answer->is_owned) free((void *)(uintptr_t)answer->body);
    answer->body = out;
    answer->bytes = cap;
    answer->is_owned = true;
    answer->is_gzip = false;
    return true;
}

static enum MHD_Result stream_answer(struct mr_http *http, struct MHD_Connection *connection,
                                     const struct mr_http_answer *answer)
{
    const char *const last = header_of(connection, "Last-Event-ID");
    if (mr_http_stream_viewers(answer->stream) >= http->open.viewers_max)
        return plain_answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "too many viewers: try again later\n");
    struct MHD_Response *const response =
        mr_http_stream_view(answer->stream, connection, last ? strtoull(last, NULL, 10) : 0);
    if (!response) return MHD_NO;
    headers_add(response, answer);
    MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* proxies hand events on at once */
    peer_allow(http, connection, 0);
    const enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_queue(struct mr_http *http, struct MHD_Connection *connection,
                                    struct mr_http_answer *answer)
{
    const char *const takes = header_of(connection, "Accept-Encoding"), *const has =
                                                                            header_of(connection, "If-None-Match");
    if (answer->stream) return stream_answer(http, connection, answer);
    const bool is_same = answer->etag && has && strstr(has, answer->etag);
    if (!is_same && answer->is_gzip && !(takes && strstr(takes, "gzip")) && !inflate_whole(answer)) return MHD_NO;
    struct MHD_Response *const response =
        MHD_create_response_from_buffer(is_same ? 0 : answer->bytes, (void *)(uintptr_t)answer->body,
                                        answer->is_owned ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) {
        if (answer->is_owned) free((void *)(uintptr_t)answer->body);
        return MHD_NO;
    }
    headers_add(response, answer);
    if (answer->is_gzip && !is_same) MHD_add_response_header(response, "Content-Encoding", "gzip");
    if (answer->etag) MHD_add_response_header(response, "Vary", "Accept-Encoding");
    const unsigned code = is_same ? MHD_HTTP_NOT_MODIFIED : answer->code ? answer->code : MHD_HTTP_OK;
    const enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static const struct mr_http_route *route_find(const struct mr_http *http, const char *path)
{
    for (size_t i = 0; i < http->open.route_count; i++)
        if (!strcmp(http->open.routes[i].path, path)) return &http->open.routes[i];
    return NULL;
}

static enum MHD_Result request_answer(struct mr_http *http, struct MHD_Connection *connection, const char *path,
                                      const char *method)
{
    const struct mr_http_route *const route = route_find(http, path);
    struct mr_http_answer answer = {0};
    if (MHD_get_connection_values(connection, MHD_HEADER_KIND, NULL, NULL) > LINES_MAX)
        return plain_answer(connection, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "too many header lines\n");
    if (!header_of(connection, "Host"))
        return plain_answer(connection, MHD_HTTP_BAD_REQUEST, "the request names no Host\n");
    if (!mr_http_host_is_ours(header_of(connection, "Host"), http->open.hosts))
        return plain_answer(
            connection, MHD_HTTP_FORBIDDEN,
            "this name is not one of this server's: add it to http.hosts of the job, or use the address\n");
    if (http->open.token && !(route && route->is_open) &&
        !mr_http_token_is_right(header_of(connection, "Authorization"), http->open.token))
        return plain_answer(connection, MHD_HTTP_UNAUTHORIZED,
                            "a token is needed: as \"Authorization: Bearer TOKEN\", or as the password\n");
    if (!route) return plain_answer(connection, MHD_HTTP_NOT_FOUND, "there is nothing here\n");
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return plain_answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET and HEAD are all there is\n");
    const struct mr_http_request request = {path, connection};
    route->handle(route->argument ? (void *)(uintptr_t)route->argument : http->open.context, &request, &answer);
    if (!answer.body && !answer.stream)
        return plain_answer(connection, answer.code ? answer.code : MHD_HTTP_INTERNAL_SERVER_ERROR, "no memory\n");
    return answer_queue(http, connection, &answer);
}

/* Called when the headers are there, and again when the request is whole; a body is read by nobody. */
static enum MHD_Result connection_handle(void *context, struct MHD_Connection *connection, const char *path,
                                         const char *method, const char *version, const char *upload,
                                         size_t *upload_bytes, void **state)
{
    static char seen;
    struct mr_http *const http = context;
    (void)version;
    (void)upload;
    if (!*state) {
        *state = &seen;
        peer_allow(http, connection, mr_clock_ns() + WHOLE_NS);
        return MHD_YES;
    }
    if (*upload_bytes) {
        *upload_bytes = 0;
        return MHD_YES;
    }
    return request_answer(http, connection, path, method);
}

static void request_over(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)state;
    (void)code;
    peer_allow(context, connection, mr_clock_ns() + IDLE_NS);
}

bool mr_http_argument(const struct mr_http_request *request, const char *name, char *out, size_t out_bytes)
{
    const char *text = NULL;
    struct MHD_Connection *const connection = (struct MHD_Connection *)(uintptr_t)request->connection;
    if (MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &text, NULL) != MHD_YES)
        return false;
    snprintf(out, out_bytes, "%s", text ? text : "");
    MHD_http_unescape(out);
    return true;
}

/* Paths are compared as they came: nothing here has a name that would need an escape. */
static size_t escape_keep(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

/* ---- opening and closing ---- */

static mr_status socket_open(const struct addrinfo *at, const char *listen_on, int *fd_out, struct mr_err *err)
{
    const int one = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, 1024)) {
        const int reason = errno;
        if (fd >= 0) close(fd);
        return mr_fail(err, MR_EIO, "http: \"%s\": %s%s", listen_on, strerror(reason),
                       reason == EADDRINUSE ? ": another program listens there; port 0 takes any that is free" : "");
    }
    *fd_out = fd;
    return MR_OK;
}

static void address_print(struct mr_http *http, int fd)
{
    struct sockaddr_storage at = {0};
    socklen_t bytes = sizeof at;
    char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
    getsockname(fd, (struct sockaddr *)&at, &bytes);
    getnameinfo((struct sockaddr *)&at, bytes, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    const bool is_any = !strcmp(host, "0.0.0.0") || !strcmp(host, "::"), is_6 = strchr(host, ':') && !is_any;
    snprintf(http->address, sizeof http->address, "http://%s%.80s%s:%.8s/", is_6 ? "[" : "",
             is_any ? "localhost" : host, is_6 ? "]" : "", port);
}

static void log_drop(void *context, const char *format, va_list values)
{
    (void)context;
    (void)format;
    (void)values; /* what strangers send is answered, not written down */
}

static struct MHD_Daemon *daemon_start(struct mr_http *http, int fd)
{
    return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                            connection_handle, http, MHD_OPTION_EXTERNAL_LOGGER, log_drop, NULL,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)http->open.viewers_max + OTHERS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES,
                            MHD_OPTION_NOTIFY_CONNECTION, connection_notify, http, MHD_OPTION_NOTIFY_COMPLETED,
                            request_over, http, MHD_OPTION_UNESCAPE_CALLBACK, escape_keep, NULL, MHD_OPTION_END);
}

/* Connections beyond the limit would be refused by the system, without a word; and the lanes' files with them. */
static void viewers_fit(struct mr_http *http)
{
    const size_t wanted = http->open.viewers_max + OTHERS_MAX, fits = mr_open_files_allow(wanted);
    if (fits >= wanted) return;
    http->open.viewers_max = fits > OTHERS_MAX ? fits - OTHERS_MAX : 1;
    mr_log(MR_LOG_WARN, "http", "%s: %zu viewers at once, not %zu: more files may not be open (ulimit -n)",
           http->address, http->open.viewers_max, wanted - OTHERS_MAX);
}

mr_status mr_http_open(const struct mr_http_open *open, struct mr_http **http_out, struct mr_err *err)
{
    struct addrinfo *at;
    int fd = -1;
    *http_out = NULL;
    mr_status status = address_find(open->listen, open->token, &at, err);
    if (status) return status;
    status = socket_open(at, open->listen, &fd, err);
    freeaddrinfo(at);
    if (status) return status;
    struct mr_http *const http = calloc(1, sizeof *http);
    if (http) {
        http->open = *open;
        pthread_mutex_init(&http->lock, NULL);
        address_print(http, fd);
        viewers_fit(http);
        http->daemon = daemon_start(http, fd);
    }
    if (!http || !http->daemon) {
        close(fd);
        mr_http_close(http);
        return mr_fail(err, MR_EIO, "http: \"%s\": the server does not start", open->listen);
    }
    *http_out = http;
    return MR_OK;
}

const char *mr_http_address(const struct mr_http *http)
{
    return http->address;
}

void mr_http_close(struct mr_http *http)
{
    if (!http) return;
    if (http->daemon) MHD_stop_daemon(http->daemon);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
