/* Errors injected into the broker: what is passing is retried, what is final has a clear end, nothing acknowledged is
 * lost. */
#include "pipeline/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define PUSH(api, ...)                                                                                                 \
    do {                                                                                                               \
        const rd_kafka_resp_err_t errors[] = {__VA_ARGS__};                                                            \
        rd_kafka_mock_push_request_errors_array(fixture_cluster(), api, sizeof errors / sizeof *errors, errors);       \
    } while (0)

/* One sink whose client waits long enough to put all records into one request. */
#define ONE_REQUEST(out)                                                                                               \
    "[{\"type\":\"kafka\",\"topic\":\"" out "\",\"properties\":{\"bootstrap.servers\":\"embedded\",\"linger.ms\":300}" \
    "}]"

static int errors_clear(void **state)
{
    (void)state;
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_FETCH);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_METADATA);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_OFFSET_COMMIT);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_OFFSET_FETCH);
    return 0;
}

static void topics(const char *name, int partition_count)
{
    static const char *const kinds[] = {"in", "out", "dead"};
    for (size_t i = 0; i < 3; i++) {
        char topic[64];
        snprintf(topic, sizeof topic, "%s.%s", name, kinds[i]);
        fixture_topic(topic, partition_count);
    }
}

static void produce_errors_that_pass(void **state)
{
    const struct fixture_job job = {.name = "passing", .sinks = FIXTURE_ONE_AT_A_TIME("passing.out")};
    struct fixture_run run;
    (void)state;
    topics("passing", 4);
    fixture_fill("passing.in", 0, 5000, 4);
    PUSH(API_PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
         RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, 5000);
    fixture_run_free(&run);
    fixture_check_scores("passing.out", 0, 5000, 4, true);
}

static void connection_lost_while_producing(void **state)
{
    const struct fixture_job job = {.name = "lostlink"};
    struct fixture_run run;
    (void)state;
    topics("lostlink", 4);
    fixture_fill("lostlink.in", 0, 5000, 4);
    PUSH(API_PRODUCE, RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__TRANSPORT);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    /* At least once: the mock stores what the lost request carried, and knows no retries; a real broker does
     * (tests/kafka). */
    fixture_check_scores("lostlink.out", 0, 5000, 4, false);
}

/* A refusal hits a whole request: only the record that is refused alone too becomes a dead letter. */
static void refused(const char *name, const char *sinks, rd_kafka_resp_err_t code, const char *reason)
{
    char in[32], out[32], dead[32];
    const struct fixture_job job = {.name = name, .sinks = sinks};
    struct fixture_run run;
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(dead, sizeof dead, "%s.dead", name);
    topics(name, 1);
    fixture_fill(in, 0, 50, 1);
    PUSH(API_PRODUCE, code, code);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, 49);
    assert_int_equal(run.summary->records_dead, 1);
    fixture_run_free(&run);
    fixture_check_scores(out, 1, 49, 1, true);
    struct fixture_content content = fixture_read(dead);
    char want[64];
    assert_int_equal(content.count, 1);
    snprintf(want, sizeof want, "{\"id\":0,\"class\":%d}", fixture_class(0));
    assert_string_equal(content.message[0].value, want);
    assert_string_equal(content.message[0].key, "k0");
    assert_string_equal(fixture_header_of(&content.message[0], "millrace-error"), reason);
    assert_string_equal(fixture_header_of(&content.message[0], "millrace-error-stage"), "output");
    assert_string_equal(fixture_header_of(&content.message[0], "millrace-source-topic"), in);
    assert_string_equal(fixture_header_of(&content.message[0], "millrace-source-offset"), "0");
    fixture_content_free(&content);
    assert_int_equal(fixture_committed(name, in, 0), 50);
}

static void one_of_a_request_is_too_large(void **state)
{
    (void)state;
    refused("toolarge", ONE_REQUEST("toolarge.out"), RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "output_size");
}

static void one_of_a_request_is_invalid(void **state)
{
    (void)state;
    refused("invalid", ONE_REQUEST("invalid.out"), RD_KAFKA_RESP_ERR_INVALID_RECORD, "refused");
}

