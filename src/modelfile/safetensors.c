#include "modelfile/safetensors.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_map.h"
#include "base/utf8.h"

struct mr_safetensors {
    char *name;
    const unsigned char *bytes;
    size_t byte_count;
    struct mr_file_map map; /* the bytes, unless they are the caller's, */
    struct mr_blob blob;    /*   or were taken over from there */
    cJSON *header;
    const cJSON *metadata;      /* NULL when there is none */
    struct mr_tensor *tensor;   /* [tensor_count], by position in the file; `data` starts as an offset */
    struct mr_tensor **by_name; /* [tensor_count], sorted */
    size_t tensor_count;
};

static const struct {
    const char *name;
    mr_dtype dtype;
    unsigned bytes;
} dtypes[] = {{"F32", MR_DTYPE_F32, 4},
              {"F64", MR_DTYPE_F64, 8},
              {"I32", MR_DTYPE_I32, 4},
              {"I64", MR_DTYPE_I64, 8},
              {"U8", MR_DTYPE_U8, 1}};

/* A whole number of at most 2^53 that JSON held; false for anything else. */
static bool whole_read(const cJSON *item, uint64_t *value_out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > 9007199254740992.0) return false;
    *value_out = (uint64_t)item->valuedouble;
    return (double)*value_out == item->valuedouble;
}

static bool is_name_ok(const char *name)
{
    const size_t bytes = strlen(name);
    if (!bytes || bytes > MR_TENSOR_NAME_BYTES_MAX) return false;
    for (size_t i = 0; i < bytes; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) return false;
    }
    return true;
}

/* Reads "shape" and sets count; checks for overflow. */
static mr_status shape_read(const struct mr_safetensors *file, struct mr_tensor *tensor, const cJSON *item,
                            struct mr_err *err)
{
    const cJSON *const shape = cJSON_GetObjectItemCaseSensitive(item, "shape");
    tensor->count = 1;
    if (!cJSON_IsArray(shape) || cJSON_GetArraySize(shape) > MR_TENSOR_RANK_MAX) {
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": shape is not an array of at most %d numbers",
                       file->name, tensor->name, MR_TENSOR_RANK_MAX);
    }
    for (const cJSON *size = shape->child; size; size = size->next) {
        uint64_t *const at = &tensor->shape[tensor->rank++];
        if (!whole_read(size, at) || __builtin_mul_overflow(tensor->count, *at, &tensor->count)) {
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": shape[%zu] is not a whole number, or too large",
                           file->name, tensor->name, tensor->rank - 1);
        }
    }
    return MR_OK;
}

/* Reads one tensor's entry of the header; data_bytes: size of what stands behind the header. */
static mr_status tensor_read(struct mr_safetensors *file, const cJSON *item, const unsigned char *data,
                             uint64_t data_bytes, struct mr_err *err)
{
    struct mr_tensor *const tensor = &file->tensor[file->tensor_count];
    const cJSON *const dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    const cJSON *const offsets = cJSON_GetObjectItemCaseSensitive(item, "data_offsets");
    uint64_t begin, end, bytes;
    unsigned value_bytes = 0;
    if (file->tensor_count == MR_TENSOR_COUNT_MAX) {
        return mr_fail(err, MR_EDATA, "model \"%s\": more than %d tensors", file->name, MR_TENSOR_COUNT_MAX);
    }
    if (!is_name_ok(item->string)) {
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": the name of tensor %zu is empty, over %d bytes or holds control characters",
                       file->name, file->tensor_count, MR_TENSOR_NAME_BYTES_MAX);
    }
    tensor->name = item->string;
    if (!cJSON_IsObject(item) || !cJSON_IsString(dtype)) {
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": no \"dtype\"", file->name, tensor->name);
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, dtype->valuestring)) continue;
        tensor->dtype = dtypes[i].dtype;
        value_bytes = dtypes[i].bytes;
    }
    if (!value_bytes) {
        return mr_fail(
            err, MR_EDATA,
            "model \"%s\": tensor \"%s\": dtype \"%.20s\" is not read: store it as F32 or F64 (ids: I32, I64 or U8)",
            file->name, tensor->name, dtype->valuestring);
    }
    if (shape_read(file, tensor, item, err)) return MR_EDATA;
    if (cJSON_GetArraySize(offsets) != 2 || !cJSON_IsArray(offsets) || !whole_read(offsets->child, &begin) ||
        !whole_read(offsets->child->next, &end) || begin > end || end > data_bytes) {
        return mr_fail(
            err, MR_EDATA,
            "model \"%s\": tensor \"%s\": data_offsets are not [begin, end] within the file's %llu bytes of data",
            file->name, tensor->name, (unsigned long long)data_bytes);
    }
    if (__builtin_mul_overflow(tensor->count, value_bytes, &bytes) || bytes != end - begin) {
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": %llu bytes of data do not match its shape",
                       file->name, tensor->name, (unsigned long long)(end - begin));
    }
    tensor->data = data + begin;
    file->tensor_count++;
    return MR_OK;
}

