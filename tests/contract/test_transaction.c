/*
 * The owner of the transactional producer against librdkafka's mock broker: what each error of a broker comes to, that
 * no commit is called one after a fatal error, and that a request which was sent twice is seen.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "kafka/embedded.h"
#include "kafka/transaction.h"

#define BROKER     1
#define DEADLINE_S 30
#define TOPIC      "outputs"

enum {
    PRODUCE = 0,
    FIND_COORDINATOR = 10,
    INIT_PRODUCER_ID = 22,
    ADD_PARTITIONS = 24,
    ADD_OFFSETS = 25,
    END_TXN = 26,
    TXN_OFFSET_COMMIT = 28
};

static const struct mr_pair pairs[] = {
    {(char[]){"bootstrap.servers"}, (char[]){"embedded"}},  {(char[]){"socket.timeout.ms"}, (char[]){"1000"}},
    {(char[]){"retry.backoff.ms"}, (char[]){"50"}},         {(char[]){"reconnect.backoff.ms"}, (char[]){"10"}},
    {(char[]){"reconnect.backoff.max.ms"}, (char[]){"50"}}, {(char[]){"log_level"}, (char[]){"2"}}};

/* A lane's transaction, and how far one was brought. */
struct rig {
    struct mr_transaction *transaction;
    struct mr_port port;
    struct mr_map properties;
    struct mr_err err;
    size_t failed; /* delivery reports */
};

static struct rig rig;
static rd_kafka_t *consumer; /* for its group's metadata */

static void delivered(struct mr_port *port, const rd_kafka_message_t *message)
{
    (void)port;
    rig.failed += message->err != 0;
}

static int group_open(void **state)
{
    const char *servers;
    struct mr_err err;
    char reason[256];
    (void)state;
    if (mr_kafka_embedded_start(&servers, &err) || mr_kafka_embedded_topic(TOPIC, 1, &err)) return -1;
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", servers, reason, sizeof reason);
    rd_kafka_conf_set(conf, "group.id", "readers", reason, sizeof reason);
    consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof reason);
    return consumer ? 0 : -1;
}

static int group_close(void **state)
{
    (void)state;
    rd_kafka_destroy(consumer);
    mr_kafka_embedded_stop();
    return 0;
}

static int rig_open(void **state)
{
    static struct mr_pair copies[sizeof pairs / sizeof *pairs];
    (void)state;
    memcpy(copies, pairs, sizeof pairs);
    rig = (struct rig){.properties = {.item = copies, .count = sizeof pairs / sizeof *pairs},
                       .port = {.topic_name = TOPIC, .delivered = delivered}};
    const struct mr_transaction_open open = {
        .id = "job-host-0", .properties = &rig.properties, .memory_bytes = 8 << 20, .linger_us = 1000};
    return mr_transaction_create(&open, &rig.transaction, &rig.err) ? -1 : 0;
}

static int rig_close(void **state)
{
    static const int16_t apis[] = {PRODUCE,     FIND_COORDINATOR, INIT_PRODUCER_ID, ADD_PARTITIONS,
                                   ADD_OFFSETS, END_TXN,          TXN_OFFSET_COMMIT};
    (void)state;
    if (rig.port.topic_name) mr_port_close(rig.transaction, &rig.port);
    mr_transaction_destroy(rig.transaction);
    for (size_t i = 0; i < sizeof apis / sizeof *apis; i++) /* what was pushed and not reached */
        rd_kafka_mock_clear_request_errors(mr_kafka_embedded_cluster(), apis[i]);
    return 0;
}

static int64_t deadline(void)
{
    return mr_clock_ns() + DEADLINE_S * 1000000000LL;
}

/* ---- the steps of a transaction, each as the commit protocol calls it ---- */

static mr_txn_outcome init(void)
{
    const int64_t until_ns = deadline();
    mr_txn_outcome outcome;
    while ((outcome = mr_transaction_init(rig.transaction, &rig.err)) == MR_TXN_AGAIN && mr_clock_ns() < until_ns)
        ;
    if (!outcome && !rig.port.next && !rig.port.topic)
        assert_int_equal(mr_port_open(rig.transaction, &rig.port, &rig.err), 0);
    return outcome;
}

static rd_kafka_resp_err_t message_send(void)
{
    static char value[] = "one";
    const rd_kafka_resp_err_t code =
        rd_kafka_producev(mr_transaction_client(rig.transaction), RD_KAFKA_V_RKT(rig.port.topic),
                          RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(value, sizeof value - 1), RD_KAFKA_V_END);
    if (!code) mr_transaction_sent(rig.transaction, 1);
    return code;
}

