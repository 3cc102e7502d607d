/* Operators that pick elements: by index, by range, the largest ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/onnx/ops.h"

mr_status mr_onnx_gather(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *index;
    const size_t bytes = mr_onnx_type_bytes(in->type);
    int64_t dim[2 * MR_ONNX_RANK_MAX];
    struct mr_onnx_tensor *out;
    size_t axis, rank = 0;
    mr_status status = mr_onnx_ints(call, 1, NULL, &index);
    if (!status) status = mr_onnx_axis(call, mr_onnx_attribute_int(call->node, "axis", 0), in->rank, &axis);
    if (status) return status;
    for (size_t i = 0; i < axis; i++) dim[rank++] = in->dim[i];
    for (size_t i = 0; i < index->rank; i++) dim[rank++] = index->dim[i];
    for (size_t i = axis + 1; i < in->rank; i++) dim[rank++] = in->dim[i];
    if (rank > MR_ONNX_RANK_MAX) return mr_onnx_refuse(call, "its result has more than 8 dimensions");
    status = mr_onnx_out(call, 0, in->type, rank, dim, &out);
    if (status || !out->count) return status;
    const size_t blocks = mr_onnx_extent(in, 0, axis), run = mr_onnx_extent(in, axis + 1, in->rank) * bytes;
    for (size_t i = 0; i < blocks * index->count; i++) {
        size_t at;
        status = mr_onnx_axis(call, mr_onnx_get_int(index, i % index->count), (size_t)in->dim[axis], &at);
        if (status) return mr_onnx_refuse(call, "an index is past the end of dimension %zu", axis);
        memcpy((char *)out->data + i * run,
               (const char *)in->data + (i / index->count * (size_t)in->dim[axis] + at) * run, run);
    }
    return MR_OK;
}

/* Start, size and step of one axis of a slice. */
static void range_clamp(int64_t length, int64_t step, int64_t *start, int64_t end, int64_t *size_out)
{
    const int64_t least = step > 0 ? 0 : -1, most = step > 0 ? length : length - 1;
    if (*start < 0) *start += length;
    if (end < 0) end += length;
    *start = *start < 0 ? 0 : *start > most ? most : *start;
    end = end < least ? least : end > most ? most : end;
    const int64_t span = step > 0 ? end - *start : *start - end;
    const uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    *size_out = span > 0 ? (int64_t)(((uint64_t)span + stride - 1) / stride) : 0;
}

mr_status mr_onnx_slice(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *list[4];
    static const char *const names[] = {"starts", "ends", "axes", NULL};
    struct mr_onnx_tensor shape = *in, *out;
    struct mr_onnx_walk walk = {.rank = in->rank};
    bool is_axis[MR_ONNX_RANK_MAX];
    size_t first = 0;
    mr_status status = MR_OK;
    for (size_t i = 0; i < 4 && !status; i++) status = mr_onnx_ints(call, i + 1, names[i], &list[i]);
    if (status) return status;
    if (!list[0] || !list[1] || list[0]->count != list[1]->count || list[0]->count > in->rank ||
        (list[2] && list[2]->count != list[0]->count) || (list[3] && list[3]->count != list[0]->count))
        return mr_onnx_refuse(call, "its starts, ends, axes and steps are not as many");
    if (list[2]) status = mr_onnx_axes(call, list[2], in->rank, is_axis);
    for (size_t i = 0; i < in->rank; i++) walk.stride[0][i] = mr_onnx_extent(in, i + 1, in->rank);
    for (size_t i = 0; i < list[0]->count && !status; i++) {
        size_t axis = i;
        int64_t start = mr_onnx_get_int(list[0], i);
        const int64_t step = list[3] ? mr_onnx_get_int(list[3], i) : 1;
        if (!step) return mr_onnx_refuse(call, "a step of 0");
        if (list[2]) status = mr_onnx_axis(call, mr_onnx_get_int(list[2], i), in->rank, &axis);
        range_clamp(in->dim[axis], step, &start, mr_onnx_get_int(list[1], i), &shape.dim[axis]);
        if (shape.dim[axis]) first += (size_t)start * walk.stride[0][axis];
        walk.stride[0][axis] *= (size_t)step;
    }
    memcpy(walk.dim, shape.dim, sizeof walk.dim);
    walk.offset[0] = first;
    if (!status) status = mr_onnx_out(call, 0, in->type, in->rank, shape.dim, &out);
    const size_t bytes = mr_onnx_type_bytes(in->type);
    for (size_t i = 0; !status && i < out->count; i++, mr_onnx_walk_next(&walk))
        memcpy((char *)out->data + i * bytes, (const char *)in->data + walk.offset[0] * bytes, bytes);
    return status;
}

