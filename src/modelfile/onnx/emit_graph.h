/** From forms to a native graph model: what no layers are. Inside of this folder. */
#ifndef MR_ONNX_EMIT_GRAPH_H
#define MR_ONNX_EMIT_GRAPH_H

#include "millrace/model.h"
#include "modelfile/onnx/form.h"
#include "modelfile/safetensors.h"

/** A graph as a model file has it: tensors, and the text of metadata millrace.graph; in the arena. */
struct mr_onnx_steps {
    struct mr_tensor_out *tensor; /* [tensor_count] */
    size_t tensor_count;
    const char *text;
};

/**
 * Lays out the steps that `scores` needs, and `of` (the columns whose largest, or least, is the class; NULL: there are
 * no classes). NULL: done; else why not (static text), or "" when memory is out.
 */
const char *mr_onnx_steps_make(struct mr_onnx_forms *forms, const struct mr_onnx_form *scores,
                               const struct mr_onnx_form *of, bool is_least, struct mr_onnx_steps *steps);

#endif
