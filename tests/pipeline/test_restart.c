/* Stopped at any moment and started again: nothing is lost, after a clean stop nothing is repeated, and the committed
 * offset never runs ahead of what is acknowledged. */
#include "pipeline/fixture.h"

#include <stdio.h>
#include <string.h>

#define PARTITIONS 4

static void topics(const char *name)
{
    char topic[64];
    snprintf(topic, sizeof topic, "%s.in", name);
    fixture_topic(topic, PARTITIONS);
    snprintf(topic, sizeof topic, "%s.out", name);
    fixture_topic(topic, PARTITIONS);
    snprintf(topic, sizeof topic, "%s.dead", name);
    fixture_topic(topic, PARTITIONS);
}

static int64_t committed_sum(const char *group, const char *topic)
{
    int64_t sum = 0;
    for (int i = 0; i < PARTITIONS; i++) {
        const int64_t offset = fixture_committed(group, topic, i);
        if (offset > 0) sum += offset;
    }
    return sum;
}

static void a_count_then_the_rest(void **state)
{
    const struct fixture_job job = {.name = "count", .rest = ",\"batch\":{\"records_max\":500}"};
    struct fixture_run run;
    (void)state;
    topics("count");
    fixture_fill("count.in", 0, 20000, PARTITIONS);
    for (int64_t done = 7000; done <= 14000; done += 7000) {
        assert_int_equal(fixture_run(&run, &job, &(struct mr_until){.records = 7000}), MR_OK);
        assert_int_equal(run.summary->records_out, 7000);
        fixture_run_free(&run);
        assert_int_equal(committed_sum("count", "count.in"), done);
    }
    fixture_run_to_end(&run, &job);
    assert_int_equal(run.summary->records_out, 6000);
    fixture_run_free(&run);
    fixture_check_scores("count.out", 0, 20000, PARTITIONS, true);
}

/* Again and again while records flow: first the committed offsets, then what the output holds. With "same" and no bad
 * records the output's partition must hold at least as many. */
static void offsets_stay_behind_outputs(void **state)
{
    const struct fixture_job job = {.name = "behind",
                                    .sinks = FIXTURE_ONE_AT_A_TIME("behind.out"),
                                    .rest = ",\"batch\":{\"records_max\":64},\"commit_interval\":\"1ms\""};
    const rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    struct fixture_run run;
    int looks = 0;
    (void)state;
    topics("behind");
    fixture_fill("behind.in", 0, 40000, PARTITIONS);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    const int64_t deadline_ns = fixture_deadline_ns();
    while (fixture_sum(&run, records_out) < 40000) {
        fixture_tick(deadline_ns, "all records are out");
        if (looks++ < 5) rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_PRODUCE, 1, &error);
        const int64_t committed = fixture_committed("behind", "behind.in", looks % PARTITIONS);
        if (committed > 0) assert_true(fixture_end("behind.out", looks % PARTITIONS) >= committed);
        assert_false(mr_run_wait(run.run, 0));
    }
    assert_true(looks > 3);
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    fixture_run_free(&run);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    fixture_check_scores("behind.out", 0, 40000, PARTITIONS, false);
}

/* What comes after a pause is committed at once, what follows within the interval waits for it: here for the end. */
static void the_first_after_a_pause_is_committed_at_once(void **state)
{
    const struct fixture_job job = {.name = "pause", .rest = ",\"lanes\":1,\"commit_interval\":\"1h\""};
    struct fixture_run run;
    (void)state;
    topics("pause");
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_say("pause.in", 0, fixture_record(0));
    fixture_wait(fixture_committed("pause", "pause.in", 0) == 1);
    fixture_say("pause.in", 0, fixture_record(1));
    fixture_wait(fixture_sum(&run, records_out) == 2);
    assert_int_equal(fixture_committed("pause", "pause.in", 0), 1);
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    fixture_run_free(&run);
    assert_int_equal(fixture_committed("pause", "pause.in", 0), 2);
}

/* Leaves at moments from "just started" to "nearly done", then finishes. */
static void stops(const char *name, mr_run_state how, bool is_exact)
{
    static const uint64_t moments[] = {0, 0, 1, 300, 2000, 5000};
    char in[32], out[32];
    const struct fixture_job job = {.name = name,
                                    .rest = ",\"batch\":{\"records_max\":64},\"commit_interval\":\"5ms\""};
    struct fixture_run run;
    uint64_t filled = 0;
    snprintf(in, sizeof in, "%s.in", name);
    snprintf(out, sizeof out, "%s.out", name);
    topics(name);
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        fixture_fill(in, filled, 6000, PARTITIONS);
        filled += 6000;
        assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
        fixture_wait(fixture_sum(&run, records_out) >= moments[i]);
        const mr_status status = fixture_stop(&run, how);
        if (how == MR_RUN_DRAIN || status != MR_ERETRY) assert_int_equal(status, MR_OK);
        fixture_run_free(&run);
    }
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores(out, 0, filled, PARTITIONS, is_exact);
    assert_int_equal(committed_sum(name, in), filled);
}

