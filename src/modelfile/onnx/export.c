#include "modelfile/onnx/export.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modelfile/onnx/export_write.h"
#include "modelfile/onnx/wire_write.h"

/* Numbers of the fields of onnx.proto. */
enum {
    MODEL_IR = 1,
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_PROPS = 14
};
enum { GRAPH_NAME = 2 };
enum { OPSET_VERSION = 2 };
enum { PROP_KEY = 1, PROP_VALUE = 2 };

#define OPSET     13 /* with the Softmax of today */
#define OPSET_NEW 20
#define IR        8
#define IR_NEW    9

/* ---- models ---- */

/* A tensor that the model must have, of any length. */
static mr_status tensor_find(const struct mr_onnx_writer *w, const char *name, size_t rank,
                             const struct mr_tensor **tensor_out, struct mr_err *err)
{
    const struct mr_tensor *const found = mr_safetensors_find(w->file, name);
    return mr_model_tensor(w->file, name, rank, found ? found->count : 0, tensor_out, err);
}

/* (x - mean) / scale. */
static mr_status standard_put(struct mr_onnx_writer *w, struct mr_err *err)
{
    const struct mr_tensor *mean, *scale;
    if (!mr_safetensors_find(w->file, "input.mean")) return MR_OK;
    mr_status status = mr_model_tensor(w->file, "input.mean", 1, w->in, &mean, err);
    if (!status) status = mr_model_tensor(w->file, "input.scale", 1, w->in, &scale, err);
    if (status) return status;
    mr_onnx_constant_put(w, mean);
    mr_onnx_constant_put(w, scale);
    mr_onnx_step_put(w, "Sub", "input.mean", NULL, NULL, 0);
    mr_onnx_step_put(w, "Div", "input.scale", NULL, NULL, 0);
    return MR_OK;
}

static mr_status layer_put(struct mr_onnx_writer *w, const char *weight_name, const char *bias_name, bool is_first,
                           struct mr_err *err)
{
    static const struct mr_onnx_attr turned = {.name = "transB", .kind = WITH_INT, .number = 1};
    const struct mr_tensor *weight, *bias;
    mr_status status = tensor_find(w, weight_name, 2, &weight, err);
    if (!status) status = mr_model_tensor(w->file, bias_name, 1, weight->shape[0], &bias, err);
    if (status) return status;
    if (is_first) {
        mr_onnx_features_begin(w, (size_t)weight->shape[1]);
        status = standard_put(w, err);
    }
    mr_onnx_constant_put(w, weight);
    mr_onnx_constant_put(w, bias);
    mr_onnx_step_put(w, "Gemm", weight_name, bias_name, &turned, 1);
    w->out = (size_t)weight->shape[0];
    return status;
}

static void activation_put(struct mr_onnx_writer *w, mr_activation activation)
{
    static const char *const ops[] = {[MR_ACT_SIGMOID] = "Sigmoid",
                                      [MR_ACT_TANH] = "Tanh",
                                      [MR_ACT_RELU] = "Relu",
                                      [MR_ACT_GELU] = "Gelu",
                                      [MR_ACT_SOFTMAX] = "Softmax"};
    static const struct mr_onnx_attr columns = {.name = "axis", .kind = WITH_INT, .number = -1};
    if (activation == MR_ACT_IDENTITY) return;
    const bool is_float_only = w->is_double && activation == MR_ACT_GELU; /* as ONNX Runtime has it */
    w->is_new |= activation == MR_ACT_GELU;
    if (is_float_only)
        mr_onnx_step_put(w, "Cast", NULL, NULL,
                         &(struct mr_onnx_attr){.name = "to", .kind = WITH_INT, .number = MR_ONNX_FLOAT}, 1);
    mr_onnx_step_put(w, ops[activation], NULL, NULL, &columns, activation == MR_ACT_SOFTMAX);
    if (is_float_only)
        mr_onnx_step_put(w, "Cast", NULL, NULL,
                         &(struct mr_onnx_attr){.name = "to", .kind = WITH_INT, .number = MR_ONNX_DOUBLE}, 1);
}

/* p as 1 - p and p. */
static void pair_put(struct mr_onnx_writer *w)
{
    static const struct mr_onnx_attr columns = {.name = "axis", .kind = WITH_INT, .number = 1};
    static const double one = 1;
    static const size_t dim = 1;
    char p[sizeof w->value];
    memcpy(p, w->value, sizeof p);
    const char *const other[] = {"one", p, NULL}, *const both[] = {"other", p, NULL};
    mr_onnx_numbers_put(w, "one", &one, &dim, 1);
    mr_onnx_node_put(w, "Sub", other, "other", NULL, 0);
    mr_onnx_node_put(w, "Concat", both, "both", &columns, 1);
    snprintf(w->value, sizeof w->value, "both");
    w->out = 2;
}

/* What stands behind the last layer. */
static void answers_put(struct mr_onnx_writer *w, mr_activation last)
{
    const bool is_pair = last == MR_ACT_SIGMOID && w->out == 1;
    if (!is_pair && last != MR_ACT_SOFTMAX && !w->meta.labels.item) {
        mr_onnx_output_put(w, "prediction", w->out);
        return;
    }
    if (is_pair) pair_put(w);
    mr_onnx_label_put(w, "ArgMax");
    mr_onnx_output_put(w, is_pair || last == MR_ACT_SOFTMAX ? "probabilities" : "scores", w->out);
}

static mr_status linear_put(struct mr_onnx_writer *w, bool is_logistic, struct mr_err *err)
{
    const mr_status status = layer_put(w, "weight", "bias", true, err);
    const mr_activation last = !is_logistic ? MR_ACT_IDENTITY : w->out == 1 ? MR_ACT_SIGMOID : MR_ACT_SOFTMAX;
    if (status) return status;
    activation_put(w, last);
    answers_put(w, last);
    return MR_OK;
}

