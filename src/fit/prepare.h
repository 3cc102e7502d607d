/** Rows in memory made ready for a fit: shuffled, a part held out, features standardised. */
#ifndef MR_FIT_PREPARE_H
#define MR_FIT_PREPARE_H

#include "fit/crew.h"
#include "learn/standard.h"
#include "table/table.h"

/** Puts the rows in a random order, in place (Fisher and Yates; Durstenfeld 1964): the same seed, the same order. */
void mr_matrix_shuffle(struct mr_matrix *matrix, uint64_t seed);

/**
 * Takes the last rows of a matrix away into one of their own, which has copies: round(share * rows), at least one and
 * at most all but one where share is above 0. held_out has no class names. MR_ENOMEM; deinit held_out whatever the
 * outcome.
 */
mr_status mr_matrix_hold_out(struct mr_matrix *matrix, double share, struct mr_matrix *held_out, struct mr_err *err);

/** Makes every feature (x - mean) * factor, in place; a feature that never varied becomes 0. */
mr_status mr_matrix_standardise(struct mr_crew *crew, struct mr_matrix *matrix, const struct mr_standard *standard,
                                struct mr_err *err);

#endif
