/* The loop of DESIGN section 1: poll -> decode -> score -> encode -> emit -> commit, on one thread. */
#include "pipeline/lane.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/test_hook.h"
#include "codec/rows.h"
#include "kafka/transaction.h"
#include "pipeline/decode.h"
#include "pipeline/lane_commit.h"
#include "pipeline/lane_labels.h"
#include "pipeline/lane_learn.h"
#include "pipeline/lane_state.h"

#define IDLE_WAIT_US      100000             /* how long to wait for messages when nothing is in flight */
#define IN_FLIGHT_WAIT_US 5000               /* while acknowledgements are due */
#define JOIN_TIMEOUT_NS   (5 * 1000000000LL) /* then a lane joins without waiting for lane 0 any longer */
#define DRAIN_TIMEOUT_NS                                                                                               \
    (5 * 1000000000LL) /* SIGTERM must end within 10 s, and the last commit may wait 3 s for its answer */
#define COMMIT_PAUSE_NS   50000000
#define LAG_INTERVAL_NS   250000000
#define PLACE_BYTES       512                 /* of a bad record, as text: a longer path is cut */
#define REST_TIMEOUT_NS   (2 * 1000000000LL)  /* for what labels have left, within the 10 s */
#define SETTLE_TIMEOUT_NS (40 * 1000000000LL) /* of a transaction: longer than its messages may take */
#define REVOKE_TIMEOUT_NS (20 * 1000000000LL) /* less than a session timeout */

/* Ends the current stage and begins the next: the time since the last mark, and the CPU time, go to `stage`. */
static void stage_mark(struct mr_lane *lane, mr_stage stage)
{
    const int64_t now_ns = mr_clock_ns(), cpu_ns = mr_clock_thread_ns();
    mr_stats_add(&lane->stats.stage_ns[stage], (uint64_t)(now_ns - lane->stage_ns));
    mr_stats_add(&lane->stats.stage_cpu_ns[stage], (uint64_t)(cpu_ns - lane->stage_cpu_ns));
    lane->stage_ns = now_ns;
    lane->stage_cpu_ns = cpu_ns;
}

static mr_status lane_settle(struct mr_lane *lane, int64_t wait_us, struct mr_err *err);

/* How many of `count` polled messages --until still allows: what is granted is final. */
static size_t quota_take(struct mr_run *run, size_t count)
{
    if (!run->until.records) return count;
    const int64_t left = atomic_fetch_sub(&run->records_left, (int64_t)count);
    return left <= 0 ? 0 : left < (int64_t)count ? (size_t)left : count;
}

static bool quota_is_used(const struct mr_run *run)
{
    return run->until.records && atomic_load(&run->records_left) <= 0;
}

static struct mr_raw *raw_free(struct mr_lane *lane)
{
    for (size_t i = 0; i < MR_SLOT_COUNT; i++) {
        if (!lane->raw[i].is_used) return &lane->raw[i];
    }
    return NULL;
}

/* Notes whether all input was taken in; a transaction that is open then is committed first. */
static void end_reached(struct mr_lane *lane, bool is_over)
{
    lane->is_input_over = is_over;
    atomic_store(&lane->is_at_end, is_over && !(lane->exact && mr_lane_commit_is_open(lane)));
}

/* A lane that can go back to what is committed waits for brokers as long as they like, once any lane has seen them. */
static mr_status poll_judge(const struct mr_lane *lane, mr_status status, struct mr_err *err)
{
    bool has_joined = false;
    if (status != MR_AGAIN) return status;
    for (unsigned i = 0; i < lane->run->lane_count; i++) has_joined |= atomic_load(&lane->run->lane[i]->has_joined);
    return err->status = has_joined && (lane->exact || lane->state) ? MR_ERESTART : MR_EKAFKA;
}

/* Nothing may be polled now: serves events and acknowledgements instead. */
static mr_status lane_rest(struct mr_lane *lane, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    size_t count;
    const mr_status status = lane->run->job->source->poll(lane->source, NULL, 0, 0, 0, &count, err);
    if (status && status != MR_END) return poll_judge(lane, status, err);
    if (quota_is_used(lane->run)) {
        end_reached(lane, true);
        nanosleep(&pause, NULL); /* until the main thread has seen that all lanes are at their end */
        return MR_OK;
    }
    return lane_settle(lane, IN_FLIGHT_WAIT_US, err);
}

