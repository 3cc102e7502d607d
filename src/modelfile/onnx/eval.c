#include "modelfile/onnx/eval.h"

#include <string.h>

#include "modelfile/onnx/ops.h"

static const struct op {
    const char *name;
    bool is_ml;
    size_t least, most; /* inputs; most 0: any number */
    mr_onnx_op_fn *run;
} ops[] = {
#define MR_ONNX_OP(name, is_ml, least, most, run) {#name, is_ml, least, most, run},
#include "modelfile/onnx/ops.def"
#undef MR_ONNX_OP
};

#define OP_COUNT (sizeof ops / sizeof *ops)

static const struct op *op_find(const struct mr_onnx_node *node)
{
    for (size_t i = 0; i < OP_COUNT; i++) {
        if (ops[i].is_ml == node->is_ml && mr_onnx_span_is(node->op, ops[i].name)) return &ops[i];
    }
    return NULL;
}

bool mr_onnx_op_is_known(const struct mr_onnx_node *node)
{
    return op_find(node) != NULL;
}

const char *mr_onnx_op_list(void)
{
#define MR_ONNX_OP(name, is_ml, least, most, run) #name " "
    static const char list[] =
#include "modelfile/onnx/ops.def"
        ;
#undef MR_ONNX_OP
    return list;
}

mr_status mr_onnx_eval(struct mr_onnx_call *call)
{
    const struct op *const op = op_find(call->node);
    call->opset = call->node->is_ml ? call->model->opset_ml : call->model->opset;
    if (!op)
        return mr_onnx_refuse(call,
                              "this operator is not known: export the model without it, or only the part before it");
    size_t given = call->input_count;
    while (given && !call->input[given - 1]) given--;
    if (given < op->least || (op->most && given > op->most))
        return mr_onnx_refuse(call, "it has %zu inputs, the operator takes %zu to %zu", given, op->least, op->most);
    for (size_t i = 0; i < op->least; i++) {
        if (!call->input[i]) return mr_onnx_refuse(call, "its input %zu is left out", i);
    }
    if (!call->output_count) return mr_onnx_refuse(call, "it has no output");
    memset(call->output, 0, call->output_count * sizeof(const struct mr_onnx_tensor *));
    return op->run(call);
}

mr_status mr_onnx_out(struct mr_onnx_call *call, size_t index, mr_onnx_type type, size_t rank, const int64_t *dim,
                      struct mr_onnx_tensor **out)
{
    *out = mr_onnx_tensor_make(call->arena, type, rank, dim);
    if (!*out) return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "its result is too large");
    if (index < call->output_count) call->output[index] = *out;
    return MR_OK;
}

mr_status mr_onnx_out_view(struct mr_onnx_call *call, size_t index, const struct mr_onnx_tensor *of, size_t rank,
                           const int64_t *dim)
{
    const struct mr_onnx_tensor *const view = mr_onnx_tensor_view(call->arena, of, rank, dim);
    if (!view) return mr_onnx_refuse(call, "its input cannot take the shape that is asked for");
    call->output[index] = view;
    return MR_OK;
}

const struct mr_onnx_tensor *mr_onnx_in(const struct mr_onnx_call *call, size_t index)
{
    return index < call->input_count ? call->input[index] : NULL;
}

mr_status mr_onnx_numbers(struct mr_onnx_call *call, size_t index)
{
    const struct mr_onnx_tensor *const in = mr_onnx_in(call, index);
    if (!in || in->type != MR_ONNX_STRING) return MR_OK;
    return mr_onnx_refuse(call, "its input %zu holds texts, it needs numbers", index);
}

bool mr_onnx_op_is(const struct mr_onnx_call *call, const char *name)
{
    return mr_onnx_span_is(call->node->op, name);
}

mr_status mr_onnx_axis(struct mr_onnx_call *call, int64_t axis, size_t rank, size_t *axis_out)
{
    const int64_t count = (int64_t)rank;
    if (axis < -count || axis >= count)
        return mr_onnx_refuse(call, "axis %lld of a value with %zu dimensions", (long long)axis, rank);
    *axis_out = (size_t)(axis < 0 ? axis + count : axis);
    return MR_OK;
}

