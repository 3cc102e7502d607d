/* Two runs in one consumer group join and leave while records flow: nothing is lost, and after a clean hand-over
 * nothing is repeated. */
#include "pipeline/fixture.h"

#include <stdio.h>
#include <string.h>

#include "pipeline/lane.h"

#define PARTITIONS 4
#define STEP       200
#define TOTAL_MAX  60000

struct pair {
    const char *name;
    struct fixture_run first, second;
    bool has_second;
    char in[32], out[32];
    uint64_t filled;
};

static uint64_t out_of(struct pair *pair)
{
    return fixture_sum(&pair->first, records_out) + (pair->has_second ? fixture_sum(&pair->second, records_out) : 0);
}

static uint64_t committed_of(const struct pair *pair)
{
    uint64_t sum = 0;
    for (int i = 0; i < PARTITIONS; i++) {
        const int64_t offset = fixture_committed(pair->name, pair->in, i);
        if (offset > 0) sum += (uint64_t)offset;
    }
    return sum;
}

/* Feeds a little; the records are answered while the next ones come. */
static void feed(struct pair *pair)
{
    assert_true(pair->filled + STEP <= TOTAL_MAX);
    fixture_fill(pair->in, pair->filled, STEP, PARTITIONS);
    pair->filled += STEP;
    fixture_wait(out_of(pair) + 4 * STEP >= pair->filled);
}

static void hand_over(const char *name, const char *membership, const char *properties)
{
    struct pair pair = {.name = name};
    char first_source[128], second_source[128], all[256];
    snprintf(first_source, sizeof first_source,
             "\"membership\":\"%s\",\"instance\":\"one\",\"fetch_wait_max\":\"5ms\",", membership);
    snprintf(second_source, sizeof second_source,
             "\"membership\":\"%s\",\"instance\":\"two\",\"fetch_wait_max\":\"5ms\",", membership);
    /* The mock waits 3 s for the first join, in which a shorter session would end, and a second less than the session
     * for those that rejoin. */
    snprintf(all, sizeof all, ",\"session.timeout.ms\":4000,\"heartbeat.interval.ms\":100%s", properties);
    struct fixture_job job = {.name = name,
                              .servers = fixture_servers(),
                              .source = first_source,
                              .properties = all,
                              .rest = ",\"lanes\":1,\"commit_interval\":\"20ms\""};
    snprintf(pair.in, sizeof pair.in, "%s.in", name);
    snprintf(pair.out, sizeof pair.out, "%s.out", name);
    fixture_topic(pair.in, PARTITIONS);
    fixture_topic(pair.out, PARTITIONS);

    assert_int_equal(fixture_start(&pair.first, &job, NULL), MR_OK);
    feed(&pair);
    job.source = second_source;
    assert_int_equal(fixture_start(&pair.second, &job, NULL), MR_OK);
    pair.has_second = true;
    while (!fixture_sum(&pair.second, records_in)) feed(&pair); /* until it has got its share */
    for (int i = 0; i < 10; i++) feed(&pair);

    /* The first one leaves while records flow. */
    assert_int_equal(fixture_stop(&pair.first, MR_RUN_DRAIN), MR_OK);
    fixture_fill(pair.in, pair.filled, STEP, PARTITIONS);
    pair.filled += STEP;
    fixture_wait(committed_of(&pair) == pair.filled); /* all partitions are the second one's now */
    assert_int_equal(fixture_stop(&pair.second, MR_RUN_DRAIN), MR_OK);

    fixture_check_scores(pair.out, 0, pair.filled, PARTITIONS, false);
    assert_true((uint64_t)fixture_count(pair.out) < 2 * pair.filled);
    fixture_run_free(&pair.first);
    fixture_run_free(&pair.second);
}

static void dynamic_members_eager(void **state)
{
    (void)state;
    hand_over("eager", "dynamic", "");
}

