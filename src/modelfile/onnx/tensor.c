#include "modelfile/onnx/tensor.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [MR_ONNX_FLOAT] = {"float", 4},
    [MR_ONNX_UINT8] = {"uint8", 1},
    [MR_ONNX_INT8] = {"int8", 1},
    [MR_ONNX_UINT16] = {"uint16", 2},
    [MR_ONNX_INT16] = {"int16", 2},
    [MR_ONNX_INT32] = {"int32", 4},
    [MR_ONNX_INT64] = {"int64", 8},
    [MR_ONNX_STRING] = {"string", sizeof(struct mr_onnx_span)},
    [MR_ONNX_BOOL] = {"bool", 1},
    [MR_ONNX_FLOAT16] = {"float16", 2},
    [MR_ONNX_DOUBLE] = {"double", 8},
    [MR_ONNX_UINT32] = {"uint32", 4},
    [MR_ONNX_UINT64] = {"uint64", 8},
    [14] = {"complex64", 0},
    [15] = {"complex128", 0},
    [MR_ONNX_BFLOAT16] = {"bfloat16", 2},
    [17] = {"float8e4m3fn", 0},
    [18] = {"float8e4m3fnuz", 0},
    [19] = {"float8e5m2", 0},
    [20] = {"float8e5m2fnuz", 0},
    [21] = {"uint4", 0},
    [22] = {"int4", 0},
    [23] = {"float4e2m1", 0},
    [24] = {"float8e8m0", 0},
    [25] = {"uint2", 0},
    [26] = {"int2", 0},
};

#define TYPE_COUNT (sizeof types / sizeof *types)

const char *mr_onnx_type_name(mr_onnx_type type)
{
    return (size_t)type < TYPE_COUNT && types[type].name ? types[type].name : "unknown";
}

size_t mr_onnx_type_bytes(mr_onnx_type type)
{
    return (size_t)type < TYPE_COUNT ? types[type].bytes : 0;
}

bool mr_onnx_is_float(mr_onnx_type type)
{
    return type == MR_ONNX_FLOAT || type == MR_ONNX_DOUBLE || type == MR_ONNX_FLOAT16 || type == MR_ONNX_BFLOAT16;
}

static struct mr_onnx_tensor *tensor_shaped(struct mr_onnx_arena *arena, mr_onnx_type type, size_t rank,
                                            const int64_t *dim)
{
    struct mr_onnx_tensor *const tensor = rank <= MR_ONNX_RANK_MAX ? mr_onnx_take(arena, 1, sizeof *tensor) : NULL;
    if (!tensor) return NULL;
    tensor->type = type;
    tensor->rank = rank;
    tensor->count = 1;
    for (size_t i = 0; i < rank; i++) {
        tensor->dim[i] = dim[i];
        if (dim[i] < 0 || __builtin_mul_overflow(tensor->count, (size_t)dim[i], &tensor->count)) return NULL;
    }
    return tensor;
}

struct mr_onnx_tensor *mr_onnx_tensor_make(struct mr_onnx_arena *arena, mr_onnx_type type, size_t rank,
                                           const int64_t *dim)
{
    struct mr_onnx_tensor *const tensor = tensor_shaped(arena, type, rank, dim);
    if (!tensor || !mr_onnx_type_bytes(type)) return NULL;
    tensor->data = mr_onnx_take(arena, tensor->count, mr_onnx_type_bytes(type));
    return tensor->data ? tensor : NULL;
}

struct mr_onnx_tensor *mr_onnx_tensor_view(struct mr_onnx_arena *arena, const struct mr_onnx_tensor *of, size_t rank,
                                           const int64_t *dim)
{
    struct mr_onnx_tensor *const tensor = tensor_shaped(arena, of->type, rank, dim);
    if (!tensor || tensor->count != of->count) return NULL;
    tensor->data = of->data;
    return tensor;
}

float mr_onnx_from_half(uint16_t bits)
{
    const int exponent = bits >> 10 & 31;
    const float fraction = (float)(bits & 0x3ff);
    float value;
    if (exponent == 31)
        value = fraction > 0 ? NAN : INFINITY;
    else
        value = exponent ? ldexpf(1024 + fraction, exponent - 25) : ldexpf(fraction, -24);
    return bits & 0x8000 ? -value : value;
}

/* Rounds once, from the double, with ties to even. */
uint16_t mr_onnx_to_half(double value)
{
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const double size = fabs(value);
    int exponent;
    if (isnan(value)) return sign | 0x7e00;
    if (size >= 65520) return sign | 0x7c00;
    if (size < 0x1p-14) return (uint16_t)(sign | (unsigned)rint(ldexp(size, 24))); /* may carry into the normal ones */
    (void)frexp(size, &exponent);
    const unsigned fraction = (unsigned)rint(ldexp(size, 11 - exponent)); /* 1024 to 2048 */
    return (uint16_t)(sign | (((unsigned)(exponent + 13) << 10) + fraction));
}

