#include "modelfile/model_file.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_map.h"
#include "modelfile/onnx/import.h"

#define NAME_COUNT_MAX (1 << 20)
#define MORE_MAX       8 /* metadata beside what all models have */

/* Whether the first bytes, or the name where they are nothing else, say that a file is ONNX. */
static bool is_onnx(const char *path, const unsigned char *bytes, size_t byte_count)
{
    const char *const ending = strrchr(path, '.');
    if (mr_onnx_is(bytes, byte_count)) return true;
    return ending && !strcmp(ending, ".onnx") && !(byte_count > 8 && bytes[8] == '{');
}

static mr_status import(const char *path, const void *bytes, size_t byte_count, struct mr_safetensors **file_out,
                        struct mr_err *err)
{
    const char *const slash = strrchr(path, '/');
    char *const folder = strndup(slash ? path : "./", slash ? (size_t)(slash - path) + 1 : 2);
    const struct mr_onnx_place place = {path, folder};
    struct mr_blob blob = {0};
    mr_status status = MR_ENOMEM;
    if (folder)
        status = mr_onnx_import(&place, bytes, byte_count, &blob, err);
    else
        mr_fail(err, status, "model \"%s\": out of memory", path);
    if (!status) status = mr_safetensors_take(path, &blob, file_out, err);
    mr_blob_deinit(&blob);
    free(folder);
    return status;
}

mr_status mr_model_file_load(const char *path, const void *bytes, size_t byte_count, struct mr_safetensors **file_out,
                             struct mr_err *err)
{
    struct mr_file_map map = {0};
    *file_out = NULL;
    if (bytes)
        return is_onnx(path, bytes, byte_count) ? import(path, bytes, byte_count, file_out, err)
                                                : mr_safetensors_parse(path, bytes, byte_count, file_out, err);
    mr_status status = mr_file_map(path, &map, err);
    if (status) return status;
    const bool is_imported = is_onnx(path, map.bytes, map.byte_count);
    if (is_imported) status = import(path, map.bytes, map.byte_count, file_out, err);
    mr_file_unmap(&map);
    return is_imported ? status : mr_safetensors_open(path, file_out, err);
}

mr_status mr_model_file_open(const struct mr_model_open *open, const char *type, struct mr_safetensors **file_out,
                             struct mr_err *err)
{
    const char *const path = open->file;
    const mr_status status = mr_model_file_load(path, open->bytes, open->byte_count, file_out, err);
    if (status) return status;
    const char *const found = mr_safetensors_metadata(*file_out, "millrace.type");
    if (found && !strcmp(found, type)) return MR_OK;
    if (found) {
        mr_fail(err, MR_EDATA, "model \"%s\": its millrace.type is \"%.40s\", the job says \"%s\"", path, found, type);
    } else {
        mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata (a %s model needs \"%s\")", path, type,
                type);
    }
    mr_safetensors_close(*file_out);
    *file_out = NULL;
    return MR_EDATA;
}

/* Reads a metadata value that is a JSON array of strings. An absent key leaves names empty. */
static mr_status names_read(const struct mr_safetensors *file, const char *key, struct mr_names *names,
                            struct mr_err *err)
{
    const char *const text = mr_safetensors_metadata(file, key);
    if (!text) return MR_OK;
    mr_status status = MR_OK;
    cJSON *const array = cJSON_Parse(text);
    const int count = cJSON_IsArray(array) ? cJSON_GetArraySize(array) : -1;
    if (count < 0 || count > NAME_COUNT_MAX) {
        status = mr_fail(err, MR_EDATA, "model \"%s\": metadata %s is not a JSON array of strings",
                         mr_safetensors_name(file), key);
        goto done;
    }
    names->item = calloc((size_t)count + 1, sizeof *names->item);
    if (!names->item) goto no_memory;
    for (const cJSON *item = array->child; item; item = item->next) {
        if (!cJSON_IsString(item)) {
            status = mr_fail(err, MR_EDATA, "model \"%s\": metadata %s[%zu] is not a string", mr_safetensors_name(file),
                             key, names->count);
            goto done;
        }
        names->item[names->count] = strdup(item->valuestring);
        if (!names->item[names->count]) goto no_memory;
        names->count++;
    }
    goto done;
no_memory:
    status = mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(file));
