/* The lane's side of a remote: records into the queue, or the spill, and acknowledgements back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sink/remote/inside.h"

/* ---- the queue ---- */

/* The number of a topic's name; the lane may be gone before the sender needs it. MR_INTERN_NONE: no memory. */
static uint32_t topic_number(struct mr_remote *remote, uint32_t topic)
{
    if (topic >= remote->topic_cap) {
        const size_t cap = (size_t)topic + 16;
        uint32_t *const grown = realloc(remote->topic_number, cap * sizeof *grown);
        if (!grown) return MR_INTERN_NONE;
        remote->topic_number = grown;
        while (remote->topic_cap < cap) grown[remote->topic_cap++] = MR_INTERN_NONE;
    }
    if (remote->topic_number[topic] != MR_INTERN_NONE) return remote->topic_number[topic];
    const char *const name = remote->followed     ? remote->followed
                             : remote->topic_name ? remote->topic_name(remote->origin_context, topic)
                                                  : "";
    char text[MR_REMOTE_TOPIC_BYTES];
    const int room = (int)(sizeof text - 1 - strlen(remote->run));
    snprintf(text, sizeof text, "%.*s%s", room, name, remote->run);
    pthread_mutex_lock(&remote->lock);
    if (!mr_intern_add(&remote->topics, text, strlen(text), &remote->topic_number[topic]))
        remote->topic_number[topic] = MR_INTERN_NONE;
    pthread_mutex_unlock(&remote->lock);
    return remote->topic_number[topic];
}

/* Room for an entry at the lane's tail; NULL: there is none now. */
static struct mr_remote_entry *entry_room(struct mr_remote *remote, uint64_t bytes)
{
    const uint64_t to_end = remote->cap - remote->tail_lane % remote->cap, jump = to_end < bytes ? to_end : 0;
    if (remote->tail_lane + jump + bytes > remote->freed + remote->cap) return NULL;
    if (jump) { /* at least MR_ENTRY_ALIGN bytes, of which a jump needs the first member and its flag */
        struct mr_remote_entry *const entry = mr_remote_entry_at(remote, remote->tail_lane);
        if (jump >= sizeof *entry) *entry = (struct mr_remote_entry){.bytes = jump, .is_jump = true};
        remote->tail_lane += jump;
    }
    return mr_remote_entry_at(remote, remote->tail_lane);
}

static int64_t event_of(const struct mr_remote *remote, const struct mr_record *record)
{
    return remote->event_ms && record->message ? remote->event_ms(remote->origin_context, record->message) : -1;
}

/* Copies a record into the queue. False: no room. */
static bool entry_push(struct mr_remote *remote, struct mr_outbox *box, struct mr_record *record)
{
    const uint32_t topic = topic_number(remote, record->topic);
    const uint64_t bytes = mr_entry_bytes(record->value_bytes);
    struct mr_remote_entry *const entry = topic != MR_INTERN_NONE ? entry_room(remote, bytes) : NULL;
    if (!entry) return false;
    *entry = (struct mr_remote_entry){.bytes = bytes,
                                      .box = remote->acknowledges ? box : NULL,
                                      .record = record,
                                      .offset = record->offset,
                                      .event_ms = event_of(remote, record),
                                      .topic = topic,
                                      .row = record->row,
                                      .value_bytes = record->value_bytes,
                                      .partition = record->source_partition,
                                      .is_null = !record->value};
    if (record->value) memcpy(entry->value, record->value, record->value_bytes);
    remote->tail_lane += bytes;
    return true;
}

/* Sees how far the sender is; without acknowledgements that much is free at once. */
static mr_status look(struct mr_remote *remote, struct mr_err *err)
{
    pthread_mutex_lock(&remote->lock);
    remote->sent_known = remote->sent;
    const struct mr_err failure = remote->failure;
    pthread_mutex_unlock(&remote->lock);
    if (!remote->acknowledges) remote->freed = remote->sent_known;
    if (failure.status && err) *err = failure;
    return failure.status;
}

