/* TensorProto: dimensions, type, and values in one of four ways. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "modelfile/onnx/tensor.h"

enum { PROTO_DIMS = 1, PROTO_TYPE = 2, PROTO_SEGMENT = 3, PROTO_NAME = 8, PROTO_RAW = 9, PROTO_EXTERNAL = 13 };
enum { PROTO_F32 = 4, PROTO_I32 = 5, PROTO_TEXT = 6, PROTO_I64 = 7, PROTO_F64 = 10, PROTO_U64 = 11, PROTO_WHERE = 14 };

/* What external data adds to the bound of the arena: so many times its bytes, up to a limit for all. */
#define EXTERNAL_FACTOR    8
#define EXTERNAL_BYTES_MAX ((size_t)32 << 30)

/* What the fields of one tensor said. */
struct reading {
    const struct mr_onnx_place *place;
    struct mr_onnx_span name, raw;
    mr_onnx_type type;
    size_t rank;
    int64_t dim[MR_ONNX_RANK_MAX];
    bool has_raw, is_external;
    struct mr_onnx_span location;
    uint64_t offset, length;
    bool has_length;
    struct mr_onnx_tensor *tensor;
    size_t filled; /* values of typed fields that are in the tensor */
};

static int name_bytes(struct mr_onnx_span span)
{
    return span.bytes > 80 ? 80 : (int)span.bytes;
}

#define NAMED(span) name_bytes(span), (span).data ? (const char *)(span).data : ""

static mr_status refuse(const struct reading *at, struct mr_err *err, const char *reason)
{
    return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%.*s\" (%s): %s", at->place->name, NAMED(at->name),
                   mr_onnx_type_name(at->type), reason);
}

static bool dim_add(struct reading *at, uint64_t value)
{
    if (at->rank == MR_ONNX_RANK_MAX || value > INT64_MAX) return false;
    at->dim[at->rank++] = (int64_t)value;
    return true;
}

static bool dims_read(struct reading *at, const struct mr_onnx_field *field)
{
    struct mr_onnx_span left = field->bytes;
    uint64_t value;
    if (field->kind == MR_WIRE_VARINT) return dim_add(at, field->value);
    while (field->kind == MR_WIRE_BYTES && left.bytes) {
        if (!mr_onnx_varint(&left, &value) || !dim_add(at, value)) return false;
    }
    return field->kind == MR_WIRE_BYTES;
}

/* Decimal digits alone. */
static bool digits_read(struct mr_onnx_span text, uint64_t *value_out)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    }
    *value_out = value;
    return text.bytes > 0;
}

/* One pair of external_data: location, offset, length; a checksum is not looked at. */
static bool external_read(struct reading *at, struct mr_onnx_span pair)
{
    struct mr_onnx_cursor cursor = {.left = pair};
    struct mr_onnx_field field;
    struct mr_onnx_span key = {0}, value = {0};
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == 1 && field.kind == MR_WIRE_BYTES) key = field.bytes;
        if (field.number == 2 && field.kind == MR_WIRE_BYTES) value = field.bytes;
    }
    if (mr_onnx_span_is(key, "location")) at->location = value;
    if (mr_onnx_span_is(key, "offset")) return digits_read(value, &at->offset);
    if (mr_onnx_span_is(key, "length")) return at->has_length = digits_read(value, &at->length);
    return !cursor.is_broken;
}

/* Everything but the values. */
static mr_status head_read(struct reading *at, struct mr_onnx_span proto, struct mr_err *err)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    const char *wrong = NULL;
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number == PROTO_NAME && field.kind == MR_WIRE_BYTES) at->name = field.bytes;
        if (field.number == PROTO_TYPE && field.kind == MR_WIRE_VARINT)
            at->type = field.value < 1000 ? (mr_onnx_type)field.value : MR_ONNX_NONE;
        if (field.number == PROTO_DIMS && !dims_read(at, &field))
            wrong = "its dimensions are more than 8, negative or broken";
        if (field.number == PROTO_SEGMENT) wrong = "it is one segment of a tensor: save it whole";
        if (field.number == PROTO_RAW && field.kind == MR_WIRE_BYTES) {
            at->raw = field.bytes;
            at->has_raw = true;
        }
        if (field.number == PROTO_EXTERNAL && (field.kind != MR_WIRE_BYTES || !external_read(at, field.bytes)))
            wrong = "its external_data has an offset or length that is no number";
        if (field.number == PROTO_WHERE && field.kind == MR_WIRE_VARINT) at->is_external = field.value == 1;
    }
    if (cursor.is_broken) wrong = "the bytes are cut off or broken";
    if (!wrong && !mr_onnx_type_bytes(at->type)) wrong = "this element type is not read: export it as float";
    return wrong ? refuse(at, err, wrong) : MR_OK;
}

