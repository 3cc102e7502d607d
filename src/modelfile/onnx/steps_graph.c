/* Steps of a graph (model/graph): what operators are that no layer of ours computes. */
#include <float.h>
#include <math.h>

#include "modelfile/onnx/compile.h"

/* A value of rows, of any shape behind them. */
static const struct mr_onnx_form *rows_of(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                          size_t index)
{
    return mr_step_form(compile, node, index, MR_FORM_ROWS);
}

static const struct mr_onnx_form *make(struct mr_onnx_compile *compile, mr_graph_op op, const struct mr_onnx_form *x,
                                       double a, double b)
{
    const struct mr_onnx_made made = {.op = op, .x = x, .a = a, .b = b};
    const bool is_fold = op != MR_GRAPH_OP_COUNT && mr_graph_kind_of(op) == MR_GRAPH_fold;
    return mr_form_make(&compile->forms, &made, is_fold ? 1 : x->width, x->rank);
}

static const struct mr_onnx_form *make_of_two(struct mr_onnx_compile *compile, mr_graph_op op,
                                              const struct mr_onnx_form *x, const struct mr_onnx_form *z)
{
    const struct mr_onnx_made made = {.op = op, .x = x, .z = z};
    const size_t most = x->width > z->width ? x->width : z->width;
    return mr_form_make(&compile->forms, &made, op == MR_GRAPH_JOIN ? x->width + z->width : most,
                        x->rank > z->rank ? x->rank : z->rank);
}

/* by * rows + plus, the same for all columns. */
static const struct mr_onnx_form *line(struct mr_onnx_compile *compile, const struct mr_onnx_form *rows, double by,
                                       double plus)
{
    double *const number = rows ? mr_onnx_take(compile->forms.arena, 2 * rows->width, sizeof *number) : NULL;
    for (size_t i = 0; number && i < rows->width; i++) {
        number[i] = by;
        number[rows->width + i] = plus;
    }
    return number ? mr_form_scale(&compile->forms, rows, number, number + rows->width) : NULL;
}

const struct mr_onnx_form *mr_step_settle(struct mr_onnx_compile *compile, const struct mr_onnx_form *form)
{
    return make(compile, MR_GRAPH_OP_COUNT, form, 0, 0);
}

const struct mr_onnx_form *mr_step_join(struct mr_onnx_compile *compile, const struct mr_onnx_form *x,
                                        const struct mr_onnx_form *z)
{
    return make_of_two(compile, MR_GRAPH_JOIN, x, z);
}

const struct mr_onnx_form *mr_step_add(struct mr_onnx_compile *compile, const struct mr_onnx_form *x,
                                       const struct mr_onnx_form *z, double by)
{
    if (z->is_root) z = mr_step_settle(compile, z);
    if (by != 1) z = line(compile, z, by, 0);
    return z ? make_of_two(compile, MR_GRAPH_ADD, x, z) : NULL;
}

const char *mr_step_pointwise(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    static const struct {
        const char *name;
        mr_graph_op op;
        const char *a, *b;
        float a_value, b_value;
    } known[] = {
#define MR_ONNX_POINTWISE(name, NAME, a, a_value, b, b_value) {#name, MR_GRAPH_##NAME, a, b, a_value, b_value},
#include "modelfile/onnx/graph_ops.def"
    };
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    for (size_t i = 0; rows && i < sizeof known / sizeof *known; i++) {
        if (!mr_onnx_span_is(node->op, known[i].name)) continue;
        const double a = known[i].a ? (double)mr_onnx_attribute_float(node, known[i].a, known[i].a_value) : 0,
                     b = known[i].b ? (double)mr_onnx_attribute_float(node, known[i].b, known[i].b_value) : 0;
        const bool is_tanh = mr_onnx_span_is(mr_onnx_attribute_text(node, "approximate", "none"), "tanh");
        return mr_step_set(compile, node, 0, make(compile, is_tanh ? MR_GRAPH_GELU_TANH : known[i].op, rows, a, b));
    }
    return mr_step_unknown;
}

