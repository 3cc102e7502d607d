/* linear: weighted sums plus a bias; one output or several. */
#include "model/linear/linear_model.h"

static const char *const losses[] = {"squared", "huber", NULL};

static const struct mr_option options_table[] = {
    {.key = "learn",
     .type = MR_OPT_BOOL,
     .offset = MR_LINEAR_AT(learn),
     .doc = "Learn from record.label, after each batch is scored."},
    {.key = "loss",
     .type = MR_OPT_ENUM,
     .offset = MR_LINEAR_AT(loss),
     .fallback = "squared",
     .choices = losses,
     .doc = "What learning lowers: squared; huber: squared up to delta, linear beyond, so that outliers pull less."},
    {.key = "delta",
     .type = MR_OPT_DOUBLE,
     .offset = MR_LINEAR_AT(delta),
     .fallback = "1",
     .min = 1e-9,
     .max = 1e9,
     .doc = "Of the Huber loss, in units of the label."},
    MR_LINEAR_LEARN_ROWS,
    {0},
};

static mr_status linear_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    static const struct mr_linear_kind kind = {
        .type = "linear", .single = MR_ACT_IDENTITY, .multiple = MR_ACT_IDENTITY};
    return mr_linear_model_open(&kind, options_table, open, model_out, err);
}

extern const struct mr_model_ops mr_model_linear;
const struct mr_model_ops mr_model_linear = {
    .name = "linear",
    .summary = "linear regression: weighted sums of the features plus a bias",
    .options = options_table,
    .options_size = sizeof(struct mr_linear_options),
    .open = linear_open,
    .info = mr_linear_model_info,
    .op = mr_linear_model_op,
    .learn = mr_linear_model_learn,
    .close = mr_linear_model_close,
};