static mr_status mlp_put(struct mr_onnx_writer *w, struct mr_err *err)
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
static mr_status kmeans_put(struct mr_onnx_writer *w, struct mr_err *err)
{
    static const struct mr_onnx_attr rows[] = {{.name = "axes", .kind = WITH_INTS, .number = 1},
                                               {.name = "keepdims", .kind = WITH_INT, .number = 1}};
    static const struct mr_onnx_attr product[] = {{.name = "alpha", .kind = WITH_FLOAT, .number = -2},
                                                  {.name = "transB", .kind = WITH_INT, .number = 1}};
    const struct mr_tensor *centers;
    const mr_status status = tensor_find(w, "centers", 2, &centers, err);
    if (status) return status;
    const size_t k = (size_t)centers->shape[0], cols = (size_t)centers->shape[1];
    double *const value = mr_onnx_values_take(w, centers), *const square = calloc(k + 1, sizeof *square);
    mr_onnx_check(w, square != NULL);
    for (size_t i = 0; value && square && i < k * cols; i++) square[i / cols] += value[i] * value[i];
    mr_onnx_features_begin(w, cols);
    mr_onnx_constant_put(w, centers);
    if (square) mr_onnx_numbers_put(w, "squares", square, &k, 1);
    char features[sizeof w->value];
    memcpy(features, w->value, sizeof features);
    const char *const input[] = {features, NULL};
    mr_onnx_node_put(w, "ReduceSumSquare", input, "row_squares", rows, 2);
    mr_onnx_step_put(w, "Gemm", "centers", "squares", product, 2);
    mr_onnx_step_put(w, "Add", "row_squares", NULL, NULL, 0);
    mr_onnx_label_put(w, "ArgMin");
    mr_onnx_output_put(w, "distances", k);
    free(value);
    free(square);
    return MR_OK;
}

static mr_status scaler_put(struct mr_onnx_writer *w, struct mr_err *err)
{
    const struct mr_tensor *mean, *variance;
    mr_status status = tensor_find(w, "mean", 1, &mean, err);
    if (!status) status = mr_model_tensor(w->file, "variance", 1, mean->count, &variance, err);
    if (status) return status;
    double *const deviation = mr_onnx_values_take(w, variance);
    const size_t count = (size_t)mean->count;
    for (size_t i = 0; deviation && i < count; i++) deviation[i] = deviation[i] > 0 ? sqrt(deviation[i]) : 1;
    mr_onnx_features_begin(w, count);
    mr_onnx_constant_put(w, mean);
    if (deviation) mr_onnx_numbers_put(w, "deviation", deviation, &count, 1);
    mr_onnx_step_put(w, "Sub", "mean", NULL, NULL, 0);
    mr_onnx_step_put(w, "Div", "deviation", NULL, NULL, 0);
    mr_onnx_output_put(w, "scaled", count);
    free(deviation);
    return MR_OK;
}

static mr_status graph_put(struct mr_onnx_writer *w, struct mr_err *err)
{
    const char *const type = mr_safetensors_metadata(w->file, "millrace.type");
    const char *const path = mr_safetensors_name(w->file);
    if (!type) return mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata", path);
    if (!strcmp(type, "linear")) return linear_put(w, false, err);
    if (!strcmp(type, "logistic")) return linear_put(w, true, err);
    if (!strcmp(type, "mlp")) return mlp_put(w, err);
    if (!strcmp(type, "kmeans")) return kmeans_put(w, err);
    if (!strcmp(type, "scaler")) return scaler_put(w, err);
    if (!strcmp(type, "graph")) return mr_onnx_graph_put(w, err);
    return mr_fail(err, MR_EDATA,
                   "model \"%s\": a model of type %s has no form in ONNX (ids and lists of what was seen): --to npz or "
                   "json has all of it",
                   path, type);
}

/* ---- the whole ---- */

static void props_put(struct mr_onnx_writer *w, struct mr_blob *out)
{
    static const char *const keys[] = {"millrace.type", "millrace.version", "millrace.features", "millrace.card"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *const value = mr_safetensors_metadata(w->file, keys[i]);
        struct mr_blob prop = {0};
        if (!value) continue;
        mr_onnx_check(w, mr_onnx_wire_text(&prop, PROP_KEY, keys[i]) && mr_onnx_wire_text(&prop, PROP_VALUE, value));
        mr_onnx_check(w, mr_onnx_wire_message(out, MODEL_PROPS, &prop));
    }
}

static void model_put(struct mr_onnx_writer *w, struct mr_blob *out)
{
    struct mr_blob opset = {0};
    mr_onnx_check(w, mr_onnx_wire_text(&w->graph, GRAPH_NAME, "millrace"));
    mr_onnx_check(w, mr_onnx_wire_int(out, MODEL_IR, w->is_new ? IR_NEW : IR) &&
                         mr_onnx_wire_text(out, MODEL_PRODUCER, "millrace") &&
                         mr_onnx_wire_text(out, MODEL_PRODUCER_VERSION, MR_VERSION) &&
                         mr_onnx_wire_message(out, MODEL_GRAPH, &w->graph));
    mr_onnx_check(w, mr_onnx_wire_int(&opset, OPSET_VERSION, w->is_new ? OPSET_NEW : OPSET));
    mr_onnx_check(w, mr_onnx_wire_message(out, MODEL_OPSET, &opset));
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
    struct mr_onnx_writer w = {.file = file, .is_double = has_doubles(file)};
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
