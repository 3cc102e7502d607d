#include "modelfile/json_export.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/number.h"

static bool put(struct mr_blob *out, const char *text)
{
    return mr_blob_put(out, text, strlen(text));
}

static bool quote_put(struct mr_blob *out, const char *text)
{
    const size_t bytes = strlen(text);
    if (!mr_blob_reserve(out, bytes * MR_JSON_ESCAPE_MAX + MR_JSON_QUOTES)) return false;
    out->bytes += mr_json_quote(text, bytes, out->data + out->bytes);
    return true;
}

/* "key": */
static bool key_put(struct mr_blob *out, const char *key, bool is_first)
{
    return put(out, is_first ? "\n    " : ",\n    ") && quote_put(out, key) && put(out, ": ");
}

static bool value_put(struct mr_blob *out, const struct mr_tensor *tensor, uint64_t index)
{
    if (!mr_blob_reserve(out, MR_NUMBER_BYTES + 1)) return false;
    char *const to = out->data + out->bytes;
    if (tensor->dtype == MR_DTYPE_F32)
        out->bytes += mr_print_f32((float)mr_tensor_value(tensor, index), to);
    else if (tensor->dtype == MR_DTYPE_F64)
        out->bytes += (size_t)snprintf(to, MR_NUMBER_BYTES, "%.17g", mr_tensor_value(tensor, index));
    else
        out->bytes += mr_print_i64(mr_tensor_integer(tensor, index), to);
    return true;
}

static bool tensor_put(struct mr_blob *out, const struct mr_tensor *tensor)
{
    char text[64];
    bool is_put =
        put(out, "{\"dtype\": ") && quote_put(out, mr_dtype_name(tensor->dtype)) && put(out, ", \"shape\": [");
    for (size_t i = 0; i < tensor->rank && is_put; i++) {
        snprintf(text, sizeof text, "%s%" PRIu64, i ? ", " : "", tensor->shape[i]);
        is_put = put(out, text);
    }
    is_put = is_put && put(out, "], \"data\": [");
    for (uint64_t i = 0; i < tensor->count && is_put; i++) is_put = (!i || put(out, ",")) && value_put(out, tensor, i);
    return is_put && put(out, "]}");
}

/* The first value that JSON has no text for; count: there is none. */
static uint64_t infinite_find(const struct mr_tensor *tensor)
{
    uint64_t i = 0;
    while (i < tensor->count && isfinite(mr_tensor_value(tensor, i))) i++;
    return i;
}

mr_status mr_json_export(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err)
{
    const char *key, *value;
    out->bytes = 0;
    bool is_put = put(out, "{\n  \"metadata\": {");
    for (size_t i = 0; is_put && mr_safetensors_metadata_at(file, i, &key, &value); i++)
        is_put = key_put(out, key, i == 0) && quote_put(out, value);
    is_put = is_put && put(out, "\n  },\n  \"tensors\": {");
    for (size_t i = 0; i < mr_safetensors_count(file) && is_put; i++) {
        const struct mr_tensor *const tensor = mr_safetensors_at(file, i);
        const uint64_t bad = infinite_find(tensor);
        if (bad < tensor->count)
            return mr_fail(err, MR_EDATA,
                           "model \"%s\": tensor \"%s\": value %" PRIu64 " is not finite: --to npz has it",
                           mr_safetensors_name(file), tensor->name, bad);
        is_put = key_put(out, tensor->name, i == 0) && tensor_put(out, tensor);
    }
    is_put = is_put && put(out, "\n  }\n}\n");
    return is_put ? MR_OK : mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(file));
}
