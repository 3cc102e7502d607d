#include "pipeline/lane_commit.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/options.h"
#include "base/test_hook.h"
#include "kafka/client.h"
#include "kafka/transaction.h"
#include "pipeline/lane_state.h"

#define RESTARTS_MAX        20 /* in a row, with nothing committed in between */
#define RESTART_PAUSE_MS    50 /* doubled each time */
#define MISSING_MAX         5
#define RESTART_PAUSE_MAX   5000
#define RESTART_DOUBLED_MAX 7
#define TRY_PAUSE_NS        20000000
#define DRAIN_LIMIT_NS      (4 * 1000000000LL) /* of the last commit of a run that is asked to end */
#define IDLE_TRIES          5                  /* of about a second; then the group hears from us */

static mr_txn_outcome commit_init(void *kafka, struct mr_err *err)
{
    const struct mr_lane *const lane = kafka;
    MR_TEST_HOOK("open.before-init");
    const mr_txn_outcome outcome = mr_transaction_init(lane->exact->transaction, err);
    MR_TEST_HOOK("open.after-init");
    return outcome;
}

static mr_txn_outcome commit_begin(void *kafka, struct mr_err *err)
{
    const struct mr_lane *const lane = kafka;
    return mr_transaction_begin(lane->exact->transaction, err);
}

static mr_txn_outcome commit_offsets(void *kafka, const struct mr_position *positions, size_t count, struct mr_err *err)
{
    const struct mr_lane *const lane = kafka;
    MR_TEST_HOOK("commit.before-offsets");
    const mr_txn_outcome outcome =
        lane->run->job->source->offsets_send(lane->source, lane->exact->transaction, positions, count, err);
    MR_TEST_HOOK("commit.after-offsets");
    return outcome;
}

static mr_txn_outcome commit_commit(void *kafka, struct mr_err *err)
{
    const struct mr_lane *const lane = kafka;
    return mr_transaction_commit(lane->exact->transaction, err);
}

static bool commit_is_dirty(void *kafka)
{
    const struct mr_lane *const lane = kafka;
    return mr_transaction_is_dirty(lane->exact->transaction);
}

static void commit_drop(void *kafka)
{
    const struct mr_lane *const lane = kafka;
    mr_transaction_drop(lane->exact->transaction);
}

bool mr_lane_commit_is_late(const struct mr_lane *lane)
{
    return mr_run_state_now(lane->run) == MR_RUN_ABORT ||
           (lane->revoke_until_ns && mr_clock_ns() >= lane->revoke_until_ns);
}

static bool commit_go_on(void *kafka, unsigned tries)
{
    const struct timespec pause = {.tv_nsec = TRY_PAUSE_NS};
    struct mr_lane *const lane = kafka;
    struct mr_lane_commit *const exact = lane->exact;
    const int64_t now_ns = mr_clock_ns();
    const mr_run_state state = mr_run_state_now(lane->run);
    if (mr_lane_commit_is_late(lane)) return false;
    if (exact->open_until_ns && now_ns >= exact->open_until_ns) return false;
    if (state == MR_RUN_DRAIN && !exact->drain_until_ns) exact->drain_until_ns = now_ns + DRAIN_LIMIT_NS;
    if (state == MR_RUN_DRAIN && now_ns >= exact->drain_until_ns) return false;
    if (tries >= IDLE_TRIES && lane->source) mr_lane_idle(lane);
    nanosleep(&pause, NULL);
    return true;
}

static const struct mr_commit_ops ops = {.init = commit_init,
                                         .begin = commit_begin,
                                         .offsets = commit_offsets,
                                         .commit = commit_commit,
                                         .is_dirty = commit_is_dirty,
                                         .drop = commit_drop,
                                         .go_on = commit_go_on};

static void id_make(const struct mr_lane *lane, char *id, size_t bytes)
{
    const struct mr_job *const job = lane->run->job;
    char *const *const instance = mr_option_value(job->source->options, job->source_options, "instance", MR_OPT_STRING);
    if (lane->run->models.learns)
        mr_kafka_trainer(job->name, id, bytes);
    else
        mr_kafka_instance(job->name, instance ? *instance : NULL, lane->index, id, bytes);
}

