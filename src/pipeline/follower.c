/* The loop of a follower: poll -> emit -> settle -> mark -> commit, on one thread. */
#include "pipeline/follower.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "kafka/topic_ends.h"

#define IDLE_WAIT_US      100000
#define FINISH_WAIT_US    10000
#define IN_FLIGHT_WAIT_US 5000
#define ENDS_INTERVAL_NS  1000000000LL
#define ENDS_PAUSE_NS     50000000LL /* while the end is waited for */
#define ENDS_TIMEOUT_MS   1000
#define BOUNDS_WAIT_NS    (15 * 1000000000LL)
#define QUIET_NS          (45 * 1000000000LL) /* longer than a transaction may last unless its owner says so */
#define REVOKE_TIMEOUT_NS (10 * 1000000000LL)
#define COMMIT_TIMEOUT_NS (3 * 1000000000LL)
#define COMMIT_PAUSE_NS   20000000

static bool is_aborted(const struct mr_follower *follower)
{
    return mr_run_state_now(follower->run) == MR_RUN_ABORT;
}

static void progress_note(struct mr_follower *follower)
{
    atomic_store(&follower->progress_ns, mr_clock_ns());
}

/* ---- partitions ---- */

/* The entry of a partition; NULL: no memory. */
static struct mr_follower_part *part_of(struct mr_follower *follower, int32_t partition)
{
    if (partition >= follower->part_cap) {
        const int32_t cap = partition + 64;
        struct mr_follower_part *const grown = realloc(follower->part, (size_t)cap * sizeof *grown);
        if (!grown) return NULL;
        follower->part = grown;
        while (follower->part_cap < cap) grown[follower->part_cap++] = (struct mr_follower_part){false, -1, -1, -1, -1};
    }
    return &follower->part[partition];
}

#define SET_HOW                                                                                                        \
    " (kafka-consumer-groups.sh --reset-offsets --to-earliest; of a group with static members some 45 s after their "  \
    "end)"

/* Where reading is to go on must be in the topic. What the job does about lost offsets of its input is no answer: a
 * sink that was given less than the topic had would not be told. */
static mr_status place_check(const struct mr_follower *follower, int32_t partition, int64_t from, int64_t low,
                             int64_t end, struct mr_err *err)
{
    if (from < 0 || (from >= low && from <= end)) return MR_OK;
    if (from > end)
        return mr_fail(err, MR_EDATA,
                       "sinks[%zu] (%s): offset %" PRId64 " of %s[%d] comes next, but the partition ends at %" PRId64
                       " (the topic was made anew, or has lost its end): restore the topic, or set group \"%s\" "
                       "to the earliest offset" SET_HOW,
                       follower->index, follower->sink.ops->name, from, follower->topic, (int)partition, end,
                       follower->group);
    return mr_fail(err, MR_EDATA,
                   "sinks[%zu] (%s): offsets %" PRId64 " to %" PRId64
                   " of %s[%d] were deleted before they were written to it (retention was shorter than the pause, or "
                   "somebody deleted them): to go on without them, set group \"%s\" to the earliest offset" SET_HOW,
                   follower->index, follower->sink.ops->name, from, low - 1, follower->topic, (int)partition,
                   follower->group);
}

/* A source says of its own records that offsets are lost; of these it must be said what they are. */
static void lost_explain(const struct mr_follower *follower, struct mr_err *err)
{
    int64_t low, end;
    struct mr_err other;
    for (int32_t i = 0; i < follower->part_cap; i++) {
        const struct mr_follower_part *const part = &follower->part[i];
        if (!part->is_owned || mr_topic_bounds_ask(follower->ends, i, &low, &end, ENDS_TIMEOUT_MS, &other)) continue;
        if (!place_check(follower, i, part->given, low, end, &other)) continue;
        *err = other;
        return;
    }
    mr_fail(
        err, MR_EDATA,
        "sinks[%zu] (%s): the record of topic \"%s\" that comes next is not there any more (retention, or the topic "
        "was made anew): start again, and the error says which",
        follower->index, follower->sink.ops->name, follower->topic);
}

