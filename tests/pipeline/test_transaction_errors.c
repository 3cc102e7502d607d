/*
 * What an exactly-once job makes of each error that a broker may answer with: a row an API and code, the outcome wanted
 * when it strikes the first, second and third call. Each case is a job of its own, on a mock broker of its own, in a
 * process of its own, so that a crash, a hang or a leak is that case's; many run at a time, for they mostly wait.
 *
 * The mock (librdkafka 2.0.2) writes no markers and stores no transactional offsets: what is judged is how the job went
 * on, not what a reader sees. After it went back to the last commit it reads all again, so outputs are only asked to be
 * complete.
 *
 * MILLRACE_MATRIX: "all" runs every case also where a part is enough (sanitizer builds); "API" or "API:CODE[:CALL]" as
 * they are printed runs one of them and shows its log.
 */
#include "pipeline/fixture.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "pipeline/lane_commit.h"

#define BATCH       16
#define FIRST_COUNT (8 * BATCH) /* with a commit for each batch there is a third call of everything */
#define CALL_COUNT  3
#define CASE_S      30      /* no case may take longer */
#define CLOSE_S     15      /* more, to close */
#define AT_ONCE     24      /* cases */
#define LATE        (-1000) /* in place of a code: the answer comes after socket.timeout.ms */
#define LATE_MS     3000    /* a client looks once a second for what is late */
#define LOG_LINES   40
#define WRONG_MS    300 /* how long topics have an error */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHARE 8 /* every so many cases are run */
#else
#define SHARE 1
#endif

enum {
    PRODUCE = 0,
    FETCH = 1,
    LIST_OFFSETS = 2,
    METADATA = 3,
    OFFSET_FETCH = 9,
    FIND_COORDINATOR = 10,
    JOIN_GROUP = 11,
    HEARTBEAT = 12,
    SYNC_GROUP = 14,
    INIT_PRODUCER_ID = 22,
    ADD_PARTITIONS = 24,
    ADD_OFFSETS = 25,
    END_TXN = 26,
    TXN_OFFSET_COMMIT = 28
};

/* Outcomes, a letter each. */
#define COMMITTED   'c' /* all well: at most a hidden retry of the client */
#define RECYCLED    'd' /* committed, and the producer was replaced: a request may have been sent twice */
#define REBUILT     'r' /* given up, and done again from the last commit */
#define FENCED      'f' /* ended: another instance has taken its place (exit code 73) */
#define REFUSED     'x' /* ended: the broker does not allow it (69) */
#define LOST        'l' /* ended: a record that comes next is not there any more */
#define NO_INPUT    'i' /* ended: what it reads is not there */
#define EITHER      'm' /* went on: as the error meets an open transaction or none */
#define UNLESS_OVER 'y' /* ended with the reason, unless the job was over before it came to it */
#define DEAD        'u' /* went on; outputs were undeliverable and are dead letters */

struct row {
    int16_t api;
    int code;
    const char *want; /* [CALL_COUNT] outcomes */
};

#define E(name) RD_KAFKA_RESP_ERR_##name
static const struct row rows[] = {
#include "pipeline/transaction_errors.def"
};
#define ROW_COUNT  (sizeof rows / sizeof *rows)
#define CASE_COUNT (ROW_COUNT * CALL_COUNT)

struct result {
    char outcome; /* 0: it did not come to one */
    bool was_reached;
    int seconds;
    uint64_t restarts, recycled;
    char text[200];
};

static const char *api_name(int16_t api)
{
    static const char *const names[] = {[PRODUCE] = "Produce",
                                        [FETCH] = "Fetch",
                                        [LIST_OFFSETS] = "ListOffsets",
                                        [METADATA] = "Metadata",
                                        [OFFSET_FETCH] = "OffsetFetch",
                                        [FIND_COORDINATOR] = "FindCoordinator",
                                        [JOIN_GROUP] = "JoinGroup",
                                        [HEARTBEAT] = "Heartbeat",
                                        [SYNC_GROUP] = "SyncGroup",
                                        [INIT_PRODUCER_ID] = "InitProducerId",
                                        [ADD_PARTITIONS] = "AddPartitionsToTxn",
                                        [ADD_OFFSETS] = "AddOffsetsToTxn",
                                        [END_TXN] = "EndTxn",
                                        [TXN_OFFSET_COMMIT] = "TxnOffsetCommit"};
    return names[api];
}