/* Raw bytes, little-endian, become values. */
static void raw_copy(struct mr_onnx_tensor *tensor, const unsigned char *from)
{
    const size_t bytes = mr_onnx_type_bytes(tensor->type);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (tensor->count) memcpy(tensor->data, from, tensor->count * bytes);
#else
    for (size_t i = 0; i < tensor->count; i++)
        for (size_t k = 0; k < bytes; k++)
            ((unsigned char *)tensor->data)[i * bytes + k] = from[i * bytes + bytes - 1 - k];
#endif
    if (tensor->type != MR_ONNX_BOOL) return;
    for (size_t i = 0; i < tensor->count; i++) ((uint8_t *)tensor->data)[i] = ((const uint8_t *)tensor->data)[i] != 0;
}

/* Whether a location stays below the model's folder. */
static bool is_below(struct mr_onnx_span location)
{
    const char *at = (const char *)location.data;
    size_t left = location.bytes;
    if (!left || *at == '/' || memchr(at, '\0', left)) return false;
    while (left) {
        const char *const slash = memchr(at, '/', left);
        const size_t part = slash ? (size_t)(slash - at) : left;
        if (part == 2 && at[0] == '.' && at[1] == '.') return false;
        at += part + (slash != NULL);
        left -= part + (slash != NULL);
    }
    return true;
}

