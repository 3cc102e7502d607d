/* graph: steps over columns, for what no other model computes: branches, further activations, one against the rest. */
#include <stdlib.h>

#include "model/graph/graph_model.h"

static void graph_close(struct mr_model *model)
{
    if (!model) return;
    for (size_t i = 0; model->step && i < model->params.step_count; i++) {
        const struct mr_graph_step *const step = &model->step[i];
        free((void *)(uintptr_t)step->w);
        free((void *)(uintptr_t)step->bias);
        free((void *)(uintptr_t)step->shift);
        free((void *)(uintptr_t)step->column);
    }
    free(model->step);
    free(model->operand);
    mr_model_meta_deinit(&model->meta);
    free(model);
}

static void costs_count(struct mr_model *model)
{
    for (size_t i = 0; i < model->params.step_count; i++) {
        const struct mr_graph_step *const step = &model->step[i];
        const size_t weights = step->op == MR_GRAPH_DENSE ? step->width * step->x_width : 0;
        model->info.flops_per_row += weights ? 2.0 * (double)weights : (double)step->width;
        if (weights) model->info.parameter_count += weights + step->width;
        if (step->op == MR_GRAPH_COLUMNS) model->info.parameter_count += 3 * step->width;
    }
}

/* The last step before `end` that gives a column: columns of the workspace are used again. NULL: it is a feature. */
static const struct mr_graph_step *step_of(const struct mr_graph_params *params, size_t column,
                                           const struct mr_graph_step *end)
{
    for (const struct mr_graph_step *step = end; step > params->step;) {
        step--;
        if (step->to <= column && column < step->to + step->width) return step;
    }
    return NULL;
}

/* Whether the outputs are sums that nothing bounds. What shifts, scales or adds up is looked through; what is left is a
 * layer, or a function that keeps numbers within bounds, such as softmax, sigmoid or a quotient by the sum of all. */
static bool is_logit(const struct mr_graph_params *params)
{
    const struct mr_graph_step *step = step_of(params, params->y, params->step + params->step_count);
    while (step && (step->op == MR_GRAPH_COLUMNS || step->op == MR_GRAPH_ADD || step->op == MR_GRAPH_SUB))
        step = step_of(params, step->x, step);
    return !step || step->op == MR_GRAPH_DENSE || step->op == MR_GRAPH_LOG_SOFTMAX;
}

static mr_status info_fill(struct mr_model *model, const char *name, struct mr_err *err)
{
    const struct mr_model_meta *const meta = &model->meta;
    const struct mr_graph_params *const params = &model->params;
    const size_t classes = params->of_width == 1 ? 2 : params->of_width;
    const bool is_each = params->width == params->of_width; /* a number for each class */
    if (meta->features.item && meta->features.count != params->cols)
        return mr_fail(err, MR_EDATA, "model \"%s\": %zu names in millrace.features, but it reads %zu", name,
                       meta->features.count, params->cols);
    if (meta->labels.item && meta->labels.count != classes)
        return mr_fail(err, MR_EDATA, "model \"%s\": %zu names in millrace.labels, but there are %zu classes", name,
                       meta->labels.count, classes);
    model->info = (struct mr_model_info){.type = "graph",
                                         .version = meta->version ? meta->version : "",
                                         .feature_count = params->cols,
                                         .feature = (const char *const *)meta->features.item,
                                         .width = params->width,
                                         .is_classifier = classes > 0,
                                         .has_no_probability = params->is_least || !is_each,
                                         .is_logit = classes > 0 && is_logit(params),
                                         .class_count = classes,
                                         .label = (const char *const *)meta->labels.item};
    costs_count(model);
    return MR_OK;
}

static mr_status graph_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_safetensors *file = NULL;
    *model_out = NULL;
    if (!open->file) return mr_fail(err, MR_ECONFIG, "a graph model needs a file");
    struct mr_model *const model = calloc(1, sizeof *model);
    if (!model) return mr_fail(err, MR_ENOMEM, "model graph: out of memory");
    mr_status status = mr_model_file_open(open, "graph", &file, err);
    if (!status) status = mr_model_meta_read(file, &model->meta, err);
    if (!status) status = mr_graph_read(file, model, err);
    if (!status) status = mr_graph_place(open->file, model, err);
    if (!status) status = info_fill(model, open->file, err);
    mr_safetensors_close(file);
    if (status)
        graph_close(model);
    else
        *model_out = model;
    return status;
}

static const struct mr_model_info *graph_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_op graph_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return MR_OP_GRAPH_FORWARD;
}

extern const struct mr_model_ops mr_model_graph;
const struct mr_model_ops mr_model_graph = {
    .name = "graph",
    .summary = "steps over columns, as ONNX graphs have them that are none of the others; on the CPU",
    .open = graph_open,
    .info = graph_info,
    .op = graph_op,
    .close = graph_close,
};