static mr_status input_take(struct mr_lane *lane, struct mr_raw *raw, size_t count, struct mr_err *err)
{
    uint64_t bytes = 0;
    raw->is_used = true;
    raw->count = count;
    raw->cursor = (struct mr_cursor){0};
    raw->slot_count = 0;
    raw->ticket = mr_ticket_open(&lane->flight);
    raw->ticket->oldest_ms = lane->run->job->source->timestamp_ms(lane->source, &raw->message[0]);
    lane->input = raw;
    for (size_t i = 0; i < count; i++) bytes += raw->message[i].value_bytes;
    mr_stats_add(&lane->stats.messages_in, count);
    mr_stats_add(&lane->stats.bytes_in, bytes);
    mr_status status = mr_ticket_cover(raw->ticket, raw->message, count, err);
    if (!status && lane->exact) {
        MR_TEST_HOOK("batch.polled");
        status = mr_lane_commit_begin(lane, err);
    }
    return status;
}

/* At most once: what was polled is committed before anything is done with it. What another member has now is dropped.
 */
static mr_status input_commit(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_raw *const raw = lane->input;
    struct mr_ticket *const ticket = raw->ticket;
    mr_status status;
    do {
        status = lane->run->job->source->commit(lane->source, ticket->position, ticket->position_count, true, err);
    } while (status == MR_AGAIN && mr_run_state_now(lane->run) != MR_RUN_ABORT);
    if (!status) mr_stats_add(&lane->stats.commits, 1);
    ticket->position_count = 0;
    if (status != MR_ERETRY) return status;
    mr_log(MR_LOG_INFO, "lane", "%zu messages were not taken: %s", raw->count, err->text);
    mr_ticket_close(ticket);
    lane->run->job->source->release(lane->source, raw->message, raw->count);
    raw->is_used = false;
    lane->input = NULL;
    return MR_OK;
}

/* Polls the next batch of messages into lane->input; leaves it NULL when none came. */
static mr_status lane_poll(struct mr_lane *lane, int64_t wait_us, struct mr_err *err)
{
    const struct mr_job *job = lane->run->job;
    struct mr_raw *raw = raw_free(lane);
    size_t count = 0;

    if (!raw || lane->flight.ticket_count == lane->flight.ticket_cap || quota_is_used(lane->run))
        return lane_rest(lane, err);
    /* Revocations run inside: the ticket is opened afterwards, so that they find only what is really in flight. */
    const mr_status status =
        job->source->poll(lane->source, raw->message, mr_lane_poll_cap(lane, raw), wait_us, lane->fill_us, &count, err);
    end_reached(lane, status == MR_END && (!lane->labels || lane->labels->topic->is_at_end));
    if (!lane->has_joined && job->source->has_joined && job->source->has_joined(lane->source))
        atomic_store(&lane->has_joined, true);
    stage_mark(lane, count ? MR_STAGE_POLL : MR_STAGE_WAIT);
    if (status && status != MR_END) return poll_judge(lane, status, err);
    if (!count) return MR_OK;
    const size_t granted = quota_take(lane->run, count);
    if (granted < count) job->source->release(lane->source, raw->message + granted, count - granted);
    if (!granted) return MR_OK;
    const mr_status taken = input_take(lane, raw, granted, err);
    return !taken && job->delivery == MR_DELIVERY_AT_MOST_ONCE ? input_commit(lane, err) : taken;
}

/* Decodes what fits of the input, up to message `limit`, into the slot. */
static void slot_decode(struct mr_lane *lane, struct mr_slot *slot, size_t limit)
{
    struct mr_raw *const raw = slot->raw;
    struct mr_rows *const rows = &slot->rows;
    const struct mr_decode_input input = {
        .run = lane->run, .decoder = lane->decoder, .source = lane->source, .messages = raw->message};
    slot->from = raw->cursor;
    rows->row_count = rows->reject_count = 0;
    const size_t filtered = mr_decode(&input, slot, &raw->cursor, limit);
    mr_decode_parts(&input, slot);
    const size_t in = filtered + rows->row_count + rows->reject_count;
    raw->ticket->filtered += filtered;
    raw->ticket->in += in;
    mr_stats_add(&lane->stats.records_in, in);
}

