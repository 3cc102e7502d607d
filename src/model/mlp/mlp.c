/* mlp: a multi-layer perceptron, from a model file (tensors layer.N.weight, layer.N.bias, metadata
 * millrace.activations) or from nothing (mlp_learn.c). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/mlp/mlp_model.h"

static void mlp_close(struct mr_model *model)
{
    if (!model) return;
    mr_mlp_learner_deinit(&model->learner);
    for (size_t i = 0; i < model->params.layer_count; i++) mr_dense_deinit(&model->layer[i]);
    free(model->layer);
    free(model->shift);
    free(model->mean);
    free(model->scale);
    free(model->factor);
    mr_model_meta_deinit(&model->meta);
    free(model);
}

static mr_status activation_read(const struct mr_safetensors *file, const struct mr_names *names, size_t index,
                                 mr_activation *activation_out, struct mr_err *err)
{
    const char *const name = names->item[index];
    if (!mr_activation_find(name, activation_out))
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": millrace.activations[%zu] is \"%.40s\": known are identity, sigmoid, tanh, relu, "
                       "gelu, softmax",
                       mr_safetensors_name(file), index, name);
    if (*activation_out == MR_ACT_SOFTMAX && index + 1 != names->count)
        return mr_fail(err, MR_EDATA, "model \"%s\": millrace.activations[%zu]: softmax can only be the last",
                       mr_safetensors_name(file), index);
    return MR_OK;
}

/* Reads layer `index` and checks that it fits behind the one before. */
static mr_status layer_read(const struct mr_safetensors *file, struct mr_model *model, size_t index, struct mr_err *err)
{
    struct mr_mlp_layer *const layer = &model->layer[index];
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "layer.%zu.weight", index);
    snprintf(bias, sizeof bias, "layer.%zu.bias", index);
    mr_status status = activation_read(file, &model->meta.activations, index, &layer->activation, err);
    if (!status) status = mr_dense_read(file, weight, bias, index == 0, layer, index == 0 ? &model->shift : NULL, err);
    if (status) return status;
    model->params.shift = model->shift;
    model->params.layer_count = index + 1;
    if (index && layer->in != layer[-1].out) {
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"%s\" has %zu inputs, the layer before has %zu outputs",
                       mr_safetensors_name(file), weight, layer->in, layer[-1].out);
    }
    return MR_OK;
}

static mr_status layers_read(const struct mr_safetensors *file, struct mr_model *model, struct mr_err *err)
{
    const size_t count = model->meta.activations.count;
    char next[64];
    if (!count || count > MR_MLP_LAYER_COUNT_MAX) {
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": millrace.activations must name one activation a layer, 1 to %d of them",
                       mr_safetensors_name(file), MR_MLP_LAYER_COUNT_MAX);
    }
    snprintf(next, sizeof next, "layer.%zu.weight", count);
    if (mr_safetensors_find(file, next)) {
        return mr_fail(err, MR_EDATA,
                       "model \"%s\": there is a tensor \"%s\", but millrace.activations names only %zu layers",
                       mr_safetensors_name(file), next, count);
    }
    model->layer = calloc(count, sizeof *model->layer);
    if (!model->layer) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", mr_safetensors_name(file));
    model->params.layer = model->layer;
    for (size_t i = 0; i < count; i++) {
        const mr_status status = layer_read(file, model, i, err);
        if (status) return status;
    }
    return MR_OK;
}

static mr_status file_read(struct mr_model *model, const struct mr_model_open *open, struct mr_err *err)
{
    const char *const path = open->file;
    struct mr_safetensors *file;
    mr_status status = mr_model_file_open(open, "mlp", &file, err);
    if (status) return status;
    status = mr_model_meta_read(file, &model->meta, err);
    if (!status) status = layers_read(file, model, err);
    if (!status) {
        const struct mr_mlp_layer *const last = &model->layer[model->params.layer_count - 1];
        status = mr_model_info_fill(file, "mlp", &model->meta, model->layer[0].in, last->out, last->activation,
                                    &model->info, err);
    }
    if (!status && model->options.classes && (size_t)model->options.classes != model->info.class_count)
        status = mr_fail(err, MR_ECONFIG, "classes: %lld, but the model in file \"%s\" has %zu: drop classes",
                         (long long)model->options.classes, path, model->info.class_count);
    if (!status && model->options.learn) status = mr_mlp_learner_open(model, file, err);
    mr_safetensors_close(file);
    return status;
}

static mr_status mlp_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = calloc(1, sizeof *model);
    mr_status status = MR_OK;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model mlp: out of memory");
    if (open->options) {
        model->options = *(const struct mr_mlp_options *)open->options;
        status = mr_mlp_options_check(&model->options, err);
        if (status) {
            mlp_close(model);
            return status;
        }
    }
    if (open->file) {
        status = file_read(model, open, err);
    } else {
        status = mr_mlp_zero_make(model, open->feature_count, err);
        if (!status) status = mr_model_meta_name(open, &model->meta, err);
        if (!status) model->info.feature = (const char *const *)model->meta.features.item;
        if (!status) status = mr_mlp_learner_open(model, NULL, err);
    }
    if (status) {
        mlp_close(model);
        return status;
    }
    for (size_t i = 0; i < model->params.layer_count; i++) mr_model_info_add(&model->info, &model->layer[i]);
    *model_out = model;
    return MR_OK;
}

static const struct mr_model_info *mlp_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_op mlp_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return MR_OP_MLP_FORWARD;
}

static struct mr_reduced mlp_reduced(const struct mr_model *model)
{
    static const struct mr_reduced kinds[] = {{0}, {"bf16", MR_OP_MLP_BF16, 0}, {"int8", MR_OP_MLP_INT8, 0}};
    struct mr_reduced reduced = kinds[model->options.precision];
    reduced.tolerance = model->options.precision_tolerance;
    return reduced;
}

extern const struct mr_model_ops mr_model_mlp;
const struct mr_model_ops mr_model_mlp = {
    .name = "mlp",
    .summary = "multi-layer perceptron: sigmoid, tanh, ReLU, GELU, identity, softmax; any depth and width",
    .options = mr_mlp_options_table,
    .options_size = sizeof(struct mr_mlp_options),
    .open = mlp_open,
    .info = mlp_info,
    .op = mlp_op,
    .reduced = mlp_reduced,
    .learn = mr_mlp_learn,
    .close = mlp_close,
};