static const char *code_name(int code)
{
    if (code == LATE) return "LATE";
    return code == 120 ? "TRANSACTION_ABORTABLE" : rd_kafka_err2name((rd_kafka_resp_err_t)code);
}

static void case_name(size_t index, char *name, size_t bytes)
{
    const struct row *const row = &rows[index / CALL_COUNT];
    snprintf(name, bytes, "%s:%s:%zu", api_name(row->api), code_name(row->code), index % CALL_COUNT + 1);
}

/* ---- one case, in its process ---- */

/* Some calls come once, when a lane is made: for their second and third one the transactions before are made to fail,
 * after each of which the lane is made anew. */
static bool is_stirred(int16_t api)
{
    return api == INIT_PRODUCER_ID || api == FIND_COORDINATOR || api == OFFSET_FETCH || api == LIST_OFFSETS ||
           api == JOIN_GROUP || api == SYNC_GROUP;
}

static bool needs_group(int16_t api)
{
    return api == JOIN_GROUP || api == HEARTBEAT || api == SYNC_GROUP;
}

static void error_push(int16_t api, rd_kafka_resp_err_t code, int rtt_ms)
{
    rd_kafka_mock_broker_push_request_error_rtts(fixture_cluster(), BROKER_ID, api, (size_t)1, code, rtt_ms);
}

/* The mock has no errors for Metadata requests, but for topics in their answers: that of the input when the job starts,
 * of the output when it starts, and of the output while it works; for a while. */
static _Atomic bool is_topic_wrong;
static pthread_t mender;
static bool has_mender;

static void topics_set(bool with_in, bool with_out, rd_kafka_resp_err_t code)
{
    if (with_in) rd_kafka_mock_topic_set_error(fixture_cluster(), "e.in", code);
    if (with_out) rd_kafka_mock_topic_set_error(fixture_cluster(), "e.out", code);
}

static void *topics_mend(void *unused)
{
    const struct timespec pause = {.tv_nsec = WRONG_MS * 1000000};
    nanosleep(&pause, NULL);
    topics_set(true, true, RD_KAFKA_RESP_ERR_NO_ERROR);
    is_topic_wrong = false;
    return unused;
}

static void topics_spoil(const struct row *row, size_t call)
{
    is_topic_wrong = true;
    topics_set(call == 0, call != 0, (rd_kafka_resp_err_t)row->code);
    if (call < 2 && row->code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) return; /* the job ends at once */
    assert_int_equal(pthread_create(&mender, NULL, topics_mend, NULL), 0);
    has_mender = true;
}

static void error_inject(const struct row *row, size_t call)
{
    if (row->api == METADATA) {
        is_topic_wrong = true;
        if (call < 2) topics_spoil(row, call);
        return;
    }
    for (size_t i = 0; i < call; i++) error_push(row->api, RD_KAFKA_RESP_ERR_NO_ERROR, 0);
    if (row->code == LATE)
        error_push(row->api, RD_KAFKA_RESP_ERR_NO_ERROR, LATE_MS);
    else
        error_push(row->api, (rd_kafka_resp_err_t)row->code, 0);
    for (size_t i = 0; is_stirred(row->api) && i < call; i++)
        error_push(TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 0);
}

static bool is_pending(int16_t api)
{
    size_t count = 0;
    if (api == METADATA) return is_topic_wrong;
    rd_kafka_mock_broker_error_stack_cnt(fixture_cluster(), BROKER_ID, api, &count);
    return count;
}

static char outcome_of(mr_status status, const struct result *result, uint64_t dead)
{
    if (status == MR_EFENCED) return FENCED;
    if (status == MR_EKAFKA || status == MR_ESINK) return REFUSED;
    if (status == MR_EINPUT) return NO_INPUT;
    if (status == MR_EDATA) return LOST;
    if (status) return '!';
    if (result->restarts && dead) return DEAD;
    return result->restarts ? REBUILT : result->recycled ? RECYCLED : COMMITTED;
}

/* Until the error has struck and a record behind it is done, or the run has ended. More records come while it has not;
 * not of Produce: the test's own would be struck. False: the deadline has passed. */