/* Trips at once for all lanes: nothing more is polled, and what was polled is finished, so that at most one batch a
 * lane comes too late. */
static void breaker_ask(struct mr_lane *lane, const struct mr_rows *rows)
{
    struct mr_run *run = lane->run;
    if (lane->has_tripped) return;
    struct mr_err err = {0};
    lane->has_tripped =
        mr_breaker_count(&run->breaker, &run->job->bad_records, rows, &lane->bad_run_length, &err) != MR_OK;
    if (!lane->has_tripped) return;
    if (!lane->err.status) lane->err = err;
    mr_run_stop(run, MR_RUN_DRAIN);
}

/* Who watches the run gets a few of the rows. */
static void scores_show(const struct mr_lane *lane, const struct mr_slot *slot)
{
    const struct mr_run *const run = lane->run;
    const struct mr_tap_batch batch = {.models = &run->models,
                                       .rows = &slot->rows,
                                       .scores = slot->scores,
                                       .message = slot->raw->message,
                                       .source_ops = run->job->source,
                                       .source = lane->source,
                                       .id = run->layout->text_count ? run->layout->text : NULL};
    mr_tap_rows(run->tap, &batch);
}

/* Waits for the scores of a slot, compares a share of them with the reference's, and all of them with their labels. */
static mr_status scores_take(struct mr_lane *lane, struct mr_slot *slot, struct mr_err *err)
{
    struct mr_models *const models = &lane->run->models;
    mr_status status = mr_models_wait(models, &slot->queues, &slot->rows, slot->scores, err);
    if (!status) status = mr_precision_batch(&lane->precision, &slot->queues, &slot->rows, slot->scores, err);
    if (!status) status = mr_cross_check_batch(&lane->check, &slot->queues, &slot->rows, slot->scores, err);
    if (!status && !lane->labels) mr_models_judge(models, &slot->rows, slot->scores);
    if (!status && lane->run->tap) scores_show(lane, slot);
    return status;
}

/* Decodes the next slot from the input and starts its scores. */
static mr_status slot_start(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_run *run = lane->run;
    struct mr_slot *slot = &lane->slot[(lane->slot_first + lane->slot_count) % MR_SLOT_COUNT];
    size_t limit;

    if (!lane->holds_models) mr_models_hold(&run->models);
    lane->holds_models = true;
    slot->raw = lane->input;
    mr_status status = mr_lane_block_begin(lane, slot, &limit, err);
    if (status) return status;
    slot->raw->slot_count++;
    slot_decode(lane, slot, limit);
    breaker_ask(lane, &slot->rows);
    mr_rows_tail_zero(&slot->rows);
    if (lane->input->cursor.message == lane->input->count) lane->input = NULL;
    stage_mark(lane, MR_STAGE_DECODE);
    status = mr_models_score(&run->models, &slot->queues, &slot->rows, slot->scores, err);
    if (!status && run->is_ordered) {
        status = scores_take(lane, slot, err);
        if (!status) status = mr_lane_learn(lane, slot, limit, err);
        MR_TEST_HOOK("batch.learned");
        if (!status && lane->labels) status = mr_lane_labels_take(lane, slot, err);
    }
    if (!status && run->tap) mr_tap_models(run->tap, &run->models);
    lane->slot_count++;
    stage_mark(lane, MR_STAGE_SCORE);
    return status;
}

/* Serves acknowledgements, settles what is done, waits up to wait_us for more. */
static mr_status lane_settle(struct mr_lane *lane, int64_t wait_us, struct mr_err *err)
{
    mr_status status = mr_sinks_settle(lane->sink, lane->sink_count, &lane->flight, wait_us, err);
    if (!status) status = mr_dead_poll(lane->dead, err);
    if (!status && !lane->is_delivering) status = mr_dead_flush(lane->dead, err);
    if (!status) status = mr_flight_settle(&lane->flight, err);
    stage_mark(lane, wait_us ? MR_STAGE_WAIT : MR_STAGE_SETTLE);
    return status;
}

