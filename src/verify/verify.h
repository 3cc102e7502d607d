/**
 * Proves from the topics alone that a job did what was promised: each input record answered once, in its order, with
 * the value that its model gives; and of a job that learns in transactions, that the models are what the committed
 * records make. The work is done again offline, and compared with what the topics hold, read committed.
 *
 * Memory: the client's queues (16 MiB a partition read), batches of the job, and what inputs and outputs run apart:
 * normally 65,536 records a partition, more where lanes were further apart than that.
 */
#ifndef MR_VERIFY_VERIFY_H
#define MR_VERIFY_VERIFY_H

#include "config/job.h"
#include "verify/proof.h"

struct mr_verify_options {
    const char *from; /* where the job began, as source.start; NULL: as source.start */
};

/**
 * Fills a zeroed proof. An error is that of reading (MR_EKAFKA, MR_EINPUT, MR_ERETRY ...) or of the job, and the
 * proof says how far it came; contradictions are no error here but in mr_proof_status. Changes the job.
 */
mr_status mr_verify(struct mr_job *job, const struct mr_verify_options *options, struct mr_proof *proof,
                    struct mr_err *err);

/**
 * As mr_verify, of a job with scorers: what its trainer has learned, and what its scorers have written, each output
 * with the version that it names. Both jobs have their roles. 40 bytes more for each output.
 */
mr_status mr_verify_roles(struct mr_job *trainer_job, struct mr_job *scorers_job,
                          const struct mr_verify_options *options, struct mr_proof *proof, struct mr_err *err);

#endif