static mr_status bounds_ask(const struct mr_follower *follower, int32_t partition, int64_t *low_out, int64_t *end_out,
                            struct mr_err *err)
{
    const int64_t deadline_ns = mr_clock_ns() + BOUNDS_WAIT_NS;
    mr_status status;
    while ((status = mr_topic_bounds_ask(follower->ends, partition, low_out, end_out, ENDS_TIMEOUT_MS, err)) &&
           mr_clock_ns() < deadline_ns && !is_aborted(follower))
        nanosleep(&(struct timespec){.tv_nsec = ENDS_PAUSE_NS}, NULL);
    if (!status) return MR_OK;
    mr_log(MR_LOG_WARN, "follower", "%s: %s", follower->group, err->text);
    return err->status = MR_ERESTART; /* brokers may be away for as long as they like */
}

mr_status mr_follower_begins(void *context, const char *topic, int32_t partition, int64_t committed, const char *note,
                             int64_t *offset_out, struct mr_err *err)
{
    struct mr_follower *const follower = context;
    struct mr_follower_part *const part = part_of(follower, partition);
    struct mr_sink_place place = {.partition = partition, .group_offset = committed, .note = note};
    (void)topic;
    *offset_out = -1;
    if (!part) return mr_fail(err, MR_ENOMEM, "no memory for the partitions of an output topic");
    mr_status status = bounds_ask(follower, partition, &place.low, &place.end, err);
    if (!status && follower->sink.ops->marked)
        status = follower->sink.ops->marked(follower->sink.sink, &place, offset_out, err);
    const int64_t from = *offset_out >= 0 ? *offset_out : committed;
    if (!status) status = place_check(follower, partition, from, place.low, place.end, err);
    if (status) {
        follower->has_explained = true;
        return status;
    }
    *part = (struct mr_follower_part){true, from, from, -1, -1};
    follower->has_ends = false;
    progress_note(follower);
    return MR_OK;
}

mr_status mr_follower_began(void *context, const char *topic, int32_t partition, int64_t offset, struct mr_err *err)
{
    struct mr_follower *const follower = context;
    struct mr_follower_part *const part = part_of(follower, partition);
    const struct mr_sink_place place = {
        .partition = partition, .group_offset = offset, .note = "", .low = offset, .end = INT64_MAX};
    int64_t ignored;
    (void)topic;
    if (!part) return mr_fail(err, MR_ENOMEM, "no memory for the partitions of an output topic");
    part->next = part->given = offset;
    return follower->sink.ops->marked ? follower->sink.ops->marked(follower->sink.sink, &place, &ignored, err) : MR_OK;
}

const char *mr_follower_note(void *context, const char *topic, int32_t partition)
{
    struct mr_follower *const follower = context;
    (void)topic;
    return follower->sink.sink && follower->sink.ops->note ? follower->sink.ops->note(follower->sink.sink, partition)
                                                           : NULL;
}

void mr_follower_reached(void *context, const struct mr_position *position)
{
    struct mr_follower *const follower = context;
    if (position->partition < follower->part_cap) follower->part[position->partition].reached = position->next_offset;
}

/* ---- settling ---- */

void mr_follower_undeliverable(void *context, struct mr_box *box, struct mr_record *record, mr_reason reason,
                               const char *text)
{
    struct mr_follower *const follower = context;
    box->ticket->dead += record->row_count;
    mr_stats_add(&follower->records_refused, 1);
    mr_log(MR_LOG_WARN, "follower",
           "sinks[%zu] (%s) refuses the record at offset %" PRId64 " of %s[%d]: %s%s%s; it stays in the topic, and is "
           "left out",
           follower->index, follower->sink.ops->name, record->offset, follower->topic, (int)record->source_partition,
           mr_reason_name(reason), text && *text ? ": " : "", text ? text : "");
}

/* Gives back the messages of tickets that are done. */
static void batches_release(struct mr_follower *follower)
{
    const struct mr_flight *const flight = &follower->flight;
    const uint64_t first = flight->ticket_count ? flight->ticket[flight->ticket_first].sequence : UINT64_MAX;
    while (follower->batch_count && follower->batch[follower->batch_first].sequence < first) {
        struct mr_follower_batch *const batch = &follower->batch[follower->batch_first];
        follower->source_ops->release(follower->source, batch->message, batch->count);
        batch->count = 0;
        follower->batch_first = (follower->batch_first + 1) % MR_FOLLOWER_BATCHES;
        follower->batch_count--;
    }
}

