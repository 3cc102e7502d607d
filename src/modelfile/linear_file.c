#include "modelfile/linear_file.h"

#include <stdlib.h>

struct mr_model {
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_mlp_layer layer;
    struct mr_linear_params params;
};

void mr_linear_model_close(struct mr_model *model)
{
    if (!model) return;
    mr_dense_deinit(&model->layer);
    mr_model_meta_deinit(&model->meta);
    free(model);
}

static mr_status linear_read(const struct mr_safetensors *file, const char *type, mr_activation single,
                             mr_activation multiple, struct mr_model *model, struct mr_err *err)
{
    struct mr_mlp_layer *const layer = &model->layer;
    mr_status status = mr_model_meta_read(file, &model->meta, err);
    if (!status) status = mr_dense_read(file, "weight", "bias", true, layer, NULL, err);
    if (status) return status;
    layer->activation = layer->out == 1 ? single : multiple;
    model->params = (struct mr_linear_params){
        .cols = layer->in, .out = layer->out, .w = layer->w, .b = layer->b, .activation = layer->activation};
    status = mr_model_info_fill(file, type, &model->meta, layer->in, layer->out, layer->activation, &model->info, err);
    if (!status) mr_model_info_add(&model->info, layer);
    return status;
}

mr_status mr_linear_model_open(const char *path, const char *type, mr_activation single, mr_activation multiple,
                               struct mr_model **model_out, struct mr_err *err)
{
    struct mr_safetensors *file;
    *model_out = NULL;
    mr_status status = mr_model_file_open(path, type, &file, err);
    if (status) return status;
    struct mr_model *const model = calloc(1, sizeof *model);
    status = model ? linear_read(file, type, single, multiple, model, err)
                   : mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", path);
    mr_safetensors_close(file);
    if (status) {
        mr_linear_model_close(model);
        return status;
    }
    *model_out = model;
    return MR_OK;
}

const struct mr_model_info *mr_linear_model_info(const struct mr_model *model)
{
    return &model->info;
}

mr_op mr_linear_model_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return MR_OP_LINEAR_SCORE;
}