/* A request is refused once, and every record of it goes alone. */
static void refused_together_taken_alone(void **state)
{
    const struct fixture_job job = {.name = "alone", .sinks = ONE_REQUEST("alone.out")};
    struct fixture_run run;
    (void)state;
    topics("alone", 1);
    fixture_fill("alone.in", 0, 200, 1);
    PUSH(API_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, 200);
    fixture_run_free(&run);
    fixture_check_scores("alone.out", 0, 200, 1, true);
}

/* Larger than the client may send, and larger than its whole queue: dead letters, at once. */
static void outputs_that_fit_nowhere(void **state)
{
    const struct fixture_job job = {
        .name = "nowhere",
        .emit = "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\",\"pad\":\"pad\"}}",
        .sinks = "[{\"type\":\"kafka\",\"topic\":\"nowhere.out\",\"properties\":{\"bootstrap.servers\":\"embedded\","
                 "\"queue.buffering.max.kbytes\":2,\"message.max.bytes\":100000}}]"};
    static char text[200100];
    struct fixture_run run;
    (void)state;
    topics("nowhere", 1);
    for (int i = 0; i < 20; i++) {
        const int pad = i == 5 ? 3000 : i == 11 ? 200000 : 10;
        sprintf(text, "{\"id\":%d,\"a\":1,\"b\":1,\"pad\":\"%*s\"}", i, pad, "");
        fixture_say("nowhere.in", 0, text);
    }
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, 18);
    assert_int_equal(run.summary->reasons[MR_REASON_OUTPUT_SIZE], 2);
    fixture_run_free(&run);
    struct fixture_content content = fixture_read("nowhere.dead");
    assert_int_equal(content.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const bool is_first = !strcmp(fixture_header_of(&content.message[i], "millrace-source-offset"), "5");
        assert_string_equal(fixture_header_of(&content.message[i], "millrace-error"), "output_size");
        assert_string_equal(fixture_header_of(&content.message[i], "millrace-error-stage"), "output");
        const char *cut_from = fixture_header_of(&content.message[i], "millrace-truncated-from");
        assert_int_equal(!cut_from, is_first);
        if (cut_from) assert_true(atoi(cut_from) > 200000);
    }
    fixture_content_free(&content);
    assert_int_equal(fixture_committed("nowhere", "nowhere.in", 0), 20);
}

/* The sink may not write: the job ends, and the offset stands where nothing is lost. */
static void produce_not_allowed(void **state)
{
    const struct fixture_job job = {.name = "denied"};
    struct fixture_run run;
    (void)state;
    topics("denied", 1);
    fixture_fill("denied.in", 0, 100, 1);
    PUSH(API_PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_ESINK);
    assert_non_null(strstr(run.err.text, "denied.out"));
    fixture_run_free(&run);
    assert_true(fixture_committed("denied", "denied.in", 0) <= 0);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("denied.out", 0, 100, 1, false);
}

/* Every OffsetCommit fails for a while, also the last ones of the run: the offsets are stored all the same. */
static void offset_commit_errors(void **state)
{
    const struct fixture_job job = {.name = "commits", .rest = ",\"commit_interval\":\"10ms\""};
    struct fixture_run run;
    (void)state;
    topics("commits", 2);
    fixture_fill("commits.in", 0, 2000, 2);
    PUSH(API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
         RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, RD_KAFKA_RESP_ERR__TRANSPORT);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("commits.out", 0, 2000, 2, true);
    for (int i = 0; i < 2; i++) assert_int_equal(fixture_committed("commits", "commits.in", i), 1000);
}

