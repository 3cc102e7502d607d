/* A graph model as ONNX, step by step; what it makes is what import reads back (emit_graph.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/graph_forward/graph_forward.h"
#include "modelfile/onnx/export_write.h"
#include "registry.h"

#define NAME_BYTES  48 /* of a constant */
#define VALUE_BYTES sizeof((struct mr_onnx_writer *)0)->value

/* Values by where they stand in the workspace: what was put there last. */
struct values {
    struct mr_onnx_writer *w;
    const struct mr_graph_params *graph;
    char (*name)[VALUE_BYTES]; /* [columns], of the value that begins there */
};

static const struct mr_onnx_attr along_columns = {.name = "axis", .kind = WITH_INT, .number = 1};

/* A constant of a step; its name. */
static const char *constant(struct values *at, size_t step, const char *what, const double *value, const size_t *dim,
                            size_t rank, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "step_%zu_%s", step, what);
    mr_onnx_numbers_put(at->w, name, value, dim, rank);
    return name;
}

/* The same from float32. */
static const char *floats(struct values *at, size_t step, const char *what, const float *value, const size_t *dim,
                          size_t rank, char name[NAME_BYTES])
{
    const size_t count = rank == 2 ? dim[0] * dim[1] : dim[0];
    double *const wide = calloc(count + 1, sizeof *wide);
    mr_onnx_check(at->w, wide != NULL);
    for (size_t i = 0; wide && i < count; i++) wide[i] = (double)value[i];
    if (wide) constant(at, step, what, wide, dim, rank, name);
    free(wide);
    return name;
}

static void number_step(struct values *at, size_t step, const char *op, const char *what, double number)
{
    static const size_t one = 1;
    char name[NAME_BYTES] = "";
    mr_onnx_step_put(at->w, op, constant(at, step, what, &number, &one, 1, name), NULL, NULL, 0);
}

/* Of a Cast to the numbers that the graph computes with. */
static const struct mr_onnx_attr *number_type(const struct values *at)
{
    static const struct mr_onnx_attr types[] = {{.name = "to", .kind = WITH_INT, .number = MR_ONNX_FLOAT},
                                                {.name = "to", .kind = WITH_INT, .number = MR_ONNX_DOUBLE}};
    return &types[at->w->is_double];
}

/* x times sigmoid(a x), which only the newest opsets have a name for. */
static void swish_put(struct values *at, size_t i, double a)
{
    char x[sizeof at->w->value];
    memcpy(x, at->w->value, sizeof x);
    if (a != 1) number_step(at, i, "Mul", "a", a);
    mr_onnx_step_put(at->w, "Sigmoid", NULL, NULL, NULL, 0);
    mr_onnx_step_put(at->w, "Mul", x, NULL, NULL, 0);
}

static void unary_put(struct values *at, size_t i, const struct mr_graph_step *step)
{
    static const struct {
        mr_graph_op op;
        const char *name, *a, *b;
    } known[] = {
#define MR_ONNX_POINTWISE(name, NAME, a, a_value, b, b_value) {MR_GRAPH_##NAME, #name, a, b},
#include "modelfile/onnx/graph_ops.def"
    };
    static const struct mr_onnx_attr tanh_form = {.name = "approximate", .kind = WITH_TEXT, .text = "tanh"};
    static const size_t none = 1;
    if (step->op == MR_GRAPH_CLIP) {
        char least[NAME_BYTES] = "", most[NAME_BYTES] = "";
        constant(at, i, "least", &step->a, &none, 0, least);
        constant(at, i, "most", &step->b, &none, 0, most);
        mr_onnx_step_put(at->w, "Clip", least, most, NULL, 0);
        return;
    }
    if (step->op == MR_GRAPH_POWER) {
        number_step(at, i, "Pow", "exponent", step->a);
        return;
    }
    if (step->op == MR_GRAPH_POSITIVE || step->op == MR_GRAPH_NOT_NEGATIVE) {
        number_step(at, i, step->op == MR_GRAPH_POSITIVE ? "Greater" : "GreaterOrEqual", "zero", 0);
        mr_onnx_step_put(at->w, "Cast", NULL, NULL, number_type(at), 1);
        return;
    }
    if (step->op == MR_GRAPH_SWISH) {
        swish_put(at, i, step->a);
        return;
    }
    if (step->op == MR_GRAPH_GELU_TANH) {
        mr_onnx_step_put(at->w, "Gelu", NULL, NULL, &tanh_form, 1);
        return;
    }
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (known[k].op != step->op) continue;
        const struct mr_onnx_attr numbers[] = {{.name = known[k].a, .kind = WITH_FLOAT, .number = step->a},
                                               {.name = known[k].b, .kind = WITH_FLOAT, .number = step->b}};
        mr_onnx_step_put(at->w, known[k].name, NULL, NULL, numbers, known[k].b ? 2 : known[k].a ? 1 : 0);
        return;
    }
}