/* Until what was sent has its report. */
static void settle(void)
{
    const int64_t until_ns = deadline();
    uint64_t sent = 1, acknowledged = 0;
    while (acknowledged + rig.failed < sent && mr_clock_ns() < until_ns) {
        mr_transaction_poll(rig.transaction, 10);
        mr_transaction_counts(rig.transaction, &sent, &acknowledged);
        if (mr_transaction_failure(rig.transaction, NULL)) return;
    }
}

static mr_txn_outcome offsets(void)
{
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_consumer_group_metadata_t *const group = rd_kafka_consumer_group_metadata(consumer);
    const int64_t until_ns = deadline();
    mr_txn_outcome outcome;
    rd_kafka_topic_partition_list_add(list, "inputs", 0)->offset = 7;
    while ((outcome = mr_transaction_offsets(rig.transaction, list, group, &rig.err)) == MR_TXN_AGAIN &&
           mr_clock_ns() < until_ns)
        ;
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    return outcome;
}

static mr_txn_outcome commit(void)
{
    const int64_t until_ns = deadline();
    mr_txn_outcome outcome;
    while ((outcome = mr_transaction_commit(rig.transaction, &rig.err)) == MR_TXN_AGAIN && mr_clock_ns() < until_ns)
        ;
    return outcome;
}

/* A whole transaction; the first outcome that is not OK. */
static mr_txn_outcome whole(void)
{
    mr_txn_outcome outcome = mr_transaction_begin(rig.transaction, &rig.err);
    if (outcome) return outcome;
    assert_int_equal(message_send(), 0);
    settle();
    outcome = offsets();
    return outcome ? outcome : commit();
}

static const char *name_of(mr_txn_outcome outcome)
{
    static const char *const names[] = {"ok", "again", "abort", "fatal", "fenced", "refused"};
    return names[outcome];
}

static void expect(mr_txn_outcome got, mr_txn_outcome want, const char *what)
{
    if (got != want) fail_msg("%s: %s, want %s (%s)", what, name_of(got), name_of(want), rig.err.text);
}

/* ---- errors without a broker ---- */

static void test_judge(void **state)
{
    static const struct {
        rd_kafka_resp_err_t code;
        mr_txn_outcome want;
        mr_status status;
    } rows[] = {
        {RD_KAFKA_RESP_ERR__FENCED, MR_TXN_FENCED, MR_EFENCED},
        {RD_KAFKA_RESP_ERR_PRODUCER_FENCED, MR_TXN_FENCED, MR_EFENCED},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, MR_TXN_FENCED, MR_EFENCED},
        {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, MR_TXN_FENCED, MR_EFENCED},
        {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, MR_TXN_REFUSED, MR_EKAFKA},
        {RD_KAFKA_RESP_ERR__STATE, MR_TXN_FATAL, MR_ERESTART}, /* without any flag */
        {RD_KAFKA_RESP_ERR__TIMED_OUT, MR_TXN_FATAL, MR_ERESTART},
        {RD_KAFKA_RESP_ERR_UNKNOWN, MR_TXN_FATAL, MR_ERESTART},
    };
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    rd_kafka_t *const client = mr_transaction_client(rig.transaction);
    expect(mr_transaction_judge(client, NULL, "x", &rig.err), MR_TXN_OK, "no error");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rd_kafka_error_t *const error = rd_kafka_error_new(rows[i].code, "why");
        expect(mr_transaction_judge(client, error, "trying", &rig.err), rows[i].want, rd_kafka_err2name(rows[i].code));
        assert_int_equal(rig.err.status, rows[i].status);
        assert_non_null(strstr(rig.err.text, "trying"));
        assert_non_null(strstr(rig.err.text, "why"));
    }
    /* A fatal error of the client explains whatever comes after it. */
    rd_kafka_test_fatal_error(client, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "because");
    expect(mr_transaction_judge(client, rd_kafka_error_new(RD_KAFKA_RESP_ERR__STATE, "why"), "x", &rig.err),
           MR_TXN_FATAL, "behind a fatal error");
    assert_non_null(strstr(rig.err.text, "because"));
}

static void test_judge_behind_a_fence(void **state)
{
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    rd_kafka_t *const client = mr_transaction_client(rig.transaction);
    rd_kafka_test_fatal_error(client, RD_KAFKA_RESP_ERR__FENCED, "another came");
    expect(mr_transaction_judge(client, rd_kafka_error_new(RD_KAFKA_RESP_ERR__STATE, "why"), "x", &rig.err),
           MR_TXN_FENCED, "behind a fence");
    assert_int_equal(rig.err.status, MR_EFENCED);
    assert_non_null(strstr(rig.err.text, "another came"));
}