/* A bound of Clip: input `index`, or the attribute that older opsets have. */
static const char *bound_take(struct mr_onnx_compile *compile, const struct mr_onnx_node *node, size_t index,
                              const char *attribute, float fallback, double *to)
{
    const struct mr_onnx_tensor *const constant = mr_step_constant(compile, node, index);
    *to = (double)mr_onnx_attribute_float(node, attribute, fallback);
    if (constant && (constant->count != 1 || constant->type == MR_ONNX_STRING))
        return "its bounds are not single numbers";
    if (constant) *to = mr_onnx_get(constant, 0);
    if (!constant && index < node->input_count && node->input[index] != MR_ONNX_NO_VALUE)
        return "its bounds come from the features";
    *to = fmax(-FLT_MAX, fmin(FLT_MAX, *to));
    return NULL;
}

const char *mr_step_clip(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    double least, most;
    if (!rows) return mr_step_unknown;
    const char *reason = bound_take(compile, node, 1, "min", -FLT_MAX, &least);
    if (!reason) reason = bound_take(compile, node, 2, "max", FLT_MAX, &most);
    return reason ? reason : mr_step_set(compile, node, 0, make(compile, MR_GRAPH_CLIP, rows, least, most));
}

/* Whether two values can meet column by column. */
static bool fit(const struct mr_onnx_form *x, const struct mr_onnx_form *z)
{
    return x->rank == z->rank && (x->width == z->width || x->width == 1 || z->width == 1) && x->rank <= 2;
}

/* A constant over x's columns, to the power; of one by what comes from the features. */
static const char *with_constant(struct mr_onnx_compile *compile, const struct mr_onnx_node *node, mr_graph_op op)
{
    const bool is_first = rows_of(compile, node, 0) != NULL;
    const struct mr_onnx_form *const rows = rows_of(compile, node, is_first ? 0 : 1);
    const struct mr_onnx_tensor *const constant = mr_step_constant(compile, node, is_first ? 1 : 0);
    const double *column;
    if (!rows || !constant) return mr_step_unknown;
    const char *const reason = mr_step_columns(compile, constant, rows, &column);
    if (reason || !column) return reason;
    if (op == MR_GRAPH_DIV && !is_first) {
        const struct mr_onnx_form *const inverse = make(compile, MR_GRAPH_RECIPROCAL, rows, 0, 0);
        return mr_step_set(compile, node, 0, inverse ? mr_form_scale(&compile->forms, inverse, column, NULL) : NULL);
    }
    if (op == MR_GRAPH_POW && is_first && constant->count == 1)
        return mr_step_set(compile, node, 0, make(compile, MR_GRAPH_POWER, rows, column[0], 0));
    return mr_step_unknown;
}

/* Add, Sub, Mul, Div, Pow of two values that both come from the features. */
const char *mr_step_pair(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    static const struct {
        const char *name;
        mr_graph_op op;
    } known[] = {
#define MR_ONNX_PAIR(name, NAME) {#name, MR_GRAPH_##NAME},
#include "modelfile/onnx/graph_ops.def"
    };
    const struct mr_onnx_form *const x = rows_of(compile, node, 0), *const z = rows_of(compile, node, 1);
    size_t i = 0;
    while (i < sizeof known / sizeof *known && !mr_onnx_span_is(node->op, known[i].name)) i++;
    if (i == sizeof known / sizeof *known) return mr_step_unknown;
    if (!x || !z) return with_constant(compile, node, known[i].op);
    if (!fit(x, z)) return "its values have different numbers of columns";
    return mr_step_set(compile, node, 0, make_of_two(compile, known[i].op, x, z));
}