/* A reduction over the columns: they are axis 1, an input since opset 18. */
static void fold_put(struct values *at, mr_graph_op op)
{
    static const struct {
        mr_graph_op op;
        const char *name;
    } known[] = {
#define MR_ONNX_FOLD(name, NAME) {MR_GRAPH_##NAME, #name},
#include "modelfile/onnx/graph_ops.def"
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].op == op) mr_onnx_step_put(at->w, known[i].name, "columns", NULL, NULL, 0);
    }
}

/* x by a norm, by 1 where that is 0: the norm plus 1 - |sign of it|. */
static void norm_put(struct values *at, size_t i, mr_graph_op op)
{
    char x[sizeof at->w->value], norm[sizeof at->w->value], divisor[sizeof at->w->value];
    memcpy(x, at->w->value, sizeof x);
    fold_put(at, op == MR_GRAPH_NORMALIZE_L1   ? MR_GRAPH_REDUCE_L1
                 : op == MR_GRAPH_NORMALIZE_L2 ? MR_GRAPH_REDUCE_L2
                                               : MR_GRAPH_REDUCE_MAX);
    memcpy(norm, at->w->value, sizeof norm);
    mr_onnx_step_put(at->w, "Sign", NULL, NULL, NULL, 0);
    mr_onnx_step_put(at->w, "Abs", NULL, NULL, NULL, 0);
    mr_onnx_step_put(at->w, "Neg", NULL, NULL, NULL, 0);
    number_step(at, i, "Add", "one", 1);
    mr_onnx_step_put(at->w, "Add", norm, NULL, NULL, 0);
    memcpy(divisor, at->w->value, sizeof divisor);
    memcpy(at->w->value, x, sizeof x);
    mr_onnx_step_put(at->w, "Div", divisor, NULL, NULL, 0);
}

static void dense_put(struct values *at, size_t i, const struct mr_graph_step *step)
{
    static const struct mr_onnx_attr turned = {.name = "transB", .kind = WITH_INT, .number = 1};
    const size_t dim[] = {step->width, step->x_width};
    char w[NAME_BYTES] = "", bias[NAME_BYTES] = "";
    floats(at, i, "weight", step->w, dim, 2, w);
    floats(at, i, "bias", step->bias, dim, 1, bias);
    mr_onnx_step_put(at->w, "Gemm", w, bias, &turned, 1);
}

/* (x[column] - shift) * w + bias, of which what does nothing is left out. */
static void columns_put(struct values *at, size_t i, const struct mr_graph_step *step)
{
    const size_t dim[] = {step->width};
    bool is_same = step->width == step->x_width, has_shift = false, has_w = false, has_bias = false;
    int64_t *const column = calloc(step->width + 1, sizeof *column);
    char name[NAME_BYTES];
    mr_onnx_check(at->w, column != NULL);
    for (size_t o = 0; column && o < step->width; o++) {
        column[o] = step->column[o];
        is_same &= (size_t)column[o] == o;
        has_shift |= step->shift[o] != 0;
        has_w |= step->w[o] != 1;
        has_bias |= step->bias[o] != 0;
    }
    if (column && !is_same) {
        snprintf(name, sizeof name, "step_%zu_column", i);
        mr_onnx_integers_put(at->w, name, column, step->width);
        mr_onnx_step_put(at->w, "Gather", name, NULL, &along_columns, 1);
    }
    free(column);
    if (has_shift) mr_onnx_step_put(at->w, "Sub", floats(at, i, "shift", step->shift, dim, 1, name), NULL, NULL, 0);
    if (has_w) mr_onnx_step_put(at->w, "Mul", floats(at, i, "weight", step->w, dim, 1, name), NULL, NULL, 0);
    if (has_bias) mr_onnx_step_put(at->w, "Add", floats(at, i, "bias", step->bias, dim, 1, name), NULL, NULL, 0);
    if (is_same && !has_shift && !has_w && !has_bias) mr_onnx_step_put(at->w, "Identity", NULL, NULL, NULL, 0);
}

/* TopK makes both; the one that is asked for is taken. */
static void top_put(struct values *at, size_t i, const struct mr_graph_step *step)
{
    const struct mr_onnx_attr how[] = {along_columns, {.name = "largest", .kind = WITH_INT, .number = step->a > 0}};
    const int64_t count = (int64_t)step->width;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "step_%zu_count", i);
    mr_onnx_integers_put(at->w, name, &count, 1);
    struct mr_onnx_writer *const w = at->w;
    const char *const input[] = {w->value, name, NULL};
    char values[VALUE_BYTES], indices[VALUE_BYTES];
    snprintf(values, sizeof values, "value_%u", w->nodes);
    snprintf(indices, sizeof indices, "index_%u", w->nodes);
    mr_onnx_node_put_two(w, "TopK", input, values, indices, how, 2);
    memcpy(w->value, step->op == MR_GRAPH_TOP_INDEX ? indices : values, sizeof w->value);
    if (step->op == MR_GRAPH_TOP_INDEX) mr_onnx_step_put(at->w, "Cast", NULL, NULL, number_type(at), 1);
}