static bool case_drive(struct fixture_run *run, size_t index, int64_t until_ns, uint64_t *filled_out)
{
    const struct timespec tick = {.tv_nsec = 5000000};
    uint64_t filled = *filled_out = FIRST_COUNT;
    const struct row *const row = &rows[index / CALL_COUNT];
    const int16_t api = row->api;
    bool was_marked = false, was_spoiled = false;
    while (!mr_run_wait(run->run, 0)) {
        const uint64_t out = fixture_sum(run, records_out);
        if (mr_clock_ns() > until_ns) return false;
        if (api == METADATA && index % CALL_COUNT == 2 && !was_spoiled && out) {
            topics_spoil(row, 2);
            was_spoiled = true;
        }
        if (!was_marked && !is_pending(api) && !is_pending(TXN_OFFSET_COMMIT)) {
            fixture_say("e.in", 0, "the last one, a bad record");
            was_marked = true;
        } else if (!was_marked && api != PRODUCE && out >= filled) {
            fixture_fill("e.in", filled, BATCH, 1);
            *filled_out = filled += BATCH;
        } else if (was_marked && fixture_sum(run, records_dead) && out + fixture_sum(run, records_dead) > filled) {
            return true;
        }
        nanosleep(&tick, NULL);
    }
    return true;
}

/* A few requests a transaction, one at a time: the mock takes the next one while the one before is refused. */
#define PROPERTIES                                                                                                     \
    ",\"socket.timeout.ms\":1100,\"retry.backoff.ms\":50,\"reconnect.backoff.ms\":10,"                                 \
    "\"reconnect.backoff.max.ms\":50,\"heartbeat.interval.ms\":20,\"fetch.wait.max.ms\":5,"                            \
    "\"batch.num.messages\":8,\"max.in.flight\":1,\"topic.metadata.refresh.interval.ms\":50"
/* A member that is forgotten joins again at once, but the mock waits a session for what it was before. */
static const char group_properties[] = PROPERTIES ",\"session.timeout.ms\":5000";
static const char group_source[] = "\"membership\":\"dynamic\",";
static const struct fixture_job base_job = {
    .name = "e",
    .properties = PROPERTIES,
    .rest = ",\"delivery\":\"exactly-once\",\"lanes\":1,\"commit_interval\":\"10ms\",\"batch\":{\"records_max\":16}"};

/* Returns whether the run was asked to end while it went back: the last records are not committed. */
static bool case_judge(struct fixture_run *run, struct result *result)
{
    const struct mr_lane *const lane = run->run->lane_count ? run->run->lane[0] : NULL;
    const mr_status status = mr_run_finish(run->run, &run->err);
    struct mr_summary *const sum = calloc(1, sizeof *sum);
    assert_non_null(sum);
    mr_summary_take(run->run, sum);
    if (lane) {
        result->restarts = mr_stats_get(&lane->stats.restarts);
        result->recycled = lane->exact->protocol.recycled;
    }
    result->outcome = outcome_of(status, result, sum->records_dead > 1);
    /* What was acknowledged need not be committed when the run is asked to end: then it is the next run's. */
    const bool is_cut = status == MR_ERETRY && result->restarts && strstr(run->err.text, "stopped while going back");
    if (is_cut) result->outcome = REBUILT;
    if (status) snprintf(result->text, sizeof result->text, "%s: %.180s", mr_status_name(status), run->err.text);
    if (!status && sum->records_in != sum->records_out + sum->records_dead + sum->records_filtered) {
        result->outcome = '!';
        snprintf(result->text, sizeof result->text, "in is not out + dead + filtered");
    }
    free(sum);
    mr_run_destroy(run->run);
    mr_job_destroy(run->job);
    return is_cut;
}

