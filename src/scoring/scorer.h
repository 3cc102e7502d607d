/** One model file on one backend, for commands that hold a model against rows: columns in, scores out, a batch at a
 * time, without a job. */
#ifndef MR_SCORING_SCORER_H
#define MR_SCORING_SCORER_H

#include "millrace/backend.h"

#define MR_SCORER_ROW_CAP 4096

struct mr_scorer {
    const struct mr_model_ops *ops;
    struct mr_model *model;
    const struct mr_model_info *info;
    void *options;
    const struct mr_backend_ops *backend_ops;
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    size_t cols; /* that the model reads */
    float *x;
    struct mr_scores scores; /* of the last rows */
};

/**
 * Opens a model with options such as those of a job's "models" (may be NULL) on a backend ("cpu", "cpu:avx2",
 * "cuda:1"). Fails as the model's open and the backend; MR_EUSAGE: no such backend, or option. On error the scorer is
 * as after close.
 */
mr_status mr_scorer_open(struct mr_scorer *scorer, const char *path, const struct mr_map *options, const char *backend,
                         struct mr_err *err);

/**
 * Scores the rows of tiles with `cols` columns. from: [scorer->cols] which column each of the model's is; NULL: column
 * for column. rows: up to MR_SCORER_ROW_CAP. Then scorer->scores has y, and class_index of a classifier.
 */
mr_status mr_scorer_run(struct mr_scorer *scorer, const float *x, size_t cols, const size_t *from, size_t rows,
                        struct mr_err *err);

/** Accepts a zeroed one. */
void mr_scorer_close(struct mr_scorer *scorer);

#endif
