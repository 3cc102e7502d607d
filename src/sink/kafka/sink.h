/** Inside the Kafka sink: what its files share. One thread: the lane's; delivery reports come
 * inside poll. */
#ifndef MR_SINK_KAFKA_SINK_H
#define MR_SINK_KAFKA_SINK_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kafka/transaction.h"
#include "millrace/sink.h"

#define MR_KAFKA_CHUNK 512

struct mr_kafka_sink_options {
    char *topic;
    struct mr_map properties;
};

/* A refused record that waits for its second try. Its bytes lie in the outbox, which lives until it is settled. */
struct alone {
    struct mr_outbox *box;
    struct mr_record *record;
    int32_t partition;
};

struct mr_sink {
    const struct mr_kafka_sink_options *opt;
    struct mr_sink_open open;
    const struct mr_map *properties;
    struct mr_transaction *transaction; /* NULL: the sink has a client of its own */
    struct mr_port port;                /* in the transaction */
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_t *solo; /* one record a request; made when a record is first refused */
    const char *servers;
    rd_kafka_topic_t *solo_topic;
    struct alone *alone; /* ring [alone_cap]: what the solo client had no room for yet */
    size_t alone_first, alone_count, alone_cap;
    size_t size_refused, size_refusals; /* the smallest record that was refused alone for its size; how many were */
    int64_t size_until_us;
    bool is_packed;                /* records are compressed: how large they are for the broker is not known here */
    int32_t partition_count, turn; /* turn: the partition of the current outbox for records that may go anywhere */
    int32_t same_count;            /* records that name a partition below it go there */
    bool same_may_grow;            /* with the topic; else what is not below goes by key, for good */
    rd_kafka_message_t chunk[MR_KAFKA_CHUNK];
    struct mr_outbox **box; /* [box_cap]: those whose records have headers */
    size_t box_count, box_cap;
    struct mr_outbox *box_last; /* noted last */
    struct mr_outbox *run_box;  /* successful delivery reports come in long runs of one outbox */
    size_t run_count;
    size_t last_failed; /* where the search for the record of a failed report begins */
    bool is_closing;
    struct mr_err failure;
};

/* ---- kafka.c: the clients ---- */

/** The client, and the topic's handle there, that records go through: the lane's transaction's, or the sink's own. */
static inline rd_kafka_t *mr_kafka_sink_client(const struct mr_sink *sink)
{
    return sink->transaction ? mr_transaction_client(sink->transaction) : sink->client;
}

static inline rd_kafka_topic_t *mr_kafka_sink_topic(const struct mr_sink *sink)
{
    return sink->transaction ? sink->port.topic : sink->topic;
}

/** A client of the sink's own; is_solo: that sends one record a request. MR_ECONFIG. */
mr_status mr_kafka_sink_client_open(struct mr_sink *sink, bool is_solo, rd_kafka_t **client_out, struct mr_err *err);

/* ---- place.c: which partition ---- */

/** Decides by the sink's partition_count and the rule of open whether records keep their partitions. MR_ECONFIG: the
 * rule cannot be kept. */
mr_status mr_kafka_sink_place(struct mr_sink *sink, struct mr_err *err);

/** A record names partition `wanted`, which the topic did not have: asks again, and decides for good. False: no broker
 * said, or the topic is gone (sink->failure). */
bool mr_kafka_sink_place_again(struct mr_sink *sink, int32_t wanted);

/* ---- send.c: from outbox to client ---- */

/** See mr_sink_ops.emit. */
mr_status mr_kafka_sink_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                             struct mr_err *err);

/** Offers one record, with its headers and timestamp, to a client. The outbox must have been noted if it has headers.
 */
rd_kafka_resp_err_t mr_kafka_sink_send_one(rd_kafka_t *client, rd_kafka_topic_t *topic, int32_t partition,
                                           const struct mr_record *record, struct mr_outbox *box);

/** The record as the transaction remembers it, should it be refused. */
struct mr_sent_record mr_kafka_sink_sent_record(const struct mr_sink *sink, const struct mr_record *record);

/* ---- report.c: from delivery report to outbox ---- */

/** What a message with headers carries through the client, in place of its outbox. */
void *mr_kafka_sink_tag(const struct mr_record *record);

/** Remembers an outbox whose records have headers: their reports name the record alone. False: no memory
 * (sink->failure). */
bool mr_kafka_sink_box_note(struct mr_sink *sink, struct mr_outbox *box);

/** Delivery reports, inside rd_kafka_poll: of the sink's own clients (opaque is the sink), and of a transaction's. */
void mr_kafka_sink_delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);
void mr_kafka_sink_port_delivered(struct mr_port *port, const rd_kafka_message_t *message);

/** Tells the outbox of the successful reports that were counted. */
void mr_kafka_sink_run_settle(struct mr_sink *sink);

/** Whether an error is about the record, which then is undeliverable, and what it is called. */
bool mr_kafka_sink_is_refusal(rd_kafka_resp_err_t code);
mr_reason mr_kafka_sink_refusal_reason(rd_kafka_resp_err_t code);

/* ---- alone.c: refused records are tried once more, each in a request of its own ---- */

/** Notes a refused record; inside a delivery report. */
void mr_kafka_sink_alone_add(struct mr_sink *sink, struct mr_outbox *box, struct mr_record *record, int32_t partition);

/** Sends what was noted, in its order, as far as there is room. Never waits. */
void mr_kafka_sink_alone_send(struct mr_sink *sink);

/** Grows with what a record takes in a request of its own, whichever fields take it. */
size_t mr_kafka_sink_record_bytes(const struct mr_record *record);

/** A record was refused alone, for its size. */
void mr_kafka_sink_size_note(struct mr_sink *sink, const struct mr_record *record);

#endif
