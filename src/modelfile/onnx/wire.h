/** The wire format of protocol buffers, as far as ONNX files use it: fields one behind the other, every length checked.
 */
#ifndef MR_ONNX_WIRE_H
#define MR_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes that belong to somebody else; data may be NULL when bytes is 0. */
struct mr_onnx_span {
    const unsigned char *data;
    size_t bytes;
};

/** One field of a message. */
struct mr_onnx_field {
    uint32_t number;
    enum { MR_WIRE_VARINT = 0, MR_WIRE_64 = 1, MR_WIRE_BYTES = 2, MR_WIRE_32 = 5 } kind;
    uint64_t value;            /* varint, 64 or 32 bits */
    struct mr_onnx_span bytes; /* MR_WIRE_BYTES; borrowed */
};

/** Where the reading of a message stands; `left` starts as the whole message. */
struct mr_onnx_cursor {
    struct mr_onnx_span left;
    bool is_broken; /* a field that is cut off, or of no known kind */
};

/** Takes the next field off. False at the end, and from the first broken field on. */
bool mr_onnx_next(struct mr_onnx_cursor *cursor, struct mr_onnx_field *field);

/** Takes a varint off; false when it is cut off or longer than 10 bytes. */
bool mr_onnx_varint(struct mr_onnx_span *left, uint64_t *value_out);

/** Whether bytes are this text. */
bool mr_onnx_span_is(struct mr_onnx_span span, const char *text);
bool mr_onnx_span_same(struct mr_onnx_span a, struct mr_onnx_span b);

/** Little-endian numbers at any alignment. */
uint32_t mr_onnx_u32(const unsigned char *at);
uint64_t mr_onnx_u64(const unsigned char *at);

#endif
