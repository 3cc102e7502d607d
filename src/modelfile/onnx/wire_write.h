/** Writing protocol buffers: fields put one behind the other into a blob; a message within another is a blob first. */
#ifndef MR_ONNX_WIRE_WRITE_H
#define MR_ONNX_WIRE_WRITE_H

#include <stdint.h>

#include "millrace/blob.h"

/** Each appends a field. False: no memory; the blob is then not to be used. */
bool mr_onnx_wire_int(struct mr_blob *out, uint32_t field, int64_t value);
bool mr_onnx_wire_float(struct mr_blob *out, uint32_t field, float value);
bool mr_onnx_wire_bytes(struct mr_blob *out, uint32_t field, const void *bytes, size_t count);
bool mr_onnx_wire_text(struct mr_blob *out, uint32_t field, const char *text);

/** The same with what a message holds; frees it whatever the outcome. */
bool mr_onnx_wire_message(struct mr_blob *out, uint32_t field, struct mr_blob *message);

#endif