static mr_status settle(struct mr_follower *follower, int64_t wait_us, struct mr_err *err)
{
    const struct mr_flight *const flight = &follower->flight;
    const size_t before = flight->ticket_count;
    mr_status status = follower->sink.ops->poll(follower->sink.sink, wait_us, err);
    if (!status) status = mr_flight_settle(&follower->flight, err);
    if (flight->ticket_count != before) progress_note(follower);
    for (size_t i = 0; i < flight->ready_count; i++) {
        struct mr_follower_part *const part = part_of(follower, flight->ready[i].partition);
        if (part) part->next = flight->ready[i].next_offset;
    }
    batches_release(follower);
    return status;
}

/* ---- marks and commits ---- */

/* All that is settled, kept by the sink where it can, then by the group. With marks nothing may be in flight. */
static mr_status commit(struct mr_follower *follower, bool wait, struct mr_err *err)
{
    struct mr_flight *const flight = &follower->flight;
    mr_status status = MR_OK;
    follower->resend_due_ns = mr_clock_ns() + follower->run->job->commit_interval * 1000;
    if (flight->ready_count) follower->commit_due_ns = follower->resend_due_ns;
    if (flight->ready_count) MR_TEST_HOOK("follower.written");
    if (flight->ready_count && follower->sink.ops->mark)
        status = follower->sink.ops->mark(follower->sink.sink, flight->ready, flight->ready_count, err);
    if (status) return status;
    if (flight->ready_count) MR_TEST_HOOK("follower.marked");
    const bool is_any = flight->ready_count;
    status = follower->source_ops->commit(follower->source, flight->ready, flight->ready_count, wait, err);
    flight->ready_count = 0; /* the source sends again what could not be stored */
    if (!status) {
        mr_stats_add(&follower->stats.commits, is_any);
        return MR_OK;
    }
    mr_log(MR_LOG_WARN, "follower", "%s", err->text);
    mr_stats_add(&follower->stats.commit_failures, 1);
    return status == MR_AGAIN && !wait ? MR_OK : status;
}

/* Commits when it is due; a sink with marks is drained for that, which is at once for what it has taken. */
static mr_status commit_turn(struct mr_follower *follower, struct mr_err *err)
{
    /* As lanes do: the first positions after a pause need not wait. */
    if (mr_clock_ns() < (follower->flight.ready_count ? follower->commit_due_ns : follower->resend_due_ns))
        return MR_OK;
    if (follower->sink.ops->mark && follower->flight.ticket_count) return MR_OK;
    return commit(follower, false, err);
}

static bool wants_mark(const struct mr_follower *follower)
{
    return follower->sink.ops->mark && follower->flight.ready_count && mr_clock_ns() >= follower->commit_due_ns;
}

void mr_follower_revoked(void *context, const struct mr_position *positions, size_t count, bool is_lost)
{
    struct mr_follower *const follower = context;
    const int64_t deadline_ns = mr_clock_ns() + REVOKE_TIMEOUT_NS;
    struct mr_err err = {0};
    mr_status status = MR_OK;
    if (follower->is_rebuilding) return; /* nothing is in flight */
    while (!status && !follower->is_delivering && follower->flight.ticket_count && mr_clock_ns() < deadline_ns &&
           !is_aborted(follower))
        status = settle(follower, IN_FLIGHT_WAIT_US, &err);
    if (!status && !follower->flight.ticket_count) {
        if (is_lost && follower->sink.ops->mark) /* what it holds is held, whoever reads on */
            status = follower->sink.ops->mark(follower->sink.sink, follower->flight.ready, follower->flight.ready_count,
                                              &err);
        else if (!is_lost)
            status = commit(follower, true, &err);
    } else if (follower->sink.ops->mark) {
        follower->must_restart = true; /* it was given what no mark tells of */
    }
    if (status && status != MR_AGAIN && status != MR_ERETRY) {
        follower->must_restart = true;
        mr_log(MR_LOG_WARN, "follower", "%s: partitions leave: %s", follower->group, err.text);
    }
    mr_flight_forget(&follower->flight, positions, count);
    for (size_t i = 0; i < count; i++) {
        struct mr_follower_part *const part = part_of(follower, positions[i].partition);
        if (part) *part = (struct mr_follower_part){false, -1, -1, -1, -1};
    }
}