/* How much waits in the topics, now and then, for who watches. */
static void lag_tell(struct mr_lane *lane, int64_t now_ns)
{
    const struct mr_source_ops *const ops = lane->run->job->source;
    if (!lane->run->tap || !ops->lag || now_ns < lane->lag_due_ns) return;
    lane->lag_due_ns = now_ns + LAG_INTERVAL_NS;
    atomic_store_explicit(&lane->stats.lag, mr_lags_take(&lane->lags, ops, lane->source), memory_order_relaxed);
}

void mr_lane_idle(void *context)
{
    struct mr_lane *lane = context;
    const bool was_delivering = lane->is_delivering;
    size_t count;
    if (lane->is_revoking) return; /* inside the client's own callback: it is hearing from us */
    lane->is_delivering = true;    /* what leaves now can not be finished first */
    lane->run->job->source->poll(lane->source, NULL, 0, 0, 0, &count, NULL);
    if (lane->labels) mr_label_topic_serve(lane->labels->topic);
    lag_tell(lane, mr_clock_ns());
    lane->is_delivering = was_delivering;
}

/* Since when it waits for sinks; 0: it does not. */
static void held_set(struct mr_lane *lane, int64_t since_ns)
{
    atomic_store_explicit(&lane->stats.held_ns, since_ns, memory_order_relaxed);
}

static mr_status lane_deliver(struct mr_lane *lane, struct mr_box *box, struct mr_err *err)
{
    uint64_t bytes = box->out.arena_used;
    mr_stats_add(&lane->stats.messages_out, box->out.count);
    mr_stats_add(&lane->stats.bytes_out, bytes);
    lane->is_delivering = true;
    held_set(lane, lane->stage_ns);
    lag_tell(lane, lane->stage_ns); /* as it is while a sink holds it up */
    const mr_status status = mr_deliver(lane->run, box, lane->sink, lane->sink_count, mr_lane_idle, lane, err);
    held_set(lane, 0);
    lane->is_delivering = false;
    stage_mark(lane, MR_STAGE_EMIT);
    return status;
}

static mr_status box_acquire(struct mr_lane *lane, struct mr_ticket *ticket, struct mr_box **box_out,
                             struct mr_err *err)
{
    const int64_t began_ns = mr_clock_ns();
    int64_t idle_due_ns = began_ns + 1000 * lane->run->idle_interval_us;
    while (!(*box_out = mr_box_open(&lane->flight, ticket))) {
        held_set(lane, began_ns);
        lag_tell(lane, mr_clock_ns());
        const mr_status status = lane_settle(lane, IN_FLIGHT_WAIT_US, err);
        held_set(lane, 0);
        if (status) return status;
        if (mr_clock_ns() >= idle_due_ns) {
            mr_lane_idle(lane);
            idle_due_ns = mr_clock_ns() + 1000 * lane->run->idle_interval_us;
        }
        if (mr_run_state_now(lane->run) == MR_RUN_ABORT)
            return mr_fail(err, MR_ERETRY, "stopped while outputs were not acknowledged");
    }
    return MR_OK;
}

static mr_status rejects_add(struct mr_lane *lane, const struct mr_slot *slot, struct mr_err *err)
{
    const struct mr_job *job = lane->run->job;
    mr_status status = MR_OK;
    for (size_t i = 0; i < slot->rows.reject_count && !status; i++) {
        const struct mr_reject *reject = &slot->rows.reject[i];
        const struct mr_message *message = &slot->raw->message[reject->message];
        char place[PLACE_BYTES];
        const bool is_placed =
            job->source->place && job->source->place(lane->source, message, reject->first, place, sizeof place);
        const struct mr_bad bad = {
            .value = message->value ? message->value + reject->first : NULL,
            .value_bytes = reject->bytes,
            .key = message->key,
            .key_bytes = message->key_bytes,
            .topic = job->source->topic_name(lane->source, message->topic),
            .partition = message->partition,
            .offset = message->offset,
            .timestamp_ms = job->source->timestamp_ms(lane->source, message),
            .reason = reject->reason,
            .stage = reject->reason == MR_REASON_OUTPUT_SIZE ? "output" : "decode",
            .field = reject->field == MR_FIELD_NONE ? NULL : lane->run->layout->schema.field[reject->field].path,
            .place = is_placed ? place : NULL,
            .rows = 1};
        if (lane->run->tap) mr_tap_dead(lane->run->tap, bad.topic, bad.partition, bad.offset, bad.reason, bad.field);
        status = mr_dead_add(lane->dead, slot->raw->ticket, &bad, err);
    }
    if (!status) status = mr_dead_flush(lane->dead, err);
    return status;
}