done:
    cJSON_Delete(array);
    return status;
}

static void names_deinit(struct mr_names *names)
{
    for (size_t i = 0; i < names->count; i++) free(names->item[i]);
    free(names->item);
    *names = (struct mr_names){0};
}

mr_status mr_model_meta_read(const struct mr_safetensors *file, struct mr_model_meta *meta, struct mr_err *err)
{
    const char *const version = mr_safetensors_metadata(file, "millrace.version");
    meta->version = strdup(version ? version : "");
    if (!meta->version) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(file));
    mr_status status = names_read(file, "millrace.features", &meta->features, err);
    if (!status) status = names_read(file, "millrace.labels", &meta->labels, err);
    if (!status) status = names_read(file, "millrace.activations", &meta->activations, err);
    return status;
}

void mr_model_meta_deinit(struct mr_model_meta *meta)
{
    free(meta->version);
    meta->version = NULL;
    names_deinit(&meta->features);
    names_deinit(&meta->labels);
    names_deinit(&meta->activations);
}

/* The first value that is not finite, or the count. */
static uint64_t infinite_find(const struct mr_tensor *tensor)
{
    uint64_t i = 0;
    if (tensor->dtype == MR_DTYPE_F32) { /* most of a model's bytes: a block at a time, by the bits of the exponent */
        for (; i + 64 <= tensor->count; i += 64) {
            uint32_t bits[64], is_any = 0;
            memcpy(bits, tensor->data + i * sizeof *bits, sizeof bits);
            for (int k = 0; k < 64; k++) is_any |= (bits[k] & 0x7f800000) == 0x7f800000;
            if (is_any) break;
        }
    }
    while (i < tensor->count && isfinite(mr_tensor_value(tensor, i))) i++;
    return i;
}

mr_status mr_model_tensor(const struct mr_safetensors *file, const char *name, size_t rank, uint64_t length,
                          const struct mr_tensor **tensor_out, struct mr_err *err)
{
    const char *const path = mr_safetensors_name(file);
    const struct mr_tensor *const tensor = mr_safetensors_find(file, name);
    *tensor_out = tensor;
    if (!tensor) return mr_fail(err, MR_EDATA, "model \"%s\": no tensor \"%s\"", path, name);
    if (tensor->rank != rank) {
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" has %zu dimensions, it needs %zu", path, name,
                       tensor->rank, rank);
    }
    if (rank == 1 && tensor->shape[0] != length) {
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" has %llu values, it needs %llu", path, name,
                       (unsigned long long)tensor->shape[0], (unsigned long long)length);
    }
    const uint64_t infinite = infinite_find(tensor);
    if (infinite == tensor->count) return MR_OK;
    return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\": value %llu is not finite", path, name,
                   (unsigned long long)infinite);
}

/* The optional input.mean and input.scale; *mean_out NULL when there are none. */
static mr_status input_find(const struct mr_safetensors *file, uint64_t in, const struct mr_tensor **mean_out,
                            const struct mr_tensor **scale_out, struct mr_err *err)
{
    *mean_out = *scale_out = NULL;
    if (!mr_safetensors_find(file, "input.mean") && !mr_safetensors_find(file, "input.scale")) return MR_OK;
    if (mr_model_tensor(file, "input.mean", 1, in, mean_out, err) ||
        mr_model_tensor(file, "input.scale", 1, in, scale_out, err)) {
        return MR_EDATA;
    }
    for (uint64_t i = 0; i < in; i++) {
        if (mr_tensor_value(*scale_out, i) == 0) {
            return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"input.scale\": value %llu is 0",
                           mr_safetensors_name(file), (unsigned long long)i);
        }
    }
    return MR_OK;
}

