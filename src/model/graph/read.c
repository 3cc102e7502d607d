/* The steps of a graph from a model file: metadata millrace.graph and tensors step.N.*. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/graph/graph_model.h"

/* A file that is being read. */
struct reading {
    const struct mr_safetensors *file;
    struct mr_model *model;
    size_t step; /* the one at hand */
    struct mr_err *err;
};

static mr_status refuse(const struct reading *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
static mr_status refuse(const struct reading *at, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return mr_fail(at->err, MR_EDATA, "model \"%s\": millrace.graph, step %zu: %s", mr_safetensors_name(at->file),
                   at->step, text);
}

static size_t width_of(const struct mr_model *model, size_t value)
{
    return value ? model->step[value - 1].width : model->params.cols;
}

/* A whole number of a JSON value in [0, end); false: it is none. */
static bool whole_read(const cJSON *item, size_t end, size_t *number_out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || !(item->valuedouble < (double)end)) return false;
    *number_out = (size_t)item->valuedouble;
    return (double)*number_out == item->valuedouble;
}

static mr_status operands_read(struct reading *at, const cJSON *item)
{
    struct mr_model *const model = at->model;
    struct mr_graph_step *const step = &model->step[at->step];
    const mr_graph_kind kind = mr_graph_kind_of(step->op);
    const cJSON *const of = cJSON_GetObjectItemCaseSensitive(item, "of");
    const size_t wanted = kind == MR_GRAPH_binary || kind == MR_GRAPH_join ? 2 : 1;
    size_t value[2] = {0, UINT32_MAX};
    if (!cJSON_IsArray(of) || (size_t)cJSON_GetArraySize(of) != wanted)
        return refuse(at, "\"of\" must list %zu value%s", wanted, wanted == 1 ? "" : "s");
    for (size_t k = 0; k < wanted; k++) {
        if (!whole_read(cJSON_GetArrayItem(of, (int)k), at->step + 1, &value[k]))
            return refuse(at, "\"of\" names no value before it: 0 is the features, 1 what step 0 gives");
        model->operand[2 * at->step + k] = (uint32_t)value[k];
    }
    if (wanted == 1) model->operand[2 * at->step + 1] = UINT32_MAX;
    step->x_width = width_of(model, value[0]);
    step->z_width = wanted == 2 ? width_of(model, value[1]) : 0;
    return MR_OK;
}

/* Numbers of a tensor as float32, the step's to free. */
static mr_status floats_read(struct reading *at, const char *what, size_t count, const float **to)
{
    char name[64];
    const struct mr_tensor *tensor;
    snprintf(name, sizeof name, "step.%zu.%s", at->step, what);
    const mr_status status = mr_model_tensor(at->file, name, 1, count, &tensor, at->err);
    if (status) return status;
    float *const value = malloc((count ? count : 1) * sizeof *value);
    if (!value) return mr_fail(at->err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(at->file));
    *to = value;
    for (size_t i = 0; i < count; i++) {
        value[i] = (float)mr_tensor_value(tensor, i);
        if (!isfinite(value[i])) return refuse(at, "value %zu of tensor \"%s\" is too large for float32", i, name);
    }
    return MR_OK;
}

static mr_status columns_read(struct reading *at, struct mr_graph_step *step)
{
    char name[64];
    snprintf(name, sizeof name, "step.%zu.column", at->step);
    const struct mr_tensor *const tensor = mr_safetensors_find(at->file, name);
    if (!tensor || tensor->rank != 1 || !tensor->count || tensor->count > MR_GRAPH_COLUMNS_MAX ||
        (tensor->dtype != MR_DTYPE_I32 && tensor->dtype != MR_DTYPE_I64))
        return refuse(at, "tensor \"%s\" must have one dimension, of 1 to %zu whole numbers", name,
                      MR_GRAPH_COLUMNS_MAX);
    step->width = (size_t)tensor->count;
    int32_t *const column = malloc(step->width * sizeof *column);
    if (!column) return mr_fail(at->err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(at->file));
    step->column = column;
    for (size_t i = 0; i < step->width; i++) {
        const int64_t value = mr_tensor_integer(tensor, i);
        if (value < 0 || (uint64_t)value >= step->x_width)
            return refuse(at, "value %zu of tensor \"%s\" is no column of its value, which has %zu", i, name,
                          step->x_width);
        column[i] = (int32_t)value;
    }
    mr_status status = floats_read(at, "weight", step->width, &step->w);
    if (!status) status = floats_read(at, "bias", step->width, &step->bias);
    return status ? status : floats_read(at, "shift", step->width, &step->shift);
}

static mr_status dense_read(struct reading *at, struct mr_graph_step *step)
{
    char weight[64], bias[64];
    struct mr_mlp_layer layer;
    snprintf(weight, sizeof weight, "step.%zu.weight", at->step);
    snprintf(bias, sizeof bias, "step.%zu.bias", at->step);
    const mr_status status = mr_dense_read(at->file, weight, bias, false, &layer, NULL, at->err);
    if (status) return status;
    step->w = layer.w;
    step->bias = layer.b;
    step->width = layer.out;
    if (layer.in != step->x_width)
        return refuse(at, "tensor \"%s\" has %zu inputs, its value %zu columns", weight, layer.in, step->x_width);
    return MR_OK;
}

