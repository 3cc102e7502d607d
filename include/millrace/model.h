/** Models: what is computed for a row. A model describes its work as operations; a backend runs them. */
#ifndef MILLRACE_MODEL_H
#define MILLRACE_MODEL_H

#include <stdbool.h>

#include "millrace/batch.h"
#include "millrace/option.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Every operation has a folder kernels/<op>/ whose header defines its parameter struct. */
typedef enum {
    MR_OP_MLP_FORWARD,  /* struct mr_mlp_params,    kernels/mlp_forward/mlp_forward.h       */
    MR_OP_LINEAR_SCORE, /* struct mr_linear_params, kernels/linear_score/linear_score.h     */
    MR_OP_COUNT
} mr_op;

/** What emit may ask of a model, as bits: work that nobody asks for is not done (no softmax when only the class is
 * wanted). */
#define MR_WANT_CLASS 1u /* class_index */
#define MR_WANT_Y     2u /* y, final activation applied */

/** Facts about a model that the job, the encoder and `millrace inspect` need. Strings belong to the model. */
struct mr_model_info {
    const char *type;    /* "mlp", "linear", "logistic" */
    const char *version; /* from the file's metadata, or "" */
    size_t feature_count;
    const char *const *feature; /* [feature_count] names, or NULL when the file names none */
    size_t width;               /* numbers a row in mr_scores.y */
    bool is_classifier;         /* class_index is meaningful */
    size_t class_count;         /* 0 for a regression; binary: 2 (while width may be 1) */
    const char *const *label;   /* [class_count] label names, or NULL: then a label prints as its index */
    size_t parameter_count;
    double flops_per_row; /* multiply and add count as two; activations not counted */
};

struct mr_model; /* immutable after open: any number of threads may use it */

/** A model type: a folder src/model/<name>/ and a line in registry.def. */
struct mr_model_ops {
    const char *name;
    const char *summary;
    const struct mr_option *options; /* keys of a "models" entry beside name, type, file; may be NULL */
    size_t options_size;
    /* Required. Loads and checks a model file (src/modelfile/README.md). On error *model_out is NULL: MR_EINPUT,
     * MR_ENOMEM, or MR_EDATA that names file, tensor, reason. options and path are not needed afterwards. */
    mr_status (*open)(const void *options, const char *path, struct mr_model **model_out, struct mr_err *err);
    /* Required. The facts; valid as long as the model. */
    const struct mr_model_info *(*info)(const struct mr_model *model);
    /* Required. The operation that scores a row and its parameters (owned by the model). */
    mr_op (*op)(const struct mr_model *model, const void **params_out);
    /* Required. Accepts NULL. */
    void (*close)(struct mr_model *model);
};

#ifdef __cplusplus
}
#endif
#endif