float mr_onnx_from_bfloat(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

uint16_t mr_onnx_to_bfloat(double value)
{
    const float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (isnan(narrow)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

double mr_onnx_get(const struct mr_onnx_tensor *tensor, size_t index)
{
    switch (tensor->type) {
    case MR_ONNX_FLOAT:
        return (double)tensor->f32[index];
    case MR_ONNX_DOUBLE:
        return tensor->f64[index];
    case MR_ONNX_FLOAT16:
        return (double)mr_onnx_from_half(((const uint16_t *)tensor->data)[index]);
    case MR_ONNX_BFLOAT16:
        return (double)mr_onnx_from_bfloat(((const uint16_t *)tensor->data)[index]);
    case MR_ONNX_UINT64:
        return (double)((const uint64_t *)tensor->data)[index];
    default:
        return (double)mr_onnx_get_int(tensor, index);
    }
}

/* Towards zero; what does not fit becomes the nearest that does, NaN 0. */
static int64_t whole_of(double value)
{
    if (value >= 0x1p63) return INT64_MAX;
    if (value <= -0x1p63) return INT64_MIN;
    return isnan(value) ? 0 : (int64_t)value;
}

int64_t mr_onnx_get_int(const struct mr_onnx_tensor *tensor, size_t index)
{
    switch (tensor->type) {
    case MR_ONNX_UINT8:
    case MR_ONNX_BOOL:
        return ((const uint8_t *)tensor->data)[index];
    case MR_ONNX_INT8:
        return ((const int8_t *)tensor->data)[index];
    case MR_ONNX_UINT16:
        return ((const uint16_t *)tensor->data)[index];
    case MR_ONNX_INT16:
        return ((const int16_t *)tensor->data)[index];
    case MR_ONNX_UINT32:
        return ((const uint32_t *)tensor->data)[index];
    case MR_ONNX_INT32:
        return ((const int32_t *)tensor->data)[index];
    case MR_ONNX_UINT64:
        return (int64_t)((const uint64_t *)tensor->data)[index];
    case MR_ONNX_INT64:
        return tensor->i64[index];
    case MR_ONNX_STRING:
        return 0;
    default:
        return whole_of(mr_onnx_get(tensor, index));
    }
}

void mr_onnx_put(struct mr_onnx_tensor *tensor, size_t index, double value)
{
    switch (tensor->type) {
    case MR_ONNX_FLOAT:
        tensor->f32[index] = (float)value;
        break;
    case MR_ONNX_DOUBLE:
        tensor->f64[index] = value;
        break;
    case MR_ONNX_FLOAT16:
        ((uint16_t *)tensor->data)[index] = mr_onnx_to_half(value);
        break;
    case MR_ONNX_BFLOAT16:
        ((uint16_t *)tensor->data)[index] = mr_onnx_to_bfloat(value);
        break;
    case MR_ONNX_BOOL:
        ((uint8_t *)tensor->data)[index] = value != 0;
        break;
    case MR_ONNX_UINT64:
        ((uint64_t *)tensor->data)[index] =
            value >= 0x1p63 && value < 0x1p64 ? (uint64_t)value : (uint64_t)whole_of(value);
        break;
    default:
        mr_onnx_put_int(tensor, index, whole_of(value));
        break;
    }
}

void mr_onnx_put_int(struct mr_onnx_tensor *tensor, size_t index, int64_t value)
{
    const uint64_t bits = (uint64_t)value;
    switch (tensor->type) {
    case MR_ONNX_UINT8:
    case MR_ONNX_INT8:
        ((uint8_t *)tensor->data)[index] = (uint8_t)bits;
        break;
    case MR_ONNX_BOOL:
        ((uint8_t *)tensor->data)[index] = value != 0;
        break;
    case MR_ONNX_UINT16:
    case MR_ONNX_INT16:
        ((uint16_t *)tensor->data)[index] = (uint16_t)bits;
        break;
    case MR_ONNX_UINT32:
    case MR_ONNX_INT32:
        ((uint32_t *)tensor->data)[index] = (uint32_t)bits;
        break;
    case MR_ONNX_UINT64:
    case MR_ONNX_INT64:
        tensor->i64[index] = value;
        break;
    case MR_ONNX_STRING:
        break;
    default:
        mr_onnx_put(tensor, index, (double)value);
        break;
    }
}
