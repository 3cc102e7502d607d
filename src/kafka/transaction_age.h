/**
 * How much longer a transaction may be waited for. The coordinator ends one that is older than transaction.timeout.ms,
 * and then treats its producer as one whose place another has taken: the two cannot be told apart. So a process that
 * waits for a broker gives the transaction up a little before that, and begins again with a new producer. Not one that
 * stood still (frozen, its machine suspended): another may have taken its place meanwhile, and a new producer would
 * fence that one; what it finds out, the broker has to say.
 *
 * Knows no Kafka and no clock; one thread at a time.
 */
#ifndef MR_KAFKA_TRANSACTION_AGE_H
#define MR_KAFKA_TRANSACTION_AGE_H

#include <stdbool.h>
#include <stdint.h>

struct mr_transaction_age {
    int64_t known_us; /* not later than when the coordinator first heard of the transaction; 0: it has not */
    int64_t seen_us;  /* when the process was last seen at work on it */
    bool has_stood_still;
};

/** A transaction begins: the coordinator knows nothing of it yet. */
void mr_age_begin(struct mr_transaction_age *age);

/** Something goes out that tells the coordinator of it. */
void mr_age_known(struct mr_transaction_age *age, int64_t now_us);

/** The process is at work on it, and has been since it was last seen, but for a call that may have taken allowed_ms. */
void mr_age_seen(struct mr_transaction_age *age, int64_t now_us, int64_t allowed_ms);

/** How long a call may take, at most most_ms, where the coordinator lets transactions be open for limit_ms; 0: the
 * transaction is to be given up. */
int mr_age_left_ms(const struct mr_transaction_age *age, int64_t now_us, int64_t limit_ms, int most_ms);

/** Whether the coordinator may have ended it for its age: then nobody need have taken the process's place. Not where
 * the process stood still. */
bool mr_age_is_over(const struct mr_transaction_age *age, int64_t now_us, int64_t limit_ms);

#endif