/* Reads `bytes` at an offset of an open file; false: errno, or 0 where the file is shorter. */
static bool read_at(int file, void *to, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        const ssize_t got = pread(file, (char *)to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = 0;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* Values in a file beside the model. Its size is checked before memory is taken for them. */
static mr_status external_load(struct reading *at, struct mr_onnx_arena *arena, struct mr_err *err)
{
    char path[PATH_MAX];
    struct stat info;
    size_t count = 1;
    uint64_t bytes = mr_onnx_type_bytes(at->type), end;
    for (size_t i = 0; i < at->rank; i++) {
        if (__builtin_mul_overflow(count, (size_t)at->dim[i], &count)) return refuse(at, err, "its shape is too large");
    }
    if (__builtin_mul_overflow(bytes, count, &bytes) || __builtin_add_overflow(bytes, at->offset, &end) ||
        end > INT64_MAX)
        return refuse(at, err, "its shape or offset is too large");
    if (at->type == MR_ONNX_STRING) return refuse(at, err, "texts cannot be external data");
    if (at->has_length && at->length != bytes) return refuse(at, err, "the length of its external data is not its own");
    if (!is_below(at->location))
        return refuse(at, err, "its external data has no location, or one outside of the model's folder");
    if (!at->place->folder) return refuse(at, err, "its values are in another file, and this model comes without one");
    if (snprintf(path, sizeof path, "%s%.*s", at->place->folder, (int)at->location.bytes,
                 (const char *)at->location.data) >= (int)sizeof path)
        return refuse(at, err, "the path of its external data is too long");
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return mr_fail(err, MR_EINPUT,
                       "model \"%s\": tensor \"%.*s\" is in \"%s\", which cannot be opened: %s. Keep the file beside "
                       "the model, or export without external data",
                       at->place->name, NAMED(at->name), path, strerror(errno));
    mr_status status = MR_OK;
    if (fstat(file, &info) || !S_ISREG(info.st_mode) || (uint64_t)info.st_size < end)
        status =
            mr_fail(err, MR_EDATA,
                    "model \"%s\": tensor \"%.*s\": \"%s\" is no file, or shorter than offset %llu and %llu bytes",
                    at->place->name, NAMED(at->name), path, (unsigned long long)at->offset, (unsigned long long)bytes);
    /* They are there, so they may take memory, several times over; but not without end. */
    const size_t room = arena->bytes_max < EXTERNAL_BYTES_MAX ? EXTERNAL_BYTES_MAX - arena->bytes_max : 0;
    if (!status && bytes > room / EXTERNAL_FACTOR)
        status = refuse(at, err, "with it the external data of the model is more than is read");
    if (!status) arena->bytes_max += (size_t)bytes * EXTERNAL_FACTOR;
    if (!status) at->tensor = mr_onnx_tensor_make(arena, at->type, at->rank, at->dim);
    if (!status && !at->tensor) status = mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", at->place->name);
    if (!status && !read_at(file, at->tensor->data, (size_t)bytes, at->offset))
        status = mr_fail(err, MR_EINPUT, "model \"%s\": \"%s\": %s", at->place->name, path,
                         errno ? strerror(errno) : "it has become shorter");
    close(file);
    return status;
}

/* One value of a typed field. float16 and bfloat16 come as their bits in int32_data. */
static bool value_add(struct reading *at, const struct mr_onnx_field *field, uint64_t bits)
{
    struct mr_onnx_tensor *const tensor = at->tensor;
    const size_t i = at->filled++;
    const uint32_t low = (uint32_t)bits;
    float narrow;
    double wide;
    if (i >= tensor->count) return false;
    if (field->number == PROTO_F32) {
        memcpy(&narrow, &low, sizeof narrow);
        mr_onnx_put(tensor, i, (double)narrow);
    } else if (field->number == PROTO_F64) {
        memcpy(&wide, &bits, sizeof wide);
        mr_onnx_put(tensor, i, wide);
    } else if (tensor->type == MR_ONNX_FLOAT16 || tensor->type == MR_ONNX_BFLOAT16) {
        ((uint16_t *)tensor->data)[i] = (uint16_t)bits;
    } else {
        mr_onnx_put_int(tensor, i, (int64_t)bits);
    }
    return true;
}

/* A typed field: one value, or packed ones. */
static bool values_add(struct reading *at, const struct mr_onnx_field *field)
{
    const size_t fixed = field->number == PROTO_F32 ? 4 : field->number == PROTO_F64 ? 8 : 0;
    struct mr_onnx_span left = field->bytes;
    uint64_t bits;
    if (field->kind != MR_WIRE_BYTES) return value_add(at, field, field->value);
    while (left.bytes) {
        if (fixed && left.bytes < fixed) return false;
        if (fixed) {
            bits = fixed == 4 ? mr_onnx_u32(left.data) : mr_onnx_u64(left.data);
            left.data += fixed;
            left.bytes -= fixed;
        } else if (!mr_onnx_varint(&left, &bits)) {
            return false;
        }
        if (!value_add(at, field, bits)) return false;
    }
    return true;
}

/* Which typed field holds values of a type. */
static uint32_t field_of(mr_onnx_type type)
{
    switch (type) {
    case MR_ONNX_FLOAT:
        return PROTO_F32;
    case MR_ONNX_DOUBLE:
        return PROTO_F64;
    case MR_ONNX_INT64:
        return PROTO_I64;
    case MR_ONNX_STRING:
        return PROTO_TEXT;
    case MR_ONNX_UINT32:
    case MR_ONNX_UINT64:
        return PROTO_U64;
    default:
        return PROTO_I32;
    }
}

static mr_status typed_read(struct reading *at, struct mr_onnx_span proto, struct mr_err *err)
{
    struct mr_onnx_cursor cursor = {.left = proto};
    struct mr_onnx_field field;
    const uint32_t number = field_of(at->type);
    while (mr_onnx_next(&cursor, &field)) {
        if (field.number != number) continue;
        if (number != PROTO_TEXT && !values_add(at, &field)) return refuse(at, err, "more values than its shape has");
        if (number != PROTO_TEXT) continue;
        if (field.kind != MR_WIRE_BYTES || at->filled >= at->tensor->count)
            return refuse(at, err, "more values than its shape has");
        at->tensor->text[at->filled++] = field.bytes;
    }
    return at->filled == at->tensor->count ? MR_OK : refuse(at, err, "fewer values than its shape has");
}

/* Bytes that stand for the values in the message, as an upper bound: no memory is taken for values that are not there.
 */
static bool is_there(const struct reading *at, struct mr_onnx_span proto)
{
    size_t count = 1;
    for (size_t i = 0; i < at->rank; i++) {
        if (__builtin_mul_overflow(count, (size_t)at->dim[i], &count)) return false;
    }
    return count <= proto.bytes;
}

mr_status mr_onnx_tensor_read(const struct mr_onnx_place *place, struct mr_onnx_span proto, struct mr_onnx_arena *arena,
                              struct mr_onnx_tensor **tensor_out, struct mr_onnx_span *name_out, struct mr_err *err)
{
    struct reading at = {.place = place};
    mr_status status = head_read(&at, proto, err);
    *tensor_out = NULL;
    if (name_out) *name_out = at.name;
    if (!status && at.is_external) {
        status = external_load(&at, arena, err);
    } else if (!status) {
        if (!is_there(&at, proto)) return refuse(&at, err, "its shape has more values than there are");
        at.tensor = mr_onnx_tensor_make(arena, at.type, at.rank, at.dim);
        if (!at.tensor) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory for tensors", place->name);
        if (!at.has_raw || at.type == MR_ONNX_STRING)
            status = typed_read(&at, proto, err);
        else if (at.raw.bytes != at.tensor->count * mr_onnx_type_bytes(at.type))
            status = refuse(&at, err, "its raw data has another size than its shape");
        else
            raw_copy(at.tensor, at.raw.data);
    }
    if (!status) *tensor_out = at.tensor;
    return status;
}
