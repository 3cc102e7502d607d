#include "modelfile/onnx/export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/model_file.h"
#include "modelfile/onnx/wire_write.h"

/* Numbers of the fields and types of onnx.proto. */
enum {
    MODEL_IR = 1,
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_PROPS = 14
};
enum { OPSET_VERSION = 2 };
enum { PROP_KEY = 1, PROP_VALUE = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_CONSTANT = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_FLOAT = 2, ATTRIBUTE_INT = 3, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_FLOAT = 1, TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIM = 1, TENSOR_TYPE = 2, TENSOR_TEXT = 6, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum { PORT_NAME = 1, PORT_TYPE = 2, TYPE_TENSOR = 1, ELEMENT = 1, SHAPE = 2, DIM = 1, DIM_VALUE = 1, DIM_NAME = 2 };
enum { FLOAT = 1, INT64 = 7, STRING = 8, DOUBLE = 11 };

#define OPSET      13 /* with the Softmax of today */
#define OPSET_GELU 20
#define IR         8
#define IR_GELU    9

/* A graph that is being written. */
struct writer {
    const struct mr_safetensors *file;
    struct mr_model_meta meta;
    struct mr_blob graph;
    bool is_double, has_gelu;
    bool is_out_of_memory;
    unsigned nodes;
    size_t in, out;
    char value[32]; /* what the last node has made */
};

static void check(struct writer *w, bool is_put)
{
    w->is_out_of_memory |= !is_put;
}

/* ---- nodes ---- */

/* An attribute on its way into a node; name NULL: none. */
struct attribute {
    const char *name;
    enum { WITH_FLOAT, WITH_INT, WITH_INTS } kind;
    double number;
};

static void attribute_put(struct writer *w, struct mr_blob *node, const struct attribute *attribute)
{
    static const int types[] = {[WITH_FLOAT] = TYPE_FLOAT, [WITH_INT] = TYPE_INT, [WITH_INTS] = TYPE_INTS};
    struct mr_blob message = {0};
    check(w, mr_onnx_wire_text(&message, ATTRIBUTE_NAME, attribute->name));
    if (attribute->kind == WITH_FLOAT)
        check(w, mr_onnx_wire_float(&message, ATTRIBUTE_FLOAT, (float)attribute->number));
    else
        check(w, mr_onnx_wire_int(&message, attribute->kind == WITH_INT ? ATTRIBUTE_INT : ATTRIBUTE_INTS,
                                  (int64_t)attribute->number));
    check(w, mr_onnx_wire_int(&message, ATTRIBUTE_TYPE, types[attribute->kind]));
    check(w, mr_onnx_wire_message(node, NODE_ATTRIBUTE, &message));
}

/* Adds a node that makes `output`; inputs end with NULL. */
static void node_put(struct writer *w, const char *op, const char *const *input, const char *output,
                     const struct attribute *attribute, size_t attribute_count)
{
    struct mr_blob node = {0};
    char name[32];
    snprintf(name, sizeof name, "%s_%u", op, w->nodes++);
    for (; *input; input++) check(w, mr_onnx_wire_text(&node, NODE_INPUT, *input));
    check(w, mr_onnx_wire_text(&node, NODE_OUTPUT, output));
    check(w, mr_onnx_wire_text(&node, NODE_NAME, name));
    check(w, mr_onnx_wire_text(&node, NODE_OP, op));
    for (size_t i = 0; i < attribute_count; i++) attribute_put(w, &node, &attribute[i]);
    check(w, mr_onnx_wire_message(&w->graph, GRAPH_NODE, &node));
}

/* The next node of a chain: of what the last one has made, and one or two constants. */
static void step_put(struct writer *w, const char *op, const char *constant, const char *other,
                     const struct attribute *attribute, size_t attribute_count)
{
    char from[sizeof w->value];
    memcpy(from, w->value, sizeof from);
    const char *const input[] = {from, constant, other, NULL};
    snprintf(w->value, sizeof w->value, "value_%u", w->nodes);
    node_put(w, op, input, w->value, attribute, attribute_count);
}

/* ---- constants ---- */

static void tensor_put(struct writer *w, const char *name, const size_t *dim, size_t rank, int type,
                       struct mr_blob *tensor)
{
    for (size_t i = 0; i < rank; i++) check(w, mr_onnx_wire_int(tensor, TENSOR_DIM, (int64_t)dim[i]));
    check(w, mr_onnx_wire_int(tensor, TENSOR_TYPE, type));
    check(w, mr_onnx_wire_text(tensor, TENSOR_NAME, name));
    check(w, mr_onnx_wire_message(&w->graph, GRAPH_CONSTANT, tensor));
}

/* Numbers in the graph's own precision. */
static void numbers_put(struct writer *w, const char *name, const double *value, const size_t *dim, size_t rank)
{
    struct mr_blob tensor = {0};
    size_t count = 1;
    for (size_t i = 0; i < rank; i++) count *= dim[i];
    float *const rounded = w->is_double ? NULL : calloc(count + 1, sizeof *rounded);
    for (size_t i = 0; rounded && i < count; i++) rounded[i] = (float)value[i];
    check(w, w->is_double || rounded);
    if (w->is_double || rounded)
        check(w, mr_onnx_wire_bytes(&tensor, TENSOR_RAW, rounded ? (const void *)rounded : value,
                                    count * (rounded ? sizeof *rounded : sizeof *value)));
    tensor_put(w, name, dim, rank, w->is_double ? DOUBLE : FLOAT, &tensor);
    free(rounded);
}

/* A tensor's values; NULL: no memory, which is noted. The caller frees them. */
static double *values_take(struct writer *w, const struct mr_tensor *tensor)
{
    double *const value = calloc((size_t)tensor->count + 1, sizeof *value);
    check(w, value != NULL);
    for (uint64_t i = 0; value && i < tensor->count; i++) value[i] = mr_tensor_value(tensor, i);
    return value;
}

/* A tensor of the model as a constant of the same name. */
static void constant_put(struct writer *w, const struct mr_tensor *tensor)
{
    size_t dim[MR_TENSOR_RANK_MAX] = {0};
    for (size_t i = 0; i < tensor->rank; i++) dim[i] = (size_t)tensor->shape[i];
    double *const value = values_take(w, tensor);
    if (value) numbers_put(w, tensor->name, value, dim, tensor->rank);
    free(value);
}

static void texts_put(struct writer *w, const char *name, const struct mr_names *texts)
{
    struct mr_blob tensor = {0};
    for (size_t i = 0; i < texts->count; i++) check(w, mr_onnx_wire_text(&tensor, TENSOR_TEXT, texts->item[i]));
    tensor_put(w, name, &texts->count, 1, STRING, &tensor);
}

/* ---- what goes in, and comes out ---- */

/* width 0: one value a row. */
static void port_put(struct writer *w, uint32_t field, const char *name, int type, size_t width)
{
    struct mr_blob port = {0}, kind = {0}, tensor = {0}, shape = {0}, dim = {0};
    check(w, mr_onnx_wire_text(&dim, DIM_NAME, "rows") && mr_onnx_wire_message(&shape, DIM, &dim));
    if (width) check(w, mr_onnx_wire_int(&dim, DIM_VALUE, (int64_t)width) && mr_onnx_wire_message(&shape, DIM, &dim));
    check(w, mr_onnx_wire_int(&tensor, ELEMENT, type) && mr_onnx_wire_message(&tensor, SHAPE, &shape) &&
                 mr_onnx_wire_message(&kind, TYPE_TENSOR, &tensor) && mr_onnx_wire_text(&port, PORT_NAME, name) &&
                 mr_onnx_wire_message(&port, PORT_TYPE, &kind));
    check(w, mr_onnx_wire_message(&w->graph, field, &port));
    mr_blob_deinit(&dim);
    mr_blob_deinit(&shape);
    mr_blob_deinit(&tensor);
    mr_blob_deinit(&kind);
}

static void features_begin(struct writer *w, size_t in)
{
    w->in = in;
    port_put(w, GRAPH_INPUT, "features", FLOAT, in);
    snprintf(w->value, sizeof w->value, "features");
    if (w->is_double) step_put(w, "Cast", NULL, NULL, &(struct attribute){"to", WITH_INT, DOUBLE}, 1);
}

/* The last value becomes an output of the graph: in float32. */
static void output_put(struct writer *w, const char *name, size_t width)
{
    const char *const input[] = {w->value, NULL};
    node_put(w, "Cast", input, name, &(struct attribute){"to", WITH_INT, FLOAT}, 1);
    port_put(w, GRAPH_OUTPUT, name, FLOAT, width);
}

/* "label": the index of the largest (or least) column of the last value, or what it is called. */
static void label_put(struct writer *w, const char *op)
{
    static const struct attribute columns[] = {{"axis", WITH_INT, 1}, {"keepdims", WITH_INT, 0}};
    const bool has_names = w->meta.labels.item != NULL;
    const char *const value[] = {w->value, NULL}, *const pick[] = {"labels", "index", NULL};
    if (has_names) texts_put(w, "labels", &w->meta.labels);
    node_put(w, op, value, has_names ? "index" : "label", columns, 2);
    if (has_names) node_put(w, "Gather", pick, "label", NULL, 0);
    port_put(w, GRAPH_OUTPUT, "label", has_names ? STRING : INT64, 0);
}

/* ---- models ---- */

/* A tensor that the model must have, of any length. */
static mr_status tensor_find(const struct writer *w, const char *name, size_t rank, const struct mr_tensor **tensor_out,
                             struct mr_err *err)
{
    const struct mr_tensor *const found = mr_safetensors_find(w->file, name);
    return mr_model_tensor(w->file, name, rank, found ? found->count : 0, tensor_out, err);
}

/* (x - mean) / scale. */
static mr_status standard_put(struct writer *w, struct mr_err *err)
{
    const struct mr_tensor *mean, *scale;
    if (!mr_safetensors_find(w->file, "input.mean")) return MR_OK;
    mr_status status = mr_model_tensor(w->file, "input.mean", 1, w->in, &mean, err);
    if (!status) status = mr_model_tensor(w->file, "input.scale", 1, w->in, &scale, err);
    if (status) return status;
    constant_put(w, mean);
    constant_put(w, scale);
    step_put(w, "Sub", "input.mean", NULL, NULL, 0);
    step_put(w, "Div", "input.scale", NULL, NULL, 0);
    return MR_OK;
}

static mr_status layer_put(struct writer *w, const char *weight_name, const char *bias_name, bool is_first,
                           struct mr_err *err)
{
    static const struct attribute turned = {"transB", WITH_INT, 1};
    const struct mr_tensor *weight, *bias;
    mr_status status = tensor_find(w, weight_name, 2, &weight, err);
    if (!status) status = mr_model_tensor(w->file, bias_name, 1, weight->shape[0], &bias, err);
    if (status) return status;
    if (is_first) {
        features_begin(w, (size_t)weight->shape[1]);
        status = standard_put(w, err);
    }
    constant_put(w, weight);
    constant_put(w, bias);
    step_put(w, "Gemm", weight_name, bias_name, &turned, 1);
    w->out = (size_t)weight->shape[0];
    return status;
}

static void activation_put(struct writer *w, mr_activation activation)
{
    static const char *const ops[] = {[MR_ACT_SIGMOID] = "Sigmoid",
                                      [MR_ACT_TANH] = "Tanh",
                                      [MR_ACT_RELU] = "Relu",
                                      [MR_ACT_GELU] = "Gelu",
                                      [MR_ACT_SOFTMAX] = "Softmax"};
    static const struct attribute columns = {"axis", WITH_INT, -1};
    if (activation == MR_ACT_IDENTITY) return;
    const bool is_float_only = w->is_double && activation == MR_ACT_GELU; /* as ONNX Runtime has it */
    w->has_gelu |= activation == MR_ACT_GELU;
    if (is_float_only) step_put(w, "Cast", NULL, NULL, &(struct attribute){"to", WITH_INT, FLOAT}, 1);
    step_put(w, ops[activation], NULL, NULL, &columns, activation == MR_ACT_SOFTMAX);
    if (is_float_only) step_put(w, "Cast", NULL, NULL, &(struct attribute){"to", WITH_INT, DOUBLE}, 1);
}

/* p as 1 - p and p. */
static void pair_put(struct writer *w)
{
    static const struct attribute columns = {"axis", WITH_INT, 1};
    static const double one = 1;
    static const size_t dim = 1;
    char p[sizeof w->value];
    memcpy(p, w->value, sizeof p);
    const char *const other[] = {"one", p, NULL}, *const both[] = {"other", p, NULL};
    numbers_put(w, "one", &one, &dim, 1);
    node_put(w, "Sub", other, "other", NULL, 0);
    node_put(w, "Concat", both, "both", &columns, 1);
    snprintf(w->value, sizeof w->value, "both");
    w->out = 2;
}

/* What stands behind the last layer. */
static void answers_put(struct writer *w, mr_activation last)
{
    const bool is_pair = last == MR_ACT_SIGMOID && w->out == 1;
    if (!is_pair && last != MR_ACT_SOFTMAX && !w->meta.labels.item) {
        output_put(w, "prediction", w->out);
        return;
    }
    if (is_pair) pair_put(w);
    label_put(w, "ArgMax");
    output_put(w, is_pair || last == MR_ACT_SOFTMAX ? "probabilities" : "scores", w->out);
}

static mr_status linear_put(struct writer *w, bool is_logistic, struct mr_err *err)
{
    const mr_status status = layer_put(w, "weight", "bias", true, err);
    const mr_activation last = !is_logistic ? MR_ACT_IDENTITY : w->out == 1 ? MR_ACT_SIGMOID : MR_ACT_SOFTMAX;
    if (status) return status;
    activation_put(w, last);
    answers_put(w, last);
    return MR_OK;
}

static mr_status mlp_put(struct writer *w, struct mr_err *err)
{
    const char *const path = mr_safetensors_name(w->file);
    mr_activation activation = MR_ACT_IDENTITY;
    mr_status status = w->meta.activations.count
                           ? MR_OK
                           : mr_fail(err, MR_EDATA, "model \"%s\": it has no millrace.activations", path);
    for (size_t i = 0; i < w->meta.activations.count && !status; i++) {
        char weight[48], bias[48];
        snprintf(weight, sizeof weight, "layer.%zu.weight", i);
        snprintf(bias, sizeof bias, "layer.%zu.bias", i);
        status = layer_put(w, weight, bias, i == 0, err);
        if (!status && !mr_activation_find(w->meta.activations.item[i], &activation))
            status = mr_fail(err, MR_EDATA, "model \"%s\": millrace.activations[%zu] is not known", path, i);
        if (!status) activation_put(w, activation);
    }
    if (!status) answers_put(w, activation);
    return status;
}

/* |x|^2 - 2 c.x + |c|^2 for each centre c. */
static mr_status kmeans_put(struct writer *w, struct mr_err *err)
{
    static const struct attribute rows[] = {{"axes", WITH_INTS, 1}, {"keepdims", WITH_INT, 1}};
    static const struct attribute product[] = {{"alpha", WITH_FLOAT, -2}, {"transB", WITH_INT, 1}};
    const struct mr_tensor *centers;
    const mr_status status = tensor_find(w, "centers", 2, &centers, err);
    if (status) return status;
    const size_t k = (size_t)centers->shape[0], cols = (size_t)centers->shape[1];
    double *const value = values_take(w, centers), *const square = calloc(k + 1, sizeof *square);
    check(w, square != NULL);
    for (size_t i = 0; value && square && i < k * cols; i++) square[i / cols] += value[i] * value[i];
    features_begin(w, cols);
    constant_put(w, centers);
    if (square) numbers_put(w, "squares", square, &k, 1);
    char features[sizeof w->value];
    memcpy(features, w->value, sizeof features);
    const char *const input[] = {features, NULL};
    node_put(w, "ReduceSumSquare", input, "row_squares", rows, 2);
    step_put(w, "Gemm", "centers", "squares", product, 2);
    step_put(w, "Add", "row_squares", NULL, NULL, 0);
    label_put(w, "ArgMin");
    output_put(w, "distances", k);
    free(value);
    free(square);
    return MR_OK;
}

static mr_status scaler_put(struct writer *w, struct mr_err *err)
{
    const struct mr_tensor *mean, *variance;
    mr_status status = tensor_find(w, "mean", 1, &mean, err);
    if (!status) status = mr_model_tensor(w->file, "variance", 1, mean->count, &variance, err);
    if (status) return status;
    double *const deviation = values_take(w, variance);
    const size_t count = (size_t)mean->count;
    for (size_t i = 0; deviation && i < count; i++) deviation[i] = deviation[i] > 0 ? sqrt(deviation[i]) : 1;
    features_begin(w, count);
    constant_put(w, mean);
    if (deviation) numbers_put(w, "deviation", deviation, &count, 1);
    step_put(w, "Sub", "mean", NULL, NULL, 0);
    step_put(w, "Div", "deviation", NULL, NULL, 0);
    output_put(w, "scaled", count);
    free(deviation);
    return MR_OK;
}

static mr_status graph_put(struct writer *w, struct mr_err *err)
{
    const char *const type = mr_safetensors_metadata(w->file, "millrace.type");
    const char *const path = mr_safetensors_name(w->file);
    if (!type) return mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata", path);
    if (!strcmp(type, "linear")) return linear_put(w, false, err);
    if (!strcmp(type, "logistic")) return linear_put(w, true, err);
    if (!strcmp(type, "mlp")) return mlp_put(w, err);
    if (!strcmp(type, "kmeans")) return kmeans_put(w, err);
    if (!strcmp(type, "scaler")) return scaler_put(w, err);
    if (!strcmp(type, "graph"))
        return mr_fail(
            err, MR_EDATA,
            "model \"%s\": a graph is not written as ONNX: keep the file that it came from, or take --to npz or json",
            path);
    return mr_fail(err, MR_EDATA,
                   "model \"%s\": a model of type %s has no form in ONNX (ids and lists of what was seen): --to npz or "
                   "json has all of it",
                   path, type);
}

/* ---- the whole ---- */

static void props_put(struct writer *w, struct mr_blob *out)
{
    static const char *const keys[] = {"millrace.type", "millrace.version", "millrace.features", "millrace.card"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *const value = mr_safetensors_metadata(w->file, keys[i]);
        struct mr_blob prop = {0};
        if (!value) continue;
        check(w, mr_onnx_wire_text(&prop, PROP_KEY, keys[i]) && mr_onnx_wire_text(&prop, PROP_VALUE, value));
        check(w, mr_onnx_wire_message(out, MODEL_PROPS, &prop));
    }
}

static void model_put(struct writer *w, struct mr_blob *out)
{
    struct mr_blob opset = {0};
    check(w, mr_onnx_wire_text(&w->graph, GRAPH_NAME, "millrace"));
    check(w, mr_onnx_wire_int(out, MODEL_IR, w->has_gelu ? IR_GELU : IR) &&
                 mr_onnx_wire_text(out, MODEL_PRODUCER, "millrace") &&
                 mr_onnx_wire_text(out, MODEL_PRODUCER_VERSION, MR_VERSION) &&
                 mr_onnx_wire_message(out, MODEL_GRAPH, &w->graph));
    check(w, mr_onnx_wire_int(&opset, OPSET_VERSION, w->has_gelu ? OPSET_GELU : OPSET));
    check(w, mr_onnx_wire_message(out, MODEL_OPSET, &opset));
    props_put(w, out);
}

/* Whether a number of the model would be lost in float32. */
static bool has_doubles(const struct mr_safetensors *file)
{
    for (size_t i = 0; i < mr_safetensors_count(file); i++) {
        const struct mr_tensor *const tensor = mr_safetensors_at(file, i);
        if (tensor->dtype != MR_DTYPE_F64) continue;
        for (uint64_t k = 0; k < tensor->count; k++) {
            const double value = mr_tensor_value(tensor, k);
            if (value != (double)(float)value) return true;
        }
    }
    return false;
}

mr_status mr_onnx_export(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err)
{
    struct writer w = {.file = file, .is_double = has_doubles(file)};
    out->bytes = 0;
    mr_status status = mr_model_meta_read(file, &w.meta, err);
    if (!status) status = graph_put(&w, err);
    if (!status) model_put(&w, out);
    if (!status && w.is_out_of_memory)
        status = mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(file));
    mr_blob_deinit(&w.graph);
    mr_model_meta_deinit(&w.meta);
    return status;
}
