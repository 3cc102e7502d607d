/** The loss of one row in float64, and which labels count: what the guards of all learners with labels look at. */
#ifndef MR_LEARN_LOSS_H
#define MR_LEARN_LOSS_H

#include <stdbool.h>

#include "kernels/linear_sum/linear_sum.h"

/** The rows that an update was summed over, for the guard. x: tiles (batch.h); label NaN: none. */
struct mr_learn_rows {
    const float *x;
    const double *label;
    size_t rows;
};

/** Whether a label counts for `out` outputs (mr_linear_sum_params says which do not). */
bool mr_loss_has_label(mr_loss loss, size_t out, double label);

/** The loss of logits z[out] for a label that counts; delta: of MR_LOSS_HUBER. */
double mr_loss_of_row(mr_loss loss, double delta, const double *z, size_t out, double label);

/** A mean loss below this is noise beside the labels of the first tile. */
double mr_loss_small(mr_loss loss, const struct mr_learn_rows *rows);

/** A mean loss below this is no sign of a model that leads away: a small one; a log loss that guessing has, too. */
double mr_loss_noise(mr_loss loss, const struct mr_learn_rows *rows);

#endif
