/* The sender's thread: waits for records, makes requests of them, and sends each until it is answered. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "sink/remote/inside.h"

#define BACKOFF_MS_MIN   100
#define BACKOFF_MS_MAX   30000
#define CLOSING_MS_MAX   200 /* between two tries while it drains */
#define TELL_INTERVAL_NS (60 * 1000000000LL)
#define DENIALS_MAX      3 /* of credentials, in a row; then a required sink ends the job */
#define NS_A_MS          1000000LL

/* Waits on the condition until a moment; with the lock held. */
static void work_wait(struct mr_remote *remote, int64_t until_ns)
{
    const struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    pthread_cond_timedwait(&remote->work, &remote->lock, &until);
}

static bool is_over(const struct mr_remote *remote)
{
    return mr_clock_ns() >= atomic_load(&remote->stop_ns); /* set when it closes */
}

static void queue_note(struct mr_remote *remote)
{
    atomic_store(&remote->stats->queued_bytes, remote->tail - remote->sent);
    atomic_store(&remote->stats->queued_records, remote->tail_records - remote->sent_records);
}

/* The sender has done with entries before its head. */
static void sent_publish(struct mr_remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    remote->sent = remote->head;
    remote->sent_records = remote->head_records;
    queue_note(remote);
    pthread_cond_signal(&remote->progress);
    pthread_mutex_unlock(&remote->lock);
}

/* ---- waiting ---- */

/* Waits until there is enough for a request, or what is there has waited for long enough. False: the end. */
static bool work_take(struct mr_remote *remote, uint64_t *tail_out)
{
    const int64_t linger_ns = remote->options->linger * 1000;
    int64_t since_ns = 0;
    bool is_there;
    pthread_mutex_lock(&remote->lock);
    for (;;) {
        const uint64_t records = remote->tail_records - remote->sent_records;
        const bool has_spill = atomic_load(&remote->spill_left);
        const int64_t now_ns = mr_clock_ns();
        is_there = records || has_spill;
        if (is_there && !since_ns) since_ns = now_ns;
        if (remote->is_closing && (!is_there || is_over(remote))) break;
        if (is_there && (remote->is_closing || has_spill || remote->is_wanted || records >= remote->item_cap ||
                         remote->tail - remote->sent >= remote->body.cap || now_ns >= since_ns + linger_ns))
            break;
        if (is_there)
            work_wait(remote, since_ns + linger_ns);
        else
            pthread_cond_wait(&remote->work, &remote->lock);
    }
    *tail_out = remote->tail;
    remote->is_wanted = false;
    queue_note(remote);
    const bool goes_on = is_there && !is_over(remote);
    pthread_mutex_unlock(&remote->lock);
    return goes_on;
}

/* 100 ms, twice as long each time, up to 30 s; up to half of it shorter, so that senders do not come all at once. */
static int64_t backoff_ms(struct mr_remote *remote, int64_t retry_after_ms)
{
    const unsigned doublings = remote->failures < 9 ? remote->failures : 9;
    int64_t wait_ms = (int64_t)BACKOFF_MS_MIN << doublings;
    if (wait_ms > BACKOFF_MS_MAX) wait_ms = BACKOFF_MS_MAX;
    wait_ms = (int64_t)((double)wait_ms * (0.5 + mr_random_unit(&remote->random) / 2));
    return wait_ms > retry_after_ms ? wait_ms : retry_after_ms;
}

/* Lets time pass after a failure. */
static void pause_take(struct mr_remote *remote, int64_t wait_ms)
{
    const int64_t began_ns = mr_clock_ns(), until_ns = began_ns + wait_ms * NS_A_MS;
    for (;;) {
        pthread_mutex_lock(&remote->lock);
        const int64_t now_ns = mr_clock_ns();
        int64_t end_ns = until_ns;
        if (remote->is_closing && end_ns > now_ns + CLOSING_MS_MAX * NS_A_MS)
            end_ns = began_ns + CLOSING_MS_MAX * NS_A_MS;
        const bool is_done = now_ns >= end_ns || is_over(remote);
        if (!is_done) work_wait(remote, end_ns);
        pthread_mutex_unlock(&remote->lock);
        if (is_done) return;
    }
}

/* ---- judging ---- */

static void failure_tell(struct mr_remote *remote, const struct mr_remote_outcome *outcome)
{
    const int64_t now_ns = mr_clock_ns();
    mr_sink_stats_error_set(remote->stats, outcome->text);
    if (!strcmp(remote->told, outcome->text) && now_ns < remote->told_ns + TELL_INTERVAL_NS) return;
    snprintf(remote->told, sizeof remote->told, "%s", outcome->text);
    remote->told_ns = now_ns;
    mr_log(outcome->answer == MR_ANSWER_LATER || outcome->answer == MR_ANSWER_PART ? MR_LOG_WARN : MR_LOG_ERROR, "sink",
           "%s: %s; it is tried again", remote->protocol->what, outcome->text);
}