/* The messages of a slot's batch are no longer needed once all its slots are encoded. */
static void raw_leave(struct mr_lane *lane, struct mr_raw *raw)
{
    if (--raw->slot_count || raw->cursor.message < raw->count) return;
    mr_ticket_close(raw->ticket);
    lane->run->job->source->release(lane->source, raw->message, raw->count);
    raw->is_used = false;
}

void mr_lane_models_leave(struct mr_lane *lane)
{
    if (lane->holds_models && !lane->slot_count) {
        mr_models_leave(&lane->run->models);
        lane->holds_models = false;
    }
}

/* Waits for the oldest slot's scores, encodes them and hands them to the sinks. */
static mr_status slot_finish(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_slot *slot = &lane->slot[lane->slot_first];
    const struct mr_encode_input input = {.messages = slot->raw->message,
                                          .scores = slot->scores,
                                          .source_ops = lane->run->job->source,
                                          .source = lane->source,
                                          .is_continued = slot->from.byte > 0};
    mr_status status = lane->run->is_ordered ? MR_OK : scores_take(lane, slot, err);
    const size_t rejects_decoded = slot->rows.reject_count;
    size_t row = 0;

    stage_mark(lane, MR_STAGE_SCORE);
    while (!status && row < slot->rows.row_count) {
        struct mr_box *box;
        const size_t row_before = row, rejects_before = slot->rows.reject_count;
        status = box_acquire(lane, slot->raw->ticket, &box, err);
        if (status) break;
        mr_encode(lane->encoder, &input, &slot->rows, &row, &box->out);
        atomic_store_explicit(&lane->stats.values_null, mr_encoder_nonfinite_count(lane->encoder),
                              memory_order_relaxed);
        box->rows = row - row_before - (slot->rows.reject_count - rejects_before);
        stage_mark(lane, MR_STAGE_ENCODE);
        status = lane_deliver(lane, box, err);
    }
    if (!status && slot->rows.reject_count) {
        status = rejects_add(lane, slot, err);
        stage_mark(lane, MR_STAGE_EMIT);
    }
    mr_breaker_add_bad(&lane->run->breaker, slot->rows.reject_count - rejects_decoded);
    lane->slot_first = (lane->slot_first + 1) % MR_SLOT_COUNT;
    lane->slot_count--;
    raw_leave(lane, slot->raw);
    mr_lane_models_leave(lane);
    return status;
}

/*
 * Commits are at least an interval apart, but the first offsets that become ready after a longer pause need not wait:
 * those of a backlog that is found at start would else be open for an interval, and all of it repeated after a crash.
 * With nothing ready the source is still called once an interval: it sends again what was not stored.
 */
static bool commit_is_due(const struct mr_lane *lane)
{
    return mr_clock_ns() >= (lane->flight.ready_count ? lane->commit_due_ns : lane->resend_due_ns);
}

