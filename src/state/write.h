/**
 * Writes the records of commits into the topics of models, within a transaction: of a lane that learns, and of a
 * roll-back. On the thread of the transaction.
 */
#ifndef MR_STATE_WRITE_H
#define MR_STATE_WRITE_H

#include "kafka/transaction.h"
#include "state/record.h"

/** A model's topic. Zeroed: closed. It must stay where it is while it is open. */
struct mr_state_writer {
    struct mr_port port; /* first */
    struct mr_transaction *transaction;
    struct mr_err *failure; /* its owner's, shared by all its writers: the first record that did not arrive */
    bool is_open;
};

/** Errors as mr_port_open. topic and failure are borrowed until close. */
mr_status mr_state_writer_open(struct mr_state_writer *writer, struct mr_transaction *transaction, const char *topic,
                               struct mr_err *failure, struct mr_err *err);
void mr_state_writer_close(struct mr_state_writer *writer);

/**
 * Sends a commit's manifest, and with is_snapshot the model, commit->model_bytes at `model`, in chunks; copies all.
 * Waits while the client's queue is full. scratch: reused from call to call. MR_ERESTART, MR_EFENCED, MR_EKAFKA: as the
 * transaction says; the topic takes no record of that size (MR_EKAFKA); errors as mr_state_commit_encode.
 */
mr_status mr_state_write(struct mr_state_writer *writer, const struct mr_state_commit *commit, const void *model,
                         bool is_snapshot, struct mr_blob *scratch, struct mr_err *err);

/** Waits until all that was sent in the transaction has arrived. is_over (may be NULL): asked now and then whether to
 * give up. MR_ERESTART: not in time; else as mr_state_write, or the failure. */
mr_status mr_state_write_wait(struct mr_transaction *transaction, const struct mr_err *failure,
                              bool (*is_over)(const void *context), const void *context, struct mr_err *err);

/** A number for a process that commits, by chance; never 0. */
uint64_t mr_state_run_id(void);

#endif
