#include "modelfile/linear_file.h"

void mr_linear_model_deinit(struct mr_linear_model *model)
{
    mr_dense_deinit(&model->layer);
    mr_model_meta_deinit(&model->meta);
}

mr_status mr_linear_model_init(struct mr_linear_model *model, const char *path, const char *type, mr_activation single,
                               mr_activation multiple, struct mr_err *err)
{
    struct mr_safetensors *file;
    struct mr_mlp_layer *const layer = &model->layer;
    *model = (struct mr_linear_model){0};
    mr_status status = mr_model_file_open(path, type, &file, err);
    if (status) return status;
    status = mr_model_meta_read(file, &model->meta, err);
    if (!status) status = mr_dense_read(file, "weight", "bias", true, layer, NULL, err);
    if (!status) {
        layer->activation = layer->out == 1 ? single : multiple;
        model->params = (struct mr_linear_params){
            .cols = layer->in, .out = layer->out, .w = layer->w, .b = layer->b, .activation = layer->activation};
        status =
            mr_model_info_fill(file, type, &model->meta, layer->in, layer->out, layer->activation, &model->info, err);
    }
    if (status) {
        mr_linear_model_deinit(model);
    } else {
        mr_model_info_add(&model->info, layer);
    }
    mr_safetensors_close(file);
    return status;
}
