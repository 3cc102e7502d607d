/**
 * From a graph to forms: each node that reads what depends on a row is understood as a step that our own models have
 * (compile.def), each that reads constants alone is computed. What neither fits is remembered with its reason, which is
 * told when an output of the graph depends on it.
 */
#ifndef MR_ONNX_COMPILE_H
#define MR_ONNX_COMPILE_H

#include "modelfile/onnx/form.h"
#include "modelfile/onnx/run.h"

/** What the outputs of a graph are. */
struct mr_onnx_program {
    size_t feature_count;
    const struct mr_onnx_span *feature;     /* [feature_count] names, or NULL: one input of several columns */
    const struct mr_onnx_chain *newest;     /* of all chains */
    const struct mr_onnx_form *scores;      /* NULL: the classes alone are an output */
    const struct mr_onnx_form *classes;     /* NULL: none are */
    const struct mr_onnx_tensor *zip_label; /* what a ZipMap calls the columns of the scores, or NULL */
};

/**
 * Compiles a graph. MR_EDATA names the first node that stands in the way, its operator, opset, and what to change.
 * program's parts are in the arena.
 */
mr_status mr_onnx_compile(const struct mr_onnx_model *model, struct mr_onnx_arena *arena,
                          struct mr_onnx_program *program, struct mr_err *err);

/** Inside of this folder: the state of a compilation. */
struct mr_onnx_compile {
    const struct mr_onnx_model *model;
    struct mr_onnx_forms forms;
    const struct mr_onnx_tensor **constant; /* [value_count]; NULL: not one */
    const struct mr_onnx_form **form;       /* [value_count]; NULL: a constant, or not understood */
    const struct mr_onnx_node **culprit;    /* [value_count]: the first node on the way that was not understood */
    const char **reason;                    /* [value_count]: why not */
    bool *is_whole;                         /* [value_count]: of rows, whole numbers: an operator may round them */
    const struct mr_onnx_tensor *zip_label; /* as the program's */
    struct mr_err *err;
    mr_status status; /* of a computation that failed */
};

/** One node: sets the forms of its outputs, or returns why it cannot (static text). */
typedef const char *mr_onnx_step_fn(struct mr_onnx_compile *compile, const struct mr_onnx_node *node);

/* steps_sum.c, steps_shape.c, steps_class.c */
mr_onnx_step_fn mr_step_activate, mr_step_argmax, mr_step_batchnorm, mr_step_cast, mr_step_classifier, mr_step_concat,
    mr_step_dropout, mr_step_flatten, mr_step_gather, mr_step_gemm, mr_step_matmul, mr_step_negate, mr_step_normalize,
    mr_step_part, mr_step_product, mr_step_regressor, mr_step_relabel, mr_step_reshape, mr_step_root, mr_step_same,
    mr_step_scaler, mr_step_softmax, mr_step_squares, mr_step_squeeze, mr_step_sum, mr_step_zipmap;
/* steps_graph.c */
mr_onnx_step_fn mr_step_beside, mr_step_binarize, mr_step_clip, mr_step_compare, mr_step_log_softmax, mr_step_norm,
    mr_step_not, mr_step_pair, mr_step_pointwise, mr_step_prelu, mr_step_reduce, mr_step_round, mr_step_several,
    mr_step_top;

/** Form of input 0 of any kind, or NULL. */
const struct mr_onnx_form *mr_step_first(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node);

/** Form of input `index` when it is of this kind, or NULL. */
const struct mr_onnx_form *mr_step_form(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                        size_t index, mr_form_kind kind);

/** Constant of input `index`, or NULL. */
const struct mr_onnx_tensor *mr_step_constant(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                              size_t index);

/** Sets an output; NULL: memory is out, which the compilation says itself. Always returns NULL: no reason. */
const char *mr_step_set(struct mr_onnx_compile *compile, const struct mr_onnx_node *node, size_t output,
                        const struct mr_onnx_form *form);

/** A constant as one number a column of a form; why it does not fit, or NULL. */
const char *mr_step_columns(struct mr_onnx_compile *compile, const struct mr_onnx_tensor *constant,
                            const struct mr_onnx_form *form, const double **column_out);

/** A list attribute of a node as a tensor, NULL when absent. A broken one ends the compilation. */
const struct mr_onnx_tensor *mr_step_list(struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                          const char *name);

/** Computes a node with constants [node->input_count] in the place of its inputs; a failure is the compilation's. */
void mr_step_eval(struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                  const struct mr_onnx_tensor *const *input, const struct mr_onnx_tensor **output);

/** The reason where no model of ours has an operator. */
extern const char mr_step_unknown[];

/** The sums of a form as a value of a graph, whatever is pending in it. */
const struct mr_onnx_form *mr_step_settle(struct mr_onnx_compile *compile, const struct mr_onnx_form *form);

/** x + by * z, as a value of a graph; z has as many columns as x, or one. */
const struct mr_onnx_form *mr_step_add(struct mr_onnx_compile *compile, const struct mr_onnx_form *x,
                                       const struct mr_onnx_form *z, double by);

/** The columns of x, then those of z, as a value of a graph. */
const struct mr_onnx_form *mr_step_join(struct mr_onnx_compile *compile, const struct mr_onnx_form *x,
                                        const struct mr_onnx_form *z);

/** A class form over rows, its labels these, or the indices. */
const struct mr_onnx_form *mr_step_class(struct mr_onnx_compile *compile, const struct mr_onnx_form *of, bool is_least,
                                         const struct mr_onnx_tensor *label, size_t rank);

#endif
