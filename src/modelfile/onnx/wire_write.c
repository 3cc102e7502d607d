#include "modelfile/onnx/wire_write.h"

#include <string.h>

#include "modelfile/onnx/wire.h"

static bool varint_put(struct mr_blob *out, uint64_t value)
{
    unsigned char bytes[10];
    size_t count = 0;
    for (; value > 0x7f; value >>= 7) bytes[count++] = (unsigned char)(value | 0x80);
    bytes[count++] = (unsigned char)value;
    return mr_blob_put(out, bytes, count);
}

static bool key_put(struct mr_blob *out, uint32_t field, unsigned kind)
{
    return varint_put(out, (uint64_t)field << 3 | kind);
}

bool mr_onnx_wire_int(struct mr_blob *out, uint32_t field, int64_t value)
{
    return key_put(out, field, MR_WIRE_VARINT) && varint_put(out, (uint64_t)value);
}

bool mr_onnx_wire_float(struct mr_blob *out, uint32_t field, float value)
{
    return key_put(out, field, MR_WIRE_32) && mr_blob_put(out, &value, sizeof value);
}

bool mr_onnx_wire_bytes(struct mr_blob *out, uint32_t field, const void *bytes, size_t count)
{
    return key_put(out, field, MR_WIRE_BYTES) && varint_put(out, count) && mr_blob_put(out, bytes, count);
}

bool mr_onnx_wire_text(struct mr_blob *out, uint32_t field, const char *text)
{
    return mr_onnx_wire_bytes(out, field, text, strlen(text));
}

bool mr_onnx_wire_message(struct mr_blob *out, uint32_t field, struct mr_blob *message)
{
    const bool is_put = mr_onnx_wire_bytes(out, field, message->data, message->bytes);
    mr_blob_deinit(message);
    return is_put;
}
