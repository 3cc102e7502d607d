/** Numbers and strings of a state record: little endian, varints, nothing trusted. */
#ifndef MR_STATE_WIRE_H
#define MR_STATE_WIRE_H

#include <stdint.h>
#include <string.h>

#include "millrace/blob.h"

#define MR_WIRE_VARINT_BYTES_MAX 10

/** Writes into a blob that has room: put functions check nothing. */
static inline void mr_wire_put_fixed(struct mr_blob *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) out->data[out->bytes++] = (char)(value >> (8 * i));
}

static inline void mr_wire_put(struct mr_blob *out, uint64_t value)
{
    while (value >= 0x80) {
        out->data[out->bytes++] = (char)(value | 0x80);
        value >>= 7;
    }
    out->data[out->bytes++] = (char)value;
}

/** Small numbers of either sign in few bytes. */
static inline void mr_wire_put_signed(struct mr_blob *out, int64_t value)
{
    mr_wire_put(out, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
}

static inline void mr_wire_put_text(struct mr_blob *out, const char *text, size_t bytes)
{
    mr_wire_put(out, bytes);
    memcpy(out->data + out->bytes, text, bytes);
    out->bytes += bytes;
}

/** A place in bytes that are read. After a read past the end or of no number is_bad stays true, and reads give 0. */
struct mr_wire {
    const unsigned char *at, *end;
    bool is_bad;
};

static inline uint64_t mr_wire_fixed(struct mr_wire *in, size_t bytes)
{
    uint64_t value = 0;
    if (in->is_bad || (size_t)(in->end - in->at) < bytes) {
        in->is_bad = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)in->at[i] << (8 * i);
    in->at += bytes;
    return value;
}

static inline uint64_t mr_wire_get(struct mr_wire *in)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && !in->is_bad && in->at < in->end; shift += 7) {
        const uint64_t byte = *in->at++;
        if (shift == 63 && byte > 1) break; /* more than 64 bits */
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    in->is_bad = true;
    return 0;
}

/** At most `max`: anything else is bad. */
static inline uint64_t mr_wire_get_max(struct mr_wire *in, uint64_t max)
{
    const uint64_t value = mr_wire_get(in);
    if (value <= max) return value;
    in->is_bad = true;
    return 0;
}

static inline int64_t mr_wire_get_signed(struct mr_wire *in)
{
    const uint64_t value = mr_wire_get(in);
    return (int64_t)(value >> 1 ^ (value & 1 ? UINT64_MAX : 0));
}

/** Borrowed bytes, at most `max`; NULL when bad. */
static inline const char *mr_wire_text(struct mr_wire *in, size_t max, size_t *bytes_out)
{
    *bytes_out = (size_t)mr_wire_get_max(in, max);
    if (in->is_bad || (size_t)(in->end - in->at) < *bytes_out) {
        in->is_bad = true;
        return NULL;
    }
    const char *const text = (const char *)in->at;
    in->at += *bytes_out;
    return text;
}

#endif