static mr_status commit_ready(struct mr_lane *lane, bool wait, struct mr_err *err)
{
    struct mr_flight *flight = &lane->flight;
    const bool is_any = flight->ready_count;
    lane->resend_due_ns = mr_clock_ns() + lane->run->job->commit_interval * 1000;
    if (is_any) lane->commit_due_ns = lane->resend_due_ns;
    mr_status status = lane->state ? mr_lane_state_note(lane, err) : MR_OK;
    if (status) return status;
    status = lane->run->job->source->commit(lane->source, flight->ready, flight->ready_count, wait, err);
    flight->ready_count = 0; /* the source sends again what could not be stored */
    if (status) {
        mr_log(MR_LOG_WARN, "lane", "%s", err->text);
        mr_stats_add(&lane->stats.commit_failures, 1);
        return status == MR_AGAIN && !wait ? MR_OK : status;
    }
    if (is_any) mr_stats_add(&lane->stats.commits, 1);
    if (is_any) lane->restarts = 0;
    stage_mark(lane, MR_STAGE_SETTLE);
    return MR_OK;
}

/* Commits until everything that is acknowledged is stored. */
static mr_status commit_finish(struct mr_lane *lane, int64_t deadline_ns, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = COMMIT_PAUSE_NS};
    mr_status status;
    while ((status = commit_ready(lane, true, err)) == MR_AGAIN && mr_clock_ns() < deadline_ns &&
           mr_run_state_now(lane->run) != MR_RUN_ABORT) {
        nanosleep(&pause, NULL);
    }
    if (status != MR_AGAIN) return status;
    char reason[256];
    snprintf(reason, sizeof reason, "%.250s", err->text);
    return mr_fail(
        err, MR_ERETRY,
        "outputs are delivered, but their offsets could not be committed in time (%s): they will be repeated", reason);
}

/* Everything that was taken in is settled: what was learned from it goes with it. */
static mr_status transaction_end(struct mr_lane *lane, struct mr_err *err)
{
    const bool has_state = lane->state && lane->flight.ready_count;
    MR_TEST_HOOK("commit.begin");
    mr_status status = has_state ? mr_lane_state_send(lane, err) : MR_OK;
    MR_TEST_HOOK("commit.after-state");
    if (status == MR_ERESTART) mr_commit_break(&lane->exact->protocol);
    if (!status) status = mr_lane_commit_end(lane, err);
    if (!status && has_state) mr_lane_state_committed(lane->state);
    if (!status) MR_TEST_HOOK("commit.done");
    return status;
}

/* Encodes what is scored, waits for its acknowledgements until the deadline, and commits. MR_ERETRY, or MR_ERESTART of
 * a transaction: not all was acknowledged in time. */
static mr_status lane_commit(struct mr_lane *lane, int64_t timeout_ns, struct mr_err *err)
{
    const int64_t began_ns = mr_clock_ns(), deadline_ns = began_ns + timeout_ns;
    mr_status status = MR_OK;
    while (!status && (lane->slot_count || lane->input))
        status = lane->slot_count ? slot_finish(lane, err) : slot_start(lane, err);
    while (!status && lane->flight.ticket_count && mr_clock_ns() < deadline_ns &&
           mr_run_state_now(lane->run) != MR_RUN_ABORT) {
        status = lane_settle(lane, IN_FLIGHT_WAIT_US, err);
    }
    const bool is_settled = !lane->flight.ticket_count, has_file = lane->state && !lane->exact;
    /* The file first: the group's offsets must never be ahead of what it knows nothing of. */
    if (!status && has_file && is_settled) status = mr_lane_state_write(lane, err);
    if (!status && !lane->exact && (is_settled || !has_file)) status = commit_finish(lane, deadline_ns, err);
    if (!status && !is_settled)
        return mr_fail(err, lane->exact ? MR_ERESTART : MR_ERETRY,
                       "not every output was acknowledged within %d s: what was not is not committed and will be "
                       "repeated",
                       (int)(timeout_ns / 1000000000));
    if (!status && lane->exact) {
        const uint64_t before = atomic_load_explicit(&lane->stats.commits, memory_order_relaxed);
        status = transaction_end(lane, err);
        const bool has_committed = atomic_load_explicit(&lane->stats.commits, memory_order_relaxed) != before;
        if (!status && has_committed) mr_histogram_add(&lane->stats.commit_ns, mr_clock_ns() - began_ns, 1);
    }
    stage_mark(lane, MR_STAGE_SETTLE);
    return status;
}