const char *mr_dtype_name(mr_dtype dtype)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    }
    return "unknown";
}

static size_t tensor_bytes(const struct mr_tensor *tensor)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (dtypes[i].dtype == tensor->dtype) return (size_t)tensor->count * dtypes[i].bytes;
    }
    return 0;
}

static int data_compare(const void *a, const void *b)
{
    const struct mr_tensor *const one = a, *const two = b;
    if (one->data != two->data) return one->data < two->data ? -1 : 1;
    return (one->count > 0) - (two->count > 0); /* empty ones before the one that starts at the same place */
}

static int name_compare(const void *a, const void *b)
{
    return strcmp((*(struct mr_tensor *const *)a)->name, (*(struct mr_tensor *const *)b)->name);
}

/* Tensors must cover the data once: no overlap, no hole, nothing left over. Names must differ. */
static mr_status tensors_check(struct mr_safetensors *file, const unsigned char *data, struct mr_err *err)
{
    const unsigned char *next = data, *const end = file->bytes + file->byte_count;
    if (file->tensor_count) qsort(file->tensor, file->tensor_count, sizeof *file->tensor, data_compare);
    for (size_t i = 0; i < file->tensor_count; i++) {
        const struct mr_tensor *const tensor = &file->tensor[i];
        if (tensor->data != next) {
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" %s", file->name, tensor->name,
                           tensor->data < next ? "overlaps another one" : "comes after a hole in the data");
        }
        next += tensor_bytes(tensor);
        file->by_name[i] = &file->tensor[i];
    }
    if (next != end) {
        return mr_fail(err, MR_EDATA, "model \"%s\": %zu bytes behind the last tensor", file->name,
                       (size_t)(end - next));
    }
    if (file->tensor_count) qsort(file->by_name, file->tensor_count, sizeof *file->by_name, name_compare);
    for (size_t i = 1; i < file->tensor_count; i++) {
        if (!strcmp(file->by_name[i - 1]->name, file->by_name[i]->name)) {
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" stands twice in the header", file->name,
                           file->by_name[i]->name);
        }
    }
    return MR_OK;
}

/* "__metadata__": an object of strings, each key once. */
static mr_status metadata_check(struct mr_safetensors *file, const cJSON *item, struct mr_err *err)
{
    if (file->metadata || !cJSON_IsObject(item) || cJSON_GetArraySize(item) > MR_TENSOR_COUNT_MAX) {
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": __metadata__ stands twice, is not an object or has over %d entries", file->name,
                       MR_TENSOR_COUNT_MAX);
    }
    file->metadata = item;
    for (const cJSON *one = item->child; one; one = one->next) {
        if (!cJSON_IsString(one) || cJSON_GetObjectItemCaseSensitive(item, one->string) != one) {
            return mr_fail(err, MR_EDATA, "model \"%s\": __metadata__ \"%.80s\" is not a string, or stands twice",
                           file->name, one->string);
        }
    }
    return MR_OK;
}

/* Size of the header, checked against the limit and the file. */
static mr_status header_find(const struct mr_safetensors *file, uint64_t *header_bytes_out, struct mr_err *err)
{
    uint64_t bytes = 0;
    if (file->byte_count < 8) {
        return mr_fail(err, MR_EDATA, "model \"%s\": %zu bytes are too few for a safetensors file", file->name,
                       file->byte_count);
    }
    for (int i = 7; i >= 0; i--) bytes = bytes << 8 | file->bytes[i];
    if (bytes > MR_TENSOR_HEADER_BYTES_MAX)
        return mr_fail(err, MR_EDATA, "model \"%s\": not a safetensors file, and not an ONNX file", file->name);
    if (bytes > file->byte_count - 8)
        return mr_fail(
            err, MR_EDATA,
            "model \"%s\": not a safetensors file, or cut off: its header would be %llu bytes, the file has %zu",
            file->name, (unsigned long long)bytes, file->byte_count);
    *header_bytes_out = bytes;
    return MR_OK;
}

static mr_status file_parse(struct mr_safetensors *file, struct mr_err *err)
{
    uint64_t header_bytes = 0;
    const char *stop = NULL;
    if (header_find(file, &header_bytes, err)) return MR_EDATA;
    const char *const text = (const char *)file->bytes + 8;
    const unsigned char *const data = file->bytes + 8 + header_bytes;
    if (!mr_utf8_is_valid(text, header_bytes)) {
        return mr_fail(err, MR_EDATA, "model \"%s\": the header is not UTF-8", file->name);
    }
    file->header = cJSON_ParseWithLengthOpts(text, header_bytes, &stop, false);
    if (!cJSON_IsObject(file->header)) {
        return mr_fail(err, MR_EDATA, "model \"%s\": the header is not a JSON object", file->name);
    }
    for (; stop < text + header_bytes; stop++) {
        if (*stop != ' ') return mr_fail(err, MR_EDATA, "model \"%s\": the header goes on behind its JSON", file->name);
    }
    const size_t count = (size_t)cJSON_GetArraySize(file->header);
    file->tensor = calloc(count + 1, sizeof *file->tensor);
    file->by_name = calloc(count + 1, sizeof(struct mr_tensor *));
    if (!file->tensor || !file->by_name) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", file->name);
    for (const cJSON *item = file->header->child; item; item = item->next) {
        const mr_status status = !strcmp(item->string, "__metadata__")
                                     ? metadata_check(file, item, err)
                                     : tensor_read(file, item, data, file->byte_count - 8 - header_bytes, err);
        if (status) return status;
    }
    return tensors_check(file, data, err);
}

