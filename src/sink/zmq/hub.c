#include "sink/zmq/hub.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/log.h"

struct mr_zmq_hub {
    const struct mr_zmq_options *options;
    struct mr_zmq_hub *next; /* of the process's */
    unsigned users;
    void *context, *socket;
    pthread_mutex_t lock;
    _Atomic uint64_t sent, behind;
};

static pthread_mutex_t hubs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mr_zmq_hub *hubs;

static const char *address_of(const struct mr_zmq_options *options)
{
    return options->bind ? options->bind : options->connect.item[0];
}

/* What libzmq says of an address, with what to do about it. */
static mr_status address_fail(const char *step, const char *address, struct mr_err *err)
{
    const int error = zmq_errno();
    const char *const remedy = error == EADDRINUSE
                                   ? "another program, or another sink of this job, has it: give each its own"
                               : error == EINVAL || error == EPROTONOSUPPORT || error == ENOCOMPATPROTO
                                   ? "expected an address such as tcp://127.0.0.1:5555 or ipc:///run/scores"
                               : error == ENODEV || error == EADDRNOTAVAIL
                                   ? "this machine has no such address: name one that it has, or * for all"
                               : error == EACCES ? "give this user the right to it, or another address"
                                                 : "see `man zmq_tcp` and its like for addresses";
    return mr_fail(err, MR_ESINK, "zmq sink: %s \"%s\": %s; %s", step, address, zmq_strerror(error), remedy);
}

static bool set(void *socket, int option, int value)
{
    return !zmq_setsockopt(socket, option, &value, sizeof value);
}

/* A port of "*" is known now. */
static void endpoint_tell(const struct mr_zmq_hub *hub)
{
    char address[256];
    size_t bytes = sizeof address;
    if (!zmq_getsockopt(hub->socket, ZMQ_LAST_ENDPOINT, address, &bytes))
        mr_log(MR_LOG_INFO, "zmq", "subscribers connect to %s", address);
}

static mr_status hub_open(struct mr_zmq_hub *hub, struct mr_err *err)
{
    const struct mr_zmq_options *const options = hub->options;
    hub->context = zmq_ctx_new();
    hub->socket = hub->context ? zmq_socket(hub->context, ZMQ_PUB) : NULL;
    if (!hub->socket) return mr_fail(err, MR_ESINK, "zmq sink: making a socket: %s", zmq_strerror(zmq_errno()));
    /* Before an address is known: they hold for connections that are made afterwards. */
    if (!set(hub->socket, ZMQ_SNDHWM, (int)options->send_hwm) ||
        !set(hub->socket, ZMQ_LINGER, (int)(options->linger / 1000)) ||
        !set(hub->socket, ZMQ_CONFLATE, options->conflate) || !set(hub->socket, ZMQ_XPUB_NODROP, 1))
        return mr_fail(err, MR_ESINK, "zmq sink: setting up a socket: %s", zmq_strerror(zmq_errno()));
    if (options->bind && zmq_bind(hub->socket, options->bind)) return address_fail("binding", options->bind, err);
    if (options->bind) endpoint_tell(hub);
    for (size_t i = 0; i < options->connect.count; i++) {
        if (zmq_connect(hub->socket, options->connect.item[i]))
            return address_fail("connecting to", options->connect.item[i], err);
    }
    return MR_OK;
}