/* Min, Max, Sum, Mean of several values; constants of Min and Max are bounds. */
const char *mr_step_several(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const bool is_min = mr_onnx_span_is(node->op, "Min"), is_max = mr_onnx_span_is(node->op, "Max"),
               is_mean = mr_onnx_span_is(node->op, "Mean");
    const mr_graph_op op = is_min ? MR_GRAPH_MIN : is_max ? MR_GRAPH_MAX : MR_GRAPH_ADD;
    const struct mr_onnx_form *form = NULL;
    for (size_t i = 0; i < node->input_count; i++) {
        const struct mr_onnx_form *const next = rows_of(compile, node, i);
        if (next && form && !fit(form, next)) return "its values have different numbers of columns";
        if (next) form = form ? make_of_two(compile, op, form, next) : next;
        if (next && !form) return mr_step_set(compile, node, 0, NULL);
    }
    for (size_t i = 0; form && i < node->input_count; i++) {
        const struct mr_onnx_tensor *const constant = mr_step_constant(compile, node, i);
        if (rows_of(compile, node, i)) continue;
        if (!constant || constant->count != 1 || constant->type == MR_ONNX_STRING || !(is_min || is_max))
            return "it takes a constant that is not one number";
        const double bound = fmax(-FLT_MAX, fmin(FLT_MAX, mr_onnx_get(constant, 0)));
        form = make(compile, MR_GRAPH_CLIP, form, is_max ? bound : -FLT_MAX, is_min ? bound : FLT_MAX);
    }
    if (form && is_mean) return mr_step_set(compile, node, 0, line(compile, form, 1 / (double)node->input_count, 0));
    return form ? mr_step_set(compile, node, 0, form) : mr_step_unknown;
}

/* max(x, 0) - slope * max(-x, 0). */
const char *mr_step_prelu(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const struct mr_onnx_tensor *const slope = mr_step_constant(compile, node, 1);
    const double *column;
    if (!rows || !slope) return mr_step_unknown;
    const char *const reason = mr_step_columns(compile, slope, rows, &column);
    if (reason || !column) return reason;
    const struct mr_onnx_form *const high = make(compile, MR_GRAPH_CLIP, rows, 0, (double)FLT_MAX),
                                     *const low = make(compile, MR_GRAPH_CLIP, rows, -(double)FLT_MAX, 0),
                                     *const sloped = low ? mr_form_scale(&compile->forms, low, column, NULL) : NULL;
    return mr_step_set(compile, node, 0, high && sloped ? make_of_two(compile, MR_GRAPH_ADD, high, sloped) : NULL);
}

/* Whether the one axis that a node names is that of the columns. */
static bool is_columns(const struct mr_onnx_tensor *axes)
{
    return axes && axes->count == 1 && axes->type == MR_ONNX_INT64 && (axes->i64[0] == 1 || axes->i64[0] == -1);
}

const char *mr_step_reduce(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    static const struct {
        const char *name;
        mr_graph_op op;
    } known[] = {
        {"ReduceLogSum", MR_GRAPH_REDUCE_SUM},
#define MR_ONNX_FOLD(name, NAME) {#name, MR_GRAPH_##NAME},
#include "modelfile/onnx/graph_ops.def"
    };
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const struct mr_onnx_tensor *axes = mr_step_constant(compile, node, 1);
    if (!axes) axes = mr_step_list(compile, node, "axes");
    for (size_t i = 0; rows && i < sizeof known / sizeof *known; i++) {
        if (!mr_onnx_span_is(node->op, known[i].name)) continue;
        if (rows->rank != 2 || !is_columns(axes)) return "it is not over the columns of a row: expected axis 1";
        const struct mr_onnx_form *form = make(compile, known[i].op, rows, 0, 0);
        if (form && mr_onnx_span_is(node->op, "ReduceLogSum")) form = make(compile, MR_GRAPH_LOG, form, 0, 0);
        if (form && !mr_onnx_attribute_int(node, "keepdims", 1)) form = mr_form_shape(&compile->forms, form, 1);
        return mr_step_set(compile, node, 0, form);
    }
    return mr_step_unknown;
}

/* Softmax and LogSoftmax anywhere. */
const char *mr_step_log_softmax(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const int64_t axis = mr_onnx_attribute_int(node, "axis", compile->model->opset < 13 ? 1 : -1);
    if (!rows || rows->rank != 2 || (axis != 1 && axis != -1))
        return "it is not over the columns of a row: expected axis 1";
    return mr_step_set(
        compile, node, 0,
        make(compile, mr_onnx_span_is(node->op, "Softmax") ? MR_GRAPH_SOFTMAX : MR_GRAPH_LOG_SOFTMAX, rows, 0, 0));
}