static void publish(struct mr_remote *remote, uint64_t records, bool is_full)
{
    pthread_mutex_lock(&remote->lock);
    remote->tail = remote->tail_lane;
    remote->tail_records += records;
    remote->is_wanted |= is_full;
    pthread_cond_signal(&remote->work);
    pthread_mutex_unlock(&remote->lock);
}

/* Not even an empty queue has room for it. */
static bool is_too_large(const struct mr_remote *remote, const struct mr_record *record)
{
    return mr_entry_bytes(record->value_bytes) > remote->cap / 2;
}

static void too_large_settle(struct mr_remote *remote, struct mr_outbox *box, struct mr_record *record)
{
    atomic_fetch_add(&remote->stats->refused, 1);
    if (remote->acknowledges)
        box->settled(box, record, MR_EDATA, MR_REASON_OUTPUT_SIZE, "larger than half of the sink's queue");
    else
        mr_log(MR_LOG_WARN, "sink", "%s: a record of %u bytes is larger than half of its queue: it is left out",
               remote->protocol->what, record->value_bytes);
}

static bool pending_add(struct mr_remote *remote, struct mr_outbox *box, size_t count)
{
    struct mr_remote_pending *const last = remote->pending_count ? &remote->pending[remote->pending_count - 1] : NULL;
    if (last && last->box == box) {
        last->count += count;
        return true;
    }
    if (remote->pending_count == MR_REMOTE_PENDING_MAX) return false;
    remote->pending[remote->pending_count++] = (struct mr_remote_pending){box, count};
    return true;
}

uint64_t mr_remote_spill_bytes(struct mr_remote *remote)
{
    if (!remote->spill) return 0;
    pthread_mutex_lock(&remote->spill_lock);
    const uint64_t bytes = mr_spill_bytes(remote->spill);
    atomic_store(&remote->spill_left, bytes);
    pthread_mutex_unlock(&remote->spill_lock);
    atomic_store(&remote->stats->spill_bytes, bytes);
    return bytes;
}

void mr_remote_spill_done(struct mr_remote *remote)
{
    pthread_mutex_lock(&remote->spill_lock);
    mr_spill_done(remote->spill);
    pthread_mutex_unlock(&remote->spill_lock);
    mr_remote_spill_bytes(remote);
}

/* Writes records [from ..) of a box to the disk, as far as there is room; how many. It takes as long as a write takes,
 * which is not the server's time. */
static size_t records_spill(struct mr_remote *remote, const struct mr_outbox *box, size_t from)
{
    struct mr_err err = {0};
    mr_status status = MR_OK;
    size_t at = from;
    pthread_mutex_lock(&remote->spill_lock);
    for (; at < box->count && !status; at++) {
        const struct mr_record *const record = &box->record[at];
        const uint32_t topic = topic_number(remote, record->topic);
        if (topic == MR_INTERN_NONE) break;
        const struct mr_remote_entry entry = {.offset = record->offset,
                                              .event_ms = event_of(remote, record),
                                              .row = record->row,
                                              .value_bytes = record->value_bytes,
                                              .partition = record->source_partition,
                                              .is_null = !record->value};
        const size_t first = remote->topics.first[topic];
        const struct mr_span name = {remote->topics.text + first, remote->topics.first[topic + 1] - first};
        if ((status = mr_spill_add(remote->spill, &entry, record->value, &name, &err))) break;
    }
    if (!status) status = mr_spill_flush(remote->spill, &err);
    at -= mr_spill_lost(remote->spill); /* nothing was waiting there before: they are of this box */
    atomic_store(&remote->spill_left, mr_spill_bytes(remote->spill));
    pthread_mutex_unlock(&remote->spill_lock);
    if (status && status != MR_AGAIN) mr_log(MR_LOG_ERROR, "sink", "%s", err.text);
    atomic_fetch_add(&remote->stats->spilled, at - from);
    return at - from;
}

/* Copies records [from ..) of a box into the queue, as far as there is room; how many. */
static size_t records_push(struct mr_remote *remote, struct mr_outbox *box, size_t from, uint64_t *pushed)
{
    size_t at = from;
    for (; at < box->count; at++) {
        struct mr_record *const record = &box->record[at];
        if (is_too_large(remote, record))
            too_large_settle(remote, box, record);
        else if (entry_push(remote, box, record))
            ++*pushed;
        else
            break;
    }
    return at - from;
}

