/** What the model types linear and logistic share: one dense layer in tensors `weight` and `bias`. */
#ifndef MR_MODELFILE_LINEAR_FILE_H
#define MR_MODELFILE_LINEAR_FILE_H

#include "kernels/linear_score/linear_score.h"
#include "modelfile/model_file.h"

struct mr_linear_model {
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_mlp_layer layer;
    struct mr_linear_params params;
};

/**
 * Loads a file of this type. single and multiple: the activation with one output and with more.
 * On error the model is as after mr_linear_model_deinit; errors as mr_model_ops.open.
 */
mr_status mr_linear_model_init(struct mr_linear_model *model, const char *path, const char *type, mr_activation single,
                               mr_activation multiple, struct mr_err *err);
void mr_linear_model_deinit(struct mr_linear_model *model);

#endif