static mr_status width_read(struct reading *at, const cJSON *item, struct mr_graph_step *step)
{
    switch (mr_graph_kind_of(step->op)) {
    case MR_GRAPH_dense:
        return dense_read(at, step);
    case MR_GRAPH_columns:
        return columns_read(at, step);
    case MR_GRAPH_fold:
        step->width = 1;
        return MR_OK;
    case MR_GRAPH_join:
        step->width = step->x_width + step->z_width;
        return MR_OK;
    case MR_GRAPH_top:
        if (step->x_width > MR_GRAPH_TOP_MAX)
            return refuse(at, "a top of %zu columns, at most %d are ordered", step->x_width, MR_GRAPH_TOP_MAX);
        if (!whole_read(cJSON_GetObjectItemCaseSensitive(item, "count"), step->x_width + 1, &step->width) ||
            !step->width)
            return refuse(at, "\"count\" must be 1 to %zu, the columns of its value", step->x_width);
        return MR_OK;
    case MR_GRAPH_binary:
        step->width = step->x_width > step->z_width ? step->x_width : step->z_width;
        if ((step->x_width != step->width && step->x_width != 1) ||
            (step->z_width != step->width && step->z_width != 1))
            return refuse(at, "its values have %zu and %zu columns: they need as many, or one", step->x_width,
                          step->z_width);
        return MR_OK;
    case MR_GRAPH_unary:
    case MR_GRAPH_row:
        step->width = step->x_width;
    }
    return MR_OK;
}

static mr_status number_read(struct reading *at, const cJSON *item, const char *key, double *to)
{
    const cJSON *const number = cJSON_GetObjectItemCaseSensitive(item, key);
    if (!number) return MR_OK;
    if (!cJSON_IsNumber(number) || !isfinite((float)number->valuedouble))
        return refuse(at, "\"%s\" is no number that float32 has", key);
    *to = number->valuedouble;
    return MR_OK;
}

static mr_status step_read(struct reading *at, const cJSON *item)
{
    struct mr_graph_step *const step = &at->model->step[at->step];
    const cJSON *const op = cJSON_GetObjectItemCaseSensitive(item, "op");
    mr_graph_op found;
    if (!cJSON_IsString(op) || !mr_graph_op_find(op->valuestring, &found))
        return refuse(at, "there is no operation \"%.40s\"", cJSON_IsString(op) ? op->valuestring : "");
    step->op = found;
    if (mr_graph_kind_of(found) == MR_GRAPH_top) step->a = 1;
    mr_status status = operands_read(at, item);
    if (!status) status = number_read(at, item, "a", &step->a);
    if (!status) status = number_read(at, item, "b", &step->b);
    if (!status) status = width_read(at, item, step);
    if (!status && step->width > MR_GRAPH_COLUMNS_MAX)
        status = refuse(at, "it gives %zu columns, at most %zu are computed", step->width, MR_GRAPH_COLUMNS_MAX);
    return status;
}

/* "y" and "class": which values are the outputs. */
static mr_status outputs_read(struct reading *at, const cJSON *graph)
{
    struct mr_model *const model = at->model;
    const cJSON *const class = cJSON_GetObjectItemCaseSensitive(graph, "class");
    const size_t values = model->params.step_count + 1;
    const char *const name = mr_safetensors_name(at->file);
    model->of_value = SIZE_MAX;
    if (!whole_read(cJSON_GetObjectItemCaseSensitive(graph, "y"), values, &model->y_value))
        return mr_fail(at->err, MR_EDATA, "model \"%s\": millrace.graph: \"y\" names no value", name);
    if (class && !whole_read(class, values, &model->of_value))
        return mr_fail(at->err, MR_EDATA, "model \"%s\": millrace.graph: \"class\" names no value", name);
    model->params.is_least = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(graph, "least"));
    return MR_OK;
}

static mr_status graph_read(struct reading *at, const cJSON *graph)
{
    struct mr_model *const model = at->model;
    const char *const name = mr_safetensors_name(at->file);
    const cJSON *const steps = cJSON_GetObjectItemCaseSensitive(graph, "steps");
    const int count = cJSON_IsArray(steps) ? cJSON_GetArraySize(steps) : 0;
    size_t cols;
    if (!whole_read(cJSON_GetObjectItemCaseSensitive(graph, "features"), MR_GRAPH_COLUMNS_MAX + 1, &cols) || !cols)
        return mr_fail(at->err, MR_EDATA, "model \"%s\": millrace.graph: \"features\" must be 1 to %zu", name,
                       MR_GRAPH_COLUMNS_MAX);
    if (count < 1 || count > MR_GRAPH_STEPS_MAX)
        return mr_fail(at->err, MR_EDATA, "model \"%s\": millrace.graph: \"steps\" must list 1 to %d of them", name,
                       MR_GRAPH_STEPS_MAX);
    model->params.cols = cols;
    model->step = calloc((size_t)count, sizeof *model->step);
    model->operand = calloc((size_t)count, 2 * sizeof *model->operand);
    if (!model->step || !model->operand) return mr_fail(at->err, MR_ENOMEM, "model \"%s\": out of memory", name);
    model->params.step = model->step;
    model->params.step_count = (size_t)count;
    const cJSON *item;
    cJSON_ArrayForEach(item, steps)
    {
        const mr_status status = step_read(at, item);
        if (status) return status;
        at->step++;
    }
    return outputs_read(at, graph);
}

mr_status mr_graph_read(const struct mr_safetensors *file, struct mr_model *model, struct mr_err *err)
{
    struct reading at = {.file = file, .model = model, .err = err};
    const char *const text = mr_safetensors_metadata(file, "millrace.graph");
    cJSON *const graph = text ? cJSON_Parse(text) : NULL;
    const mr_status status =
        cJSON_IsObject(graph)
            ? graph_read(&at, graph)
            : mr_fail(err, MR_EDATA, "model \"%s\": millrace.graph is no object in JSON", mr_safetensors_name(file));
    cJSON_Delete(graph);
    return status;
}
