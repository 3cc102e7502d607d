/* Operators that give a value another shape, or ask for it. */
#include <string.h>

#include "modelfile/onnx/ops.h"

mr_status mr_onnx_reshape(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *shape;
    const bool keeps_zero = mr_onnx_attribute_int(call->node, "allowzero", 0) != 0;
    int64_t dim[MR_ONNX_RANK_MAX];
    size_t known = 1, open = SIZE_MAX;
    const mr_status status = mr_onnx_ints(call, 1, "shape", &shape);
    if (status) return status;
    if (!shape || shape->count > MR_ONNX_RANK_MAX)
        return mr_onnx_refuse(call, "it has no shape of at most 8 dimensions");
    for (size_t i = 0; i < shape->count; i++) {
        dim[i] = mr_onnx_get_int(shape, i);
        if (dim[i] == 0 && !keeps_zero && i < in->rank) dim[i] = in->dim[i];
        if (dim[i] == -1 && open == SIZE_MAX) {
            open = i;
            continue;
        }
        if (dim[i] < 0 || __builtin_mul_overflow(known, (size_t)dim[i], &known))
            return mr_onnx_refuse(call, "its shape has %lld in dimension %zu", (long long)dim[i], i);
    }
    if (open != SIZE_MAX) {
        if (known ? in->count % known : in->count)
            return mr_onnx_refuse(call, "%zu values do not divide into the shape", in->count);
        dim[open] = known ? (int64_t)(in->count / known) : 0;
    }
    return mr_onnx_out_view(call, 0, in, shape->count, dim);
}

mr_status mr_onnx_flatten(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const int64_t rank = (int64_t)in->rank;
    int64_t axis = mr_onnx_attribute_int(call->node, "axis", 1);
    if (axis < -rank || axis > rank) return mr_onnx_refuse(call, "axis %lld is out of range", (long long)axis);
    if (axis < 0) axis += rank;
    const int64_t dim[] = {(int64_t)mr_onnx_extent(in, 0, (size_t)axis),
                           (int64_t)mr_onnx_extent(in, (size_t)axis, in->rank)};
    return mr_onnx_out_view(call, 0, in, 2, dim);
}

mr_status mr_onnx_squeeze(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *axes;
    bool is_axis[MR_ONNX_RANK_MAX];
    int64_t dim[MR_ONNX_RANK_MAX];
    size_t rank = 0;
    mr_status status = mr_onnx_ints(call, 1, "axes", &axes);
    if (!status) status = mr_onnx_axes(call, axes, in->rank, is_axis);
    for (size_t i = 0; i < in->rank && !status; i++) {
        if (axes ? !is_axis[i] : in->dim[i] != 1)
            dim[rank++] = in->dim[i];
        else if (in->dim[i] != 1)
            return mr_onnx_refuse(call, "dimension %zu is %lld, not 1", i, (long long)in->dim[i]);
    }
    return status ? status : mr_onnx_out_view(call, 0, in, rank, dim);
}

mr_status mr_onnx_unsqueeze(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *axes;
    bool is_axis[MR_ONNX_RANK_MAX];
    int64_t dim[MR_ONNX_RANK_MAX];
    mr_status status = mr_onnx_ints(call, 1, "axes", &axes);
    if (status) return status;
    const size_t rank = in->rank + (axes ? axes->count : 0);
    if (!axes || rank > MR_ONNX_RANK_MAX) return mr_onnx_refuse(call, "it names no axes, or more than 8 dimensions");
    status = mr_onnx_axes(call, axes, rank, is_axis);
    for (size_t i = 0, from = 0; i < rank && !status; i++) dim[i] = is_axis[i] ? 1 : in->dim[from++];
    return status ? status : mr_onnx_out_view(call, 0, in, rank, dim);
}

/* The elements of `in` in the order of a walk over it with these strides. */
static void gather_walk(struct mr_onnx_walk *walk, const struct mr_onnx_tensor *in, struct mr_onnx_tensor *out)
{
    const size_t bytes = mr_onnx_type_bytes(in->type);
    for (size_t i = 0; i < out->count; i++, mr_onnx_walk_next(walk))
        memcpy((char *)out->data + i * bytes, (const char *)in->data + walk->offset[0] * bytes, bytes);
}