static void hub_free(struct mr_zmq_hub *hub)
{
    if (hub->socket) zmq_close(hub->socket);
    while (hub->context && zmq_ctx_term(hub->context) && zmq_errno() == EINTR) continue;
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

mr_status mr_zmq_hub_acquire(const struct mr_zmq_options *options, struct mr_zmq_hub **hub_out, struct mr_err *err)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&hubs_lock);
    struct mr_zmq_hub *hub = hubs;
    while (hub && hub->options != options) hub = hub->next;
    if (!hub) {
        hub = calloc(1, sizeof *hub);
        if (!hub || pthread_mutex_init(&hub->lock, NULL)) {
            free(hub);
            hub = NULL;
            status = mr_fail(err, MR_ENOMEM, "zmq sink: out of memory");
        } else {
            hub->options = options;
            status = hub_open(hub, err);
            if (status) hub_free(hub);
        }
        if (!status) {
            hub->next = hubs;
            hubs = hub;
        }
    }
    if (!status) hub->users++;
    *hub_out = status ? NULL : hub;
    pthread_mutex_unlock(&hubs_lock);
    return status;
}

void mr_zmq_hub_release(struct mr_zmq_hub *hub)
{
    if (!hub) return;
    pthread_mutex_lock(&hubs_lock);
    const bool is_last = !--hub->users;
    struct mr_zmq_hub **at = &hubs;
    while (is_last && *at != hub) at = &(*at)->next;
    if (is_last) *at = hub->next;
    pthread_mutex_unlock(&hubs_lock);
    if (!is_last) return;
    const unsigned long long sent = atomic_load(&hub->sent), behind = atomic_load(&hub->behind);
    mr_log(behind ? MR_LOG_WARN : MR_LOG_INFO, "zmq", "%s: %llu messages published; subscribers fell behind %llu times",
           address_of(hub->options), sent, behind);
    hub_free(hub);
}

void mr_zmq_hub_lock(struct mr_zmq_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
}

void mr_zmq_hub_unlock(struct mr_zmq_hub *hub)
{
    pthread_mutex_unlock(&hub->lock);
}

/* False: errno says why. */
static bool frame_send(struct mr_zmq_hub *hub, const void *data, size_t bytes, int flags)
{
    int sent;
    do {
        sent = zmq_send(hub->socket, data, bytes, ZMQ_DONTWAIT | flags);
    } while (sent < 0 && zmq_errno() == EINTR);
    return sent >= 0;
}

/* All frames of a message; the first one decides who gets it. */
static bool message_send(struct mr_zmq_hub *hub, const void *data, size_t bytes)
{
    const char *const topic = hub->options->topic;
    return (!topic || frame_send(hub, topic, strlen(topic), ZMQ_SNDMORE)) && frame_send(hub, data, bytes, 0);
}

static void behind_count(struct mr_zmq_hub *hub)
{
    const unsigned long long behind = 1 + atomic_fetch_add_explicit(&hub->behind, 1, memory_order_relaxed);
    if (behind & (behind - 1)) return; /* the first time, and ever more seldom */
    mr_log(MR_LOG_WARN, "zmq",
           "%s: a subscriber is slower than the job (%llu times so far): messages are dropped for it until it has read "
           "what waits; raise send_hwm, or let it read faster",
           address_of(hub->options), behind);
}

mr_status mr_zmq_hub_send(struct mr_zmq_hub *hub, const void *data, size_t bytes, struct mr_err *err)
{
    bool is_sent = message_send(hub, data, bytes);
    if (!is_sent && zmq_errno() == EAGAIN) {
        behind_count(hub);
        is_sent = set(hub->socket, ZMQ_XPUB_NODROP, 0) && message_send(hub, data, bytes);
        is_sent = set(hub->socket, ZMQ_XPUB_NODROP, 1) && is_sent;
    }
    atomic_fetch_add_explicit(&hub->sent, 1, memory_order_relaxed);
    return is_sent ? MR_OK
                   : mr_fail(err, MR_ESINK, "zmq sink: sending to \"%s\": %s", address_of(hub->options),
                             zmq_strerror(zmq_errno()));
}

void mr_zmq_hub_counts(const struct mr_zmq_hub *hub, uint64_t *sent_out, uint64_t *behind_out)
{
    *sent_out = atomic_load_explicit(&hub->sent, memory_order_relaxed);
    *behind_out = atomic_load_explicit(&hub->behind, memory_order_relaxed);
}
