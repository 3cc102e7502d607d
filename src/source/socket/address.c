#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "source/socket/socket.h"

#define BACKLOG 64

static bool is_port(const char *text)
{
    char *end;
    const unsigned long number = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && number <= 65535;
}

mr_status mr_address_parse(const char *key, const char *text, struct mr_address *address_out, struct mr_err *err)
{
    const bool is_listen = !strcmp(key, "listen");
    const char *const colon = strrchr(text, ':');
    size_t host_bytes = colon ? (size_t)(colon - text) : 0;
    *address_out = (struct mr_address){.is_unix = !strncmp(text, "unix:", 5)};
    if (address_out->is_unix) {
        const size_t bytes = strlen(text + 5);
        if (bytes && bytes < sizeof((struct sockaddr_un *)0)->sun_path) {
            memcpy(address_out->host, text + 5, bytes + 1);
            return MR_OK;
        }
        return mr_fail(err, MR_ECONFIG, "source.%s: \"%s\": expected a path of 1 to %zu bytes behind unix:", key, text,
                       sizeof((struct sockaddr_un *)0)->sun_path - 1);
    }
    const char *host = text;
    if (host_bytes > 2 && *text == '[' && text[host_bytes - 1] == ']') {
        host++;
        host_bytes -= 2;
    }
    const bool is_alone = !colon && is_listen && is_port(text);
    if (!is_alone && (!host_bytes || host_bytes >= sizeof address_out->host || !is_port(colon + 1)))
        return mr_fail(err, MR_ECONFIG, "source.%s: \"%s\": expected %sHOST:PORT or unix:/PATH", key, text,
                       is_listen ? "PORT (of 127.0.0.1), " : "");
    snprintf(address_out->host, sizeof address_out->host, "%.*s", is_alone ? 9 : (int)host_bytes,
             is_alone ? "127.0.0.1" : host);
    snprintf(address_out->port, sizeof address_out->port, "%s", is_alone ? text : colon + 1);
    return MR_OK;
}

bool mr_address_is_local(const struct mr_address *address)
{
    return address->is_unix || !strncmp(address->host, "127.", 4) || !strcmp(address->host, "::1") ||
           !strcmp(address->host, "localhost");
}

static struct sockaddr_un unix_of(const struct mr_address *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, address->host, strnlen(address->host, sizeof name.sun_path - 1));
    return name;
}

/* Connects; 0 or errno. */
static int connect_wait(int fd, const struct sockaddr *name, socklen_t bytes, int64_t until_us)
{
    if (!connect(fd, name, bytes)) return 0;
    if (errno != EINPROGRESS) return errno;
    struct pollfd ask = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t error_bytes = sizeof error;
    for (;;) {
        const int64_t left_us = until_us - mr_clock_us();
        const int ready = left_us > 0 ? poll(&ask, 1, (int)((left_us + 999) / 1000)) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return ETIMEDOUT;
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) ? errno : error;
    }
}

static int unix_connect(const struct mr_address *address, int64_t until_us, int *fd_out)
{
    const struct sockaddr_un name = unix_of(address);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int error = fd < 0 ? errno : connect_wait(fd, (const struct sockaddr *)&name, sizeof name, until_us);
    if (error && fd >= 0) close(fd);
    *fd_out = error ? -1 : fd;
    return error;
}

/* Peers that vanish without a word are noticed in about a minute. */
static void alive_keep(int fd)
{
    const int on = 1, idle_s = 30, step_s = 10, steps = 3;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &step_s, sizeof step_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &steps, sizeof steps);
}

static mr_status names_find(const struct mr_address *address, const char *text, int flags, struct addrinfo **list_out,
                            struct mr_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    const int code = getaddrinfo(address->host, address->port, &hints, list_out);
    return code ? mr_fail(err, MR_EINPUT, "socket source: %s: %s", text, gai_strerror(code)) : MR_OK;
}

/* Trying a port of this machine at which nobody listens, a socket may be given that port, and so find itself. */
static bool is_itself(int fd)
{
    struct sockaddr_storage own = {0}, other = {0};
    socklen_t own_bytes = sizeof own, other_bytes = sizeof other;
    return !getsockname(fd, (struct sockaddr *)&own, &own_bytes) &&
           !getpeername(fd, (struct sockaddr *)&other, &other_bytes) && own_bytes == other_bytes &&
           !memcmp(&own, &other, own_bytes);
}

mr_status mr_address_connect(const struct mr_address *address, const char *text, int64_t timeout_us, int *fd_out,
                             struct mr_err *err)
{
    const int64_t until_us = mr_clock_us() + timeout_us;
    struct addrinfo *list = NULL;
    int error = EINVAL;
    *fd_out = -1;
    if (address->is_unix) {
        error = unix_connect(address, until_us, fd_out);
    } else {
        const mr_status status = names_find(address, text, 0, &list, err);
        if (status) return status;
    }
    for (const struct addrinfo *at = list; at && *fd_out < 0; at = at->ai_next) {
        const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        error = fd < 0 ? errno : connect_wait(fd, at->ai_addr, at->ai_addrlen, until_us);
        if (!error && is_itself(fd)) error = ECONNREFUSED;
        if (error && fd >= 0) close(fd);
        if (!error) alive_keep(fd);
        if (!error) *fd_out = fd;
    }
    if (list) freeaddrinfo(list);
    return *fd_out >= 0 ? MR_OK : mr_fail(err, MR_EINPUT, "socket source: connecting to %s: %s", text, strerror(error));
}

/* A socket file that a crash has left, at which nobody listens. */
static void stale_remove(const struct mr_address *address)
{
    struct stat info;
    int fd;
    if (stat(address->host, &info) || !S_ISSOCK(info.st_mode)) return;
    if (unix_connect(address, mr_clock_us() + 100000, &fd) == ECONNREFUSED) unlink(address->host);
    if (fd >= 0) close(fd);
}

static int unix_listen(const struct mr_address *address, int *fd_out)
{
    const struct sockaddr_un name = unix_of(address);
    stale_remove(address);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const bool is_open = fd >= 0 && !bind(fd, (const struct sockaddr *)&name, sizeof name) && !listen(fd, BACKLOG);
    const int error = is_open ? 0 : errno;
    if (!is_open && fd >= 0) close(fd);
    *fd_out = is_open ? fd : -1;
    return error;
}

mr_status mr_address_listen(const struct mr_address *address, const char *text, int *fd_out, struct mr_err *err)
{
    struct addrinfo *list = NULL;
    const int on = 1;
    int error = EINVAL;
    *fd_out = -1;
    if (address->is_unix) {
        error = unix_listen(address, fd_out);
    } else {
        const mr_status status = names_find(address, text, AI_PASSIVE, &list, err);
        if (status) return status;
    }
    for (const struct addrinfo *at = list; at && *fd_out < 0; at = at->ai_next) {
        const int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        const bool is_open = fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) &&
                             !bind(fd, at->ai_addr, at->ai_addrlen) && !listen(fd, BACKLOG);
        if (!is_open) error = errno;
        if (!is_open && fd >= 0) close(fd);
        if (is_open) *fd_out = fd;
    }
    if (list) freeaddrinfo(list);
    return *fd_out >= 0 ? MR_OK
                        : mr_fail(err, MR_EINPUT, "socket source: listening at %s: %s%s", text, strerror(error),
                                  error == EADDRINUSE ? "; something else does: end it, or give another address" : "");
}
