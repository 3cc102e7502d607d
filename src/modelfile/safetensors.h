/**
 * Reader of safetensors files: an 8-byte little-endian header size, a JSON header, raw tensors. It trusts nothing:
 * every size, offset and name is checked before it is used. The format and our use of it: README.md beside this file.
 */
#ifndef MR_MODELFILE_SAFETENSORS_H
#define MR_MODELFILE_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace/blob.h"
#include "millrace/status.h"

#define MR_TENSOR_HEADER_BYTES_MAX (1u << 20)
#define MR_TENSOR_COUNT_MAX        4096
#define MR_TENSOR_RANK_MAX         8
#define MR_TENSOR_NAME_BYTES_MAX   256

typedef enum { MR_DTYPE_F32, MR_DTYPE_F64, MR_DTYPE_I32, MR_DTYPE_I64, MR_DTYPE_U8 } mr_dtype;

/** "F32" ...; static. */
const char *mr_dtype_name(mr_dtype dtype);

/** One tensor. Borrowed from the file. */
struct mr_tensor {
    const char *name;
    mr_dtype dtype;
    size_t rank;
    uint64_t shape[MR_TENSOR_RANK_MAX];
    uint64_t count;            /* product of shape; 1 for rank 0 */
    const unsigned char *data; /* count values, little-endian, any alignment */
};

/** An open file. Immutable: any number of threads may read it. */
struct mr_safetensors;

/**
 * Maps and checks a file. MR_EINPUT when it cannot be read, MR_EDATA when it is not what it should be: the text names
 * the file, the tensor and the reason. Refused: a header over 1 MB or that is not JSON in UTF-8, more than 4096
 * tensors, rank over 8, any type but F32, F64, I32, I64 and U8, sizes that overflow or do not match, tensors that
 * overlap, leave holes or reach past the end, a name twice. On error *file_out is NULL. The file must not change while
 * it is open.
 */
mr_status mr_safetensors_open(const char *path, struct mr_safetensors **file_out, struct mr_err *err);

/** As mr_safetensors_open, from memory, which must outlive the result; `name` stands for the file in errors. */
mr_status mr_safetensors_parse(const char *name, const void *bytes, size_t byte_count, struct mr_safetensors **file_out,
                               struct mr_err *err);

/** As mr_safetensors_parse, from bytes that are taken over: on error they are freed; the blob is empty in either case.
 */
mr_status mr_safetensors_take(const char *name, struct mr_blob *blob, struct mr_safetensors **file_out,
                              struct mr_err *err);

/** Name given to open, parse or take. */
const char *mr_safetensors_name(const struct mr_safetensors *file);

/** Size of the whole file, and its bytes. */
const void *mr_safetensors_bytes(const struct mr_safetensors *file, size_t *byte_count_out);

size_t mr_safetensors_count(const struct mr_safetensors *file);

/** Tensor by index (in the order of the file's bytes), or by name (NULL when there is none). Valid until close. */
const struct mr_tensor *mr_safetensors_at(const struct mr_safetensors *file, size_t index);
const struct mr_tensor *mr_safetensors_find(const struct mr_safetensors *file, const char *name);

/** Value of a metadata key; NULL when there is none. Valid until close. */
const char *mr_safetensors_metadata(const struct mr_safetensors *file, const char *key);

/** Metadata by index, in the order of the file. False: there are no more. Valid until close. */
bool mr_safetensors_metadata_at(const struct mr_safetensors *file, size_t index, const char **key_out,
                                const char **value_out);

/** Value at index, converted to double. */
double mr_tensor_value(const struct mr_tensor *tensor, uint64_t index);

/** Value at index of an I32, I64 or U8 tensor. */
int64_t mr_tensor_integer(const struct mr_tensor *tensor, uint64_t index);

/** Accepts NULL. */
void mr_safetensors_close(struct mr_safetensors *file);

/** A tensor to be written. Exactly one of the pointers to values is set. */
struct mr_tensor_out {
    const char *name;
    size_t rank;
    uint64_t shape[MR_TENSOR_RANK_MAX];
    const float *f32;
    const double *f64;
    const int64_t *i64;
    const int32_t *i32;
    const unsigned char *u8;
};

/** A metadata pair to be written. */
struct mr_metadata_out {
    const char *key;
    const char *value;
};

/**
 * Stores what mr_safetensors_parse reads, in place of what the blob held; the same input gives the same bytes.
 * MR_ENOMEM; MR_EDATA when the header would be over its limit. `name` is for these messages. The values must not lie in
 * the blob.
 */
mr_status mr_safetensors_store(const char *name, const struct mr_tensor_out *tensors, size_t tensor_count,
                               const struct mr_metadata_out *metadata, size_t metadata_count, struct mr_blob *out,
                               struct mr_err *err);

/** The same into a file, as mr_durable_write does it (base/durable.h), with its errors. */
mr_status mr_safetensors_write(const char *path, const struct mr_tensor_out *tensors, size_t tensor_count,
                               const struct mr_metadata_out *metadata, size_t metadata_count, struct mr_err *err);

#endif