/* ---- the end, and how far away it is ---- */

static mr_status ends_ask(struct mr_follower *follower)
{
    struct mr_err err;
    size_t count = 0;
    int32_t *const partition = calloc((size_t)follower->part_cap + 1, sizeof *partition);
    int64_t *const end = calloc((size_t)follower->part_cap + 1, sizeof *end);
    mr_status status = partition && end ? MR_OK : MR_ENOMEM;
    for (int32_t i = 0; i < follower->part_cap && !status; i++)
        if (follower->part[i].is_owned) partition[count++] = i;
    if (!status) status = mr_topic_ends_ask(follower->ends, partition, count, end, ENDS_TIMEOUT_MS, &err);
    for (size_t i = 0; i < count && !status; i++) follower->part[partition[i]].end = end[i];
    free(partition);
    free(end);
    return status;
}

/* Offsets that are not settled yet, as far as ends are known. */
static void lag_note(struct mr_follower *follower)
{
    int64_t lag = 0;
    bool is_known = follower->source && follower->source_ops->has_joined(follower->source);
    for (int32_t i = 0; i < follower->part_cap && is_known; i++) {
        const struct mr_follower_part *const part = &follower->part[i];
        if (!part->is_owned) continue;
        is_known = part->end >= 0;
        if (part->end > part->next) lag += part->end - (part->next > 0 ? part->next : 0);
    }
    atomic_store(&follower->lag, is_known ? lag : -1);
}

/* Now and then, and when the last commit of the lanes is behind us: from then on the ends stand. */
static void ends_turn(struct mr_follower *follower)
{
    const int64_t now_ns = mr_clock_ns();
    const bool is_finishing = atomic_load(&follower->phase) == MR_FOLLOWER_FINISH;
    if (is_finishing && !follower->finish_ns) {
        follower->finish_ns = now_ns;
        follower->has_ends = false;
        follower->ends_due_ns = 0;
        progress_note(follower);
    }
    if (now_ns >= follower->ends_due_ns && !(is_finishing && follower->has_ends)) {
        follower->has_ends = follower->source_ops->has_joined(follower->source) && !ends_ask(follower);
        follower->ends_due_ns =
            mr_clock_ns() + (is_finishing && !follower->has_ends ? ENDS_PAUSE_NS : ENDS_INTERVAL_NS);
    }
    lag_note(follower);
}

static bool is_finished(const struct mr_follower *follower)
{
    return follower->finish_ns && follower->has_ends && !follower->flight.ticket_count && !atomic_load(&follower->lag);
}

static mr_status quiet_check(const struct mr_follower *follower, struct mr_err *err)
{
    const int64_t quiet_ns = mr_clock_ns() - atomic_load(&follower->progress_ns);
    if (!follower->finish_ns || quiet_ns < QUIET_NS) return MR_OK;
    return mr_fail(err, MR_ERETRY,
                   "sinks[%zu] (%s): nothing moved for %d s, and %lld offsets of topic \"%s\" are not in it: %s; start "
                   "again to go on",
                   follower->index, follower->sink.ops->name, (int)(QUIET_NS / 1000000000),
                   (long long)atomic_load(&follower->lag), follower->topic,
                   follower->flight.ticket_count ? "it acknowledges nothing"
                   : follower->has_ends          ? "the transaction of another producer is still open in there"
                                                 : "no broker gives them");
}

/* ---- the loop ---- */

static void idle(void *context)
{
    struct mr_follower *const follower = context;
    size_t count;
    follower->source_ops->poll(follower->source, NULL, 0, 0, 0, &count, NULL);
}

static uint32_t rows_of(const struct mr_follower *follower, const struct mr_message *message)
{
    uint32_t rows = 1;
    if (follower->run->job->emit.framing != MR_EMIT_LINES || !message->value) return rows;
    const char *at = message->value, *const end = at + message->value_bytes;
    while ((at = memchr(at, '\n', (size_t)(end - at)))) at++, rows++;
    return rows;
}