/* Rounds to float32; false when that is not finite. */
static bool round_to(double value, float *to)
{
    *to = (float)value;
    return isfinite(*to);
}

/* What a layer is read from; mean and scale are NULL when nothing is folded. */
struct dense_tensors {
    const struct mr_tensor *w, *b, *mean, *scale;
};

/* One output: its weights and bias, with scale and mean (less shift, which is taken off the inputs) folded in. */
static bool row_read(const struct dense_tensors *from, size_t o, size_t in, const float *shift, float *w_out,
                     float *b_out)
{
    double sum = mr_tensor_value(from->b, o);
    bool is_finite = true;
    if (!from->mean && from->w->dtype == MR_DTYPE_F32) { /* as they are; finite, as has been checked */
        memcpy(w_out, from->w->data + o * in * sizeof *w_out, in * sizeof *w_out);
        return round_to(sum, b_out);
    }
    for (size_t c = 0; c < in; c++) {
        double value = mr_tensor_value(from->w, o * in + c);
        if (from->mean) {
            value /= mr_tensor_value(from->scale, c);
            sum -= value * (mr_tensor_value(from->mean, c) - (shift ? (double)shift[c] : 0));
        }
        is_finite &= round_to(value, &w_out[c]);
    }
    return is_finite & round_to(sum, b_out);
}

mr_status mr_dense_read(const struct mr_safetensors *file, const char *weight, const char *bias, bool fold_input,
                        struct mr_mlp_layer *layer, float **shift_out, struct mr_err *err)
{
    struct dense_tensors from = {0};
    const char *const path = mr_safetensors_name(file);
    float *shift = NULL;
    mr_status status = MR_OK;
    layer->w = layer->b = NULL;
    if (shift_out) *shift_out = NULL;
    if (mr_model_tensor(file, weight, 2, 0, &from.w, err)) return MR_EDATA;
    if (!from.w->count) return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" is empty", path, weight);
    const size_t out = (size_t)from.w->shape[0], in = (size_t)from.w->shape[1];
    if (mr_model_tensor(file, bias, 1, out, &from.b, err)) return MR_EDATA;
    if (fold_input && input_find(file, in, &from.mean, &from.scale, err)) return MR_EDATA;
    float *const w_out = malloc(out * in * sizeof *w_out), *const b_out = malloc(out * sizeof *b_out);
    const bool has_shift = shift_out && from.mean;
    if (has_shift) shift = malloc(in * sizeof *shift);
    layer->in = in;
    layer->out = out;
    layer->w = w_out;
    layer->b = b_out;
    if (!w_out || !b_out || (has_shift && !shift)) {
        status = mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path);
        goto fail;
    }
    for (size_t c = 0; shift && c < in; c++) {
        if (round_to(mr_tensor_value(from.mean, c), &shift[c])) continue;
        status =
            mr_fail(err, MR_EDATA, "model \"%s\": tensor \"input.mean\": value %zu is too large for float32", path, c);
        goto fail;
    }
    for (size_t o = 0; o < out; o++) {
        if (row_read(&from, o, in, shift, &w_out[o * in], &b_out[o])) continue;
        status = mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" or \"%s\", row %zu: too large for float32%s", path,
                         weight, bias, o, from.mean ? " once input.mean and input.scale are folded in" : "");
        goto fail;
    }
    if (shift_out) *shift_out = shift;
    return MR_OK;

fail:
    free(shift);
    mr_dense_deinit(layer);
    return status;
}

void mr_dense_deinit(struct mr_mlp_layer *layer)
{
    free((void *)(uintptr_t)layer->w);
    free((void *)(uintptr_t)layer->b);
    layer->w = layer->b = NULL;
}