mr_status mr_onnx_ints(struct mr_onnx_call *call, size_t input, const char *attribute,
                       const struct mr_onnx_tensor **ints_out)
{
    struct mr_onnx_tensor *list;
    *ints_out = mr_onnx_in(call, input);
    if (*ints_out && ((*ints_out)->type == MR_ONNX_STRING || mr_onnx_is_float((*ints_out)->type)))
        return mr_onnx_refuse(call, "its input %zu holds no whole numbers", input);
    if (*ints_out || !attribute) return MR_OK;
    const mr_status status = mr_onnx_attribute_list(call->model, call->node, attribute, call->arena, &list, call->err);
    if (status) return status;
    if (list && list->type != MR_ONNX_INT64)
        return mr_onnx_refuse(call, "its attribute %s holds no whole numbers", attribute);
    *ints_out = list;
    return MR_OK;
}

mr_status mr_onnx_axes(struct mr_onnx_call *call, const struct mr_onnx_tensor *list, size_t rank,
                       bool is_axis[static MR_ONNX_RANK_MAX])
{
    memset(is_axis, 0, MR_ONNX_RANK_MAX * sizeof *is_axis);
    for (size_t i = 0; list && i < list->count; i++) {
        size_t axis;
        const mr_status status = mr_onnx_axis(call, mr_onnx_get_int(list, i), rank, &axis);
        if (status) return status;
        if (is_axis[axis]) return mr_onnx_refuse(call, "axis %zu is named twice", axis);
        is_axis[axis] = true;
    }
    return MR_OK;
}

size_t mr_onnx_extent(const struct mr_onnx_tensor *tensor, size_t from, size_t to)
{
    size_t extent = 1;
    for (size_t i = from; i < to; i++) extent *= (size_t)tensor->dim[i];
    return extent;
}

mr_status mr_onnx_walk_init(struct mr_onnx_call *call, struct mr_onnx_walk *walk,
                            const struct mr_onnx_tensor *const *value, size_t value_count)
{
    *walk = (struct mr_onnx_walk){.count = 1};
    for (size_t v = 0; v < value_count; v++) {
        if (value[v]->rank > walk->rank) walk->rank = value[v]->rank;
    }
    for (size_t i = 0; i < walk->rank; i++) {
        walk->dim[i] = 1;
        for (size_t v = 0; v < value_count; v++) {
            const size_t lead = walk->rank - value[v]->rank;
            const int64_t dim = i < lead ? 1 : value[v]->dim[i - lead];
            if (dim == 1 || dim == walk->dim[i]) continue;
            if (walk->dim[i] != 1)
                return mr_onnx_refuse(call, "shapes that do not fit: %lld and %lld in dimension %zu",
                                      (long long)walk->dim[i], (long long)dim, i);
            walk->dim[i] = dim;
        }
        if (__builtin_mul_overflow(walk->count, (size_t)walk->dim[i], &walk->count))
            return mr_onnx_refuse(call, "its result is too large");
    }
    for (size_t v = 0; v < value_count; v++) {
        const size_t lead = walk->rank - value[v]->rank;
        size_t stride = 1;
        for (size_t i = value[v]->rank; i-- > 0;) {
            walk->stride[v][lead + i] = value[v]->dim[i] == 1 ? 0 : stride;
            stride *= (size_t)value[v]->dim[i];
        }
    }
    return MR_OK;
}

void mr_onnx_walk_next(struct mr_onnx_walk *walk)
{
    for (size_t i = walk->rank; i-- > 0;) {
        for (size_t v = 0; v < 3; v++) walk->offset[v] += walk->stride[v][i];
        if (++walk->at[i] < walk->dim[i]) return;
        walk->at[i] = 0;
        for (size_t v = 0; v < 3; v++) walk->offset[v] -= walk->stride[v][i] * (size_t)walk->dim[i];
    }
}
