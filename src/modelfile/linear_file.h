/** What the model types linear and logistic share: one dense layer in tensors `weight` and `bias`. */
#ifndef MR_MODELFILE_LINEAR_FILE_H
#define MR_MODELFILE_LINEAR_FILE_H

#include "kernels/linear_score/linear_score.h"
#include "modelfile/model_file.h"

/**
 * Loads a file of this type. single and multiple: the activation with one output and with more. Ownership, threads and
 * errors as mr_model_ops.open, whose work this is.
 */
mr_status mr_linear_model_open(const char *path, const char *type, mr_activation single, mr_activation multiple,
                               struct mr_model **model_out, struct mr_err *err);

/** The other entries of mr_model_ops for what mr_linear_model_open opened. */
const struct mr_model_info *mr_linear_model_info(const struct mr_model *model);
mr_op mr_linear_model_op(const struct mr_model *model, const void **params_out);
void mr_linear_model_close(struct mr_model *model);

#endif
