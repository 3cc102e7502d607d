/**
 * How far the scores of a row may be off when another unit computes them: kernels round in another order, and a device
 * in another way (kernels/README.md, "Error bounds"). A number may be off by 1e-6 of the terms that it is the sum of,
 * not of what is left of them where they cancel.
 */
#ifndef MR_VERIFY_BOUND_H
#define MR_VERIFY_BOUND_H

#include "scoring/models.h"

#define MR_NEAR 1e-6

struct mr_bound;

/** models must outlive it. MR_ENOMEM; then *bound_out is NULL. */
mr_status mr_bound_create(const struct mr_models *models, struct mr_bound **bound_out, struct mr_err *err);
void mr_bound_destroy(struct mr_bound *bound); /* accepts NULL */

/** Works out all models for a row, whose scores are there. scores: [models->count]. */
void mr_bound_row(struct mr_bound *bound, const struct mr_rows *rows, const struct mr_scores *scores, size_t row);

/** Of an output of that row. *is_known: it holds; else it is 1e-6 of the number, and more may be right. */
double mr_bound_of(const struct mr_bound *bound, size_t model, size_t output, bool *is_known);

#endif