static void binary_put(struct values *at, mr_graph_op op, const char *z)
{
    static const struct {
        mr_graph_op op;
        const char *name;
    } known[] = {
#define MR_ONNX_PAIR(name, NAME) {MR_GRAPH_##NAME, #name},
#include "modelfile/onnx/graph_ops.def"
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].op == op) mr_onnx_step_put(at->w, known[i].name, z, NULL, NULL, 0);
    }
}

static void step_put(struct values *at, size_t i, const struct mr_graph_step *step)
{
    memcpy(at->w->value, at->name[step->x], VALUE_BYTES);
    switch (mr_graph_kind_of(step->op)) {
    case MR_GRAPH_unary:
        unary_put(at, i, step);
        break;
    case MR_GRAPH_binary:
        binary_put(at, step->op, at->name[step->z]);
        break;
    case MR_GRAPH_fold:
        fold_put(at, step->op);
        break;
    case MR_GRAPH_row:
        if (step->op == MR_GRAPH_SOFTMAX || step->op == MR_GRAPH_LOG_SOFTMAX)
            mr_onnx_step_put(at->w, step->op == MR_GRAPH_SOFTMAX ? "Softmax" : "LogSoftmax", NULL, NULL, &along_columns,
                             1);
        else
            norm_put(at, i, step->op);
        break;
    case MR_GRAPH_dense:
        dense_put(at, i, step);
        break;
    case MR_GRAPH_columns:
        columns_put(at, i, step);
        break;
    case MR_GRAPH_join:
        mr_onnx_step_put(at->w, "Concat", at->name[step->z], NULL, &along_columns, 1);
        break;
    case MR_GRAPH_top:
        top_put(at, i, step);
        break;
    }
    memcpy(at->name[step->to], at->w->value, VALUE_BYTES);
}

/* Whether some step goes over all columns: they are a constant then, axis 1. */
static bool has_folds(const struct mr_graph_params *graph)
{
    for (size_t i = 0; i < graph->step_count; i++) {
        const mr_graph_op op = graph->step[i].op;
        if (mr_graph_kind_of(op) == MR_GRAPH_fold ||
            (mr_graph_kind_of(op) == MR_GRAPH_row && op != MR_GRAPH_SOFTMAX && op != MR_GRAPH_LOG_SOFTMAX))
            return true;
    }
    return false;
}

static mr_status graph_put(struct values *at, struct mr_err *err)
{
    static const int64_t columns = 1;
    const struct mr_graph_params *const graph = at->graph;
    struct mr_onnx_writer *const w = at->w;
    if (graph->of_width == 1)
        return mr_fail(err, MR_EDATA, "model \"%s\": classes of a single column have no form in ONNX here",
                       mr_safetensors_name(w->file));
    w->is_new = true;
    if (has_folds(graph)) mr_onnx_integers_put(w, "columns", &columns, 1);
    mr_onnx_features_begin(w, graph->cols);
    memcpy(at->name[0], w->value, VALUE_BYTES);
    for (size_t i = 0; i < graph->step_count; i++) step_put(at, i, &graph->step[i]);
    if (graph->of_width) {
        memcpy(w->value, at->name[graph->of], VALUE_BYTES);
        mr_onnx_label_put(w, graph->is_least ? "ArgMin" : "ArgMax");
    }
    memcpy(w->value, at->name[graph->y], VALUE_BYTES);
    mr_onnx_output_put(w, graph->of_width && graph->y == graph->of ? "probabilities" : "prediction", graph->width);
    return MR_OK;
}

mr_status mr_onnx_graph_put(struct mr_onnx_writer *w, struct mr_err *err)
{
    const struct mr_model_ops *const ops = mr_model_find("graph");
    struct mr_model_open open = {.file = mr_safetensors_name(w->file)};
    struct mr_model *model;
    const void *params;
    open.bytes = mr_safetensors_bytes(w->file, &open.byte_count);
    mr_status status = ops->open(&open, &model, err);
    if (status) return status;
    (void)ops->op(model, &params);
    struct values at = {.w = w, .graph = params};
    at.name = calloc(at.graph->columns, sizeof *at.name);
    status = at.name ? graph_put(&at, err)
                     : mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(w->file));
    free(at.name);
    ops->close(model);
    return status;
}