mr_status mr_lane_commit_create(struct mr_lane *lane, size_t memory_bytes, struct mr_lane_commit **commit_out,
                                struct mr_err *err)
{
    struct mr_lane_commit *const exact = calloc(1, sizeof *exact);
    char id[512];
    *commit_out = NULL;
    if (!exact) return mr_fail(err, MR_ENOMEM, "out of memory");
    id_make(lane, id, sizeof id);
    const struct mr_transaction_open open = {.id = id,
                                             .properties = lane->run->properties,
                                             .memory_bytes = memory_bytes,
                                             .linger_us = lane->linger_us,
                                             .commit_interval_us = lane->run->job->commit_interval};
    const mr_status status = mr_transaction_create(&open, &exact->transaction, err);
    if (status) {
        free(exact);
        return status;
    }
    mr_commit_init(&exact->protocol, &ops, lane);
    exact->protocol.has_state = lane->run->models.learns;
    exact->protocol.keeps_dirty = mr_test_keeps_dirty();
    *commit_out = exact;
    return MR_OK;
}

void mr_lane_commit_destroy(struct mr_lane_commit *commit)
{
    if (!commit) return;
    mr_transaction_destroy(commit->transaction);
    free(commit);
}

mr_status mr_lane_commit_open(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_commit *const exact = lane->exact;
    exact->open_until_ns = mr_clock_ns() + lane->run->connect_timeout_us * 1000;
    mr_status status = mr_commit_open(&exact->protocol, err);
    exact->open_until_ns = 0;
    if (status == MR_ERESTART) {
        struct mr_err why = *err;
        status = mr_fail(err, MR_EKAFKA, "no transaction could be started within %g s (%.500s)",
                         (double)lane->run->connect_timeout_us / 1e6, why.text);
    }
    return status;
}

mr_status mr_lane_commit_begin(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_commit *const exact = lane->exact;
    if (exact->protocol.phase == MR_COMMIT_OPEN) return MR_OK;
    exact->due_ns = mr_commit_due(exact->due_ns, mr_clock_ns(), lane->run->job->commit_interval * 1000);
    return mr_commit_begin(&exact->protocol, err);
}

bool mr_lane_commit_is_open(const struct mr_lane *lane)
{
    return lane->exact->protocol.phase != MR_COMMIT_READY;
}

bool mr_lane_commit_is_due(const struct mr_lane *lane)
{
    return mr_lane_commit_is_open(lane) &&
           (mr_clock_ns() >= lane->exact->due_ns || lane->is_input_over ||
            (lane->state && mr_lane_state_taken(lane->state)->range_count >= MR_TAKEN_RANGES_MAX));
}

bool mr_lane_commit_has_work(const struct mr_lane *lane)
{
    return lane->input || lane->slot_count || lane->flight.ticket_count || lane->flight.ready_count ||
           mr_stats_get(&lane->stats.records_in) != lane->exact->counts.in;
}

static void counts_note(struct mr_lane *lane)
{
    struct mr_lane_commit *const exact = lane->exact;
    exact->counts = mr_stats_counts(&lane->stats);
    exact->messages = mr_stats_get(&lane->stats.messages_in);
}

mr_status mr_lane_commit_end(struct mr_lane *lane, struct mr_err *err)
{
    struct mr_lane_commit *const exact = lane->exact;
    struct mr_flight *const flight = &lane->flight;
    const struct mr_counts now = mr_stats_counts(&lane->stats);
    struct mr_commit_batch batch = {.position = flight->ready,
                                    .count = flight->ready_count,
                                    .in = now.in - exact->counts.in,
                                    .out = now.out - exact->counts.out,
                                    .dead = now.dead - exact->counts.dead,
                                    .filtered = now.filtered - exact->counts.filtered};
    mr_status status = mr_transaction_failure(exact->transaction, err);
    if (status) mr_commit_break(&exact->protocol);
    mr_transaction_counts(exact->transaction, &batch.sent, &batch.acknowledged);
    if (!status) status = mr_commit_end(&exact->protocol, &batch, err);
    if (status) return status;
    MR_TEST_HOOK("commit.after-end");
    flight->ready_count = 0;
    lane->restarts = 0;
    counts_note(lane);
    if (batch.count) mr_stats_add(&lane->stats.commits, 1);
    return MR_OK;
}

