/** ONNX files as models of our own: what is imported is stored as a native model file, in memory, and opened as one. */
#ifndef MR_ONNX_IMPORT_H
#define MR_ONNX_IMPORT_H

#include "millrace/blob.h"
#include "modelfile/onnx/graph.h"

/**
 * Makes a native model of an ONNX file in memory, in place of what the blob held. place names the file in messages;
 * folder, with its slash at the end, is where files of external data lie (NULL: there are none). Its
 * metadata says where it comes from (millrace.origin). MR_EDATA says which node stands in the way, why, and what to
 * change; MR_EINPUT: a side file cannot be read; MR_ENOMEM.
 */
mr_status mr_onnx_import(const struct mr_onnx_place *place, const void *bytes, size_t byte_count, struct mr_blob *out,
                         struct mr_err *err);

#endif