void mr_lane_revoked(struct mr_lane *lane, const struct mr_position *positions, size_t count, bool is_lost)
{
    struct mr_err err = {0};
    atomic_store(&lane->is_at_end, false); /* a bounded run goes on until the partitions that come instead are read */
    if (lane->is_rebuilding) return;       /* nothing is in flight, and the other lanes may be gone */
    /* So it does with those that another lane gets of this one's: it may have been without any, and so at its end. */
    for (unsigned i = 0; i < lane->run->lane_count; i++) atomic_store(&lane->run->lane[i]->is_at_end, false);
    MR_TEST_HOOK("revoke.begin");
    const bool can_commit =
        !is_lost && !lane->is_delivering && lane->err.status == MR_OK && mr_run_state_now(lane->run) != MR_RUN_ABORT;
    lane->is_revoking = true;
    lane->revoke_until_ns = mr_clock_ns() + REVOKE_TIMEOUT_NS;
    if (can_commit && lane_commit(lane, REVOKE_TIMEOUT_NS, &err)) {
        mr_log(MR_LOG_WARN, "lane", "%zu partitions leave before all of their records are committed: %s", count,
               err.text);
        if (err.status != MR_ERETRY && err.status != MR_ERESTART) lane->err = err;
    }
    if (lane->exact && mr_lane_commit_is_open(lane)) { /* also inside a commit: it must not go on with other offsets */
        lane->must_restart = true;
        mr_commit_break(&lane->exact->protocol);
    }
    if (lane->state && !lane->exact) lane->must_restart |= !mr_lane_state_is_settled(lane);
    MR_TEST_HOOK("revoke.done");
    lane->is_revoking = false;
    lane->revoke_until_ns = 0;
    mr_flight_forget(&lane->flight, positions, count);
}

/* Commits the open transaction when it is due, and when nothing can be added to it. */
static mr_status exact_turn(struct mr_lane *lane, struct mr_err *err)
{
    if (lane->err.status) return lane->err.status;
    return mr_lane_commit_is_due(lane) ? lane_commit(lane, SETTLE_TIMEOUT_NS, err) : MR_OK;
}

/* What was learned from partitions that have left, and is not kept, comes again: the models must be without it. */
static mr_status leave_check(const struct mr_lane *lane, struct mr_err *err)
{
    return lane->must_restart && !lane->err.status
               ? mr_fail(err, MR_ERESTART, "partitions left before their records were committed")
               : MR_OK;
}

/* Writes the file with what is learned. Brokers may be away for as long as they like: what cannot be settled or stored
 * now is kept the next time. */
static mr_status file_turn(struct mr_lane *lane, struct mr_err *err)
{
    const mr_status status = lane_commit(lane, SETTLE_TIMEOUT_NS, err);
    if (status != MR_ERETRY || lane->err.status || mr_run_state_now(lane->run) != MR_RUN_ON) return status;
    mr_log(MR_LOG_WARN, "lane", "lane %u: what is learned cannot be kept yet: %s", lane->index, err->text);
    return MR_OK;
}

/* One turn: take what is there, score it, pass on what is scored, settle what is acknowledged. */
static mr_status lane_turn(struct mr_lane *lane, struct mr_err *err)
{
    mr_status status = MR_OK;
    bool has_started = false;
    if (!lane->input) {
        const bool is_short = lane->flight.ticket_count || lane->labels; /* something else may come */
        const bool is_busy = lane->slot_count || (lane->labels && lane->labels->topic->was_fed);
        const int64_t wait_us = is_busy ? 0 : is_short ? IN_FLIGHT_WAIT_US : IDLE_WAIT_US;
        status = lane_poll(lane, wait_us, err);
    }
    if (!status && lane->input) {
        has_started = true;
        status = slot_start(lane, err);
    }
    /* A slot stays on the device while the next one is polled and decoded; without more input there is nothing to
     * overlap with. */
    if (!status && lane->slot_count &&
        (lane->slot_count == MR_SLOT_COUNT || !has_started || !mr_units_overlap(&lane->run->units))) {
        status = slot_finish(lane, err);
    }
    while (!status && lane->slot_count && mr_models_are_wanted(&lane->run->models)) status = slot_finish(lane, err);
    if (!status && lane->labels) status = mr_lane_labels_turn(lane, !has_started, err);
    if (!status) lag_tell(lane, lane->stage_ns);
    if (!status) status = lane_settle(lane, 0, err);
    if (!status) status = leave_check(lane, err);
    if (!status && lane->exact) return exact_turn(lane, err);
    if (!status && lane->state && mr_lane_state_is_due(lane)) status = file_turn(lane, err);
    if (!status && commit_is_due(lane)) status = commit_ready(lane, false, err);
    return status ? status : lane->err.status;
}

