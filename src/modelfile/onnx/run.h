/** A whole graph, node by node: the meaning of a model. */
#ifndef MR_ONNX_RUN_H
#define MR_ONNX_RUN_H

#include "modelfile/onnx/eval.h"

/**
 * Computes the outputs of a graph from its inputs [model->input_count], with all that is between them in the arena.
 * Errors as mr_onnx_eval.
 */
mr_status mr_onnx_run(const struct mr_onnx_model *model, struct mr_onnx_arena *arena,
                      const struct mr_onnx_tensor *const *input, const struct mr_onnx_tensor **output,
                      struct mr_err *err);

/** Computes one node, with its inputs from value [value_count] and its outputs into it. */
mr_status mr_onnx_node_run(const struct mr_onnx_model *model, const struct mr_onnx_node *node,
                           struct mr_onnx_arena *arena, const struct mr_onnx_tensor **value, struct mr_err *err);

#endif