/* Messages that come again count for --until once. */
static void messages_give_back(struct mr_lane *lane, uint64_t messages)
{
    struct mr_stats *const stats = &lane->stats;
    if (lane->run->until.records) atomic_fetch_add(&lane->run->records_left, (int64_t)messages);
    atomic_store_explicit(&stats->messages_in, mr_stats_get(&stats->messages_in) - messages, memory_order_relaxed);
}

/* Drops the producer, and counts nothing since the last commit. The next one ends what is open, but at the end of the
 * run there is none. */
static void give_up(struct mr_lane *lane)
{
    struct mr_lane_commit *const exact = lane->exact;
    struct mr_stats *const stats = &lane->stats;
    if (mr_run_state_now(lane->run) == MR_RUN_DRAIN) mr_transaction_leave(exact->transaction);
    mr_commit_close(&exact->protocol);
    if (mr_transaction_has_learned(exact->transaction)) lane->restarts = 0; /* the next one gets further */
    messages_give_back(lane, mr_stats_get(&stats->messages_in) - exact->messages);
    mr_stats_counts_set(stats, exact->counts);
}

/* What was taken in and is not settled comes again. */
static void forgotten_count(struct mr_lane *lane)
{
    /* From a file of states all comes again since it was written. */
    messages_give_back(lane, lane->state ? mr_stats_get(&lane->stats.messages_in) - mr_lane_state_messages(lane->state)
                                         : mr_flight_messages(&lane->flight));
    struct mr_counts counts = mr_stats_counts(&lane->stats);
    counts.in = counts.out + counts.dead + counts.filtered;
    mr_stats_counts_set(&lane->stats, counts);
}

/* Waits, longer each time; false when the run is to end. */
static bool restart_pause(const struct mr_lane *lane, unsigned times)
{
    const int64_t doubled_ms = times < RESTART_DOUBLED_MAX ? RESTART_PAUSE_MS << times : RESTART_PAUSE_MAX;
    const int64_t pause_ms = times ? doubled_ms : 0; /* the first time at once */
    const int64_t until_ns = mr_clock_ns() + pause_ms * 1000000;
    const struct timespec step = {.tv_nsec = 1000000};
    while (mr_run_state_now(lane->run) == MR_RUN_ON && mr_clock_ns() < until_ns) nanosleep(&step, NULL);
    return mr_run_state_now(lane->run) == MR_RUN_ON;
}

mr_status mr_lane_restart(struct mr_lane *lane, struct mr_err *err)
{
    const struct mr_err first = *err;
    const bool is_left = mr_run_state_now(lane->run) == MR_RUN_ABORT;
    if (!is_left) mr_log(MR_LOG_WARN, "lane", "lane %u: %s; going back to the last commit", lane->index, err->text);
    if (lane->exact)
        give_up(lane);
    else
        forgotten_count(lane);
    lane->must_restart = false;
    mr_stats_add(&lane->stats.restarts, 1);
    if (++lane->restarts > RESTARTS_MAX) {
        return mr_fail(err, MR_ERETRY, "%d transactions in a row could not be committed; the last one: %.600s",
                       RESTARTS_MAX, first.text);
    }
    unsigned missing = 0; /* looks in which a topic was not there: a broker that starts may not know it yet */
    for (unsigned times = lane->restarts - 1; restart_pause(lane, times); times++) {
        MR_TEST_HOOK("restart.dropped");
        mr_status status = mr_lane_rebuild(lane, err);
        MR_TEST_HOOK("restart.rebuilt");
        if (!status && lane->run->job->source->join) status = lane->run->job->source->join(lane->source, err);
        const bool is_gone = status == MR_EINPUT && ++missing >= MISSING_MAX;
        if (is_gone || (status != MR_EINPUT && status != MR_EKAFKA && status != MR_ERESTART)) return status;
        mr_log(MR_LOG_WARN, "lane", "lane %u: %s", lane->index, err->text);
    }
    if (is_left) return mr_fail(err, MR_ERETRY, "%.600s: start again to go on from the last commit", first.text);
    return mr_fail(err, MR_ERETRY, "stopped while going back to the last commit (%.600s): start again to go on",
                   first.text);
}
