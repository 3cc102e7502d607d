/** What sources and sinks that take part in transactions see of one. */
#ifndef MILLRACE_TRANSACTION_H
#define MILLRACE_TRANSACTION_H

#ifdef __cplusplus
extern "C" {
#endif

/** What a call to Kafka about a transaction led to. */
typedef enum {
    MR_TXN_OK,
    MR_TXN_AGAIN,  /* nothing is decided: the same call again, with the same arguments */
    MR_TXN_ABORT,  /* this transaction cannot be committed */
    MR_TXN_FATAL,  /* the producer is of no use any more */
    MR_TXN_FENCED, /* another instance has taken this one's place: it must not go on */
    MR_TXN_REFUSED /* the broker will never allow it: wrong rights or settings */
} mr_txn_outcome;

/** The transactional producer of a lane (src/kafka/transaction.h), which its Kafka sinks send through. */
struct mr_transaction;

#ifdef __cplusplus
}
#endif
#endif
