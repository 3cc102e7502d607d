/** A model file as JSON text, for people and for programs that read nothing else. */
#ifndef MR_MODELFILE_JSON_EXPORT_H
#define MR_MODELFILE_JSON_EXPORT_H

#include "modelfile/safetensors.h"

/**
 * {"metadata": {"millrace.type": "linear", ...}, "tensors": {"weight": {"dtype": "F32", "shape": [1, 2], "data":
 * [...]}}}, in place of what the blob held. Names, types and shapes are those of the file; data is one list, the last
 * dimension first. Every number reads back as it was: float32 in its shortest form, float64 with 17 digits, whole
 * numbers as they are. MR_EDATA: a value that is not finite, which JSON has no text for; MR_ENOMEM.
 */
mr_status mr_json_export(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err);

#endif