static void record_fill(struct mr_follower *follower, const struct mr_message *message, struct mr_header *header,
                        struct mr_record *record)
{
    *record = (struct mr_record){.value = message->value,
                                 .value_bytes = (uint32_t)message->value_bytes,
                                 .key = message->key,
                                 .key_bytes = (uint32_t)message->key_bytes,
                                 .partition = message->partition,
                                 .header = header,
                                 .timestamp_ms = follower->source_ops->timestamp_ms(follower->source, message),
                                 .offset = message->offset,
                                 .source_partition = message->partition,
                                 .row_count = rows_of(follower, message),
                                 .message = message};
    for (size_t i = 0; i < follower->header_count; i++) {
        struct mr_span value;
        if (!follower->source_ops->header(follower->source, message, follower->header_name[i], &value)) continue;
        header[record->header_count++] = (struct mr_header){follower->header_name[i], value.data, value.bytes};
    }
}

/* Hands what was polled to the sink. */
static mr_status batch_deliver(struct mr_follower *follower, struct mr_follower_batch *batch, struct mr_err *err)
{
    struct mr_ticket *const ticket = mr_ticket_open(&follower->flight);
    struct mr_box *const box = ticket ? mr_box_open(&follower->flight, ticket) : NULL;
    uint64_t bytes = 0;
    if (!box) return mr_fail(err, MR_EINVARIANT, "a follower has more batches than boxes");
    batch->sequence = ticket->sequence;
    ticket->oldest_ms = follower->source_ops->timestamp_ms(follower->source, &batch->message[0]);
    mr_status status = mr_ticket_cover(ticket, batch->message, batch->count, err);
    for (size_t i = 0; i < batch->count; i++) {
        struct mr_record *const record = &box->out.record[box->out.count++];
        record_fill(follower, &batch->message[i], batch->header + i * follower->header_count, record);
        box->rows += record->row_count;
        follower->part[record->source_partition].given = record->offset + 1; /* it began: it is there */
        bytes += record->value_bytes;
    }
    ticket->in = box->rows;
    mr_stats_add(&follower->stats.messages_in, batch->count);
    mr_stats_add(&follower->stats.records_in, box->rows);
    mr_stats_add(&follower->stats.bytes_in, bytes);
    follower->is_delivering = true;
    if (!status) status = mr_deliver(follower->run, box, &follower->sink, 1, idle, follower, err);
    follower->is_delivering = false;
    mr_ticket_close(ticket);
    return status;
}

/* Ends that were told with what was polled: behind its tickets, positions go on over what is handed to nobody. */
static mr_status reached_take(struct mr_follower *follower, struct mr_err *err)
{
    struct mr_ticket *ticket = NULL;
    mr_status status = MR_OK;
    for (int32_t i = 0; i < follower->part_cap && !status; i++) {
        struct mr_follower_part *const part = &follower->part[i];
        if (!part->is_owned || part->reached < 0) continue;
        if (part->reached > part->given) { /* with the same poll, records behind it may have come */
            if (!ticket && !(ticket = mr_ticket_open(&follower->flight))) return MR_OK; /* later */
            const struct mr_message before = {.offset = part->reached - 1, .partition = i};
            status = mr_ticket_cover(ticket, &before, 1, err);
            part->given = part->reached;
        }
        part->reached = -1;
    }
    if (ticket) mr_ticket_close(ticket);
    return status;
}

static mr_status poll_turn(struct mr_follower *follower, int64_t wait_us, struct mr_err *err)
{
    struct mr_follower_batch *const batch =
        &follower->batch[(follower->batch_first + follower->batch_count) % MR_FOLLOWER_BATCHES];
    const bool is_full = follower->batch_count == MR_FOLLOWER_BATCHES ||
                         follower->flight.ticket_count == follower->flight.ticket_cap || wants_mark(follower);
    size_t count = 0;
    mr_status status =
        follower->source_ops->poll(follower->source, batch->message,
                                   is_full ? 0 : follower->flight.box[0].out.record_cap, wait_us, 0, &count, err);
    if (status == MR_EDATA && !follower->has_explained) lost_explain(follower, err);
    if (status == MR_AGAIN) status = err->status = MR_ERESTART; /* brokers may be away for as long as they like */
    if (status || !count) return status ? status : reached_take(follower, err);
    progress_note(follower);
    batch->count = count;
    follower->batch_count++;
    status = batch_deliver(follower, batch, err);
    return status ? status : reached_take(follower, err);
}

