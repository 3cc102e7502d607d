#include "modelfile/onnx/wire.h"

#include <string.h>

bool mr_onnx_varint(struct mr_onnx_span *left, uint64_t *value_out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < 10 && i < left->bytes; i++) {
        const unsigned char byte = left->data[i];
        if (i == 9 && byte > 1) return false; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80) continue;
        left->data += i + 1;
        left->bytes -= i + 1;
        *value_out = value;
        return true;
    }
    return false;
}

uint32_t mr_onnx_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t mr_onnx_u64(const unsigned char *at)
{
    return mr_onnx_u32(at) | (uint64_t)mr_onnx_u32(at + 4) << 32;
}

static bool take(struct mr_onnx_span *left, uint64_t bytes, struct mr_onnx_span *taken_out)
{
    if (bytes > left->bytes) return false;
    *taken_out = (struct mr_onnx_span){left->data, (size_t)bytes};
    left->data += bytes;
    left->bytes -= (size_t)bytes;
    return true;
}

static bool field_read(struct mr_onnx_span *left, struct mr_onnx_field *field)
{
    uint64_t tag, bytes;
    struct mr_onnx_span fixed;
    if (!mr_onnx_varint(left, &tag) || tag >> 3 == 0 || tag >> 3 > UINT32_MAX) return false;
    *field = (struct mr_onnx_field){.number = (uint32_t)(tag >> 3), .kind = tag & 7};
    switch (tag & 7) {
    case MR_WIRE_VARINT:
        return mr_onnx_varint(left, &field->value);
    case MR_WIRE_BYTES:
        return mr_onnx_varint(left, &bytes) && take(left, bytes, &field->bytes);
    case MR_WIRE_64:
        if (!take(left, 8, &fixed)) return false;
        field->value = mr_onnx_u64(fixed.data);
        return true;
    case MR_WIRE_32:
        if (!take(left, 4, &fixed)) return false;
        field->value = mr_onnx_u32(fixed.data);
        return true;
    default:
        return false; /* groups: ONNX has none */
    }
}

bool mr_onnx_next(struct mr_onnx_cursor *cursor, struct mr_onnx_field *field)
{
    if (cursor->is_broken || !cursor->left.bytes) return false;
    cursor->is_broken = !field_read(&cursor->left, field);
    return !cursor->is_broken;
}

bool mr_onnx_span_is(struct mr_onnx_span span, const char *text)
{
    return span.bytes == strlen(text) && !memcmp(span.data ? (const char *)span.data : "", text, span.bytes);
}

bool mr_onnx_span_same(struct mr_onnx_span a, struct mr_onnx_span b)
{
    return a.bytes == b.bytes && (!a.bytes || !memcmp(a.data, b.data, a.bytes));
}