/* An asynchronous commit fails and nothing comes after it: it is sent again while the job is idle. */
static void failed_commit_is_sent_again(void **state)
{
    const struct fixture_job job = {.name = "again", .rest = ",\"commit_interval\":\"50ms\",\"lanes\":1"};
    struct fixture_run run;
    (void)state;
    topics("again", 1);
    fixture_fill("again.in", 0, 10, 1);
    PUSH(API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_UNKNOWN, RD_KAFKA_RESP_ERR_UNKNOWN,
         RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_wait(fixture_committed("again", "again.in", 0) == 10);
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    fixture_run_free(&run);
}

/* The last commit of a run that drains is tried until it is stored. */
static void last_commit_fails_at_first(void **state)
{
    const struct fixture_job job = {.name = "lastone", .rest = ",\"commit_interval\":\"60s\",\"lanes\":1"};
    struct fixture_run run;
    (void)state;
    topics("lastone", 1);
    fixture_fill("lastone.in", 0, 10, 1);
    PUSH(API_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_UNKNOWN, RD_KAFKA_RESP_ERR_UNKNOWN);
    fixture_run_to_end(&run, &job);
    assert_int_equal(fixture_committed("lastone", "lastone.in", 0), 10);
    fixture_run_free(&run);
}

static void fetch_errors(void **state)
{
    const struct fixture_job job = {.name = "fetches"};
    struct fixture_run run;
    (void)state;
    topics("fetches", 4);
    fixture_fill("fetches.in", 0, 5000, 4);
    PUSH(API_FETCH, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
         RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_UNKNOWN);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("fetches.out", 0, 5000, 4, true);
}

static void fetch_not_allowed(void **state)
{
    const struct fixture_job job = {.name = "unread", .rest = ",\"lanes\":1"};
    struct fixture_run run;
    (void)state;
    topics("unread", 1);
    PUSH(API_FETCH, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_EKAFKA);
    assert_non_null(strstr(run.err.text, "unread.in"));
    fixture_run_free(&run);
}

/* The offset to start at is not there: the job stops, or goes on where it is told to. */
static void offset_out_of_range(void **state)
{
    struct fixture_job job = {.name = "range", .source = "\"start\":\"range.in/0=500\",", .rest = ",\"lanes\":1"};
    struct fixture_run run;
    (void)state;
    topics("range", 1);
    fixture_fill("range.in", 0, 100, 1);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_EDATA);
    assert_non_null(strstr(run.err.text, "range.in/0=500: the partition has no such offset: it holds 0 up to"));
    assert_non_null(strstr(run.err.text, "lost_offsets"));
    fixture_run_free(&run);
    assert_true(fixture_committed("range", "range.in", 0) < 0);
    job.source = "\"start\":\"range.in/0=500\",\"lost_offsets\":\"earliest\",";
    assert_int_equal(fixture_run(&run, &job, &(struct mr_until){.records = 100}), MR_OK);
    fixture_run_free(&run);
    fixture_check_scores("range.out", 0, 100, 1, true);
}

/* The same for a run to the end: an offset behind the end is not the end. */
static void offset_out_of_range_bounded(void **state)
{
    struct fixture_job job = {.name = "behind", .source = "\"start\":\"behind.in/0=500\","};
    const struct mr_until end = {.end = true};
    struct fixture_run run;
    (void)state;
    topics("behind", 1);
    fixture_fill("behind.in", 0, 100, 1);
    assert_int_equal(fixture_run(&run, &job, &end), MR_EDATA); /* at its start, or when it first reads */
    fixture_run_free(&run);
    assert_non_null(strstr(run.err.text, "lost_offsets"));
    job.source = "\"start\":\"behind.in/0=500\",\"lost_offsets\":\"earliest\",";
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("behind.out", 0, 100, 1, true);
}

static void committed_offsets_cannot_be_read_at_first(void **state)
{
    const struct fixture_job job = {.name = "unknown"};
    struct fixture_run run;
    (void)state;
    topics("unknown", 2);
    fixture_fill("unknown.in", 0, 100, 2);
    PUSH(API_OFFSET_FETCH, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
         RD_KAFKA_RESP_ERR__TRANSPORT);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("unknown.out", 0, 100, 2, true);
}

static void metadata_connection_lost_at_start(void **state)
{
    const struct fixture_job job = {.name = "metadata"};
    struct fixture_run run;
    (void)state;
    topics("metadata", 2);
    fixture_fill("metadata.in", 0, 100, 2);
    PUSH(API_METADATA, RD_KAFKA_RESP_ERR__TRANSPORT);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("metadata.out", 0, 100, 2, true);
}

