/* A remote: its options, opening and closing. */
#include "sink/remote/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/log.h"
#include "sink/remote/inside.h"

/* However little memory there is: room for the largest output that a topic takes by default. */
#define RING_BYTES_LEAST (4u << 20)
#define BODY_BYTES_LEAST (2u << 20)
#define NS_A_MS          1000000LL

const char *const mr_overflow_names[] = {"drop", "spill", NULL};

mr_status mr_remote_check(const struct mr_remote_options *options, const char *what, struct mr_err *err)
{
    const bool spills = options->overflow == MR_OVERFLOW_SPILL;
    if (spills && options->required)
        return mr_fail(err, MR_ECONFIG,
                       "%s: required and overflow \"spill\": a required sink holds up the job instead: expected one of "
                       "them",
                       what);
    if (spills && (!options->spill || !*options->spill))
        return mr_fail(err, MR_ECONFIG, "%s: overflow \"spill\": expected spill, the folder for it", what);
    if (!spills && options->spill) return mr_fail(err, MR_ECONFIG, "%s: spill without overflow \"spill\"", what);
    return MR_OK;
}

/* A share of the sink's memory, no less than `least`, no more than was asked for. */
static size_t share_of(size_t memory_bytes, size_t part, size_t least, int64_t asked)
{
    const size_t share = memory_bytes / part > least ? memory_bytes / part : least;
    return share < (size_t)asked ? share : (size_t)asked;
}

size_t mr_remote_body_bytes(const struct mr_remote_options *options, const struct mr_sink_open *sink)
{
    return share_of(sink->memory_bytes, 8, BODY_BYTES_LEAST, options->batch_bytes);
}

static mr_status memory_take(struct mr_remote *remote, const struct mr_remote_open *open, struct mr_err *err)
{
    const struct mr_remote_options *const options = open->options;
    remote->cap = share_of(open->sink->memory_bytes, 2, RING_BYTES_LEAST, options->queue_bytes);
    remote->cap = remote->cap / MR_ENTRY_ALIGN * MR_ENTRY_ALIGN;
    remote->ring = aligned_alloc(MR_ENTRY_ALIGN, remote->cap);
    remote->body.cap = mr_remote_body_bytes(options, open->sink);
    remote->body.data = malloc(remote->body.cap);
    remote->item_cap = (size_t)options->batch_records;
    remote->item = calloc(remote->item_cap, sizeof *remote->item);
    remote->topic_text = malloc(MR_REMOTE_TOPIC_BYTES);
    remote->destination = strdup(open->destination);
    return remote->ring && remote->body.data && remote->item && remote->topic_text && remote->destination
               ? MR_OK
               : mr_fail(err, MR_ENOMEM, "%s: out of memory", remote->protocol->what);
}

