/* Writer of safetensors files. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modelfile/safetensors.h"

static uint64_t value_count(const struct mr_tensor_out *tensor)
{
    uint64_t count = 1;
    for (size_t i = 0; i < tensor->rank; i++) count *= tensor->shape[i];
    return count;
}

static size_t value_bytes(const struct mr_tensor_out *tensor)
{
    return tensor->f64 ? sizeof(double) : sizeof(float);
}

/* Adds {"dtype":..., "shape":..., "data_offsets":...} and moves *offset behind the tensor. */
static bool tensor_describe(cJSON *header, const struct mr_tensor_out *tensor, uint64_t *offset)
{
    cJSON *const item = cJSON_AddObjectToObject(header, tensor->name);
    bool is_done = cJSON_AddStringToObject(item, "dtype", tensor->f64 ? "F64" : "F32");
    cJSON *const shape = cJSON_AddArrayToObject(item, "shape"), *const offsets =
                                                                    cJSON_AddArrayToObject(item, "data_offsets");
    for (size_t i = 0; i < tensor->rank; i++) {
        is_done &= cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[i])) != 0;
    }
    is_done &= cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)*offset)) != 0;
    *offset += value_count(tensor) * value_bytes(tensor);
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

static bool contents_write(FILE *file, const char *header, size_t header_bytes, const struct mr_tensor_out *tensors,
                           size_t tensor_count)
{
    /* Padded with spaces, so that the data starts at a multiple of 8. */
    const uint64_t padded = (header_bytes + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)(padded >> (8 * i));
    bool is_done = fwrite(size, 1, sizeof size, file) == sizeof size &&
                   fwrite(header, 1, header_bytes, file) == header_bytes &&
                   fwrite("        ", 1, padded - header_bytes, file) == padded - header_bytes;
    for (size_t i = 0; i < tensor_count; i++) {
        const size_t count = (size_t)value_count(&tensors[i]);
        const void *const values = tensors[i].f64 ? (const void *)tensors[i].f64 : tensors[i].f32;
        is_done &= fwrite(values, value_bytes(&tensors[i]), count, file) == count;
    }
    return is_done && !fflush(file) && !fsync(fileno(file));
}

mr_status mr_safetensors_write(const char *path, const struct mr_tensor_out *tensors, size_t tensor_count,
                               const struct mr_metadata_out *metadata, size_t metadata_count, struct mr_err *err)
{
    mr_status status = MR_OK;
    char *temporary = NULL, *const header = header_print(tensors, tensor_count, metadata, metadata_count);
    if (!header || asprintf(&temporary, "%s.tmp", path) < 0) {
        free(header);
        return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path);
    }
    const size_t header_bytes = strlen(header);
    if (header_bytes > MR_TENSOR_HEADER_BYTES_MAX - 8) {
        status = mr_fail(err, MR_EDATA, "model \"%s\": a header of %zu bytes is over the limit of %u", path,
                         header_bytes, MR_TENSOR_HEADER_BYTES_MAX);
        goto done;
    }
    FILE *const file = fopen(temporary, "wbe");
    bool is_done = file && contents_write(file, header, header_bytes, tensors, tensor_count);
    if (file) is_done &= !fclose(file);
    if (!is_done || rename(temporary, path)) {
        status = mr_fail(err, MR_EIO, "model \"%s\": cannot be written: %s", path, strerror(errno));
        if (file) unlink(temporary);
    }
done:
    free(temporary);
    free(header);
    return status;
}
