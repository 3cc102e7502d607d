/**
 * Outputs of scorers, which follow what another process learns: tied to their inputs by what does not depend on the
 * models, and compared with what the version that they name makes, as the trainer's commits are learned again.
 */
#ifndef MR_VERIFY_SCORED_H
#define MR_VERIFY_SCORED_H

#include "verify/match.h"
#include "verify/verify.h"

struct mr_verify;
struct mr_verify_output;
struct mr_verify_scored;

/** What became of the outputs of a source. */
struct mr_scored_entry;
struct mr_scored_list {
    struct mr_scored_entry *entry; /* [count], by their number in the source */
    size_t count, cap;
};

#define MR_NO_VERSION UINT64_MAX

/** For a verification of the scorers whose offline run is open. MR_ENOMEM. */
mr_status mr_verify_scored_create(struct mr_verify *verify, struct mr_verify_scored **scored_out, struct mr_err *err);
void mr_verify_scored_destroy(struct mr_verify_scored *scored); /* accepts NULL */

/**
 * Leaves of an output what its models do not make; record->value is valid until the next call. An output that is not of
 * the job's form stays as it is. Its hash, and the version that it names in a field, go into the record. MR_ENOMEM.
 */
mr_status mr_verify_scored_mask(struct mr_verify_scored *scored, struct mr_match_record *record, struct mr_err *err);

/** The version that a header `NAME@VERSION` names, if it is that of the model whose versions are looked at. */
uint64_t mr_verify_scored_version(const struct mr_verify_scored *scored, const char *text, size_t bytes);

/** Receives a pair: the entry of the record is noted. For mr_match_open.paired. */
void mr_verify_scored_pair(struct mr_verify_output *output, const struct mr_match_pair *pair);

/**
 * Compares the outputs that name the version of commit `at` of the trainer's first log; its models are those of that
 * commit now. SIZE_MAX: those that they begin with. Where the log makes a version twice, an output must be what one of
 * both makes.
 */
mr_status mr_verify_scored_commit(struct mr_verify *trainer, size_t at, struct mr_err *err);

/** Tells what was compared, and what was not. */
void mr_verify_scored_end(const struct mr_verify_scored *scored, struct mr_proof *proof);

#endif