static void a_missing_topic(void **state)
{
    const struct fixture_job job = {.name = "missing"};
    struct fixture_run run;
    (void)state;
    topics("missing", 2);
    rd_kafka_mock_topic_set_error(fixture_cluster(), "missing.in", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_EINPUT);
    assert_non_null(strstr(run.err.text, "\"missing.in\" does not exist"));
    rd_kafka_mock_topic_set_error(fixture_cluster(), "missing.in", RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_mock_topic_set_error(fixture_cluster(), "missing.out", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_EINPUT);
    assert_non_null(strstr(run.err.text, "\"missing.out\" does not exist"));
}

/* Nobody listens: a clear end within source.connect_timeout, whether lanes are counted at start or given. */
static void an_unreachable_broker(void **state)
{
    struct fixture_job job = {.name = "nobody", .servers = "127.0.0.1:1", .source = "\"connect_timeout\":\"300ms\","};
    struct fixture_run run;
    (void)state;
    for (int i = 0; i < 2; i++) {
        const int64_t started_us = mr_clock_us();
        job.rest = i ? ",\"lanes\":1" : NULL;
        assert_int_equal(fixture_start(&run, &job, NULL), MR_EKAFKA);
        assert_non_null(strstr(run.err.text, "127.0.0.1:1"));
        assert_true(mr_clock_us() - started_us < 9000000); /* the built-in timeout is 10 s */
    }
}

static void a_small_producer_queue(void **state)
{
    const struct fixture_job job = {.name = "small",
                                    .sinks =
                                        "[{\"type\":\"kafka\",\"topic\":\"small.out\",\"properties\":{"
                                        "\"bootstrap.servers\":\"embedded\",\"queue.buffering.max.messages\":7}}]"};
    struct fixture_run run;
    (void)state;
    topics("small", 4);
    fixture_fill("small.in", 0, 2000, 4);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("small.out", 0, 2000, 4, true);
}

/* The broker goes away while records flow, for longer than a request may take, and comes back. */
static void the_broker_is_away_for_a_while(void **state)
{
    const struct fixture_job job = {.name = "away",
                                    .rest = ",\"batch\":{\"records_max\":256},\"commit_interval\":\"20ms\""};
    struct fixture_run run;
    (void)state;
    topics("away", 4);
    fixture_fill("away.in", 0, 60000, 4);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_wait(fixture_sum(&run, records_out) > 1000);
    assert_int_equal(rd_kafka_mock_broker_set_down(fixture_cluster(), BROKER_ID), 0);
    const int64_t until_us = mr_clock_us() + 1500000;
    fixture_wait(mr_clock_us() > until_us);
    assert_false(mr_run_wait(run.run, 0)); /* no lane gave up */
    assert_int_equal(rd_kafka_mock_broker_set_up(fixture_cluster(), BROKER_ID), 0);
    fixture_wait(fixture_sum(&run, records_out) == 60000);
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    fixture_run_free(&run);
    fixture_check_scores("away.out", 0, 60000, 4, false);
    for (int i = 0; i < 4; i++) assert_int_equal(fixture_committed("away", "away.in", i), 15000);
}

static size_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/*
 * The cluster of the outputs goes away, input keeps coming: the job stops reading at its memory budget. Twelve times
 * the budget is fed; the mock itself keeps 20 MiB of it.
 */
static void a_blocked_sink_bounds_memory(void **state)
{
    enum { BYTES = 10000, COUNT = 1000, ROUNDS = 60, BUDGET = 48 << 20 };
    char sinks[256];
    const struct fixture_job job = {.name = "blocked",
                                    .source = "\"lost_offsets\":\"earliest\",",
                                    .sinks = sinks,
                                    .rest = ",\"memory\":\"48MiB\",\"lanes\":1,\"batch\":{\"records_max\":1024}"};
    static char text[BYTES];
    static struct fixture_message messages[COUNT];
    struct fixture_run run;
    (void)state;
    rd_kafka_t *holder = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    rd_kafka_mock_cluster_t *other = rd_kafka_mock_cluster_new(holder, 1);
    assert_int_equal(rd_kafka_mock_topic_create(other, "blocked.out", 4, 1), 0);
    snprintf(sinks, sizeof sinks,
             "[{\"type\":\"kafka\",\"topic\":\"blocked.out\",\"properties\":{\"bootstrap.servers\":\"%s\"}}]",
             rd_kafka_mock_cluster_bootstraps(other));
    topics("blocked", 4);
    snprintf(text, sizeof text, "{\"id\":1,\"a\":1,\"b\":1,\"pad\":\"%*s\"}", BYTES - 60, "");
    for (size_t i = 0; i < COUNT; i++) {
        messages[i] = (struct fixture_message){.value = text, .bytes = strlen(text), .partition = (int32_t)(i % 4)};
    }
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_produce("blocked.in", messages, COUNT);
    fixture_wait(fixture_sum(&run, records_out) == COUNT);
    const size_t before = resident_bytes();
    assert_int_equal(rd_kafka_mock_broker_set_down(other, BROKER_ID), 0);
    for (int round = 0; round < ROUNDS; round++) fixture_produce("blocked.in", messages, COUNT);
    assert_false(mr_run_wait(run.run, 0));
    const size_t after = resident_bytes();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_in_range(after > before ? after - before : 0, 0, BUDGET + (20 << 20) + (40 << 20));
#else
    (void)before, (void)after; /* a sanitizer keeps what is freed */
#endif
    assert_int_equal(fixture_sum(&run, records_out), COUNT);
    assert_int_equal(rd_kafka_mock_broker_set_up(other, BROKER_ID), 0);
    fixture_wait(fixture_sum(&run, records_out) > 2 * COUNT); /* and it goes on */
    fixture_stop(&run, MR_RUN_ABORT);
    fixture_run_free(&run);
    rd_kafka_mock_cluster_destroy(other);
    rd_kafka_destroy(holder);
}

/* The bounds of all partitions are asked for at once; what is refused then is asked for again, one by one. */
static void refused_bounds_are_asked_for_again(void **state)
{
    const struct fixture_job job = {.name = "bounds"};
    const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
                                          RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                                          RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION};
    struct fixture_run run;
    (void)state;
    fixture_topic("bounds.in", 40);
    fixture_topic("bounds.out", 40);
    fixture_fill("bounds.in", 0, 4000, 40);
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_LIST_OFFSETS, 3, errors);
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_in, 4000);
    fixture_run_free(&run);
    fixture_check_scores("bounds.out", 0, 4000, 40, true);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_LIST_OFFSETS);
}

