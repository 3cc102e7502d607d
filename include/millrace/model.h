/** Models: what is computed for a row. A model describes its work as operations; a backend runs them. */
#ifndef MILLRACE_MODEL_H
#define MILLRACE_MODEL_H

#include <stdbool.h>

#include "millrace/batch.h"
#include "millrace/blob.h"
#include "millrace/option.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Every operation has a folder kernels/<op>/ whose header defines its parameter struct. */
typedef enum {
    MR_OP_MLP_FORWARD,   /* struct mr_mlp_params,    kernels/mlp_forward/mlp_forward.h       */
    MR_OP_LINEAR_SCORE,  /* struct mr_linear_params, kernels/linear_score/linear_score.h     */
    MR_OP_KMEANS_ASSIGN, /* struct mr_kmeans_params, kernels/kmeans_assign/kmeans_assign.h  */
    MR_OP_SCALE,         /* struct mr_scale_params, kernels/scale/scale.h                   */
    MR_OP_MF_TOPN,       /* struct mr_mf_params, kernels/mf_topn/mf_topn.h                  */
    MR_OP_MF_ESTIMATE,   /* struct mr_mf_params, likewise                                   */
    MR_OP_LINEAR_SUM,    /* struct mr_linear_sum_params, kernels/linear_sum/linear_sum.h    */
    MR_OP_KMEANS_SUM,    /* struct mr_kmeans_params, kernels/kmeans_sum/kmeans_sum.h        */
    MR_OP_MOMENTS,       /* struct mr_scale_params, kernels/moments/moments.h               */
    MR_OP_MLP_GRADIENT,  /* struct mr_mlp_gradient_params, kernels/mlp_gradient/mlp_gradient.h */
    MR_OP_MLP_BF16,      /* struct mr_mlp_params; wide layers in bfloat16, kernels/reduced.h  */
    MR_OP_MLP_INT8,      /* struct mr_mlp_params; wide layers in 8-bit integers, likewise     */
    MR_OP_MF_TOPN_BF16,  /* struct mr_mf_params; as MR_OP_MF_TOPN, what a backend may make of it */
    MR_OP_GRAPH_FORWARD, /* struct mr_graph_params, kernels/graph_forward/graph_forward.h    */
    MR_OP_COUNT
} mr_op;

/** What emit may ask of a model, as bits: work that nobody asks for is not done (no softmax when only the class is
 * wanted). */
#define MR_WANT_CLASS 1u /* class_index */
#define MR_WANT_Y     2u /* y, final activation applied */
#define MR_WANT_ITEMS 4u /* item: of a recommender */

/** Enough for what any model says that it has found. */
#define MR_FOUND_BYTES 4096

/** Facts about a model that the job, the encoder and `millrace inspect` need. Strings belong to the model. */
struct mr_model_info {
    const char *type;    /* "mlp", "linear", "logistic" */
    const char *version; /* from the file's metadata, or "" */
    size_t feature_count;
    const char *const *feature; /* [feature_count] names, or NULL when the file names none */
    size_t width;               /* numbers a row in mr_scores.y */
    const char *const *output;  /* [width] their names, by which emit asks for them; NULL: they have none */
    bool is_classifier;         /* class_index is meaningful */
    bool is_transform;          /* y is features for a model behind it, no prediction */
    bool has_no_probability;    /* there are classes, but y has not a number for each of them */
    bool is_distance;           /* y is the squared distance to the nearest centre, and that the class */
    bool is_logit;              /* y has a number for each class, the largest wins; they are no probabilities */
    size_t class_count;         /* 0 for a regression; binary: 2 (while width may be 1) */
    const char *const *label;   /* [class_count] label names, or NULL: then a label prints as its index */
    /* Of a recommender: y has the scores of the best items, the best first, and item which they are. */
    size_t item_count;          /* 0: no recommender */
    const struct mr_span *item; /* [item_count] their ids as JSON text */
    size_t item_bytes_max;      /* of the longest of them */
    /* Where read() makes the columns of x from the text of the features (ids, lists); 0: features are numbers. */
    size_t column_count;
    size_t read_scratch_bytes; /* that read() works in, 64-byte aligned */
    /* How read() reads, in words: models of a job that say the same make the same columns, and share them. NULL: no
     * other model can stand beside this one. */
    const char *reading;
    size_t parameter_count;
    double flops_per_row; /* multiply and add count as two; activations not counted */
};

/**
 * Whether another model's scores may take the place of this one's: same type, features and their names, width and
 * names of outputs, classes, labels and items, so that what was laid out for one fits the other. The versions and the
 * sizes inside may differ.
 */
bool mr_model_info_same(const struct mr_model_info *a, const struct mr_model_info *b);

/** Whether y says how probable the classes are: each of them, or the second of two alone where width is 1. */
static inline bool mr_model_has_probabilities(const struct mr_model_info *info)
{
    return info->is_classifier && !info->has_no_probability && !info->is_logit;
}

/** A feature that is no number, as the record has it. data NULL: absent or null. */
struct mr_text {
    const char *data;
    size_t bytes;
    bool is_json; /* checked JSON text; else plain text, quoted as codec.h says of captures */
};

struct mr_model; /* immutable after open, but by learning: any number of threads may use it in between */

