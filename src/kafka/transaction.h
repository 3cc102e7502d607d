/**
 * The one owner of a lane's transactional producer: outputs of all its Kafka sinks, dead letters and state records go
 * through it. It makes and destroys the producer, judges every error of a transaction, and watches the epoch: what
 * pipeline/commit.h asks of Kafka, but for the offsets, which need the consumer.
 *
 * One thread at a time (the lane's), but for the watch, which librdkafka's threads feed.
 */
#ifndef MR_KAFKA_TRANSACTION_H
#define MR_KAFKA_TRANSACTION_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#include "kafka/refused.h"
#include "millrace/option.h"
#include "millrace/transaction.h"

struct mr_transaction_open {
    const char *id;                  /* transactional.id: the same after each start, of one live instance only */
    const struct mr_map *properties; /* the user's, of the cluster that is read and written */
    size_t memory_bytes;             /* budget of the queue */
    int64_t linger_us;
    int64_t commit_interval_us; /* how long a transaction is open, but for its end */
};

/** A topic that is written to within transactions. Owned by who sends; the transaction keeps the handle up to date when
 * the producer is replaced. */
struct mr_port {
    const char *topic_name;
    const char *codec; /* compression.codec; NULL: as the user or the client says */
    /* A delivery report, inside poll. err of the message says whether; purged ones are not told. */
    void (*delivered)(struct mr_port *port, const rd_kafka_message_t *message);
    rd_kafka_topic_t *topic; /* NULL while there is no producer */
    struct mr_port *next;
};

/** No network. MR_ECONFIG names a property that does not go with transactions. */
mr_status mr_transaction_create(const struct mr_transaction_open *open, struct mr_transaction **transaction_out,
                                struct mr_err *err);
/** Accepts NULL. All ports must be closed. */
void mr_transaction_destroy(struct mr_transaction *transaction);

/**
 * Calls of mr_commit_ops; their contract is there. init and commit come back with MR_TXN_AGAIN after about a second.
 * offsets, commit and poll give a transaction up (MR_TXN_ABORT) that waits for brokers nearly as long as they let it be
 * open (transaction.timeout.ms).
 */
mr_txn_outcome mr_transaction_init(struct mr_transaction *transaction, struct mr_err *err);
mr_txn_outcome mr_transaction_begin(struct mr_transaction *transaction, struct mr_err *err);
mr_txn_outcome mr_transaction_offsets(struct mr_transaction *transaction, const rd_kafka_topic_partition_list_t *list,
                                      const rd_kafka_consumer_group_metadata_t *group, struct mr_err *err);
mr_txn_outcome mr_transaction_commit(struct mr_transaction *transaction, struct mr_err *err);
bool mr_transaction_is_dirty(struct mr_transaction *transaction);
void mr_transaction_drop(struct mr_transaction *transaction);

/**
 * Ends the open transaction in good order before the producer is dropped for good, if brokers answer within 1 s: until
 * somebody has ended it, nobody who reads committed records alone sees what others write behind it. Does nothing where
 * a commit was asked for, where another process has this one's place (it does not fence that one, as init would), and
 * where a request of the epoch may be late: offsets that come behind the end, in the same epoch, would never be ended.
 */
void mr_transaction_leave(struct mr_transaction *transaction);

/** The producer, NULL without one. It may be another one after each commit: ask again. */
rd_kafka_t *mr_transaction_client(const struct mr_transaction *transaction);

/** Opens a topic for sending. The port must live until mr_port_close. MR_EKAFKA. */
mr_status mr_port_open(struct mr_transaction *transaction, struct mr_port *port, struct mr_err *err);
void mr_port_close(struct mr_transaction *transaction, struct mr_port *port);

/** Counts messages that the client took. */
void mr_transaction_sent(struct mr_transaction *transaction, size_t count);

/** Messages since begin: handed to the client, and acknowledged by all in-sync replicas. */
void mr_transaction_counts(const struct mr_transaction *transaction, uint64_t *sent_out, uint64_t *acknowledged_out);

/** Serves delivery reports; waits up to wait_ms for the first. */
void mr_transaction_poll(struct mr_transaction *transaction, int wait_ms);

/** After the client has refused a message: asks it at once what is wrong with the transaction. */
void mr_transaction_ask(struct mr_transaction *transaction);

/** What made the open transaction impossible so far, as mr_commit_end would tell it: MR_OK, MR_ERESTART, MR_EFENCED,
 * MR_EKAFKA. */
mr_status mr_transaction_failure(struct mr_transaction *transaction, struct mr_err *err);

/**
 * A record that the broker refused, told in a delivery report: this transaction cannot be committed. Which record of a
 * request it was is not known at once: the next producer sends one record a request, and what is refused then is
 * remembered.
 */
void mr_transaction_refused(struct mr_transaction *transaction, const struct mr_sent_record *record, const char *why);

/** Whether any record is known to be refused: only then they need to be looked up. */
bool mr_transaction_has_refused(const struct mr_transaction *transaction);

/** Whether a record is known to be refused: it is not to be sent, but a dead letter. */
bool mr_transaction_knows_refused(const struct mr_transaction *transaction, const struct mr_sent_record *record);

/** Whether a record that is refused was found since the last call: what was given up was not given up in vain. */
bool mr_transaction_has_learned(struct mr_transaction *transaction);

/** What an error of librdkafka means for a transaction: reliability order fenced, fatal, abort, again. The error is
 * destroyed; NULL is MR_TXN_OK. */
mr_txn_outcome mr_transaction_judge(rd_kafka_t *client, rd_kafka_error_t *error, const char *what, struct mr_err *err);

#endif
