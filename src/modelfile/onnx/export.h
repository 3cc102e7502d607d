/** Models of ours as ONNX files, of operators that every runtime has. */
#ifndef MR_ONNX_EXPORT_H
#define MR_ONNX_EXPORT_H

#include "modelfile/safetensors.h"

/**
 * Writes a model as ONNX, in place of what the blob held: one input "features" [rows, features], and as outputs
 * "probabilities" [rows, classes] with "label", "prediction" of a regression, "distances" (squared) with "label" of
 * k-means, "scaled" of a scaler, "prediction" ("probabilities" of its classes) of a graph. float32 where all tensors
 * are, else float64 inside. Importing the file gives the same numbers again (onnx/import.h), but for what ONNX has no
 * place for: what a learner goes on from. Version and feature names are in metadata_props. MR_EDATA: a type that has no
 * form in ONNX (mf), or a file that is no model; MR_ENOMEM.
 */
mr_status mr_onnx_export(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err);

#endif