/* Takes up the lane's share of the input, after lane 0. */
static mr_status lane_join(struct mr_lane *lane, struct mr_err *err)
{
    const struct mr_source_ops *ops = lane->run->job->source;
    const struct mr_lane *first = lane->run->lane[0];
    const struct timespec pause = {.tv_nsec = 1000000};
    const int64_t deadline_ns = mr_clock_ns() + JOIN_TIMEOUT_NS;

    if (!ops->join) return MR_OK;
    while (lane != first && !atomic_load(&first->has_joined) && mr_run_state_now(lane->run) == MR_RUN_ON &&
           mr_clock_ns() < deadline_ns)
        nanosleep(&pause, NULL);
    const mr_status status = ops->join(lane->source, err);
    return !status && lane->labels ? mr_label_topic_join(lane->labels->topic, err) : status;
}

/* Takes what is left to be learned from, so that what is saved has it. */
static void lane_finish(struct mr_lane *lane)
{
    struct mr_err err = {0};
    mr_status status = MR_OK;
    if (lane->labels)
        status = mr_lane_labels_finish(lane, mr_clock_ns() + REST_TIMEOUT_NS, &err);
    else if (!lane->state) /* else the next run goes on with what is left */
        status = mr_lane_learn_rest(lane, &err);
    if (status) lane->err = err;
}

void *mr_lane_main(void *argument)
{
    struct mr_lane *lane = argument;
    struct mr_err err = {0};
    mr_status status = MR_OK;
    char name[16];

    snprintf(name, sizeof name, "lane %u", lane->index);
    pthread_setname_np(pthread_self(), name);
    lane->stage_ns = mr_clock_ns();
    lane->stage_cpu_ns = mr_clock_thread_ns();
    lane->commit_due_ns = lane->resend_due_ns = lane->stage_ns;
    status = lane_join(lane, &err);
    for (;;) {
        while (!status && mr_run_state_now(lane->run) == MR_RUN_ON) status = lane_turn(lane, &err);
        if (status != MR_ERESTART) break;
        status = mr_lane_restart(lane, &err);
    }
    if (status && !lane->err.status)
        lane->err = err; /* err alone may hold what has passed: a commit that was sent again */
    if (mr_run_state_now(lane->run) != MR_RUN_ABORT &&
        (!status || status == MR_EDATA)) { /* the breaker's stop still delivers what is scored */
        struct mr_err drain_err = {0};
        const bool has_work = !lane->exact || mr_lane_commit_has_work(lane); /* else all of it is committed */
        if (has_work && lane_commit(lane, DRAIN_TIMEOUT_NS, &drain_err) && !lane->err.status) {
            lane->err = drain_err;
            if (drain_err.status == MR_ERESTART)
                mr_fail(&lane->err, MR_ERETRY, "the last transaction was not committed (%.600s): start again to go on",
                        drain_err.text);
        }
    }
    if (mr_run_state_now(lane->run) != MR_RUN_ABORT && !lane->err.status) lane_finish(lane);
    if (mr_run_state_now(lane->run) == MR_RUN_ABORT && !lane->err.status &&
        (lane->flight.ticket_count || lane->flight.ready_count || (lane->exact && mr_lane_commit_is_open(lane)))) {
        mr_fail(&lane->err, MR_ERETRY, "left at once: what was not delivered and committed will be repeated");
    }
    if (lane->exact && mr_run_state_now(lane->run) != MR_RUN_ABORT) mr_transaction_leave(lane->exact->transaction);
    mr_lane_sinks_finish(lane);
    atomic_store(&lane->is_over, true);
    return NULL;
}
