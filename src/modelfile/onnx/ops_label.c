/* LabelEncoder: from keys to values, of any types. */
#include <math.h>
#include <string.h>

#include "modelfile/onnx/ops.h"

/* keys or values: "keys_strings", "keys_int64s", "keys_floats" or "keys_tensor". */
static mr_status side_of(struct mr_onnx_call *call, const char *const *names, const struct mr_onnx_tensor **side_out)
{
    mr_status status = MR_OK;
    *side_out = NULL;
    for (size_t i = 0; i < 4 && !status && !*side_out; i++) {
        struct mr_onnx_tensor *list;
        status = mr_onnx_attribute_list(call->model, call->node, names[i], call->arena, &list, call->err);
        if (!status && list && list->count) *side_out = list;
    }
    return status;
}

static bool is_key(const struct mr_onnx_tensor *in, size_t i, const struct mr_onnx_tensor *keys, size_t k)
{
    if (in->type == MR_ONNX_STRING) return mr_onnx_span_same(in->text[i], keys->text[k]);
    if (!mr_onnx_is_float(in->type)) return mr_onnx_get_int(in, i) == mr_onnx_get_int(keys, k);
    const double value = mr_onnx_get(in, i), key = mr_onnx_get(keys, k);
    return value == key || (isnan(value) && isnan(key));
}

static void fallback_put(const struct mr_onnx_call *call, const struct mr_onnx_tensor *other,
                         struct mr_onnx_tensor *out, size_t i)
{
    if (other && other->count == 1 && other->type == out->type)
        memcpy((char *)out->data + i * mr_onnx_type_bytes(out->type), other->data, mr_onnx_type_bytes(out->type));
    else if (out->type == MR_ONNX_STRING)
        out->text[i] = mr_onnx_attribute_text(call->node, "default_string", "_Unused");
    else if (mr_onnx_is_float(out->type))
        mr_onnx_put(out, i, (double)mr_onnx_attribute_float(call->node, "default_float", -0.0f));
    else
        mr_onnx_put_int(out, i, mr_onnx_attribute_int(call->node, "default_int64", -1));
}

/* Before opset 2 a list of texts, whose indices are the numbers; either way. */
static mr_status sides_of(struct mr_onnx_call *call, const struct mr_onnx_tensor **keys,
                          const struct mr_onnx_tensor **values)
{
    static const char *const key_names[] = {"keys_strings", "keys_int64s", "keys_floats", "keys_tensor"};
    static const char *const value_names[] = {"values_strings", "values_int64s", "values_floats", "values_tensor"};
    struct mr_onnx_tensor *classes, *number;
    mr_status status = side_of(call, key_names, keys);
    if (!status) status = side_of(call, value_names, values);
    if (!status)
        status = mr_onnx_attribute_list(call->model, call->node, "classes_strings", call->arena, &classes, call->err);
    if (status || !classes || *keys) return status;
    number = mr_onnx_tensor_make(call->arena, MR_ONNX_INT64, 1, classes->dim);
    if (!number) return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < number->count; i++) number->i64[i] = (int64_t)i;
    *keys = call->input[0]->type == MR_ONNX_STRING ? classes : number;
    *values = call->input[0]->type == MR_ONNX_STRING ? number : classes;
    return MR_OK;
}

mr_status mr_onnx_encode(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *keys, *values;
    struct mr_onnx_tensor *other, *out;
    mr_status status = sides_of(call, &keys, &values);
    if (!status)
        status = mr_onnx_attribute_list(call->model, call->node, "default_tensor", call->arena, &other, call->err);
    if (status) return status;
    if (!keys || !values || keys->count != values->count)
        return mr_onnx_refuse(call, "its keys and values are not as many");
    if ((keys->type == MR_ONNX_STRING) != (in->type == MR_ONNX_STRING))
        return mr_onnx_refuse(call, "its keys are %s, its input %s", mr_onnx_type_name(keys->type),
                              mr_onnx_type_name(in->type));
    status = mr_onnx_out(call, 0, values->type, in->rank, in->dim, &out);
    const size_t bytes = mr_onnx_type_bytes(values->type);
    for (size_t i = 0; !status && i < in->count; i++) {
        size_t k = 0;
        while (k < keys->count && !is_key(in, i, keys, k)) k++;
        if (k < keys->count)
            memcpy((char *)out->data + i * bytes, (const char *)values->data + k * bytes, bytes);
        else
            fallback_put(call, other, out, i);
    }
    return status;
}