const char *mr_step_norm(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const struct mr_onnx_span norm = mr_onnx_attribute_text(node, "norm", "MAX");
    if (!rows || rows->rank != 2) return "its input is not rows of columns";
    return mr_step_set(compile, node, 0,
                       make(compile,
                            mr_onnx_span_is(norm, "L1")   ? MR_GRAPH_NORMALIZE_L1
                            : mr_onnx_span_is(norm, "L2") ? MR_GRAPH_NORMALIZE_L2
                                                          : MR_GRAPH_NORMALIZE_MAX,
                            rows, 0, 0));
}

const char *mr_step_top(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const struct mr_onnx_tensor *const count = mr_step_constant(compile, node, 1);
    const int64_t axis = mr_onnx_attribute_int(node, "axis", -1),
                  k = count && count->count == 1 ? mr_onnx_get_int(count, 0) : mr_onnx_attribute_int(node, "k", -1);
    const double sign = mr_onnx_attribute_int(node, "largest", 1) ? 1 : -1;
    if (!rows || rows->rank != 2 || (axis != 1 && axis != -1))
        return "it is not over the columns of a row: expected axis 1";
    if (k < 1 || (uint64_t)k > rows->width) return "its k is not constant, or not 1 to the number of columns";
    const struct mr_onnx_made values = {.op = MR_GRAPH_TOP, .x = rows, .a = sign},
                              indices = {.op = MR_GRAPH_TOP_INDEX, .x = rows, .a = sign};
    mr_step_set(compile, node, 0, mr_form_make(&compile->forms, &values, (size_t)k, 2));
    return mr_step_set(compile, node, 1, mr_form_make(&compile->forms, &indices, (size_t)k, 2));
}

/* 1 where rows are greater than 0 (or not less), else 0; NULL stays NULL. */
static const struct mr_onnx_form *positive(struct mr_onnx_compile *compile, mr_graph_op op,
                                           const struct mr_onnx_form *rows)
{
    return rows ? make(compile, op, rows, 0, 0) : NULL;
}

const char *mr_step_binarize(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const double threshold = (double)mr_onnx_attribute_float(node, "threshold", 0);
    return rows
               ? mr_step_set(compile, node, 0, positive(compile, MR_GRAPH_POSITIVE, line(compile, rows, 1, -threshold)))
               : mr_step_unknown;
}

/* Comparisons: 1 where they hold, else 0. */
const char *mr_step_compare(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    static const struct {
        const char *name;
        double sign;
        mr_graph_op op;
    } known[] = {{"Greater", 1, MR_GRAPH_POSITIVE},
                 {"Less", -1, MR_GRAPH_POSITIVE},
                 {"GreaterOrEqual", 1, MR_GRAPH_NOT_NEGATIVE},
                 {"LessOrEqual", -1, MR_GRAPH_NOT_NEGATIVE}};
    const struct mr_onnx_form *const x = rows_of(compile, node, 0), *const z = rows_of(compile, node, 1), *form = NULL;
    const struct mr_onnx_tensor *const constant = mr_step_constant(compile, node, 1);
    const double *column;
    size_t i = 0;
    while (i < sizeof known / sizeof *known && !mr_onnx_span_is(node->op, known[i].name)) i++;
    if (i == sizeof known / sizeof *known || !x || (!z && !constant) || (z && !fit(x, z))) return mr_step_unknown;
    if (z) {
        form = make_of_two(compile, MR_GRAPH_SUB, x, z);
    } else {
        const char *const reason = mr_step_columns(compile, constant, x, &column);
        double *const minus = mr_onnx_take(compile->forms.arena, x->width, sizeof *minus);
        if (reason) return reason;
        for (size_t k = 0; minus && column && k < x->width; k++) minus[k] = -column[k];
        form = minus && column ? mr_form_scale(&compile->forms, x, NULL, minus) : NULL;
    }
    return mr_step_set(compile, node, 0,
                       positive(compile, known[i].op, form ? line(compile, form, known[i].sign, 0) : NULL));
}