/* Waits are measured on the monotonic clock. */
static mr_status locks_make(struct mr_remote *remote, struct mr_err *err)
{
    pthread_condattr_t attributes;
    remote->has_locks = !pthread_mutex_init(&remote->lock, NULL) && !pthread_mutex_init(&remote->spill_lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    remote->has_conds =
        !pthread_cond_init(&remote->work, &attributes) && !pthread_cond_init(&remote->progress, &attributes);
    pthread_condattr_destroy(&attributes);
    return remote->has_locks && remote->has_conds
               ? MR_OK
               : mr_fail(err, MR_ENOMEM, "%s: out of memory", remote->protocol->what);
}

static mr_status spill_open(struct mr_remote *remote, const struct mr_remote_open *open, struct mr_err *err)
{
    char name[96];
    const struct mr_sink_open *const sink = open->sink;
    if (open->options->overflow != MR_OVERFLOW_SPILL) return MR_OK;
    if (remote->acknowledges) {
        mr_log(MR_LOG_INFO, "sink", "%s: a follower feeds it, which waits: nothing is spilled", remote->protocol->what);
        return MR_OK;
    }
    const uint64_t hash = XXH3_64bits(remote->destination, strlen(remote->destination));
    snprintf(name, sizeof name, "%.40s-%016llx", sink->job ? sink->job : "job", (unsigned long long)hash);
    for (char *at = name; *at; at++)
        if (*at == '/' || *at == '.') *at = '-';
    const struct mr_spill_open spill = {.folder = open->options->spill,
                                        .name = name,
                                        .what = remote->protocol->what,
                                        .lane = sink->lane,
                                        .lane_count = sink->lane_count,
                                        .bytes_max = (uint64_t)open->options->spill_bytes / sink->lane_count};
    return mr_spill_open(&spill, &remote->spill, err);
}

mr_status mr_remote_open(const struct mr_remote_open *open, struct mr_remote **remote_out, struct mr_err *err)
{
    const struct mr_sink_open *const sink = open->sink;
    struct mr_remote *const remote = calloc(1, sizeof *remote);
    *remote_out = NULL;
    if (!remote) return mr_fail(err, MR_ENOMEM, "%s: out of memory", open->protocol->what);
    remote->protocol = open->protocol;
    remote->context = open->context;
    remote->options = open->options;
    remote->topic_name = sink->topic_name;
    remote->event_ms = sink->event_ms;
    remote->origin_context = sink->origin_context;
    remote->followed = sink->followed;
    remote->stats = sink->stats ? sink->stats : &remote->own_stats;
    remote->is_required = open->options->required;
    remote->acknowledges = remote->is_required || sink->followed;
    if (open->protocol->needs_names && sink->run) snprintf(remote->run, sizeof remote->run, "@%s", sink->run);
    remote->lane = sink->lane;
    remote->random = (uint64_t)mr_clock_ns();
    remote->stop_ns = INT64_MAX;
    atomic_store(&remote->stats->counts, true);
    mr_status status = locks_make(remote, err);
    if (!status) status = memory_take(remote, open, err);
    if (!status) status = spill_open(remote, open, err);
    if (!status) mr_remote_spill_bytes(remote);
    *remote_out = status ? NULL : remote;
    if (status) mr_remote_close(remote);
    return status;
}

mr_status mr_remote_start(struct mr_remote *remote, struct mr_err *err)
{
    if (pthread_create(&remote->thread, NULL, mr_remote_main, remote))
        return mr_fail(err, MR_ENOMEM, "%s: could not start its thread", remote->protocol->what);
    remote->has_thread = true;
    return MR_OK;
}

const _Atomic int64_t *mr_remote_stop_ns(const struct mr_remote *remote)
{
    return &remote->stop_ns;
}

/* Lets the sender go on for so long, then joins it. */
static void sender_end(struct mr_remote *remote, int64_t drain_ms)
{
    if (!remote->has_thread) return;
    pthread_mutex_lock(&remote->lock);
    remote->is_closing = true;
    atomic_store(&remote->stop_ns, mr_clock_ns() + drain_ms * NS_A_MS);
    pthread_cond_signal(&remote->work);
    pthread_mutex_unlock(&remote->lock);
    pthread_join(remote->thread, NULL);
    remote->has_thread = false;
}

void mr_remote_finish(struct mr_remote *remote)
{
    sender_end(remote, remote->acknowledges ? 0 : MR_REMOTE_DRAIN_MS);
}

/* Texts of refusals that nobody was told. */
static void entries_forget(struct mr_remote *remote)
{
    if (!remote->ring || !remote->acknowledges) return;
    while (remote->freed < remote->tail) {
        remote->freed = mr_remote_position(remote, remote->freed);
        struct mr_remote_entry *const entry = mr_remote_entry_at(remote, remote->freed);
        free(entry->why);
        remote->freed += entry->bytes;
    }
}

void mr_remote_close(struct mr_remote *remote)
{
    if (!remote) return;
    sender_end(remote, 0);
    entries_forget(remote);
    mr_spill_close(remote->spill);
    if (remote->has_conds) pthread_cond_destroy(&remote->work);
    if (remote->has_conds) pthread_cond_destroy(&remote->progress);
    if (remote->has_locks) pthread_mutex_destroy(&remote->lock);
    if (remote->has_locks) pthread_mutex_destroy(&remote->spill_lock);
    mr_intern_deinit(&remote->topics);
    free(remote->topic_number);
    free(remote->ring);
    free(remote->body.data);
    free(remote->item);
    free(remote->topic_text);
    free(remote->destination);
    free(remote);
}
