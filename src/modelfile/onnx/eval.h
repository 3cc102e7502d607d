/**
 * Computing nodes. Operators are rows of ops.def; each is a plain loop in double (or int64) that rounds its result to
 * the type of its output: the meaning of the operator, and what constants of a graph are folded with at load.
 */
#ifndef MR_ONNX_EVAL_H
#define MR_ONNX_EVAL_H

#include "modelfile/onnx/graph.h"

#define MR_ONNX_INPUTS_MAX  4096
#define MR_ONNX_OUTPUTS_MAX 64

/** One node at work. */
struct mr_onnx_call {
    const struct mr_onnx_model *model;
    const struct mr_onnx_node *node;
    struct mr_onnx_arena *arena;               /* results, and what is needed on the way */
    const struct mr_onnx_tensor *const *input; /* [input_count], NULL: left out */
    const struct mr_onnx_tensor **output;      /* [output_count], filled */
    size_t input_count, output_count;
    int64_t opset; /* of the node's domain */
    struct mr_err *err;
};

/** Whether there is an operator of this name. */
bool mr_onnx_op_is_known(const struct mr_onnx_node *node);

/** The names of all operators, for a message; static. */
const char *mr_onnx_op_list(void);

/**
 * Computes call->node. MR_EDATA: no such operator, or inputs that it does not take, with the node's name and the
 * reason; MR_ENOMEM: past the arena's bound. Outputs are in the arena or are the inputs themselves.
 */
mr_status mr_onnx_eval(struct mr_onnx_call *call);

#endif
