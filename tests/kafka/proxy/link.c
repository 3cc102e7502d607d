/* Links: a client's connection and the one to its broker. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy.h"

#define FRAME_BYTES_MAX (256U << 20)
#define QUEUE_BYTES_MAX (64U << 20) /* of one direction: from here on its source waits */
#define READ_BYTES      65536
#define LATE_S          60 /* how long the answer to what came late is waited for */

struct node nodes[NODE_MAX];
int node_count, poller;
struct link *links;
uint64_t requests[API_MAX], answers[API_MAX], connects;

/* ---------------------------------------------------------------------------------------------------------- nodes */

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Several sockets have the same port: one that only keeps it, and one that listens while connections are welcome. */
static int socket_bound(uint16_t port)
{
    const struct sockaddr_in address = loopback(port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) ||
        bind(fd, (const struct sockaddr *)&address, sizeof address)) {
        die("port %u: %s", port, strerror(errno));
    }
    return fd;
}

void nodes_open(int count)
{
    for (node_count = 0; node_count < count; node_count++) {
        struct node *node = &nodes[node_count];
        struct sockaddr_in address = {0};
        node->guard = socket_bound(0);
        node->listener = (struct end){.fd = -1, .node = node_count};
        if (getsockname(node->guard, (struct sockaddr *)&address, &(socklen_t){sizeof address})) die("getsockname");
        node->port = ntohs(address.sin_port);
    }
}

void node_listen(int index)
{
    struct node *node = &nodes[index];
    const bool is_wanted = node->target && !node->is_refusing;
    if (is_wanted == (node->listener.fd >= 0)) return;
    if (!is_wanted) {
        while (link_accept(index)) continue; /* who has connected already would be reset */
        close(node->listener.fd);
        node->listener.fd = -1;
        return;
    }
    node->listener.fd = socket_bound(node->port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &node->listener};
    if (listen(node->listener.fd, 128) || epoll_ctl(poller, EPOLL_CTL_ADD, node->listener.fd, &event)) {
        die("listen at port %u: %s", node->port, strerror(errno));
    }
}

/* How many of the bytes may go now; when the first may, if none. */
static size_t rate_allow(struct node *node, enum side side, size_t bytes, double now_s, double *again_s)
{
    if (node->rate <= 0) return bytes;
    if (node->free_s[side] > now_s) {
        if (node->free_s[side] < *again_s) *again_s = node->free_s[side];
        return 0;
    }
    const size_t share =
        node->rate > 50000 ? (size_t)(node->rate / 50) : 1000; /* what goes at once: 20 ms, or a packet */
    return bytes < share ? bytes : share;
}

static void rate_take(struct node *node, enum side side, size_t bytes, double now_s)
{
    if (node->rate > 0) node->free_s[side] = now_s + (double)bytes / node->rate;
}

/* ---------------------------------------------------------------------------------------------------------- frames */

static struct frame *frame_add(struct link *link, enum side side, size_t size, double due_s)
{
    struct way *way = &link->way[side];
    struct frame *frame = must(calloc(1, sizeof *frame + size));
    if (due_s > way->due_s) way->due_s = due_s;
    frame->due_s = way->due_s;
    frame->size = size;
    *way->last = frame;
    way->last = &frame->next;
    way->queued_bytes += size;
    return frame;
}

static void frame_drop_first(struct way *way)
{
    struct frame *frame = way->first;
    way->first = frame->next;
    if (!way->first) way->last = &way->first;
    way->queued_bytes -= frame->size;
    free(frame);
}

static void end_close(struct end *end, bool is_reset)
{
    if (end->fd < 0) return;
    if (is_reset) setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(end->fd);
    end->fd = -1;
}

/* The client is cut off behind the answers that are on their way; what it sent goes on to the broker. */
static void cut_behind(struct link *link, enum ending ending, double now_s)
{
    struct frame *frame = frame_add(link, TO_CLIENT, 0, now_s);
    frame->is_end = true;
    frame->is_reset = ending == RESET;
    link->is_deaf = true;
}

static void pending_add(struct link *link, const struct about *about)
{
    if (link->pending_count == link->pending_cap) {
        link->pending_cap = link->pending_cap ? 2 * link->pending_cap : 16;
        link->pending = must(realloc(link->pending, link->pending_cap * sizeof *link->pending));
    }
    link->pending[link->pending_count++] = *about;
}

/* The request that an answer belongs to. Brokers answer in order, so those before it will have none (acks=0). */
static bool pending_take(struct link *link, int32_t correlation, struct about *about_out)
{
    for (size_t i = 0; i < link->pending_count; i++) {
        if (link->pending[i].correlation != correlation) continue;
        *about_out = link->pending[i];
        link->pending_count -= i + 1;
        memmove(link->pending, link->pending + i + 1, link->pending_count * sizeof *link->pending);
        return true;
    }
    return false;
}

static void link_break(struct link *link, const char *why)
{
    event_link(why, link);
    end_close(&link->end[TO_CLIENT], true);
    end_close(&link->end[TO_BROKER], true);
    link->is_dead = true;
}

