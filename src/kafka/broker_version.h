/**
 * How old a broker is, where it matters: exactly-once rests on what brokers refuse. From the versions of the requests
 * that it offers, which every broker tells every client first (also over TLS and SASL), and which librdkafka tells in
 * its log.
 */
#ifndef MR_KAFKA_BROKER_VERSION_H
#define MR_KAFKA_BROKER_VERSION_H

#include <stdbool.h>
#include <stddef.h>

#include "millrace/option.h"
#include "millrace/status.h"

struct mr_broker_facts {
    bool is_known;                /* a broker answered, and its versions were understood */
    bool is_mock;                 /* librdkafka's own, which tests and demos run on */
    int produce_max, end_txn_max; /* newest versions that it offers; -1: not at all */
};

typedef enum {
    MR_BROKER_UNKNOWN,
    MR_BROKER_MOCK,
    MR_BROKER_BEFORE_3_7, /* takes stray requests of transactions that are over */
    MR_BROKER_BEFORE_4,   /* takes a stray EndTxn */
    MR_BROKER_4
} mr_broker_age;

/** Asks a broker of properties (bootstrap.servers and the user's security settings), for at most timeout_ms. That none
 * answers is no error: is_known is false then. MR_ECONFIG: properties that make no client. */
mr_status mr_broker_facts_ask(const struct mr_map *properties, int timeout_ms, struct mr_broker_facts *facts_out,
                              struct mr_err *err);

/** Takes one line of librdkafka's log about a broker's versions into facts; other lines do nothing. Initial facts have
 * both versions at -1. */
void mr_broker_facts_note(struct mr_broker_facts *facts, const char *line);

mr_broker_age mr_broker_age_of(const struct mr_broker_facts *facts);

/**
 * What an age means for exactly-once. MR_EKAFKA: too old, and is_allowed (source.allow_old_brokers) is false. MR_OK:
 * warning (a static text) is NULL, or says what is not promised.
 */
mr_status mr_broker_age_judge(mr_broker_age age, bool is_allowed, const char **warning_out, struct mr_err *err);

#endif