/* No broker: an init that has not come to its end is to be called again. */
static void test_again(void **state)
{
    (void)state;
    assert_int_equal(rd_kafka_mock_broker_set_down(mr_kafka_embedded_cluster(), BROKER), 0);
    expect(mr_transaction_init(rig.transaction, &rig.err), MR_TXN_AGAIN, "init without a broker");
    assert_int_equal(rd_kafka_mock_broker_set_up(mr_kafka_embedded_cluster(), BROKER), 0);
    expect(init(), MR_TXN_OK, "init with a broker");
    expect(whole(), MR_TXN_OK, "a transaction");
    assert_false(mr_transaction_is_dirty(rig.transaction));
}

/* ---- errors of a broker: reliability table 1.2 ---- */

#define E(name) RD_KAFKA_RESP_ERR_##name
static const struct {
    int16_t api;
    rd_kafka_resp_err_t code;
    mr_txn_outcome want;
} table[] = {
    {ADD_PARTITIONS, E(NOT_COORDINATOR), MR_TXN_OK},
    {ADD_PARTITIONS, E(CONCURRENT_TRANSACTIONS), MR_TXN_OK},
    {ADD_PARTITIONS, E(INVALID_PRODUCER_EPOCH), MR_TXN_FENCED},
    {ADD_PARTITIONS, E(PRODUCER_FENCED), MR_TXN_FENCED},
    {ADD_PARTITIONS, E(INVALID_TXN_STATE), MR_TXN_FATAL},
    {ADD_OFFSETS, E(INVALID_TXN_STATE), MR_TXN_FATAL},
    {ADD_OFFSETS, E(PRODUCER_FENCED), MR_TXN_FENCED},
    {ADD_OFFSETS, E(INVALID_PRODUCER_EPOCH), MR_TXN_FENCED},
    {ADD_OFFSETS, E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), MR_TXN_REFUSED},
    {ADD_OFFSETS, E(GROUP_AUTHORIZATION_FAILED), MR_TXN_REFUSED},
    {TXN_OFFSET_COMMIT, E(INVALID_TXN_STATE), MR_TXN_FATAL},
    {TXN_OFFSET_COMMIT, E(PRODUCER_FENCED), MR_TXN_FENCED},
    {TXN_OFFSET_COMMIT, E(INVALID_PRODUCER_EPOCH), MR_TXN_FENCED},
    {TXN_OFFSET_COMMIT, E(FENCED_INSTANCE_ID), MR_TXN_FENCED},
    {TXN_OFFSET_COMMIT, E(ILLEGAL_GENERATION), MR_TXN_ABORT},
    {TXN_OFFSET_COMMIT, E(UNKNOWN_MEMBER_ID), MR_TXN_ABORT},
    {TXN_OFFSET_COMMIT, E(REBALANCE_IN_PROGRESS), MR_TXN_ABORT},
    {TXN_OFFSET_COMMIT, (rd_kafka_resp_err_t)120, MR_TXN_ABORT}, /* TRANSACTION_ABORTABLE: newer than the client */
    {END_TXN, E(NOT_COORDINATOR), MR_TXN_OK},
    {END_TXN, E(CONCURRENT_TRANSACTIONS), MR_TXN_OK},
    {END_TXN, E(PRODUCER_FENCED), MR_TXN_FENCED},
    {END_TXN, E(INVALID_PRODUCER_EPOCH), MR_TXN_FENCED},
    {END_TXN, E(INVALID_TXN_STATE), MR_TXN_FATAL},
    {PRODUCE, E(NOT_ENOUGH_REPLICAS), MR_TXN_OK},
    {PRODUCE, E(MSG_SIZE_TOO_LARGE), MR_TXN_ABORT},
    {PRODUCE, E(TOPIC_AUTHORIZATION_FAILED), MR_TXN_REFUSED},
};

static void test_table(void **state)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char what[128];
        snprintf(what, sizeof what, "api %d, %s", table[i].api, rd_kafka_err2name(table[i].code));
        expect(init(), MR_TXN_OK, what);
        rd_kafka_mock_push_request_errors_array(mr_kafka_embedded_cluster(), table[i].api, 1, &table[i].code);
        expect(whole(), table[i].want, what);
        rig_close(state);
        rig_open(state);
    }
}