/* One whole frame, prefix included, meets with the rules. */
static void frame_take(struct link *link, enum side side, const unsigned char *bytes, size_t size, double now_s)
{
    struct about about = {0};
    int error = ANY;
    if (side == TO_BROKER) {
        if (!about_read(bytes + 4, size - 4, &about)) {
            link_break(link, "not_kafka");
            return;
        }
        requests[about.api]++;
        memcpy(link->client, about.client, sizeof link->client);
    } else {
        uint32_t correlation = 0;
        if (size >= 8) memcpy(&correlation, bytes + 4, 4);
        if (!pending_take(link, (int32_t)ntohl(correlation), &about)) {
            link_break(link, "not_asked");
            return;
        }
        answers[about.api]++;
        error = answer_error(&about, bytes + 4, size - 4);
        if (link->end[TO_CLIENT].fd < 0) {
            event_frame("late_answer", 0, side, link, &about, error);
            return;
        }
    }

    const struct verdict verdict = rules_ask(side, link, &about);
    const struct rule *rule = verdict.rule;
    if (rule && rule->action == DROP) {
        event_frame("dropped", rule->number, side, link, &about, error);
        if (rule->ending != SILENT) cut_behind(link, rule->ending, now_s);
        return;
    }
    struct frame *frame = frame_add(link, side, size, now_s + verdict.delay_s);
    memcpy(frame->bytes, bytes, size);
    frame->about = about;
    if (side == TO_BROKER) pending_add(link, &about);
    if (!rule) return;
    frame->rule = rule->number;
    frame->until_s = now_s + rule->hold_s;
    link->had_hold = true;
    event_frame("held", rule->number, side, link, &about, error);
    if (rule->ending != SILENT) cut_behind(link, rule->ending, now_s);
}

/* ---------------------------------------------------------------------------------------------------------- links */

bool link_accept(int index)
{
    struct node *node = &nodes[index];
    static unsigned number;
    const int client = accept4(node->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return false; /* there is none, or it has gone already */
    connects++;
    struct link *link = must(calloc(1, sizeof *link));
    const struct sockaddr_in address = loopback(node->target);
    const int broker = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (broker < 0) die("socket: %s", strerror(errno));
    const int fds[2] = {broker, client};
    for (enum side side = TO_BROKER; side <= TO_CLIENT; side++) {
        setsockopt(fds[side], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        link->end[side] = (struct end){.link = link, .side = side, .fd = fds[side], .node = index, .interest = 0};
        link->way[side].last = &link->way[side].first;
        struct epoll_event event = {.events = 0, .data.ptr = &link->end[side]};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fds[side], &event)) die("epoll_ctl: %s", strerror(errno));
    }
    link->number = ++number;
    link->node = index;
    if (connect(broker, (const struct sockaddr *)&address, sizeof address)) {
        link->is_connecting = errno == EINPROGRESS;
        if (!link->is_connecting) end_close(&link->end[TO_BROKER], false);
    }
    link->next = links;
    links = link;
    return true;
}

void link_connected(struct link *link)
{
    int error = 0;
    if (link->is_dead || link->end[TO_BROKER].fd < 0 || !link->is_connecting) return;
    getsockopt(link->end[TO_BROKER].fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
    link->is_connecting = false;
    if (error) end_close(&link->end[TO_BROKER], false);
}

/* Cuts the bytes that were read into frames; false: they are no frames. */
static bool frames_cut(struct link *link, enum side side, double now_s)
{
    struct way *way = &link->way[side];
    size_t at = 0;
    while (way->in_size - at >= 4 && !link->is_dead) {
        uint32_t prefix;
        memcpy(&prefix, way->in + at, 4);
        const size_t size = (size_t)ntohl(prefix) + 4;
        if (size > FRAME_BYTES_MAX) return false;
        if (size > way->in_cap) {
            way->in_cap = size;
            way->in = must(realloc(way->in, way->in_cap));
        }
        if (way->in_size - at < size) break;
        frame_take(link, side, way->in + at, size, now_s);
        at += size;
        if (side == TO_BROKER && link->is_deaf) at = way->in_size; /* cut: what came behind never arrived */
    }
    way->in_size -= at;
    if (at) memmove(way->in, way->in + at, way->in_size);
    return true;
}

void link_read(struct link *link, enum side from, double now_s)
{
    const enum side side = from == TO_CLIENT ? TO_BROKER : TO_CLIENT;
    struct way *way = &link->way[side];
    if (link->is_dead || link->end[from].fd < 0) return;
    if (way->in_cap < way->in_size + READ_BYTES) {
        way->in_cap = way->in_size + READ_BYTES;
        way->in = must(realloc(way->in, way->in_cap));
    }
    const ssize_t got = read(link->end[from].fd, way->in + way->in_size, way->in_cap - way->in_size);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        end_close(&link->end[from], false);
        if (from == TO_CLIENT && link->had_hold) event_link("client_left", link);
        return;
    }
    if (from == TO_CLIENT && link->is_deaf) return; /* it never arrived */
    way->in_size += (size_t)got;
    if (!frames_cut(link, side, now_s)) link_break(link, "not_kafka");
}