mr_status mr_model_info_fill(const struct mr_safetensors *file, const char *type, const struct mr_model_meta *meta,
                             size_t in, size_t out, mr_activation last, struct mr_model_info *info, struct mr_err *err)
{
    const char *const path = mr_safetensors_name(file);
    *info = (struct mr_model_info){.type = type, .version = meta->version, .feature_count = in, .width = out};
    if (meta->features.item && meta->features.count != in) {
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": millrace.features names %zu features, the first layer has %zu inputs", path,
                       meta->features.count, in);
    }
    info->feature = (const char *const *)meta->features.item;
    info->is_classifier = last == MR_ACT_SOFTMAX || (last == MR_ACT_SIGMOID && out == 1) || meta->labels.item;
    if (!info->is_classifier) return MR_OK;
    info->class_count = out == 1 && last != MR_ACT_SOFTMAX ? 2 : out;
    info->is_logit = last != MR_ACT_SOFTMAX && last != MR_ACT_SIGMOID;
    if (meta->labels.item && meta->labels.count != info->class_count) {
        return mr_fail(err, MR_EDATA, "model \"%s\": millrace.labels names %zu classes, the model has %zu", path,
                       meta->labels.count, info->class_count);
    }
    info->label = (const char *const *)meta->labels.item;
    return MR_OK;
}

void mr_model_info_add(struct mr_model_info *info, const struct mr_mlp_layer *layer)
{
    info->parameter_count += layer->out * (layer->in + 1);
    info->flops_per_row += 2.0 * (double)layer->out * (double)layer->in;
}

mr_status mr_model_meta_name(const struct mr_model_open *open, struct mr_model_meta *meta, struct mr_err *err)
{
    if (!open->feature || !open->feature_count) return MR_OK;
    meta->features.item = calloc(open->feature_count, sizeof *meta->features.item);
    while (meta->features.item && meta->features.count < open->feature_count) {
        char *const name = strdup(open->feature[meta->features.count]);
        if (!name) break;
        meta->features.item[meta->features.count++] = name;
    }
    if (meta->features.count == open->feature_count) return MR_OK;
    return mr_fail(err, MR_ENOMEM, "no memory for the names of %zu features", open->feature_count);
}

/* A JSON array of names; NULL without any, or without memory. The caller frees it. */
static char *names_text(const char *const *names, size_t count)
{
    cJSON *const array = names ? cJSON_CreateStringArray(names, (int)count) : NULL;
    char *const text = array ? cJSON_PrintUnformatted(array) : NULL;
    cJSON_Delete(array);
    return text;
}

mr_status mr_model_store_with(const struct mr_model_info *info, const struct mr_names *activations,
                              const struct mr_tensor_out *tensors, size_t tensor_count,
                              const struct mr_metadata_out *more, size_t more_count, struct mr_blob *out,
                              struct mr_err *err)
{
    char *const features = names_text(info->feature, info->feature_count);
    char *const labels = names_text(info->label, info->class_count);
    char *const layers = activations ? names_text((const char *const *)activations->item, activations->count) : NULL;
    struct mr_metadata_out metadata[5 + MORE_MAX] = {{"millrace.type", info->type},
                                                     {"millrace.version", info->version}};
    size_t count = 2;
    mr_status status = MR_OK;
    assert(more_count <= MORE_MAX);
    if ((info->feature && !features) || (info->label && !labels) || (activations && !layers))
        status = mr_fail(err, MR_ENOMEM, "model %s: out of memory", info->type);
    if (features) metadata[count++] = (struct mr_metadata_out){"millrace.features", features};
    if (labels) metadata[count++] = (struct mr_metadata_out){"millrace.labels", labels};
    if (layers) metadata[count++] = (struct mr_metadata_out){"millrace.activations", layers};
    for (size_t i = 0; i < more_count; i++) metadata[count++] = more[i];
    if (!status) status = mr_safetensors_store(info->type, tensors, tensor_count, metadata, count, out, err);
    cJSON_free(features);
    cJSON_free(labels);
    cJSON_free(layers);
    return status;
}

mr_status mr_model_store(const struct mr_model_info *info, const struct mr_names *activations,
                         const struct mr_tensor_out *tensors, size_t tensor_count, struct mr_blob *out,
                         struct mr_err *err)
{
    return mr_model_store_with(info, activations, tensors, tensor_count, NULL, 0, out, err);
}