static void success_note(struct mr_remote *remote)
{
    remote->failures = remote->denials = 0;
    if (!remote->failing_since_ns) return;
    mr_log(MR_LOG_INFO, "sink", "%s: %s takes records again, after %.1f s", remote->protocol->what, remote->destination,
           (double)(mr_clock_ns() - remote->failing_since_ns) / 1e9);
    remote->failing_since_ns = 0;
    *remote->told = 0;
    mr_sink_stats_error_set(remote->stats, NULL);
}

/* Credentials do not get better by themselves: a required sink says so to the job, which ends. */
static bool is_hopeless(struct mr_remote *remote, const struct mr_remote_outcome *outcome)
{
    remote->denials = outcome->answer == MR_ANSWER_DENIED ? remote->denials + 1 : 0;
    if (!remote->is_required || remote->denials < DENIALS_MAX) return false;
    pthread_mutex_lock(&remote->lock);
    mr_fail(&remote->failure, MR_ESINK, "%s: %s", remote->protocol->what, outcome->text);
    pthread_cond_signal(&remote->progress);
    pthread_mutex_unlock(&remote->lock);
    return true;
}

/* One try. False: the server takes nothing now, or not all; the outcome says why. */
static bool try_once(struct mr_remote *remote, struct mr_remote_outcome *outcome)
{
    *outcome = (struct mr_remote_outcome){0};
    if (!remote->is_prepared && remote->protocol->prepare) remote->protocol->prepare(remote->context, outcome);
    if (outcome->answer != MR_ANSWER_GOOD) return false;
    remote->is_prepared = true;
    mr_remote_batch_send(remote, outcome);
    mr_remote_batch_pack(remote);
    return !remote->item_count;
}

/* Sends the batch until all of it is answered. False: it is given up, for the end or for good. */
static bool batch_deliver(struct mr_remote *remote)
{
    struct mr_remote_outcome outcome;
    if (!remote->item_count) return true; /* nothing could be made of what was there */
    while (!try_once(remote, &outcome)) {
        if (!remote->failing_since_ns) remote->failing_since_ns = mr_clock_ns();
        if (is_over(remote)) return false;
        failure_tell(remote, &outcome);
        if (is_hopeless(remote, &outcome)) return false;
        pause_take(remote, backoff_ms(remote, outcome.retry_after_ms));
        remote->failures++;
        atomic_fetch_add(&remote->stats->retried, 1);
    }
    success_note(remote);
    return true;
}

/* ---- the end ---- */

/* Entries of the queue that were not delivered go to the disk: they are older than what is there. */
static void queue_spill(struct mr_remote *remote, uint64_t tail)
{
    struct mr_err err = {0};
    uint64_t count = 0;
    mr_status status = remote->head < tail ? mr_spill_front(remote->spill, &err) : MR_OK;
    while (!status && remote->head < tail) {
        const uint64_t position = mr_remote_position(remote, remote->head);
        struct mr_remote_entry *const entry = mr_remote_entry_at(remote, position);
        const char *const name = mr_remote_topic(remote, entry->topic);
        const struct mr_span topic = {name, strlen(name)};
        if ((status = mr_spill_add(remote->spill, entry, entry->value, &topic, &err))) break;
        remote->head = position + entry->bytes;
        remote->head_records++;
        count++;
    }
    if (!status) status = mr_spill_flush(remote->spill, &err);
    const size_t lost = mr_spill_lost(remote->spill);
    count -= lost;
    remote->head_records -= lost; /* the last ones: they count as dropped */
    if (status && status != MR_AGAIN) mr_log(MR_LOG_ERROR, "sink", "%s", err.text);
    atomic_fetch_add(&remote->stats->spilled, count);
    sent_publish(remote);
}

/* What was not delivered: spilled, or counted. */
static void rest_leave(struct mr_remote *remote)
{
    pthread_mutex_lock(&remote->lock);
    const uint64_t tail = remote->tail, records = remote->tail_records;
    pthread_mutex_unlock(&remote->lock);
    if (remote->acknowledges) return; /* it comes again */
    remote->head = remote->sent;
    remote->head_records = remote->sent_records;
    if (remote->spill) queue_spill(remote, tail);
    const uint64_t left = records - remote->head_records, bytes = mr_remote_spill_bytes(remote);
    if (bytes)
        mr_log(MR_LOG_WARN, "sink", "%s: records wait in \"%s\", %llu bytes: the next run delivers them",
               remote->protocol->what, remote->options->spill, (unsigned long long)bytes);
    if (!left) return;
    atomic_fetch_add(&remote->stats->dropped, left);
    mr_log(MR_LOG_WARN, "sink", "%s: %llu records were not delivered to %s before the end: they are dropped",
           remote->protocol->what, (unsigned long long)left, remote->destination);
}

void *mr_remote_main(void *argument)
{
    struct mr_remote *const remote = argument;
    uint64_t tail;
    char name[16];
    snprintf(name, sizeof name, "sender %u", remote->lane % 1000);
    pthread_setname_np(pthread_self(), name);
    bool goes_on = true;
    while (goes_on && work_take(remote, &tail)) {
        mr_remote_batch_fill(remote, tail);
        goes_on = batch_deliver(remote);
        if (!goes_on) break;
        if (remote->is_from_spill) mr_remote_spill_done(remote);
        sent_publish(remote);
    }
    rest_leave(remote);
    return NULL;
}