/* Sends of one direction what may go; true when the socket takes no more. */
static bool way_advance(struct link *link, enum side side, double now_s, double *again_s)
{
    struct way *way = &link->way[side];
    struct node *node = &nodes[link->node];
    struct end *end = &link->end[side];
    while (way->first) {
        struct frame *frame = way->first;
        if (end->fd < 0) { /* nobody is there to have it */
            if (frame->rule) event_frame("lost", frame->rule, side, link, &frame->about, ANY);
            frame_drop_first(way);
            continue;
        }
        const double from_s = frame->rule && frame->until_s > frame->due_s ? frame->until_s : frame->due_s;
        if (from_s > now_s) {
            if (from_s < *again_s) *again_s = from_s;
            return false;
        }
        if (node->is_hole[side] || (side == TO_BROKER && link->is_connecting)) return false;
        if (frame->is_end) {
            end_close(end, frame->is_reset);
            continue;
        }
        const size_t allowed = rate_allow(node, side, frame->size - frame->sent, now_s, again_s);
        if (!allowed) return false;
        const ssize_t sent = send(end->fd, frame->bytes + frame->sent, allowed, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) return true;
            end_close(end, false);
            continue;
        }
        rate_take(node, side, (size_t)sent, now_s);
        frame->sent += (size_t)sent;
        if (frame->sent < frame->size) continue;
        if (frame->rule) event_frame("released", frame->rule, side, link, &frame->about, ANY);
        if (frame->rule) link->late_until_s = now_s + LATE_S;
        frame_drop_first(way);
    }
    return false;
}

/* What one end is to be asked for. */
static void end_interest(struct link *link, enum side side, bool is_full)
{
    struct end *end = &link->end[side];
    const enum side other = side == TO_CLIENT ? TO_BROKER : TO_CLIENT;
    if (end->fd < 0) return;
    uint32_t interest = 0;
    if (link->way[other].queued_bytes < QUEUE_BYTES_MAX && !(side == TO_CLIENT && link->is_deaf)) interest |= EPOLLIN;
    if (side == TO_BROKER && link->is_connecting) interest = EPOLLOUT;
    if (is_full) interest |= EPOLLOUT;
    if (interest == end->interest) return;
    end->interest = interest;
    struct epoll_event event = {.events = interest, .data.ptr = end};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, end->fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

/* An end whose other end has gone closes when it has had everything. */
static void link_settle(struct link *link, double now_s, double *again_s)
{
    if (link->end[TO_BROKER].fd < 0 && !link->way[TO_CLIENT].first) end_close(&link->end[TO_CLIENT], false);
    if (link->end[TO_CLIENT].fd < 0 && !link->way[TO_BROKER].first) {
        const bool is_waiting = link->pending_count && link->late_until_s > now_s;
        if (!is_waiting)
            end_close(&link->end[TO_BROKER], false);
        else if (link->late_until_s < *again_s)
            *again_s = link->late_until_s;
    }
    if (link->end[TO_BROKER].fd < 0 && link->end[TO_CLIENT].fd < 0) link->is_dead = true;
}

static void link_free(struct link *link)
{
    for (enum side side = TO_BROKER; side <= TO_CLIENT; side++) {
        end_close(&link->end[side], false);
        while (link->way[side].first) frame_drop_first(&link->way[side]);
        free(link->way[side].in);
    }
    free(link->pending);
    free(link);
}

double links_advance(double now_s)
{
    double again_s = FOREVER_S;
    for (struct link **at = &links; *at;) {
        struct link *link = *at;
        bool is_full[2] = {false, false};
        for (enum side side = TO_BROKER; side <= TO_CLIENT && !link->is_dead; side++) {
            is_full[side] = way_advance(link, side, now_s, &again_s);
        }
        if (!link->is_dead) link_settle(link, now_s, &again_s);
        if (link->is_dead) {
            *at = link->next;
            link_free(link);
            continue;
        }
        for (enum side side = TO_BROKER; side <= TO_CLIENT; side++) end_interest(link, side, is_full[side]);
        at = &link->next;
    }
    return again_s;
}

unsigned links_cut(int node, const char *client, bool is_reset)
{
    unsigned count = 0;
    for (struct link *link = links; link; link = link->next) {
        if ((node != ANY && link->node != node) || !strstr(link->client, client)) continue;
        if (link->end[TO_CLIENT].fd < 0) continue;
        end_close(&link->end[TO_CLIENT], is_reset);
        count++;
    }
    return count;
}

unsigned links_release(unsigned rule)
{
    unsigned count = 0;
    for (struct link *link = links; link; link = link->next) {
        for (enum side side = TO_BROKER; side <= TO_CLIENT; side++) {
            for (struct frame *frame = link->way[side].first; frame; frame = frame->next) {
                if (!frame->rule || (rule && frame->rule != rule) || frame->until_s <= 0) continue;
                frame->until_s = 0;
                count++;
            }
        }
    }
    return count;
}
