/* logistic: a probability (one output), or one a class by softmax (several). */
#include "modelfile/linear_file.h"

static mr_status logistic_open(const void *options, const char *path, struct mr_model **model_out, struct mr_err *err)
{
    (void)options;
    return mr_linear_model_open(path, "logistic", MR_ACT_SIGMOID, MR_ACT_SOFTMAX, model_out, err);
}

extern const struct mr_model_ops mr_model_logistic;
const struct mr_model_ops mr_model_logistic = {
    .name = "logistic",
    .summary = "logistic regression: probability and class; binary and multinomial",
    .open = logistic_open,
    .info = mr_linear_model_info,
    .op = mr_linear_model_op,
    .close = mr_linear_model_close,
};