/** What a model is opened with. */
struct mr_model_open {
    const void *options;  /* parsed by the type's table; NULL: all defaults */
    const char *file;     /* NULL: none is named */
    const void *bytes;    /* the file's contents, where they are in memory: `file` then only names them in messages */
    size_t byte_count;    /* of bytes; at least 1 */
    size_t feature_count; /* of what the model will read; 0: not known (a file knows) */
    /* [feature_count] their names, for info and store of a model that starts from nothing; NULL: not known, or what it
     * reads is another model's scores. */
    const char *const *feature;
};

/** Rows that a model learns from, after it has scored them. */
struct mr_learn_batch {
    const float *x;                 /* tiles [ceil(rows / 64)][feature_count][64] */
    const double *label;            /* [rows]; NaN: none. NULL: the job has no label */
    const struct mr_scores *scores; /* what the model gave for these rows */
    size_t rows;
    const double *sums; /* of the operation that `sum` names; NULL when it names none */
};

/** What learning from a batch did. */
struct mr_learn_report {
    double loss;        /* sum over rows, of the predictions made before the update: prequential */
    uint64_t rows;      /* that were learned from */
    bool is_undone;     /* the update diverged: the model is as before */
    double step_stable; /* when undone: a step that would not have diverged on these rows; 0: unknown */
    bool must_begin;    /* when undone: what begin() took was undone, too; the next batch begins */
};

/** How a model learns. One thread at a time, while nobody scores with it. */
struct mr_learn_ops {
    bool needs_label;
    bool has_loss; /* its report's loss means something: squared distance, squared error, log loss */
    /* Optional. Called before the first batch is scored, and again after a report that says must_begin: what is taken
     * from first rows, such as centres. NULL: nothing is. */
    mr_status (*begin)(struct mr_model *model, const float *x, size_t rows, struct mr_err *err);
    /*
     * Required. The sum over a batch that an update needs, and its parameters (owned by the model, their addresses
     * fixed); MR_OP_COUNT: none, the model reads the rows itself.
     */
    mr_op (*sum)(const struct mr_model *model, const void **params_out);
    /* Required. Learns from a batch. The parameters of op() change in place: plans must be updated. */
    void (*update)(struct mr_model *model, const struct mr_learn_batch *batch, struct mr_learn_report *report_out);
    /*
     * Required. Stores the model with all its state as the bytes of a model file, in place of what the blob held;
     * open() with them gives a model that stores the same bytes and, from the same batches, learns the same bits. What
     * begin() took is left out until the batch is learned from. MR_ENOMEM; MR_EDATA: the header is over its limit.
     */
    mr_status (*store)(const struct mr_model *model, struct mr_blob *out, struct mr_err *err);
    /* Optional. What an update has changed, as numbers to look at: of a linear model its weights, output by output,
     * without the intercepts. [*count_out], the same at all times; valid until the next update. */
    const float *(*weights)(const struct mr_model *model, size_t *count_out);
};

/** What a model is to be scored with instead of float32. */
struct mr_reduced {
    const char *name; /* "bf16", "int8", as its options call it; NULL: it is not */
    mr_op op;         /* over the same parameters */
    double tolerance; /* the largest error of a probability, or of another output relative to its largest value */
};

/** A model type: a folder src/model/<name>/ and a line in registry.def. */
struct mr_model_ops {
    const char *name;
    const char *summary;
    const struct mr_option *options; /* keys of a "models" entry beside name, type, file; may be NULL */
    size_t options_size;
    /* Required. Loads and checks a model file (src/modelfile/README.md); without one, makes a model that learns from
     * nothing. On error *model_out is NULL: MR_EINPUT, MR_ENOMEM, MR_EDATA that names file, tensor, reason, or
     * MR_ECONFIG that says what an option or a file is missing for. What open points to is not needed afterwards. */
    mr_status (*open)(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err);
    /* Required. The facts; valid as long as the model. */
    const struct mr_model_info *(*info)(const struct mr_model *model);
    /* Required. The operation that scores a row and its parameters (owned by the model, at a fixed address). */
    mr_op (*op)(const struct mr_model *model, const void **params_out);
    /* Whether the options ask for numbers of fewer bits, of a model that does not learn. NULL: the type has none. */
    struct mr_reduced (*reduced)(const struct mr_model *model);
    /* How this model learns; NULL: it does not (the type cannot, or its options do not ask for it). NULL: no model of
     * this type does. */
    const struct mr_learn_ops *(*learn)(const struct mr_model *model);
    /*
     * Where info has column_count: fills a row of x, whose columns are MR_TILE_ROWS apart, from the text of the
     * features. Anything but MR_REASON_NONE makes a bad record; *feature_out then says which feature. NULL otherwise.
     * Any number of threads, each with its scratch. Allocates nothing.
     */
    mr_reason (*read)(const struct mr_model *model, const struct mr_text *feature, float *x, void *scratch,
                      size_t *feature_out);
    /*
     * Optional. What a model has found so far, in words: lines, each ended by a line break, into text [bytes], cut
     * behind a line where there is no room; text is always terminated. values: [width], what the next rows will get, in
     * double; may be NULL. Nobody learns meanwhile.
     */
    void (*found)(const struct mr_model *model, char *text, size_t bytes, double *values);
    /* Required. Accepts NULL. */
    void (*close)(struct mr_model *model);
};

#ifdef __cplusplus
}
#endif
#endif