/* Not, of what is 0 or 1. */
const char *mr_step_not(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    return rows ? mr_step_set(compile, node, 0, line(compile, rows, -1, 1)) : mr_step_unknown;
}

/* To bool: 0 or 1; to a whole number: cut off towards 0. */
const char *mr_step_round(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const mr_onnx_type type = (mr_onnx_type)mr_onnx_attribute_int(node, "to", MR_ONNX_NONE);
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    if (!rows || (type != MR_ONNX_BOOL && type != MR_ONNX_INT64 && type != MR_ONNX_INT32))
        return "it rounds numbers to a type that is none of float, double, int64, int32 and bool";
    const struct mr_onnx_form *const sign = make(compile, MR_GRAPH_SIGN, rows, 0, 0);
    if (type == MR_ONNX_BOOL)
        return mr_step_set(compile, node, 0, sign ? make(compile, MR_GRAPH_ABS, sign, 0, 0) : NULL);
    const struct mr_onnx_form *const size = make(compile, MR_GRAPH_ABS, rows, 0, 0), *const whole =
                                                                                         size ? make(compile,
                                                                                                     MR_GRAPH_FLOOR,
                                                                                                     size, 0, 0)
                                                                                              : NULL;
    return mr_step_set(compile, node, 0, sign && whole ? make_of_two(compile, MR_GRAPH_MUL, whole, sign) : NULL);
}

/* Columns of values of different depths side by side. */
const char *mr_step_beside(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const int64_t axis = node->is_ml ? 1 : mr_onnx_attribute_int(node, "axis", 1);
    const struct mr_onnx_form *form = NULL;
    if (axis != 1 && axis != -1) return "it joins rows: expected axis 1";
    for (size_t i = 0; i < node->input_count; i++) {
        const struct mr_onnx_form *const next = rows_of(compile, node, i);
        if (!next || next->rank != 2) return "it joins other things than columns that come from the features";
        form = form ? mr_step_join(compile, form, next) : next;
        if (!form) break;
    }
    return mr_step_set(compile, node, 0, form);
}

/* Slice and Split along the columns: what the operator makes of the numbers of the columns says which. */
const char *mr_step_part(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct mr_onnx_form *const rows = rows_of(compile, node, 0);
    const struct mr_onnx_tensor *output[MR_ONNX_OUTPUTS_MAX] = {0}, *input[5] = {0};
    const bool is_split = mr_onnx_span_is(node->op, "Split");
    const int64_t axis = mr_onnx_attribute_int(node, "axis", 0);
    if (!rows || rows->rank != 2 || node->input_count > 5 || node->output_count > MR_ONNX_OUTPUTS_MAX)
        return mr_step_unknown;
    for (size_t i = 1; i < node->input_count; i++) {
        input[i] = mr_step_constant(compile, node, i);
        if (!input[i] && node->input[i] != MR_ONNX_NO_VALUE) return "its bounds are not constant";
    }
    const struct mr_onnx_tensor *const axes = input[3] ? input[3] : mr_step_list(compile, node, "axes");
    if (is_split ? axis != 1 && axis != -1 : !is_columns(axes)) return "it is not along the columns: expected axis 1";
    struct mr_onnx_tensor *const numbers =
        mr_onnx_tensor_make(compile->forms.arena, MR_ONNX_INT64, 2, (const int64_t[]){1, (int64_t)rows->width});
    if (!numbers) return mr_step_set(compile, node, 0, NULL);
    for (size_t i = 0; i < rows->width; i++) numbers->i64[i] = (int64_t)i;
    input[0] = numbers;
    mr_step_eval(compile, node, input, output);
    for (size_t i = 0; i < node->output_count && !compile->status; i++) {
        if (!output[i] || !output[i]->count) return "it gives no columns";
        size_t *const column = mr_onnx_take(compile->forms.arena, output[i]->count, sizeof *column);
        for (size_t k = 0; column && k < output[i]->count; k++) column[k] = (size_t)output[i]->i64[k];
        mr_step_set(compile, node, i, column ? mr_form_pick(&compile->forms, rows, column, output[i]->count) : NULL);
    }
    return NULL;
}
