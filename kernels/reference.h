/** What the references share: activations and the class of one row, in double, as the formulas read. */
#ifndef MR_KERNELS_REFERENCE_H
#define MR_KERNELS_REFERENCE_H

#include <stdint.h>

#include "kernels/pack.h"

/** Applies an activation to the logits z[count] in place. */
void mr_reference_activate(mr_activation activation, double *z, size_t count);

/** The class of a row by its logits: see mr_score_fn. */
int32_t mr_reference_class(const double *z, size_t count);

#endif