mr_status mr_onnx_transpose(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *order;
    struct mr_onnx_walk walk = {.rank = in->rank, .count = in->count};
    bool is_axis[MR_ONNX_RANK_MAX];
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_ints(call, SIZE_MAX, "perm", &order);
    if (!status) status = mr_onnx_axes(call, order, in->rank, is_axis);
    if (status) return status;
    if (order && order->count != in->rank)
        return mr_onnx_refuse(call, "perm names %zu of %zu axes", order->count, in->rank);
    for (size_t i = 0; i < in->rank; i++) {
        const size_t from = order
                                ? (size_t)(mr_onnx_get_int(order, i) < 0 ? mr_onnx_get_int(order, i) + (int64_t)in->rank
                                                                         : mr_onnx_get_int(order, i))
                                : in->rank - 1 - i;
        walk.dim[i] = in->dim[from];
        walk.stride[0][i] = mr_onnx_extent(in, from + 1, in->rank);
    }
    status = mr_onnx_out(call, 0, in->type, in->rank, walk.dim, &out);
    if (!status) gather_walk(&walk, in, out);
    return status;
}

mr_status mr_onnx_expand(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *shape;
    struct mr_onnx_tensor like = {.type = MR_ONNX_BOOL};
    struct mr_onnx_walk walk;
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_ints(call, 1, NULL, &shape);
    if (status) return status;
    if (shape->count > MR_ONNX_RANK_MAX) return mr_onnx_refuse(call, "its shape has more than 8 dimensions");
    like.rank = shape->count;
    for (size_t i = 0; i < shape->count; i++) {
        like.dim[i] = mr_onnx_get_int(shape, i);
        if (like.dim[i] < 0) return mr_onnx_refuse(call, "its shape has a negative dimension");
    }
    status = mr_onnx_walk_init(call, &walk, (const struct mr_onnx_tensor *const[]){in, &like}, 2);
    if (!status) status = mr_onnx_out(call, 0, in->type, walk.rank, walk.dim, &out);
    if (!status) gather_walk(&walk, in, out);
    return status;
}

mr_status mr_onnx_concat(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const first = call->input[0];
    const size_t bytes = mr_onnx_type_bytes(first->type);
    struct mr_onnx_tensor shape = *first, *out;
    size_t axis, done = 0;
    mr_status status = mr_onnx_axis(call, mr_onnx_attribute_int(call->node, "axis", 1), first->rank, &axis);
    if (status) return status;
    shape.dim[axis] = 0;
    for (size_t k = 0; k < call->input_count; k++) {
        const struct mr_onnx_tensor *const in = call->input[k];
        if (!in || in->type != first->type || in->rank != first->rank)
            return mr_onnx_refuse(call, "its inputs differ in type or rank");
        for (size_t i = 0; i < first->rank; i++) {
            if (i != axis && in->dim[i] != first->dim[i])
                return mr_onnx_refuse(call, "its inputs differ in dimension %zu", i);
        }
        if (__builtin_add_overflow(shape.dim[axis], in->dim[axis], &shape.dim[axis]))
            return mr_onnx_refuse(call, "its result is too large");
    }
    status = mr_onnx_out(call, 0, first->type, first->rank, shape.dim, &out);
    const size_t blocks = mr_onnx_extent(first, 0, axis);
    for (size_t block = 0; block < blocks && !status; block++) {
        for (size_t k = 0; k < call->input_count; k++) {
            const size_t run = mr_onnx_extent(call->input[k], axis, first->rank) * bytes;
            if (run) memcpy((char *)out->data + done, (const char *)call->input[k]->data + block * run, run);
            done += run;
        }
    }
    return status;
}

mr_status mr_onnx_split(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *sizes;
    const size_t bytes = mr_onnx_type_bytes(in->type);
    const int64_t parts = mr_onnx_attribute_int(call->node, "num_outputs", (int64_t)call->output_count);
    size_t axis, start = 0;
    mr_status status = mr_onnx_ints(call, 1, "split", &sizes);
    if (!status) status = mr_onnx_axis(call, mr_onnx_attribute_int(call->node, "axis", 0), in->rank, &axis);
    if (status) return status;
    const size_t whole = (size_t)in->dim[axis], run = mr_onnx_extent(in, axis + 1, in->rank) * bytes;
    if (parts != (int64_t)call->output_count || (sizes && sizes->count != call->output_count))
        return mr_onnx_refuse(call, "it has %zu outputs for other than that many parts", call->output_count);
    for (size_t k = 0; k < call->output_count && !status; k++) {
        const size_t even = (whole + call->output_count - 1) / call->output_count, left = whole - start;
        const int64_t size = sizes ? mr_onnx_get_int(sizes, k) : (int64_t)(even < left ? even : left);
        struct mr_onnx_tensor shape = *in, *out;
        if (size < 0 || (size_t)size > left || (sizes && k + 1 == call->output_count && (size_t)size != left))
            return mr_onnx_refuse(call, "its parts do not add up to %zu", whole);
        shape.dim[axis] = size;
        status = mr_onnx_out(call, k, in->type, in->rank, shape.dim, &out);
        const size_t blocks = mr_onnx_extent(in, 0, axis);
        for (size_t block = 0; block < blocks && size && run && !status; block++)
            memcpy((char *)out->data + block * (size_t)size * run,
                   (const char *)in->data + (block * whole + start) * run, (size_t)size * run);
        start += (size_t)size;
    }
    return status;
}

