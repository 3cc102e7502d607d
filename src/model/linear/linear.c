/* linear: weighted sums plus a bias; one output or several. */
#include "modelfile/linear_file.h"

static mr_status linear_open(const void *options, const char *path, struct mr_model **model_out, struct mr_err *err)
{
    (void)options;
    return mr_linear_model_open(path, "linear", MR_ACT_IDENTITY, MR_ACT_IDENTITY, model_out, err);
}

extern const struct mr_model_ops mr_model_linear;
const struct mr_model_ops mr_model_linear = {
    .name = "linear",
    .summary = "linear regression: weighted sums of the features plus a bias",
    .open = linear_open,
    .info = mr_linear_model_info,
    .op = mr_linear_model_op,
    .close = mr_linear_model_close,
};
