/** From forms to the bytes of a native model. Inside of this folder only. */
#ifndef MR_ONNX_EMIT_H
#define MR_ONNX_EMIT_H

#include "millrace/blob.h"
#include "modelfile/onnx/compile.h"

/** Stores what a graph was compiled to as a model of ours: mlp, linear, logistic, kmeans or scaler. MR_EDATA says why
 * it is none of these. */
mr_status mr_onnx_emit(const struct mr_onnx_model *model, const struct mr_onnx_program *program,
                       struct mr_onnx_arena *arena, struct mr_blob *out, struct mr_err *err);

#endif
