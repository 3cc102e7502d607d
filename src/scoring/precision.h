/**
 * Models that are scored with numbers of fewer bits ("precision"): the first rows of a run are scored in float32 as
 * well, and the largest difference is kept and logged. Past the model's tolerance its precision is refused: that batch
 * is scored again in float32, and so is all that follows.
 */
#ifndef MR_SCORING_PRECISION_H
#define MR_SCORING_PRECISION_H

#include "scoring/models.h"

/** Rows that are compared: of the first batch, and of further ones until there were as many. */
#define MR_PRECISION_ROWS 1024

/** One lane's. One thread at a time. */
struct mr_precision {
    struct mr_models *models;
    struct mr_scores *scores; /* [models->count], in float32; NULL: no model asks for fewer bits */
};

/** MR_ENOMEM. On error it is as after deinit. */
mr_status mr_precision_init(struct mr_precision *precision, struct mr_models *models, struct mr_err *err);
void mr_precision_deinit(struct mr_precision *precision);

/**
 * Compares scores that are there, and not yet handed on, while rows are still to be compared; puts float32's in their
 * place where a precision is refused, now or since the batch was started. Does nothing where no model asks for fewer
 * bits.
 */
mr_status mr_precision_batch(struct mr_precision *precision, struct mr_queues *queues, const struct mr_rows *rows,
                             struct mr_scores *scores, struct mr_err *err);

/** Notes a difference that was found over `rows` rows; past the tolerance the precision is refused, and the log says
 * so. True: it is. Any thread. */
bool mr_precision_note(struct mr_models *models, struct mr_model_at_work *model, size_t rows, double error,
                       size_t classes);

/**
 * The largest difference from float32: of a probability as it is, of another output relative to that output's largest
 * value in the batch. Infinite when one is a number and the other is not. *classes_out: rows whose class is another.
 */
double mr_precision_error(const struct mr_model_info *info, const struct mr_scores *scores,
                          const struct mr_scores *exact, size_t rows, size_t *classes_out);

/** What fewer bits cost a model on made-up rows (numbers from -1 to 1), as mr_precision_error. Fails as the backend
 * does. */
mr_status mr_precision_try(const struct mr_backend_ops *ops, struct mr_backend *backend,
                           const struct mr_model_ops *model_ops, const struct mr_model *model, double *error_out,
                           struct mr_err *err);

#endif
