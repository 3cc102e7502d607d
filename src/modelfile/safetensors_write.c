/* Writer of safetensors files. */
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/durable.h"
#include "modelfile/safetensors.h"

static uint64_t value_count(const struct mr_tensor_out *tensor)
{
    uint64_t count = 1;
    for (size_t i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    return count;
}

/* What a tensor's values are, where, and how many bytes one has. */
struct values {
    mr_dtype dtype;
    const void *at;
    size_t bytes;
};

static struct values values_of(const struct mr_tensor_out *tensor)
{
    if (tensor->f64) return (struct values){MR_DTYPE_F64, tensor->f64, sizeof *tensor->f64};
    if (tensor->i64) return (struct values){MR_DTYPE_I64, tensor->i64, sizeof *tensor->i64};
    if (tensor->i32) return (struct values){MR_DTYPE_I32, tensor->i32, sizeof *tensor->i32};
    if (tensor->u8) return (struct values){MR_DTYPE_U8, tensor->u8, sizeof *tensor->u8};
    return (struct values){MR_DTYPE_F32, tensor->f32, sizeof *tensor->f32};
}

static size_t tensor_bytes(const struct mr_tensor_out *tensor)
{
    return value_count(tensor) * values_of(tensor).bytes;
}

/* Adds {"dtype":..., "shape":..., "data_offsets":...} and moves *offset behind the tensor. */
static bool tensor_describe(cJSON *header, const struct mr_tensor_out *tensor, uint64_t *offset)
{
    cJSON *const item = cJSON_AddObjectToObject(header, tensor->name);
    bool is_done = cJSON_AddStringToObject(item, "dtype", mr_dtype_name(values_of(tensor).dtype));
    cJSON *const shape = cJSON_AddArrayToObject(item, "shape"), *const offsets =
                                                                    cJSON_AddArrayToObject(item, "data_offsets");
    for (size_t i = 0; i < tensor->rank; i++) {
        is_done &= cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[i])) != 0;
    }
    is_done &= cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset)) != 0;
    *offset += tensor_bytes(tensor);
    return is_done && cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset)) != 0;
}

/* The header as text; NULL when out of memory. */
static char *header_print(const struct mr_tensor_out *tensors, size_t tensor_count,
                          const struct mr_metadata_out *metadata, size_t metadata_count)
{
    cJSON *const header = cJSON_CreateObject();
    uint64_t offset = 0;
    bool is_done = header != NULL;
    if (metadata_count) {
        cJSON *const item = cJSON_AddObjectToObject(header, "__metadata__");
        for (size_t i = 0; i < metadata_count; i++) {
            is_done &= cJSON_AddStringToObject(item, metadata[i].key, metadata[i].value) != NULL;
        }
    }
    for (size_t i = 0; i < tensor_count; i++) is_done &= tensor_describe(header, &tensors[i], &offset);
    char *const text = is_done ? cJSON_PrintUnformatted(header) : NULL;
    cJSON_Delete(header);
    return text;
}

/* False: no memory. */
static bool contents_put(struct mr_blob *out, const char *header, size_t header_bytes,
                         const struct mr_tensor_out *tensors, size_t tensor_count)
{
    /* Padded with spaces, so that the data starts at a multiple of 8. */
    const uint64_t padded = (header_bytes + 7) / 8 * 8;
    unsigned char size[8];
    size_t bytes = sizeof size + padded;
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(padded >> (8 * i));
    for (size_t i = 0; i < tensor_count; i++) bytes += tensor_bytes(&tensors[i]);
    out->bytes = 0;
    if (!mr_blob_reserve(out, bytes)) return false;
    bool is_done = mr_blob_put(out, size, sizeof size) && mr_blob_put(out, header, header_bytes) &&
                   mr_blob_put(out, "        ", padded - header_bytes);
    for (size_t i = 0; i < tensor_count && is_done; i++) {
        is_done = mr_blob_put(out, values_of(&tensors[i]).at, tensor_bytes(&tensors[i]));
    }
    return is_done;
}

mr_status mr_safetensors_store(const char *name, const struct mr_tensor_out *tensors, size_t tensor_count,
                               const struct mr_metadata_out *metadata, size_t metadata_count, struct mr_blob *out,
                               struct mr_err *err)
{
    mr_status status = MR_OK;
    char *const header = header_print(tensors, tensor_count, metadata, metadata_count);
    const size_t header_bytes = header ? strlen(header) : 0;
    if (header_bytes > MR_TENSOR_HEADER_BYTES_MAX - 8) {
        status = mr_fail(err, MR_EDATA, "model \"%s\": a header of %zu bytes is over the limit of %u", name,
                         header_bytes, MR_TENSOR_HEADER_BYTES_MAX);
    } else if (!header || !contents_put(out, header, header_bytes, tensors, tensor_count)) {
        status = mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", name);
    }
    cJSON_free(header);
    return status;
}

mr_status mr_safetensors_write(const char *path, const struct mr_tensor_out *tensors, size_t tensor_count,
                               const struct mr_metadata_out *metadata, size_t metadata_count, struct mr_err *err)
{
    struct mr_blob blob = {0};
    mr_status status = mr_safetensors_store(path, tensors, tensor_count, metadata, metadata_count, &blob, err);
    const struct iovec part = {blob.data, blob.bytes};
    if (!status) status = mr_durable_write(path, &part, 1, err);
    mr_blob_deinit(&blob);
    return status;
}