/* The client's own call for both bounds of a partition says "empty" when the request for the first offset is refused
 * and both answers are there at once (src/source/kafka/bounds.c): with it, some of these would not be read. */
static void a_refused_bound_is_not_an_empty_partition(void **state)
{
    enum { COUNT = 12 };
    const struct fixture_job job = {.name = "empty", .rest = ",\"lanes\":1"};
    rd_kafka_resp_err_t errors[1 + 3 * COUNT] = {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART};
    struct fixture_run run;
    (void)state;
    for (int i = 0; i < COUNT; i++) errors[1 + 3 * i] = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    fixture_topic("empty.in", COUNT);
    fixture_topic("empty.out", COUNT);
    fixture_fill("empty.in", 0, 100 * COUNT, COUNT);
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_LIST_OFFSETS, 1 + 3 * COUNT, errors);
    fixture_run_to_end(&run, &job);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_LIST_OFFSETS);
    assert_int_equal(run.summary->records_in, 100 * COUNT);
    fixture_run_free(&run);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, errors_clear, errors_clear)
    const struct CMUnitTest tests[] = {
        TEST(produce_errors_that_pass),
        TEST(connection_lost_while_producing),
        TEST(one_of_a_request_is_too_large),
        TEST(one_of_a_request_is_invalid),
        TEST(refused_together_taken_alone),
        TEST(outputs_that_fit_nowhere),
        TEST(produce_not_allowed),
        TEST(offset_commit_errors),
        TEST(failed_commit_is_sent_again),
        TEST(last_commit_fails_at_first),
        TEST(fetch_errors),
        TEST(fetch_not_allowed),
        TEST(offset_out_of_range),
        TEST(offset_out_of_range_bounded),
        TEST(committed_offsets_cannot_be_read_at_first),
        TEST(metadata_connection_lost_at_start),
        TEST(a_missing_topic),
        TEST(an_unreachable_broker),
        TEST(a_small_producer_queue),
        TEST(the_broker_is_away_for_a_while),
        TEST(a_blocked_sink_bounds_memory),
        TEST(refused_bounds_are_asked_for_again),
        TEST(a_refused_bound_is_not_an_empty_partition),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
