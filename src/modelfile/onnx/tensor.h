/** Typed values of any rank: what nodes of a graph compute with. They live in an arena. */
#ifndef MR_ONNX_TENSOR_H
#define MR_ONNX_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace/status.h"
#include "modelfile/onnx/arena.h"
#include "modelfile/onnx/wire.h"

#define MR_ONNX_RANK_MAX 8

/** Element types, numbered as TensorProto.DataType numbers them. */
typedef enum {
    MR_ONNX_NONE = 0,
    MR_ONNX_FLOAT = 1,
    MR_ONNX_UINT8 = 2,
    MR_ONNX_INT8 = 3,
    MR_ONNX_UINT16 = 4,
    MR_ONNX_INT16 = 5,
    MR_ONNX_INT32 = 6,
    MR_ONNX_INT64 = 7,
    MR_ONNX_STRING = 8,
    MR_ONNX_BOOL = 9,
    MR_ONNX_FLOAT16 = 10,
    MR_ONNX_DOUBLE = 11,
    MR_ONNX_UINT32 = 12,
    MR_ONNX_UINT64 = 13,
    MR_ONNX_BFLOAT16 = 16,
} mr_onnx_type;

/** Name as ONNX spells it, lower case; "type 23" has none and is "unknown". Static. */
const char *mr_onnx_type_name(mr_onnx_type type);

/** Bytes of an element, of a text the span's; 0: a type that is not read. */
size_t mr_onnx_type_bytes(mr_onnx_type type);

/** float, double, float16, bfloat16. */
bool mr_onnx_is_float(mr_onnx_type type);

/** A value. Immutable once it is made. */
struct mr_onnx_tensor {
    mr_onnx_type type;
    size_t rank;
    int64_t dim[MR_ONNX_RANK_MAX]; /* each at least 0 */
    size_t count;                  /* their product */
    union {
        void *data; /* [count], in this machine's order */
        float *f32;
        double *f64;
        int64_t *i64;
        struct mr_onnx_span *text; /* MR_ONNX_STRING */
    };
};

/** A tensor of zeros. NULL: past the arena's bound or no memory, more than MR_ONNX_RANK_MAX dimensions, or a negative
 * one. dim may be NULL when rank is 0. */
struct mr_onnx_tensor *mr_onnx_tensor_make(struct mr_onnx_arena *arena, mr_onnx_type type, size_t rank,
                                           const int64_t *dim);

/** The same values in another shape of as many. NULL as mr_onnx_tensor_make. */
struct mr_onnx_tensor *mr_onnx_tensor_view(struct mr_onnx_arena *arena, const struct mr_onnx_tensor *of, size_t rank,
                                           const int64_t *dim);

/** Value at index as a double (exact but for 64-bit integers past 2^53), or as an integer (a float is cut off towards
 * zero, and held within int64). Not of texts. */
double mr_onnx_get(const struct mr_onnx_tensor *tensor, size_t index);
int64_t mr_onnx_get_int(const struct mr_onnx_tensor *tensor, size_t index);

/** Stores a value, rounded to nearest even where the type is a float, wrapped where it is an integer. */
void mr_onnx_put(struct mr_onnx_tensor *tensor, size_t index, double value);
void mr_onnx_put_int(struct mr_onnx_tensor *tensor, size_t index, int64_t value);

/** float16 and bfloat16, bit patterns. */
float mr_onnx_from_half(uint16_t bits);
uint16_t mr_onnx_to_half(double value);
float mr_onnx_from_bfloat(uint16_t bits);
uint16_t mr_onnx_to_bfloat(double value);

/** Where a TensorProto is read from. */
struct mr_onnx_place {
    const char *name;   /* of the model, for messages */
    const char *folder; /* where files of external data lie; NULL: there are none to be read */
};

/**
 * Reads a TensorProto: raw or typed data, or data in a file beside the model. MR_EDATA says which tensor and what is
 * wrong with it, MR_EINPUT names the side file that cannot be read, MR_ENOMEM. name_out may be NULL.
 */
mr_status mr_onnx_tensor_read(const struct mr_onnx_place *place, struct mr_onnx_span proto, struct mr_onnx_arena *arena,
                              struct mr_onnx_tensor **tensor_out, struct mr_onnx_span *name_out, struct mr_err *err);

#endif