mr_status mr_safetensors_parse(const char *name, const void *bytes, size_t byte_count, struct mr_safetensors **file_out,
                               struct mr_err *err)
{
    struct mr_safetensors *const file = calloc(1, sizeof *file);
    mr_status status = MR_ENOMEM;
    *file_out = NULL;
    if (file) file->name = strdup(name);
    if (!file || !file->name) {
        mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", name);
    } else {
        file->bytes = bytes;
        file->byte_count = byte_count;
        status = file_parse(file, err);
    }
    if (status) {
        mr_safetensors_close(file);
        return status;
    }
    *file_out = file;
    return MR_OK;
}

mr_status mr_safetensors_open(const char *path, struct mr_safetensors **file_out, struct mr_err *err)
{
    struct mr_file_map map;
    *file_out = NULL;
    mr_status status = mr_file_map(path, &map, err);
    if (status) return status;
    status = mr_safetensors_parse(path, map.bytes, map.byte_count, file_out, err);
    if (status)
        mr_file_unmap(&map);
    else
        (*file_out)->map = map;
    return status;
}

mr_status mr_safetensors_take(const char *name, struct mr_blob *blob, struct mr_safetensors **file_out,
                              struct mr_err *err)
{
    const mr_status status = mr_safetensors_parse(name, blob->data, blob->bytes, file_out, err);
    if (status)
        mr_blob_deinit(blob);
    else
        (*file_out)->blob = *blob;
    *blob = (struct mr_blob){0};
    return status;
}

const char *mr_safetensors_name(const struct mr_safetensors *file)
{
    return file->name;
}

const void *mr_safetensors_bytes(const struct mr_safetensors *file, size_t *byte_count_out)
{
    *byte_count_out = file->byte_count;
    return file->bytes;
}

size_t mr_safetensors_count(const struct mr_safetensors *file)
{
    return file->tensor_count;
}

const struct mr_tensor *mr_safetensors_at(const struct mr_safetensors *file, size_t index)
{
    return &file->tensor[index];
}

const struct mr_tensor *mr_safetensors_find(const struct mr_safetensors *file, const char *name)
{
    const struct mr_tensor key = {.name = name}, *const key_at = &key;
    struct mr_tensor **const found =
        file->tensor_count ? bsearch(&key_at, file->by_name, file->tensor_count, sizeof *file->by_name, name_compare)
                           : NULL;
    return found ? *found : NULL;
}

const char *mr_safetensors_metadata(const struct mr_safetensors *file, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(file->metadata, key));
}

bool mr_safetensors_metadata_at(const struct mr_safetensors *file, size_t index, const char **key_out,
                                const char **value_out)
{
    const cJSON *const item = file->metadata ? cJSON_GetArrayItem(file->metadata, (int)index) : NULL;
    if (!item) return false;
    *key_out = item->string;
    *value_out = cJSON_GetStringValue(item);
    return true;
}

double mr_tensor_value(const struct mr_tensor *tensor, uint64_t index)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors are little-endian");
    if (tensor->dtype == MR_DTYPE_F64) {
        double value;
        memcpy(&value, tensor->data + index * sizeof value, sizeof value);
        return value;
    }
    if (tensor->dtype != MR_DTYPE_F32) return (double)mr_tensor_integer(tensor, index);
    float value;
    memcpy(&value, tensor->data + index * sizeof value, sizeof value);
    return (double)value;
}

int64_t mr_tensor_integer(const struct mr_tensor *tensor, uint64_t index)
{
    if (tensor->dtype == MR_DTYPE_U8) return tensor->data[index];
    if (tensor->dtype == MR_DTYPE_I32) {
        int32_t value;
        memcpy(&value, tensor->data + index * sizeof value, sizeof value);
        return value;
    }
    int64_t value;
    memcpy(&value, tensor->data + index * sizeof value, sizeof value);
    return value;
}

void mr_safetensors_close(struct mr_safetensors *file)
{
    if (!file) return;
    mr_file_unmap(&file->map);
    mr_blob_deinit(&file->blob);
    cJSON_Delete(file->header);
    free(file->by_name);
    free(file->tensor);
    free(file->name);
    free(file);
}