/* In the case's own process. */
static void case_run(size_t index, struct result *result)
{
    const struct row *const row = &rows[index / CALL_COUNT];
    const int64_t until_ns = mr_clock_ns() + CASE_S * 1000000000LL;
    static const struct mr_until forever;
    struct fixture_job job = base_job;
    job.servers = fixture_servers();
    struct fixture_run run = {0};
    uint64_t filled;
    fixture_topic("e.in", 1);
    fixture_topic("e.out", 1);
    fixture_topic("e.dead", 1);
    fixture_fill("e.in", 0, FIRST_COUNT, 1);
    if (needs_group(row->api)) {
        job.source = group_source;
        job.properties = group_properties;
    }
    run.job = fixture_job_load(&job);
    error_inject(row, index % CALL_COUNT);
    mr_status status = mr_run_create(run.job, &forever, &run.run, &run.err);
    if (!status) status = mr_run_start(run.run, &run.err);
    if (status) {
        result->was_reached = row->api == METADATA || !is_pending(row->api);
        result->outcome = outcome_of(status, result, 0);
        snprintf(result->text, sizeof result->text, "%s: %.180s", mr_status_name(status), run.err.text);
        mr_run_destroy(run.run);
        mr_job_destroy(run.job);
        return;
    }
    if (!case_drive(&run, index, until_ns, &filled)) {
        snprintf(result->text, sizeof result->text, "hangs: %llu out, %llu dead, error %s",
                 (unsigned long long)fixture_sum(&run, records_out),
                 (unsigned long long)fixture_sum(&run, records_dead), is_pending(row->api) ? "pending" : "struck");
        _exit(3);
    }
    result->was_reached = row->api == METADATA || !is_pending(row->api);
    mr_run_stop(run.run, MR_RUN_DRAIN);
    if (case_judge(&run, result)) return;
    if (result->outcome != COMMITTED && result->outcome != RECYCLED && result->outcome != REBUILT) return;
    fixture_check_scores("e.out", 0, filled, 1, false);
}

static pid_t case_fork(size_t index, struct result *result, FILE *log)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid) return pid;
    if (log) {
        dup2(fileno(log), STDOUT_FILENO);
        dup2(fileno(log), STDERR_FILENO);
    }
    if (fixture_open(NULL)) _exit(2);
    case_run(index, result);
    if (has_mender) pthread_join(mender, NULL);
    const int code = fixture_close(NULL) ? 2 : 0;
    exit(code); /* where a sanitizer looks for leaks */
}

/* ---- all of them ---- */

struct slot {
    pid_t pid; /* 0: free */
    size_t index;
    int64_t since_ns;
    FILE *log;
};

static struct result *results; /* [CASE_COUNT] shared with the cases' processes */
static size_t deviations, hangs, crashes;
static size_t again[CASE_COUNT], again_count; /* cases to run once more, alone */
static bool is_alone;
static int64_t longest_ns;

static void log_show(FILE *log)
{
    char line[400];
    rewind(log);
    for (int i = 0; i < LOG_LINES && fgets(line, sizeof line, log); i++) {
        if (!strncmp(line, "%", 1)) continue;
        print_message("        %s%s", line, strchr(line, '\n') ? "" : "\n");
    }
}

static bool is_as_wanted(char outcome, char want)
{
    const bool is_on = outcome == COMMITTED || outcome == RECYCLED || outcome == REBUILT;
    return outcome == want || (want == EITHER && is_on) ||
           (want == UNLESS_OVER && (is_on || outcome == REFUSED || outcome == LOST || outcome == NO_INPUT));
}

/* Where many cases share few cores an answer may come late by itself, and a late one replaces the producer. */
static bool may_be_late(char outcome, char want)
{
    return !is_alone && want == COMMITTED && outcome == RECYCLED;
}

static void case_end(struct slot *slot, int code)
{
    const struct result *const result = &results[slot->index];
    const char want = rows[slot->index / CALL_COUNT].want[slot->index % CALL_COUNT];
    const int64_t took_ns = mr_clock_ns() - slot->since_ns;
    char name[100];
    case_name(slot->index, name, sizeof name);
    if (took_ns > longest_ns) longest_ns = took_ns;
    const bool is_crash = !WIFEXITED(code) || (WEXITSTATUS(code) && WEXITSTATUS(code) != 3);
    const bool is_hang = WIFEXITED(code) && WEXITSTATUS(code) == 3;
    crashes += is_crash;
    hangs += is_hang;
    if (!is_crash && !is_hang && result->was_reached && may_be_late(result->outcome, want)) {
        again[again_count++] = slot->index;
    } else if (is_crash || is_hang || !is_as_wanted(result->outcome, want) || !result->was_reached) {
        deviations++;
        print_message("%-55s got %c want %c, %llu restarts, %llu recycled, %.1f s%s%s %s\n", name,
                      result->outcome ? result->outcome : '-', want, (unsigned long long)result->restarts,
                      (unsigned long long)result->recycled, (double)took_ns / 1e9,
                      is_crash  ? ", CRASHED or LEAKED"
                      : is_hang ? ", HANGS"
                                : "",
                      result->was_reached ? "" : ", NOT REACHED", result->text);
        if (is_crash || getenv("MILLRACE_MATRIX_LOG")) log_show(slot->log);
    }
    fclose(slot->log);
    *slot = (struct slot){0};
}

