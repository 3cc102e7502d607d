/* logistic: a probability (one output), or one a class by softmax (several). */
#include "model/linear/linear_model.h"

static const struct mr_option options_table[] = {
    {.key = "learn",
     .type = MR_OPT_BOOL,
     .offset = MR_LINEAR_AT(learn),
     .doc = "Learn from record.label, after each batch is scored."},
    {.key = "classes",
     .type = MR_OPT_INT,
     .offset = MR_LINEAR_AT(classes),
     .fallback = "2",
     .min = 2,
     .max = 4096,
     .doc = "Without a file: how many classes there are; labels are 0 to classes - 1."},
    MR_LINEAR_LEARN_ROWS,
    {0},
};

static mr_status logistic_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    static const struct mr_linear_kind kind = {
        .type = "logistic", .single = MR_ACT_SIGMOID, .multiple = MR_ACT_SOFTMAX, .is_classifier = true};
    return mr_linear_model_open(&kind, options_table, open, model_out, err);
}

extern const struct mr_model_ops mr_model_logistic;
const struct mr_model_ops mr_model_logistic = {
    .name = "logistic",
    .summary = "logistic regression: probability and class; binary and multinomial",
    .options = options_table,
    .options_size = sizeof(struct mr_linear_options),
    .open = logistic_open,
    .info = mr_linear_model_info,
    .op = mr_linear_model_op,
    .learn = mr_linear_model_learn,
    .close = mr_linear_model_close,
};
