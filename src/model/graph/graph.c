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

/* A question about a graph: what is seen twice is counted twice, so it is given up in time. */
struct question {
    const struct mr_graph_params *params;
    size_t left; /* steps that may be looked at */
};

/* A sigmoid that is spelled out: 1 / (1 + exp(-x)). */
static bool is_spelled_sigmoid(const struct mr_graph_params *params, const struct mr_graph_step *reciprocal,
                               size_t column)
{
    const struct mr_graph_step *const sum = step_of(params, reciprocal->x + (column - reciprocal->to), reciprocal);
    if (!sum || sum->op != MR_GRAPH_COLUMNS) return false;
    const size_t i = reciprocal->x + (column - reciprocal->to) - sum->to;
    const struct mr_graph_step *const of = step_of(params, sum->x + (size_t)sum->column[i], sum);
    return of && of->op == MR_GRAPH_EXP && sum->w[i] > 0 && sum->bias[i] - sum->shift[i] * sum->w[i] >= 1;
}

/* Whether a column is a probability, as far as its steps tell: softmax, sigmoid, what is left within bounds of ±1 (the
 * modified Huber loss), and shares, sums, quotients and joins of such. */
static bool is_probability(struct question *question, size_t column, const struct mr_graph_step *end)
{
    const struct mr_graph_step *const step = step_of(question->params, column, end);
    if (!step || !question->left) return false;
    question->left--;
    switch (step->op) {
    case MR_GRAPH_SOFTMAX:
    case MR_GRAPH_SIGMOID:
    case MR_GRAPH_HARD_SIGMOID:
        return true;
    case MR_GRAPH_CLIP:
        return step->a >= -1 && step->b <= 1;
    case MR_GRAPH_COLUMNS:
        return is_probability(question, step->x + (size_t)step->column[column - step->to], step);
    case MR_GRAPH_RECIPROCAL:
        return is_spelled_sigmoid(question->params, step, column);
    case MR_GRAPH_NORMALIZE_L1:
    case MR_GRAPH_DIV:
    case MR_GRAPH_ADD: /* an average is one of many */
        return is_probability(question, step->x, step);
    case MR_GRAPH_JOIN:
        return is_probability(question, step->x, step) && is_probability(question, step->z, step);
    default:
        return false;
    }
}

static bool has_probabilities(const struct mr_graph_params *params)
{
    struct question question = {.params = params, .left = 4 * MR_GRAPH_STEPS_MAX};
    bool are_all = true;
    for (size_t col = 0; col < params->width && are_all; col++)
        are_all = is_probability(&question, params->y + col, params->step + params->step_count);
    return are_all;
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
                                         .is_distance = params->is_least && params->width == 1,
                                         .is_logit = classes > 0 && !params->is_least && !has_probabilities(params),
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
