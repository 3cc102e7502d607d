/** What the references share: layers, activations and the class of one row, in double, as the formulas read. */
#ifndef MR_KERNELS_REFERENCE_H
#define MR_KERNELS_REFERENCE_H

#include <stdint.h>

#include "kernels/pack.h"

/** Applies an activation to the logits z[count] in place. */
void mr_reference_activate(mr_activation activation, double *z, size_t count);

/** The class of a row by its logits: see mr_score_fn. */
int32_t mr_reference_class(const double *z, size_t count);

/** z[out] of a layer from in[in], for one row; scratch: what the reference keeps behind two rows of doubles. */
typedef void mr_reference_layer_fn(const struct mr_mlp_layer *layer, const double *in, double *z, void *scratch);

/** z = b + w in. */
mr_reference_layer_fn mr_reference_dense;

/**
 * One row through the layers of a perceptron, each by `forward`. scratch: [width_max] doubles with the row's inputs,
 * and as many again, then the scratch of forward. y and class_index: as mr_score_fn, NULL when not wanted.
 */
void mr_reference_row(const struct mr_packed *model, mr_reference_layer_fn *forward, void *scratch, size_t row,
                      float *y, int32_t *class_index);

#endif