/* Ends cases that do not end themselves: their process hangs somewhere that has no deadline. */
static void slots_watch(const struct slot *slot)
{
    const struct timespec tick = {.tv_nsec = 2000000};
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (slot[i].pid && mr_clock_ns() - slot[i].since_ns > (CASE_S + CLOSE_S) * 1000000000LL)
            kill(slot[i].pid, SIGABRT);
    }
    nanosleep(&tick, NULL);
}

static bool is_wanted(size_t index)
{
    const char *const only = getenv("MILLRACE_MATRIX");
    char name[100];
    case_name(index, name, sizeof name);
    if (only && strcmp(only, "all")) return !strncmp(name, only, strlen(only));
    return only || index % SHARE == 0;
}

static void slot_start(struct slot *slot, size_t index)
{
    *slot = (struct slot){.index = index, .since_ns = mr_clock_ns(), .log = tmpfile()};
    assert_non_null(slot->log);
    slot->pid = case_fork(index, &results[index], slot->log);
    assert_true(slot->pid > 0);
}

/* Ends one case that is over; false when none is. */
static bool slots_reap(struct slot *slot, size_t counts[128])
{
    int code;
    const pid_t pid = waitpid(-1, &code, WNOHANG);
    if (!pid) return false;
    for (size_t i = 0; i < AT_ONCE; i++) {
        if (slot[i].pid != pid) continue;
        counts[results[slot[i].index].outcome & 127]++;
        case_end(&slot[i], code);
        return true;
    }
    fail_msg("process %d is no case", (int)pid);
    return false;
}

/* Runs the cases of which index holds the numbers, at_once of them at a time. */
static void cases_run(const size_t *index, size_t count, size_t at_once, size_t counts[128])
{
    struct slot slot[AT_ONCE] = {0};
    for (size_t next = 0, busy = 0; next < count || busy;) {
        for (size_t i = 0; i < at_once && next < count; i++) {
            if (slot[i].pid) continue;
            slot_start(&slot[i], index[next++]);
            busy++;
        }
        if (slots_reap(slot, counts))
            busy--;
        else
            slots_watch(slot);
    }
}

static void all_cases(void **state)
{
    static size_t wanted[CASE_COUNT];
    size_t run_count = 0, counts[128] = {0};
    const int64_t started_ns = mr_clock_ns();
    (void)state;
    for (size_t i = 0; i < CASE_COUNT; i++) {
        if (is_wanted(i)) wanted[run_count++] = i;
    }
    cases_run(wanted, run_count, AT_ONCE, counts);
    is_alone = true;
    cases_run(again, again_count, 1, counts);
    counts[RECYCLED] -= again_count;
    print_message(
        "%zu cases (%zu APIs and codes) in %.0f s, the longest %.1f s: %zu committed, %zu committed and recycled, %zu "
        "rebuilt, %zu dead letters, %zu fenced, %zu refused, %zu without input; %zu hang, %zu crash or leak, "
        "%zu deviate, %zu were run again\n",
        run_count, ROW_COUNT, (double)(mr_clock_ns() - started_ns) / 1e9, (double)longest_ns / 1e9, counts[COMMITTED],
        counts[RECYCLED], counts[REBUILT], counts[DEAD], counts[FENCED], counts[REFUSED], counts[NO_INPUT], hangs,
        crashes, deviations, again_count);
    assert_int_equal(deviations, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_cases)};
    results = mmap(NULL, CASE_COUNT * sizeof *results, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (results == MAP_FAILED) return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