/* ArgMax and ArgMin: the first of equal ones, or the last with select_last_index. */
mr_status mr_onnx_argmax(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const double sign = mr_onnx_op_is(call, "ArgMin") ? -1 : 1;
    const bool keeps = mr_onnx_attribute_int(call->node, "keepdims", 1) != 0,
               is_last = mr_onnx_attribute_int(call->node, "select_last_index", 0) != 0;
    int64_t dim[MR_ONNX_RANK_MAX];
    struct mr_onnx_tensor *out;
    size_t axis, rank = 0;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_axis(call, mr_onnx_attribute_int(call->node, "axis", 0), in->rank, &axis);
    if (status) return status;
    for (size_t i = 0; i < in->rank; i++) {
        if (i != axis || keeps) dim[rank++] = i == axis ? 1 : in->dim[i];
    }
    if (!in->dim[axis]) return mr_onnx_refuse(call, "dimension %zu is empty", axis);
    status = mr_onnx_out(call, 0, MR_ONNX_INT64, rank, dim, &out);
    const size_t inner = mr_onnx_extent(in, axis + 1, in->rank), length = (size_t)in->dim[axis];
    for (size_t i = 0; !status && i < out->count; i++) {
        const size_t base = i / inner * length * inner + i % inner;
        size_t best = 0;
        for (size_t k = 1; k < length; k++) {
            const double value = sign * mr_onnx_get(in, base + k * inner),
                         most = sign * mr_onnx_get(in, base + best * inner);
            if (value > most || (is_last && value == most)) best = k;
        }
        out->i64[i] = (int64_t)best;
    }
    return status;
}

struct ranked {
    double value;
    size_t index;
};

static int ranked_compare(const void *a, const void *b)
{
    const struct ranked *const left = a, *const right = b;
    if (left->value > right->value) return -1;
    if (left->value < right->value) return 1;
    return (left->index > right->index) - (left->index < right->index);
}

mr_status mr_onnx_topk(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0], *count;
    const double sign = mr_onnx_attribute_int(call->node, "largest", 1) ? 1 : -1;
    struct mr_onnx_tensor shape = *in, *values, *indices;
    size_t axis;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = mr_onnx_ints(call, 1, NULL, &count);
    if (!status) status = mr_onnx_axis(call, mr_onnx_attribute_int(call->node, "axis", -1), in->rank, &axis);
    if (status) return status;
    const int64_t k = count && count->count ? mr_onnx_get_int(count, 0) : mr_onnx_attribute_int(call->node, "k", -1);
    if (k < 0 || k > in->dim[axis])
        return mr_onnx_refuse(call, "the %lld largest of %lld", (long long)k, (long long)in->dim[axis]);
    shape.dim[axis] = k;
    const size_t inner = mr_onnx_extent(in, axis + 1, in->rank), length = (size_t)in->dim[axis];
    struct ranked *const ranked = mr_onnx_take(call->arena, length, sizeof *ranked);
    if (!ranked) return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "out of memory");
    status = mr_onnx_out(call, 0, in->type, in->rank, shape.dim, &values);
    if (!status) status = mr_onnx_out(call, 1, MR_ONNX_INT64, in->rank, shape.dim, &indices);
    const size_t lines = k && inner ? values->count / (size_t)k : 0;
    for (size_t line = 0; line < lines && !status; line++) {
        const size_t base = line / inner * length * inner + line % inner,
                     to = line / inner * (size_t)k * inner + line % inner;
        for (size_t i = 0; i < length; i++) ranked[i] = (struct ranked){sign * mr_onnx_get(in, base + i * inner), i};
        qsort(ranked, length, sizeof *ranked, ranked_compare);
        for (size_t i = 0; i < (size_t)k; i++) {
            const size_t from = base + ranked[i].index * inner;
            indices->i64[to + i * inner] = (int64_t)ranked[i].index;
            if (mr_onnx_is_float(in->type))
                mr_onnx_put(values, to + i * inner, mr_onnx_get(in, from));
            else
                mr_onnx_put_int(values, to + i * inner, mr_onnx_get_int(in, from));
        }
    }
    return status;
}
