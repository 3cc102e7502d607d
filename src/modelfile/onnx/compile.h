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
    const struct mr_onnx_tensor *zip_label; /* as the program's */
    struct mr_err *err;
    mr_status status; /* of a computation that failed */
};

/** One node: sets the forms of its outputs, or returns why it cannot (static text). */
typedef const char *mr_onnx_step_fn(struct mr_onnx_compile *compile, const struct mr_onnx_node *node);

#define MR_ONNX_STEP(op, is_ml, step) mr_onnx_step_fn step;
#include "modelfile/onnx/compile.def"
#undef MR_ONNX_STEP

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

/** A class form over rows, its labels these, or the indices. */
const struct mr_onnx_form *mr_step_class(struct mr_onnx_compile *compile, const struct mr_onnx_form *of, bool is_least,
                                         const struct mr_onnx_tensor *label, size_t rank);

#endif