static mr_status turn(struct mr_follower *follower, struct mr_err *err)
{
    const bool is_busy = follower->flight.ticket_count;
    const int64_t wait_us = is_busy ? 0 : follower->finish_ns ? FINISH_WAIT_US : IDLE_WAIT_US;
    mr_status status = poll_turn(follower, wait_us, err);
    if (!status && follower->must_restart) status = MR_ERESTART; /* before anything is marked */
    if (!status)
        status = settle(follower, is_busy && follower->batch_count == MR_FOLLOWER_BATCHES ? IN_FLIGHT_WAIT_US : 0, err);
    if (!status) status = commit_turn(follower, err);
    if (!status) ends_turn(follower);
    return status ? status : quiet_check(follower, err);
}

/* Settles and keeps what was taken. */
static mr_status finish(struct mr_follower *follower, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = COMMIT_PAUSE_NS};
    mr_status status = MR_OK;
    while (!status && follower->flight.ticket_count && !is_aborted(follower))
        status = settle(follower, IN_FLIGHT_WAIT_US, err);
    const int64_t deadline_ns = mr_clock_ns() + COMMIT_TIMEOUT_NS;
    if (status == MR_ERESTART && err) err->status = MR_ERETRY; /* the next run does it */
    if (status || follower->flight.ticket_count) return status;
    while ((status = commit(follower, true, err)) == MR_AGAIN && mr_clock_ns() < deadline_ns && !is_aborted(follower))
        nanosleep(&pause, NULL);
    return status == MR_AGAIN || status == MR_ERETRY
               ? mr_fail(err, MR_ERETRY, "sinks[%zu] (%s): its offsets could not be committed in time%s",
                         follower->index, follower->sink.ops->name,
                         follower->sink.ops->mark ? "; what it holds is marked: nothing will be repeated"
                                                  : ": they will be repeated")
               : status;
}

/* Brokers may be away for as long as they like. */
static mr_status reopen(struct mr_follower *follower, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = COMMIT_PAUSE_NS};
    mr_status status;
    do {
        mr_follower_close(follower);
        status = mr_follower_open(follower, err);
        if (status != MR_EKAFKA) return status;
        mr_log(MR_LOG_WARN, "follower", "%s: %s", follower->group, err->text);
        nanosleep(&pause, NULL);
    } while (!is_aborted(follower) && atomic_load(&follower->phase) != MR_FOLLOWER_LEAVE);
    return status;
}

static mr_status follow(struct mr_follower *follower, struct mr_err *err)
{
    mr_status status = mr_follower_open(follower, err);
    if (!status) atomic_store(&follower->is_open, true);
    for (;;) {
        while (!status && !is_aborted(follower) && atomic_load(&follower->phase) != MR_FOLLOWER_LEAVE &&
               !is_finished(follower))
            status = turn(follower, err);
        if (status != MR_ERESTART) break;
        mr_log(MR_LOG_INFO, "follower", "%s: begins anew where its sink was marked last", follower->group);
        status = reopen(follower, err);
    }
    if (!status && !is_aborted(follower)) status = finish(follower, err);
    if (!status && atomic_load(&follower->lag) > 0)
        mr_log(MR_LOG_INFO, "follower",
               "sinks[%zu] (%s): %" PRId64 " offsets of topic \"%s\" are left for the next run", follower->index,
               follower->sink.ops->name, atomic_load(&follower->lag), follower->topic);
    if (!status && is_aborted(follower) && (follower->flight.ticket_count || follower->flight.ready_count))
        return mr_fail(err, MR_ERETRY, "sinks[%zu] (%s): left at once: the next run goes on where it was %s",
                       follower->index, follower->sink.ops->name,
                       follower->sink.ops->mark ? "marked" : "committed, and repeats what was behind");
    return status;
}

void *mr_follower_main(void *argument)
{
    struct mr_follower *const follower = argument;
    struct mr_err err = {0};
    char name[16];
    snprintf(name, sizeof name, "follower %u", (unsigned)follower->index % 1000);
    pthread_setname_np(pthread_self(), name);
    if (follow(follower, &err)) follower->err = err;
    atomic_store(&follower->is_over, true);
    return NULL;
}