static void dynamic_members_cooperative(void **state)
{
    (void)state;
    if (rd_kafka_version() < 0x02010000) {
        print_message(
            "SKIP: cooperative rebalances: librdkafka %s loses records in them, and millrace refuses them there\n",
            rd_kafka_version_str());
        skip();
    }
    hand_over("cooperative", "dynamic", ",\"partition.assignment.strategy\":\"cooperative-sticky\"");
}
/* A member of a group that reads nothing. Returns when it has partitions. */
static rd_kafka_t *member_join(const char *group, const char *topic)
{
    char reason[256];
    const char *const pairs[][2] = {{"bootstrap.servers", fixture_servers()},
                                    {"group.id", group},
                                    {"session.timeout.ms", "4000"},
                                    {"heartbeat.interval.ms", "100"},
                                    {"enable.auto.commit", "false"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_int_equal(rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], reason, sizeof reason), RD_KAFKA_CONF_OK);
    rd_kafka_t *member = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    assert_non_null(member);
    rd_kafka_poll_set_consumer(member);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(member, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    const int64_t deadline_ns = fixture_deadline_ns();
    for (int count = 0; !count; rd_kafka_topic_partition_list_destroy(list)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(member, 10);
        if (message) rd_kafka_message_destroy(message);
        assert_int_equal(rd_kafka_assignment(member, &list), 0);
        count = list->cnt;
        fixture_tick(deadline_ns, "the member has partitions");
    }
    return member;
}

/*
 * Records flow in while partitions go from lane to lane of a bounded run, to another member, and back: it ends where
 * each partition ended when it first saw it. Fetches fail meanwhile, so that nothing is read before all that is over.
 */
static void a_bounded_run_keeps_its_ends(void **state)
{
    const struct fixture_job job = {.name = "ends",
                                    .servers = fixture_servers(),
                                    .source = "\"membership\":\"dynamic\",\"fetch_wait_max\":\"5ms\",",
                                    .properties = ",\"session.timeout.ms\":4000,\"heartbeat.interval.ms\":100",
                                    .rest = ",\"lanes\":2"};
    enum { ERRORS = 2000, FIRST = 2000 };
    static rd_kafka_resp_err_t errors[ERRORS];
    struct fixture_run run;
    (void)state;
    fixture_topic("ends.in", PARTITIONS);
    fixture_topic("ends.out", PARTITIONS);
    fixture_fill("ends.in", 0, FIRST, PARTITIONS);
    for (size_t i = 0; i < ERRORS; i++) errors[i] = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_FETCH, ERRORS, errors);
    assert_int_equal(fixture_start(&run, &job, &(struct mr_until){.end = true}), MR_OK);
    fixture_wait(atomic_load(&run.run->lane[0]->has_joined)); /* it has all partitions */
    fixture_fill("ends.in", FIRST, STEP, PARTITIONS);
    fixture_wait(atomic_load(&run.run->lane[1]->has_joined));
    fixture_fill("ends.in", FIRST + STEP, STEP, PARTITIONS);
    rd_kafka_t *member = member_join("ends", "ends.in");
    fixture_fill("ends.in", FIRST + 2 * STEP, STEP, PARTITIONS);
    assert_int_equal(rd_kafka_consumer_close(member), 0);
    rd_kafka_destroy(member);
    assert_int_equal(fixture_sum(&run, records_in), 0);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_FETCH);

    fixture_wait(mr_run_wait(run.run, 0));
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    /* Nothing else was answered. Some may be twice: the mock refuses commits while a group changes. */
    fixture_check_scores("ends.out", 0, FIRST, PARTITIONS, false);
    for (int i = 0; i < PARTITIONS; i++) assert_int_equal(fixture_committed("ends", "ends.in", i), FIRST / PARTITIONS);
    fixture_run_free(&run);
}

/* A member outside of a bounded run has partitions that it does not read: the run ends only when they have come to it.
 */
static void a_bounded_run_waits_for_what_others_have(void **state)
{
    const struct fixture_job job = {.name = "others",
                                    .servers = fixture_servers(),
                                    .source = "\"membership\":\"dynamic\",\"fetch_wait_max\":\"5ms\",",
                                    .properties = ",\"session.timeout.ms\":4000,\"heartbeat.interval.ms\":100",
                                    .rest = ",\"lanes\":1,\"commit_interval\":\"20ms\""};
    enum { COUNT = 2000 };
    struct fixture_run run;
    (void)state;
    fixture_topic("others.in", PARTITIONS);
    fixture_topic("others.out", PARTITIONS);
    fixture_fill("others.in", 0, COUNT, PARTITIONS);
    rd_kafka_t *member = member_join("others", "others.in");
    assert_int_equal(fixture_start(&run, &job, &(struct mr_until){.end = true}), MR_OK);
    fixture_wait(fixture_sum(&run, records_in) == COUNT / 2);
    assert_false(mr_run_wait(run.run, 200000));
    assert_int_equal(rd_kafka_consumer_close(member), 0);
    rd_kafka_destroy(member);
    fixture_wait(mr_run_wait(run.run, 0));
    assert_int_equal(fixture_stop(&run, MR_RUN_DRAIN), MR_OK);
    fixture_check_scores("others.out", 0, COUNT, PARTITIONS, false);
    fixture_run_free(&run);
}

/* The group's coordinator cannot say what is committed, for good: the run ends with a reason, and can be closed. */
static void committed_offsets_cannot_be_read(void **state)
{
    const struct fixture_job job = {.name = "nooffsets",
                                    .servers = fixture_servers(),
                                    .source = "\"membership\":\"dynamic\",",
                                    .properties = ",\"session.timeout.ms\":4000",
                                    .rest = ",\"lanes\":1"};
    const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
                                          RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED};
    struct fixture_run run;
    (void)state;
    fixture_topic("nooffsets.in", 1);
    fixture_topic("nooffsets.out", 1);
    rd_kafka_mock_push_request_errors_array(fixture_cluster(), API_OFFSET_FETCH, 2, errors);
    assert_int_equal(fixture_run(&run, &job, NULL), MR_EKAFKA);
    assert_non_null(strstr(run.err.text, "committed offsets"));
    fixture_run_free(&run);
    rd_kafka_mock_clear_request_errors(fixture_cluster(), API_OFFSET_FETCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dynamic_members_eager),
        cmocka_unit_test(dynamic_members_cooperative),
        cmocka_unit_test(a_bounded_run_keeps_its_ends),
        cmocka_unit_test(a_bounded_run_waits_for_what_others_have),
        cmocka_unit_test(committed_offsets_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
