/* Operators over one or several dimensions: sums and their like, and softmax. */
#include <math.h>

#include "modelfile/onnx/ops.h"

typedef enum { SUM, MEAN, MAX, MIN, PROD, L1, L2, SQUARES, LOG_SUM, LOG_SUM_EXP } reduction;

static reduction reduction_of(const struct mr_onnx_call *call)
{
    static const char *const names[] = {
        [SUM] = "ReduceSum",        [MEAN] = "ReduceMean",
        [MAX] = "ReduceMax",        [MIN] = "ReduceMin",
        [PROD] = "ReduceProd",      [L1] = "ReduceL1",
        [L2] = "ReduceL2",          [SQUARES] = "ReduceSumSquare",
        [LOG_SUM] = "ReduceLogSum", [LOG_SUM_EXP] = "ReduceLogSumExp",
    };
    unsigned kind = 0;
    while (!mr_onnx_op_is(call, names[kind])) kind++;
    return (reduction)kind;
}

static double start_of(reduction kind)
{
    return kind == MAX ? -INFINITY : kind == MIN ? INFINITY : kind == PROD ? 1 : 0;
}

static double step_of(reduction kind, double so_far, double value, double largest)
{
    switch (kind) {
    case MAX:
        return isnan(value) || value > so_far ? value : so_far;
    case MIN:
        return isnan(value) || value < so_far ? value : so_far;
    case PROD:
        return so_far * value;
    case L1:
        return so_far + fabs(value);
    case L2:
    case SQUARES:
        return so_far + value * value;
    case LOG_SUM_EXP:
        return so_far + exp(value - largest);
    default:
        return so_far + value;
    }
}

static double end_of(reduction kind, double so_far, size_t count, double largest)
{
    switch (kind) {
    case MEAN:
        return so_far / (double)count;
    case L2:
        return sqrt(so_far);
    case LOG_SUM:
        return log(so_far);
    case LOG_SUM_EXP:
        return log(so_far) + largest;
    default:
        return so_far;
    }
}

/* Where in the result each element of the input goes: a walk over the input. */
static void walk_fill(struct mr_onnx_walk *walk, const struct mr_onnx_tensor *in, const bool *is_axis)
{
    size_t stride = 1;
    *walk = (struct mr_onnx_walk){.rank = in->rank, .count = in->count};
    for (size_t i = in->rank; i-- > 0;) {
        walk->dim[i] = in->dim[i];
        walk->stride[0][i] = is_axis[i] ? 0 : stride;
        if (!is_axis[i]) stride *= (size_t)in->dim[i];
    }
}

/* All elements, into sums of double. */
static void reduce(reduction kind, const struct mr_onnx_tensor *in, const bool *is_axis, double *sum,
                   const double *largest)
{
    struct mr_onnx_walk walk;
    walk_fill(&walk, in, is_axis);
    for (size_t i = 0; i < in->count; i++, mr_onnx_walk_next(&walk)) {
        double *const at = &sum[walk.offset[0]];
        *at = step_of(kind, *at, mr_onnx_get(in, i), largest ? largest[walk.offset[0]] : 0);
    }
}

/* Which axes, and whether there is anything to do. */
static mr_status axes_of(struct mr_onnx_call *call, bool is_axis[static MR_ONNX_RANK_MAX], bool *is_noop_out)
{
    const struct mr_onnx_tensor *list;
    mr_status status = mr_onnx_ints(call, 1, "axes", &list);
    if (!status) status = mr_onnx_axes(call, list, call->input[0]->rank, is_axis);
    *is_noop_out = false;
    if (status || (list && list->count)) return status;
    *is_noop_out = mr_onnx_attribute_int(call->node, "noop_with_empty_axes", 0) != 0;
    for (size_t i = 0; i < MR_ONNX_RANK_MAX && !*is_noop_out; i++) is_axis[i] = true;
    return MR_OK;
}

/* Shape of the result, with 1 or without anything in the place of an axis. */
static size_t shape_of(const struct mr_onnx_tensor *in, const bool *is_axis, bool keeps, int64_t *dim)
{
    size_t rank = 0;
    for (size_t i = 0; i < in->rank; i++) {
        if (!is_axis[i] || keeps) dim[rank++] = is_axis[i] ? 1 : in->dim[i];
    }
    return rank;
}

mr_status mr_onnx_reduce(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const reduction kind = reduction_of(call);
    bool is_axis[MR_ONNX_RANK_MAX], is_noop;
    int64_t dim[MR_ONNX_RANK_MAX];
    struct mr_onnx_tensor *out;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status) status = axes_of(call, is_axis, &is_noop);
    if (status) return status;
    const size_t rank = shape_of(in, is_axis, mr_onnx_attribute_int(call->node, "keepdims", 1) != 0, dim);
    status = mr_onnx_out(call, 0, in->type, rank, dim, &out);
    if (status) return status;
    double *const sum = mr_onnx_take(call->arena, out->count, sizeof *sum);
    double *const largest = kind == LOG_SUM_EXP ? mr_onnx_take(call->arena, out->count, sizeof *largest) : NULL;
    if (!sum || (kind == LOG_SUM_EXP && !largest))
        return mr_onnx_node_fail(call->model, call->node, call->err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < out->count; i++) {
        sum[i] = start_of(kind);
        if (largest) largest[i] = -INFINITY;
    }
    if (largest) reduce(MAX, in, is_axis, largest, NULL);
    for (size_t i = 0; largest && i < out->count; i++) {
        if (isinf(largest[i])) largest[i] = 0;
    }
    reduce(kind, in, is_axis, sum, largest);
    const size_t each = out->count ? in->count / out->count : 0;
    for (size_t i = 0; i < out->count; i++) mr_onnx_put(out, i, end_of(kind, sum[i], each, largest ? largest[i] : 0));
    return MR_OK;
}

/* One line of a softmax. */
static void softmax_line(const struct mr_onnx_tensor *in, struct mr_onnx_tensor *out, size_t base, size_t length,
                         size_t step, bool is_log)
{
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < length; i++) largest = fmax(largest, mr_onnx_get(in, base + i * step));
    for (size_t i = 0; i < length; i++) sum += exp(mr_onnx_get(in, base + i * step) - largest);
    for (size_t i = 0; i < length; i++) {
        const double off = mr_onnx_get(in, base + i * step) - largest;
        mr_onnx_put(out, base + i * step, is_log ? off - log(sum) : exp(off) / sum);
    }
}

/* Before opset 13 over all dimensions from axis on, since over that dimension alone. */
mr_status mr_onnx_softmax(struct mr_onnx_call *call)
{
    const struct mr_onnx_tensor *const in = call->input[0];
    const bool is_old = call->opset < 13, is_log = mr_onnx_op_is(call, "LogSoftmax");
    struct mr_onnx_tensor *out;
    size_t axis;
    mr_status status = mr_onnx_numbers(call, 0);
    if (!status)
        status = mr_onnx_axis(call, mr_onnx_attribute_int(call->node, "axis", is_old ? 1 : -1), in->rank, &axis);
    if (!status) status = mr_onnx_out(call, 0, in->type, in->rank, in->dim, &out);
    if (status) return status;
    const size_t length = is_old ? mr_onnx_extent(in, axis, in->rank) : (size_t)in->dim[axis];
    const size_t step = is_old ? 1 : mr_onnx_extent(in, axis + 1, in->rank);
    const size_t lines = length ? in->count / length : 0;
    for (size_t line = 0; line < lines; line++)
        softmax_line(in, out, line / step * length * step + line % step, length, step, is_log);
    return MR_OK;
}