static void drained_at_any_moment(void **state)
{
    (void)state;
    stops("drain", MR_RUN_DRAIN, true);
}

static void aborted_at_any_moment(void **state)
{
    (void)state;
    stops("abort", MR_RUN_ABORT, false);
}

/* No output is acknowledged: a drain waits for them, the second signal ends that, and nothing is committed that was not
 * delivered. */
static void drain_then_abort_with_a_blocked_sink(void **state)
{
    const struct fixture_job job = {.name = "stuck",
                                    .sinks = FIXTURE_ONE_AT_A_TIME("stuck.out"),
                                    .rest = ",\"batch\":{\"records_max\":64},\"commit_interval\":\"5ms\""};
    static rd_kafka_resp_err_t errors[10000];
    struct fixture_run run;
    (void)state;
    topics("stuck");
    fixture_fill("stuck.in", 0, 10000, PARTITIONS);
    for (size_t i = 0; i < 10000; i++) errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_PRODUCE, 10000, errors);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_wait(fixture_sum(&run, records_in) > 500);
    mr_run_stop(run.run, MR_RUN_DRAIN);
    assert_false(mr_run_lanes_ended(run.run));
    assert_int_equal(fixture_stop(&run, MR_RUN_ABORT), MR_ERETRY);
    assert_int_equal(run.summary->records_out, 0);
    fixture_run_free(&run);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    assert_int_equal(committed_sum("stuck", "stuck.in"), 0);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("stuck.out", 0, 10000, PARTITIONS, false);
}

/* The sink comes back while the run drains: everything that was taken in is delivered and committed, once. */
static void drain_while_the_sink_recovers(void **state)
{
    const struct fixture_job job = {
        .name = "recover", .sinks = FIXTURE_ONE_AT_A_TIME("recover.out"), .rest = ",\"batch\":{\"records_max\":64}"};
    static rd_kafka_resp_err_t errors[10000];
    struct fixture_run run;
    (void)state;
    topics("recover");
    fixture_fill("recover.in", 0, 10000, PARTITIONS);
    for (size_t i = 0; i < 10000; i++) errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_PRODUCE, 10000, errors);
    assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
    fixture_wait(fixture_sum(&run, records_in) > 500);
    mr_run_stop(run.run, MR_RUN_DRAIN);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    assert_int_equal(run.summary->records_out, run.summary->records_in);
    assert_int_equal(committed_sum("recover", "recover.in"), run.summary->records_in);
    fixture_run_free(&run);
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    fixture_check_scores("recover.out", 0, 10000, PARTITIONS, true);
}

/* A refusal is being reported while the lane leaves at once: nobody touches what is gone. */
static void aborted_while_outputs_are_refused(void **state)
{
    const struct fixture_job job = {.name = "refuse", .rest = ",\"batch\":{\"records_max\":64}"};
    static rd_kafka_resp_err_t errors[20];
    struct fixture_run run;
    (void)state;
    topics("refuse");
    for (size_t i = 0; i < 20; i++) errors[i] = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    for (uint64_t round = 0; round < 5; round++) {
        fixture_fill("refuse.in", round * 2000, 2000, PARTITIONS);
        rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_PRODUCE, 20, errors);
        assert_int_equal(fixture_start(&run, &job, NULL), MR_OK);
        fixture_wait(fixture_sum(&run, records_in) > round * 50);
        fixture_stop(&run, MR_RUN_ABORT);
        fixture_run_free(&run);
        rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    }
    fixture_run_to_end(&run, &job);
    fixture_run_free(&run);
    assert_true(fixture_count("refuse.out") + fixture_count("refuse.dead") >= 10000);
}

static int errors_clear(void **state)
{
    (void)state;
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_PRODUCE);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, errors_clear)
    const struct CMUnitTest tests[] = {
        TEST(a_count_then_the_rest),         TEST(the_first_after_a_pause_is_committed_at_once),
        TEST(offsets_stay_behind_outputs),   TEST(drained_at_any_moment),
        TEST(aborted_at_any_moment),         TEST(drain_then_abort_with_a_blocked_sink),
        TEST(drain_while_the_sink_recovers), TEST(aborted_while_outputs_are_refused),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