/* Shape, or Size. */
mr_status mr_onnx_shape(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const int64_t rank = (int64_t)in->rank;
    int64_t from = mr_onnx_attribute_int(call->node, "start", 0), to = mr_onnx_attribute_int(call->node, "end", rank);
    struct mr_onnx_tensor *out;
    mr_status status;
    if (mr_onnx_op_is(call, "Size")) {
        status = mr_onnx_out(call, 0, MR_ONNX_INT64, 0, NULL, &out);
        if (!status) out->i64[0] = (int64_t)in->count;
        return status;
    }
    if (from < 0) from += rank;
    if (to < 0) to += rank;
    from = from < 0 ? 0 : from > rank ? rank : from;
    to = to < from ? from : to > rank ? rank : to;
    status = mr_onnx_out(call, 0, MR_ONNX_INT64, 1, (const int64_t[]){to - from}, &out);
    for (int64_t i = from; i < to && !status; i++) out->i64[i - from] = in->dim[i];
    return status;
}

mr_status mr_onnx_constant(struct mr_onnx_call *call)
{
    static const char *const names[] = {"value", "value_floats", "value_ints", "value_strings"};
    struct mr_onnx_tensor *list = NULL, *out;
    mr_status status = MR_OK;
    for (size_t i = 0; i < 4 && !status && !list; i++)
        status = mr_onnx_attribute_list(call->model, call->node, names[i], call->arena, &list, call->err);
    if (status) return status;
    call->output[0] = list;
    if (list) return MR_OK;
    if (mr_onnx_attribute_has(call->node, "value_float")) {
        status = mr_onnx_out(call, 0, MR_ONNX_FLOAT, 0, NULL, &out);
        if (!status) mr_onnx_put(out, 0, (double)mr_onnx_attribute_float(call->node, "value_float", 0));
    } else if (mr_onnx_attribute_has(call->node, "value_int")) {
        status = mr_onnx_out(call, 0, MR_ONNX_INT64, 0, NULL, &out);
        if (!status) mr_onnx_put_int(out, 0, mr_onnx_attribute_int(call->node, "value_int", 0));
    } else if (mr_onnx_attribute_has(call->node, "value_string")) {
        status = mr_onnx_out(call, 0, MR_ONNX_STRING, 0, NULL, &out);
        if (!status) out->text[0] = mr_onnx_attribute_text(call->node, "value_string", "");
    } else {
        status = mr_onnx_refuse(call, "it has no value that is read (sparse_value is not)");
    }
    return status;
}

/* ConstantOfShape. */
mr_status mr_onnx_fill(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *shape;
    struct mr_onnx_tensor *value, *out;
    int64_t dim[MR_ONNX_RANK_MAX];
    mr_status status = mr_onnx_ints(call, 0, NULL, &shape);
    if (!status) status = mr_onnx_attribute_list(call->model, call->node, "value", call->arena, &value, call->err);
    if (status) return status;
    if (shape->count > MR_ONNX_RANK_MAX || (value && value->count != 1))
        return mr_onnx_refuse(call, "its shape has more than 8 dimensions, or its value more than one number");
    for (size_t i = 0; i < shape->count; i++) dim[i] = mr_onnx_get_int(shape, i);
    status = mr_onnx_out(call, 0, value ? value->type : MR_ONNX_FLOAT, shape->count, dim, &out);
    const size_t bytes = value ? mr_onnx_type_bytes(value->type) : 0;
    for (size_t i = 0; bytes && i < out->count && !status; i++)
        memcpy((char *)out->data + i * bytes, value->data, bytes);
    return status;
}
