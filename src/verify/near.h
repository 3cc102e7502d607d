/**
 * Outputs that another unit may have scored: which bytes of a record are a model's numbers, what they must be near, and
 * everything else, which must be equal. Fields copied from the input, classes, labels, items and versions are no such
 * numbers.
 */
#ifndef MR_VERIFY_NEAR_H
#define MR_VERIFY_NEAR_H

#include "pipeline/layout.h"
#include "verify/bound.h"
#include "verify/match.h"

struct mr_near;

/** layout and models must outlive it. On error (MR_ENOMEM) *near_out is NULL. */
mr_status mr_near_create(const struct mr_layout *layout, const struct mr_models *models, struct mr_near **near_out,
                         struct mr_err *err);
void mr_near_destroy(struct mr_near *near); /* accepts NULL */

/**
 * The numbers that the output of a row must have, in their order, and what each may differ by: mr_bound_of, and half of
 * the last digit where emit.floats leaves digits out. slack: so many times more is not proved, but not wrong either
 * (at least 1). Valid until the next call. Returns how many.
 */
size_t mr_near_numbers(struct mr_near *near, const struct mr_rows *rows, const struct mr_scores *scores, size_t row,
                       double slack, const struct mr_match_number **numbers_out);

/** mr_match_open.split; context: a struct mr_near. */
bool mr_near_split(void *context, const char *text, size_t bytes, uint64_t *hash_out,
                   const struct mr_match_number **numbers_out, size_t *count_out);

/** Whether outputs hold nothing that is copied from their records. */
bool mr_near_is_bare(const struct mr_near *near);

#endif