/* ---- a fatal error in each phase: a commit may answer OK behind it, with nothing written ---- */

static void fatal(void)
{
    assert_int_equal(rd_kafka_test_fatal_error(mr_transaction_client(rig.transaction),
                                               RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "in a test"),
                     0);
}

static void test_fatal_before_begin(void **state)
{
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    fatal();
    expect(mr_transaction_begin(rig.transaction, &rig.err), MR_TXN_FATAL, "begin");
}

static void test_fatal_before_sending(void **state)
{
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    expect(mr_transaction_begin(rig.transaction, &rig.err), MR_TXN_OK, "begin");
    fatal();
    assert_int_equal(message_send(), RD_KAFKA_RESP_ERR__FATAL);
    assert_int_equal(mr_transaction_failure(rig.transaction, &rig.err), MR_ERESTART);
    expect(commit(), MR_TXN_FATAL, "commit");
}

static void test_fatal_before_offsets(void **state)
{
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    expect(mr_transaction_begin(rig.transaction, &rig.err), MR_TXN_OK, "begin");
    assert_int_equal(message_send(), 0);
    settle();
    fatal();
    expect(offsets(), MR_TXN_FATAL, "offsets");
    expect(commit(), MR_TXN_FATAL, "commit");
}

static void test_fatal_before_commit(void **state)
{
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    expect(mr_transaction_begin(rig.transaction, &rig.err), MR_TXN_OK, "begin");
    assert_int_equal(message_send(), 0);
    settle();
    expect(offsets(), MR_TXN_OK, "offsets");
    fatal();
    expect(commit(), MR_TXN_FATAL, "commit");
    /* The way on: a new producer of the same name. */
    mr_transaction_drop(rig.transaction);
    rig.failed = 0;
    expect(init(), MR_TXN_OK, "init again");
    expect(whole(), MR_TXN_OK, "a transaction of the new producer");
}

/* A message that was handed over and never acknowledged makes a commit none. */
static void test_unacknowledged(void **state)
{
    (void)state;
    expect(init(), MR_TXN_OK, "init");
    expect(mr_transaction_begin(rig.transaction, &rig.err), MR_TXN_OK, "begin");
    assert_int_equal(message_send(), 0);
    settle();
    mr_transaction_sent(rig.transaction, 1);
    expect(offsets(), MR_TXN_OK, "offsets");
    expect(commit(), MR_TXN_FATAL, "commit");
    assert_non_null(strstr(rig.err.text, "1 of 2 messages"));
}

/* ---- the watch over the epoch ---- */

static void dirty_after(int16_t api, rd_kafka_resp_err_t code, int rtt_ms, bool want)
{
    expect(init(), MR_TXN_OK, "init");
    expect(whole(), MR_TXN_OK, "a clean transaction");
    assert_false(mr_transaction_is_dirty(rig.transaction));
    rd_kafka_mock_broker_push_request_error_rtts(mr_kafka_embedded_cluster(), BROKER, api, (size_t)1, code, rtt_ms);
    expect(whole(), MR_TXN_OK, "a transaction that was tried again");
    if (mr_transaction_is_dirty(rig.transaction) != want) fail_msg("api %d: dirty: %s", api, want ? "no" : "yes");
}

static void test_late_end(void **state)
{
    (void)state;
    dirty_after(END_TXN, RD_KAFKA_RESP_ERR_NO_ERROR, 1500, true);
}

static void test_lost_end(void **state)
{
    (void)state;
    dirty_after(END_TXN, RD_KAFKA_RESP_ERR__TRANSPORT, 0, true);
}

static void test_lost_offsets(void **state)
{
    (void)state;
    dirty_after(TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR__TRANSPORT, 0, true);
}

static void test_answered_late_in_time(void **state)
{
    (void)state;
    dirty_after(END_TXN, RD_KAFKA_RESP_ERR_NO_ERROR, 300, false);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_open, rig_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RIG(test_judge),
        WITH_RIG(test_judge_behind_a_fence),
        WITH_RIG(test_again),
        WITH_RIG(test_table),
        WITH_RIG(test_fatal_before_begin),
        WITH_RIG(test_fatal_before_sending),
        WITH_RIG(test_fatal_before_offsets),
        WITH_RIG(test_fatal_before_commit),
        WITH_RIG(test_unacknowledged),
        WITH_RIG(test_late_end),
        WITH_RIG(test_lost_end),
        WITH_RIG(test_lost_offsets),
        WITH_RIG(test_answered_late_in_time),
    };
    return cmocka_run_group_tests(tests, group_open, group_close);
}
