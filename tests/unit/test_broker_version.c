/* How old a broker is, by what librdkafka's log tells of it; and what a version of librdkafka has to be said of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/broker_version.h"
#include "kafka/embedded.h"
#include "kafka/library_version.h"

static struct mr_broker_facts facts_of(const char *const *lines)
{
    struct mr_broker_facts facts = {.produce_max = -1, .end_txn_max = -1};
    for (size_t i = 0; lines[i]; i++) mr_broker_facts_note(&facts, lines[i]);
    return facts;
}

static void test_lines(void **state)
{
    static const char *const new_broker[] = {
        "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap: Broker API support:",
        "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap:   ApiKey Produce (0) Versions 0..13",
        "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap:   ApiKey EndTxn (26) Versions 0..5",
        "[thrd:localhost:9092/bootstrap]: localhost:9092/bootstrap:   ApiKey Unknown-91? (91) Versions 0..0", NULL};
    static const char *const nothing[] = {
        "ApiKey", "ApiKey Produce", "ApiKey Produce (x) Versions 0..3", "ApiKey Produce (0) Versions 3", "", NULL};
    static const char *const other[] = {"ApiKey Fetch (1) Versions 0..16", "ApiKey EndTxn (26) Versions 0..1", NULL};
    (void)state;
    const struct mr_broker_facts facts = facts_of(new_broker);
    assert_true(facts.is_known);
    assert_int_equal(facts.produce_max, 13);
    assert_int_equal(facts.end_txn_max, 5);
    assert_int_equal(mr_broker_age_of(&facts), MR_BROKER_4);
    const struct mr_broker_facts unknown = facts_of(nothing);
    assert_false(unknown.is_known);
    assert_int_equal(mr_broker_age_of(&unknown), MR_BROKER_UNKNOWN);
    const struct mr_broker_facts half = facts_of(other); /* without Produce nothing is decided */
    assert_false(half.is_known);
}

static void test_ages(void **state)
{
    static const struct {
        struct mr_broker_facts facts;
        mr_broker_age want;
    } rows[] = {
        {{.is_known = true, .produce_max = 9, .end_txn_max = 3}, MR_BROKER_BEFORE_3_7},
        {{.is_known = true, .produce_max = 3, .end_txn_max = -1}, MR_BROKER_BEFORE_3_7},
        {{.is_known = true, .produce_max = 10, .end_txn_max = 3}, MR_BROKER_BEFORE_4},
        {{.is_known = true, .produce_max = 11, .end_txn_max = 4}, MR_BROKER_BEFORE_4},
        {{.is_known = true, .produce_max = 12, .end_txn_max = 5}, MR_BROKER_4},
        {{.is_known = true, .produce_max = 20, .end_txn_max = 9}, MR_BROKER_4},
        {{.is_known = true, .is_mock = true, .produce_max = 7, .end_txn_max = 1}, MR_BROKER_MOCK},
        {{.is_mock = true}, MR_BROKER_MOCK},
        {{.produce_max = -1, .end_txn_max = -1}, MR_BROKER_UNKNOWN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(mr_broker_age_of(&rows[i].facts), rows[i].want);
}

static void test_judgement(void **state)
{
    const char *warning = "not set";
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_broker_age_judge(MR_BROKER_4, false, &warning, &err), MR_OK);
    assert_null(warning);
    assert_int_equal(mr_broker_age_judge(MR_BROKER_MOCK, false, &warning, &err), MR_OK);
    assert_null(warning);
    assert_int_equal(mr_broker_age_judge(MR_BROKER_BEFORE_4, false, &warning, &err), MR_OK);
    assert_non_null(strstr(warning, "EndTxn"));
    assert_int_equal(mr_broker_age_judge(MR_BROKER_UNKNOWN, false, &warning, &err), MR_OK);
    assert_non_null(strstr(warning, "could not be found out"));
    assert_int_equal(mr_broker_age_judge(MR_BROKER_BEFORE_3_7, false, &warning, &err), MR_EKAFKA);
    assert_null(warning);
    assert_non_null(strstr(err.text, "allow_old_brokers"));
    assert_int_equal(mr_broker_age_judge(MR_BROKER_BEFORE_3_7, true, &warning, &err), MR_OK);
    assert_non_null(strstr(warning, "allow_old_brokers"));
}

/* The mock names itself, and what librdkafka's log says of it is understood. */
static void test_mock(void **state)
{
    struct mr_pair pair = {(char[]){"bootstrap.servers"}, (char[]){"embedded"}};
    const struct mr_map properties = {.item = &pair, .count = 1};
    struct mr_broker_facts facts;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_broker_facts_ask(&properties, 10000, &facts, &err), MR_OK);
    assert_true(facts.is_mock);
    assert_true(facts.is_known);
    assert_true(facts.produce_max >= 7);
    assert_true(facts.end_txn_max >= 1);
    mr_kafka_embedded_stop();
}

static void test_nobody_answers(void **state)
{
    struct mr_pair pair = {(char[]){"bootstrap.servers"}, (char[]){"127.0.0.1:1"}};
    const struct mr_map properties = {.item = &pair, .count = 1};
    struct mr_broker_facts facts;
    struct mr_err err = {0};
    (void)state;
    assert_int_equal(mr_broker_facts_ask(&properties, 100, &facts, &err), MR_OK);
    assert_int_equal(mr_broker_age_of(&facts), MR_BROKER_UNKNOWN);
}

static unsigned note_count(unsigned version, bool is_bug)
{
    const struct mr_library_note *note = NULL;
    unsigned count = 0;
    while ((note = mr_library_note_next(version, note))) count += note->is_bug == is_bug;
    return count;
}

static void test_library(void **state)
{
    (void)state;
    assert_int_equal(note_count(0x020002ff, true), 0); /* Debian's */
    assert_int_equal(note_count(0x020002ff, false), 4);
    assert_int_equal(note_count(0x020100ff, true), 1);
    assert_int_equal(note_count(0x020101ff, true), 0);
    assert_int_equal(note_count(0x020200ff, true), 2);
    assert_int_equal(note_count(0x020502ff, true), 2);
    assert_int_equal(note_count(0x020a00ff, true), 2);
    assert_int_equal(note_count(0x020a01ff, true), 1);
    assert_int_equal(note_count(0x020e00ff, true), 0);
    assert_int_equal(note_count(0x020f00ff, false), 1); /* what no version has mended */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines), cmocka_unit_test(test_ages),           cmocka_unit_test(test_judgement),
        cmocka_unit_test(test_mock),  cmocka_unit_test(test_nobody_answers), cmocka_unit_test(test_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
