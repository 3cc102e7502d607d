/** The states of all models of a job that learn, with the offsets that they correspond to, in one file: what learning
 * without transactions goes on from. */
#ifndef MR_STATE_SNAPSHOT_FILE_H
#define MR_STATE_SNAPSHOT_FILE_H

#include "state/record.h"

/** One model in the file. */
struct mr_state_model {
    const struct mr_state_commit *commit; /* its positions are the same for all models of the file */
    const void *bytes;                    /* [commit->model_bytes] as stored */
};

/**
 * Writes the file as mr_durable_write does, with its errors; MR_EINVARIANT as mr_state_commit_encode, and when
 * positions differ. scratch: reused from call to call. model: [model_count], at least 1.
 */
mr_status mr_state_file_write(const char *path, const char *job, const struct mr_state_model *model, size_t model_count,
                              struct mr_blob *scratch, struct mr_err *err);

struct mr_state_file;

/**
 * Reads and checks a file. MR_EINPUT: it cannot be read (*is_missing_out, which may be NULL: there is none); MR_EDATA:
 * it is cut off, changed, of another format or of another job. On error *file_out is NULL.
 */
mr_status mr_state_file_read(const char *path, const char *job, bool *is_missing_out, struct mr_state_file **file_out,
                             struct mr_err *err);

/** The models of the file, in the order that they were written in; valid until it is closed. */
const struct mr_state_model *mr_state_file_models(const struct mr_state_file *file, size_t *count_out);

/** The one of that name; MR_EDATA: there is none, or it is of another type or schema (0: any). */
mr_status mr_state_file_find(const struct mr_state_file *file, const char *name, const char *type, uint64_t schema_hash,
                             const struct mr_state_model **model_out, struct mr_err *err);

void mr_state_file_close(struct mr_state_file *file); /* accepts NULL */

#endif
