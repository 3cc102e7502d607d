/* linear: weighted sums plus a bias; one output or several. */
#include <stdlib.h>

#include "modelfile/linear_file.h"

struct mr_model {
    struct mr_linear_model linear;
};

static mr_status linear_open(const void *options, const char *path, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = malloc(sizeof *model);
    (void)options;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path);
    const mr_status status =
        mr_linear_model_init(&model->linear, path, "linear", MR_ACT_IDENTITY, MR_ACT_IDENTITY, err);
    if (status) {
        free(model);
        return status;
    }
    *model_out = model;
    return MR_OK;
}

static const struct mr_model_info *linear_info(const struct mr_model *model)
{
    return &model->linear.info;
}

static mr_op linear_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->linear.params;
    return MR_OP_LINEAR_SCORE;
}

static void linear_close(struct mr_model *model)
{
    if (model) mr_linear_model_deinit(&model->linear);
    free(model);
}

extern const struct mr_model_ops mr_model_linear;
const struct mr_model_ops mr_model_linear = {
    .name = "linear",
    .summary = "linear regression: weighted sums of the features plus a bias",
    .open = linear_open,
    .info = linear_info,
    .op = linear_op,
    .close = linear_close,
};
