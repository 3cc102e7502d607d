/* logistic: a probability (one output), or one a class by softmax (several). */
#include <stdlib.h>

#include "modelfile/linear_file.h"

struct mr_model {
    struct mr_linear_model linear;
};

static mr_status logistic_open(const void *options, const char *path, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = malloc(sizeof *model);
    (void)options;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path);
    const mr_status status =
        mr_linear_model_init(&model->linear, path, "logistic", MR_ACT_SIGMOID, MR_ACT_SOFTMAX, err);
    if (status) {
        free(model);
        return status;
    }
    *model_out = model;
    return MR_OK;
}

static const struct mr_model_info *logistic_info(const struct mr_model *model)
{
    return &model->linear.info;
}

static mr_op logistic_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->linear.params;
    return MR_OP_LINEAR_SCORE;
}

static void logistic_close(struct mr_model *model)
{
    if (model) mr_linear_model_deinit(&model->linear);
    free(model);
}

extern const struct mr_model_ops mr_model_logistic;
const struct mr_model_ops mr_model_logistic = {
    .name = "logistic",
    .summary = "logistic regression: probability and class; binary and multinomial",
    .open = logistic_open,
    .info = logistic_info,
    .op = logistic_op,
    .close = logistic_close,
};
