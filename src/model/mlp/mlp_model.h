/** The model type mlp: what its file reader (mlp.c) and its learning (mlp_learn.c) share. */
#ifndef MR_MODEL_MLP_MODEL_H
#define MR_MODEL_MLP_MODEL_H

#include "learn/mlp_learner.h"
#include "modelfile/model_file.h"

#define MR_MLP_LAYER_COUNT_MAX 256

/** Options of the type. */
struct mr_mlp_options {
    bool learn;
    char *hidden;
    int activation; /* index into mr_mlp_activations */
    int64_t classes;
    int64_t seed;
    int loss; /* 0: squared, 1: Huber; of a regression */
    double delta;
    double step;
    int schedule; /* index into mr_mlp_schedules */
    double l1, l2;
    int precision; /* 0: float32, 1: bf16, 2: int8 */
    double precision_tolerance;
};
extern const struct mr_option mr_mlp_options_table[];

struct mr_model {
    struct mr_mlp_options options; /* strings belong to the job */
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_mlp_params params;
    struct mr_mlp_layer *layer; /* [params.layer_count] */
    float *shift;               /* [layer[0].in] or NULL */
    double *mean, *scale;       /* of a standardised input, [layer[0].in], when it learns; NULL: it is not */
    double *factor;             /* 1 / scale */
    struct mr_mlp_learner learner;
};

/** MR_ECONFIG names an option that does nothing beside the others, or contradicts them. */
mr_status mr_mlp_options_check(const struct mr_mlp_options *options, struct mr_err *err);

/** Makes a model with random weights from its options; cols: features. MR_ECONFIG names the option. */
mr_status mr_mlp_zero_make(struct mr_model *model, size_t cols, struct mr_err *err);

/** Makes an opened model ready to learn; file: what it came from, with the state of learning when it was saved by it;
 * NULL: none. */
mr_status mr_mlp_learner_open(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err);

/** As mr_model_ops.learn. */
const struct mr_learn_ops *mr_mlp_learn(const struct mr_model *model);

#endif
