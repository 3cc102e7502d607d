/* proxy: arguments, and the loop. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "proxy.h"

#define EVENT_MAX 64

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("proxy: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *must(void *memory)
{
    if (!memory) die("out of memory");
    return memory;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Until the first of: something happens, or the moment has come. */
static int wait_ms(double again_s)
{
    const double left_ms = (again_s - now()) * 1e3;
    if (left_ms <= 0) return 0;
    return left_ms < 3.6e6 ? (int)left_ms + 1 : -1;
}

static void serve(struct end *end, uint32_t what)
{
    if (!end->link) {
        link_accept(end->node);
        return;
    }
    if (end->side == TO_BROKER && end->link->is_connecting)
        link_connected(end->link);
    else if (what & (EPOLLIN | EPOLLHUP | EPOLLERR))
        link_read(end->link, end->side, now());
}

int main(int argc, char **argv)
{
    const long count = argc == 3 && !strcmp(argv[1], "--ports") ? strtol(argv[2], NULL, 10) : 0;
    if (count < 1 || count > NODE_MAX) {
        fprintf(stderr, "usage: proxy --ports N (1 to %d); commands: tests/kafka/proxy/README.md\n", NODE_MAX);
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct end control = {.fd = STDIN_FILENO};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &control};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event)) {
        die("standard input must be a pipe or a terminal: %s", strerror(errno));
    }
    nodes_open((int)count);
    event_ready();

    double again_s = FOREVER_S;
    for (;;) {
        struct epoll_event events[EVENT_MAX];
        const int got = epoll_wait(poller, events, EVENT_MAX, wait_ms(again_s));
        if (got < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < got; i++) {
            struct end *end = events[i].data.ptr;
            if (end != &control)
                serve(end, events[i].events);
            else if (!control_read())
                return 0;
        }
        again_s = links_advance(now());
    }
}