/* Of a remote that does not acknowledge: every record is taken. Behind what is spilled all go there, too, for their
 * order; those without room anywhere are counted. */
static mr_status emit_all(struct mr_remote *remote, struct mr_outbox *box, size_t from, size_t *taken_out)
{
    uint64_t pushed = 0;
    size_t at = from;
    if (!pending_add(remote, box, box->count - from)) return MR_AGAIN; /* poll() comes first */
    if (!mr_remote_spill_bytes(remote)) at += records_push(remote, box, at, &pushed);
    if (remote->spill && at < box->count) at += records_spill(remote, box, at);
    const uint64_t dropped = box->count - at;
    publish(remote, pushed, at < box->count);
    if (dropped) {
        atomic_fetch_add(&remote->stats->dropped, dropped);
        mr_log(MR_LOG_WARN, "sink", "%s: %s takes no records, and the queue is full: records are dropped",
               remote->protocol->what, remote->destination);
    }
    *taken_out = box->count - from;
    return MR_OK;
}

static mr_status emit_some(struct mr_remote *remote, struct mr_outbox *box, size_t from, size_t *taken_out)
{
    uint64_t pushed = 0;
    *taken_out = records_push(remote, box, from, &pushed);
    const bool is_full = from + *taken_out < box->count;
    publish(remote, pushed, is_full);
    return is_full ? MR_AGAIN : MR_OK;
}

mr_status mr_remote_emit(struct mr_remote *remote, struct mr_outbox *box, size_t from, size_t *taken_out,
                         struct mr_err *err)
{
    *taken_out = 0;
    mr_status status = look(remote, err);
    if (status) return status;
    status = remote->acknowledges ? emit_some(remote, box, from, taken_out) : emit_all(remote, box, from, taken_out);
    atomic_fetch_add(&remote->stats->taken, *taken_out);
    return status;
}

/* ---- acknowledgements ---- */

static void pending_settle(struct mr_remote *remote)
{
    /* A settled box may come back with new records at once: nothing of it is touched after the call. */
    const size_t count = remote->pending_count;
    remote->pending_count = 0;
    for (size_t i = 0; i < count; i++)
        remote->pending[i].box->settled_ok(remote->pending[i].box, remote->pending[i].count);
}

/* Settles what the sender has done with, runs of one outbox at a time. */
static void entries_settle(struct mr_remote *remote)
{
    struct mr_outbox *box = NULL;
    size_t count = 0;
    while (remote->freed < remote->sent_known) {
        remote->freed = mr_remote_position(remote, remote->freed);
        const struct mr_remote_entry done = *mr_remote_entry_at(remote, remote->freed);
        remote->freed += done.bytes; /* before anybody is told: who is may ask for more of it */
        if (count && (done.box != box || done.reason)) {
            box->settled_ok(box, count);
            count = 0;
        }
        box = done.box;
        if (done.reason)
            box->settled(box, done.record, MR_EDATA, done.reason, done.why);
        else
            count++;
        free(done.why);
    }
    if (count) box->settled_ok(box, count);
}

mr_status mr_remote_poll(struct mr_remote *remote, int64_t wait_us, struct mr_err *err)
{
    pending_settle(remote);
    if (remote->acknowledges && wait_us > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += wait_us % 1000000 * 1000;
        until.tv_sec += wait_us / 1000000 + until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_mutex_lock(&remote->lock);
        if (remote->sent == remote->freed && remote->tail > remote->sent) { /* what is there should go now */
            remote->is_wanted = true;
            pthread_cond_signal(&remote->work);
        }
        while (remote->sent <= remote->freed && !remote->failure.status &&
               pthread_cond_timedwait(&remote->progress, &remote->lock, &until) != ETIMEDOUT) {
        }
        pthread_mutex_unlock(&remote->lock);
    }
    const mr_status status = look(remote, err);
    if (!status && remote->acknowledges) entries_settle(remote);
    return status;
}
