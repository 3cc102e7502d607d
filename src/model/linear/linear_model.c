#include "model/linear/linear_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "learn/linear_learner.h"
#include "learn/linear_spark.h"
#include "modelfile/optimizer_file.h"

#define CLASSES_USUAL 2 /* what logistic's table has as default: nobody need have said it */

struct mr_model {
    const struct mr_linear_kind *kind;
    struct mr_linear_options options;
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_mlp_layer layer;
    struct mr_linear_params params;
    float *shift;                 /* the means of a file that standardises, taken off the features first; NULL: none */
    struct mr_mlp_params shifted; /* where there is a shift: the layer behind it */
    struct mr_linear_learner learner;
    double *scratch; /* of linear_spark */
};

const char *const mr_linear_schedules[] = {"constant", "sqrt", "adagrad", "ftrl", NULL};
const char *const mr_linear_compats[] = {"none", "spark", NULL};

void mr_linear_model_close(struct mr_model *model)
{
    if (!model) return;
    mr_linear_learner_deinit(&model->learner);
    mr_dense_deinit(&model->layer);
    mr_model_meta_deinit(&model->meta);
    free(model->shift);
    free(model->scratch);
    free(model);
}

/* Options that do nothing beside the others are refused where they differ from their defaults. */
static mr_status options_check(const struct mr_model *model, const struct mr_option *table, struct mr_err *err)
{
    const struct mr_linear_options *const given = &model->options;
    struct mr_linear_options usual = {0};
    const bool is_spark = given->compat == MR_LINEAR_SPARK;
    const mr_status status = mr_options_init(table, &usual, err);
    if (status) return status;
    const struct {
        bool is_idle;
        const char *key, *why;
    } idle[] = {
        {is_spark && given->schedule != usual.schedule, "schedule",
         "with compat \"spark\", whose step is step / sqrt(i)"},
        {is_spark && given->l1 > 0, "l1", "with compat \"spark\", which has l2 alone"},
        {is_spark && given->loss != usual.loss, "loss", "with compat \"spark\", which lowers the squared loss"},
        {!is_spark && given->iterations != usual.iterations, "iterations", "without compat \"spark\""},
        {!is_spark && (given->tolerance < usual.tolerance || given->tolerance > usual.tolerance), "tolerance",
         "without compat \"spark\""},
        {!is_spark && given->intercept, "intercept", "without compat \"spark\": a bias is always learned"},
        {given->schedule != MR_STEP_FTRL && (given->beta < usual.beta || given->beta > usual.beta), "beta",
         "without schedule \"ftrl\""},
    };
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++) {
        if (idle[i].is_idle)
            return mr_fail(err, MR_ECONFIG, "%s: does nothing %s: drop one, or change the other", idle[i].key,
                           idle[i].why);
    }
    return MR_OK;
}

static void params_set(struct mr_model *model)
{
    struct mr_mlp_layer *const layer = &model->layer;
    layer->activation = layer->out == 1 ? model->kind->single : model->kind->multiple;
    model->params = (struct mr_linear_params){
        .cols = layer->in, .out = layer->out, .w = layer->w, .b = layer->b, .activation = layer->activation};
}

/* What a learner that standardises has seen of the features. */
static mr_status standard_read(struct mr_standard *standard, const struct mr_safetensors *file, struct mr_err *err)
{
    const struct mr_tensor *count, *mean, *squares;
    mr_status status = mr_model_tensor(file, "input.count", 1, 1, &count, err);
    if (!status) status = mr_model_tensor(file, "input.mean", 1, standard->cols, &mean, err);
    if (!status) status = mr_model_tensor(file, "input.squares", 1, standard->cols, &squares, err);
    if (status) return status;
    standard->count = fmax(mr_tensor_value(count, 0), 0);
    for (size_t c = 0; c < standard->cols; c++) {
        standard->mean[c] = mr_tensor_value(mean, c);
        standard->squares[c] = fmax(mr_tensor_value(squares, c), 0);
    }
    mr_standard_refresh(standard);
    return MR_OK;
}

/* A file that was saved while learning: float64 weights as they were, and the optimizer's state. */
static mr_status state_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    struct mr_linear_learner *const l = &model->learner;
    const struct mr_tensor *weight, *bias;
    const size_t count = l->sum.out * l->sum.cols;
    mr_status status = MR_OK;
    if (mr_safetensors_find(file, "input.mean") &&
        !(model->options.standardise && mr_safetensors_find(file, "input.count")))
        return MR_OK; /* folded: the layer's float32 weights are what there is */
    if (mr_safetensors_find(file, "input.mean") && (status = standard_read(&l->standard, file, err))) return status;
    status = mr_model_tensor(file, "weight", 2, 0, &weight, err);
    if (!status) status = mr_model_tensor(file, "bias", 1, l->sum.out, &bias, err);
    if (status) return status;
    for (size_t i = 0; i < count; i++) l->w[i] = mr_tensor_value(weight, i);
    for (size_t i = 0; i < l->sum.out; i++) l->w[count + i] = mr_tensor_value(bias, i);
    return mr_optimizer_read(&l->optimizer, &l->guard, file, err);
}

/* The learner beside the layer, starting at its weights. */
static mr_status learner_open(struct mr_model *model, struct mr_err *err)
{
    const struct mr_linear_options *const options = &model->options;
    const struct mr_mlp_layer *const layer = &model->layer;
    const struct mr_linear_sum_params sum = {.cols = layer->in,
                                             .out = layer->out,
                                             .loss = model->kind->is_classifier ? MR_LOSS_LOG : (mr_loss)options->loss,
                                             .delta = (float)options->delta};
    const struct mr_optimizer_options optimizer = {.kind = (mr_step_kind)options->schedule,
                                                   .step = options->step,
                                                   .beta = options->beta,
                                                   .l1 = options->l1,
                                                   .l2 = options->l2};
    if (layer->out > 1 && (!model->kind->is_classifier || options->compat == MR_LINEAR_SPARK))
        return mr_fail(err, MR_ECONFIG, "a %s model%s learns one output, this one has %zu", model->kind->type,
                       options->compat == MR_LINEAR_SPARK ? " with compat spark" : "", layer->out);
    if (options->standardise && options->compat == MR_LINEAR_SPARK)
        return mr_fail(
            err, MR_ECONFIG,
            "a %s model with compat spark does not standardise: Spark's classes do not; put a scaler before it "
            "(\"input\"), or drop one of the two",
            model->kind->type);
    model->scratch = calloc(2 * (layer->in + 1), sizeof *model->scratch);
    if (!mr_linear_learner_init(&model->learner, &sum, &optimizer, options->standardise) || !model->scratch)
        return mr_fail(err, MR_ENOMEM, "model %s: out of memory", model->kind->type);
    for (size_t i = 0; i < layer->out * layer->in; i++) model->learner.w[i] = (double)layer->w[i];
    for (size_t o = 0; o < layer->out; o++) model->learner.w[layer->out * layer->in + o] = (double)layer->b[o];
    return MR_OK;
}

/* The kernels' copy of what is learned. */
static void weights_round(struct mr_model *model)
{
    const struct mr_mlp_layer *const layer = &model->layer;
    float *const w = (float *)(uintptr_t)layer->w, *const b = (float *)(uintptr_t)layer->b;
    const double *const from = mr_linear_learner_weights(&model->learner, model->learner.w);
    for (size_t i = 0; i < layer->out * layer->in; i++) w[i] = (float)from[i];
    for (size_t o = 0; o < layer->out; o++) b[o] = (float)from[layer->out * layer->in + o];
}

static mr_status file_read(struct mr_model *model, const struct mr_model_open *open, struct mr_err *err)
{
    const char *const path = open->file;
    struct mr_safetensors *file;
    struct mr_mlp_layer *const layer = &model->layer;
    mr_status status = mr_model_file_open(open, model->kind->type, &file, err);
    if (status) return status;
    status = mr_model_meta_read(file, &model->meta, err);
    /* A learner's file has its means in the bias: trainer and scorers compute the same bits. */
    const bool is_learned = model->options.learn || mr_safetensors_find(file, "optimizer.updates") ||
                            mr_safetensors_find(file, "input.count");
    if (!status) status = mr_dense_read(file, "weight", "bias", true, layer, is_learned ? NULL : &model->shift, err);
    if (!status) {
        params_set(model);
        model->shifted = (struct mr_mlp_params){.layer = layer, .layer_count = 1, .shift = model->shift};
        status = mr_model_info_fill(file, model->kind->type, &model->meta, layer->in, layer->out, layer->activation,
                                    &model->info, err);
    }
    if (!status && model->kind->is_classifier && model->options.classes != CLASSES_USUAL &&
        (size_t)model->options.classes != model->info.class_count)
        status = mr_fail(err, MR_ECONFIG, "classes: %lld, but the model in file \"%s\" has %zu: drop classes",
                         (long long)model->options.classes, path, model->info.class_count);
    if (!status && model->options.learn) status = learner_open(model, err);
    if (!status && model->options.learn) status = state_read(model, file, err);
    if (!status && model->options.learn) weights_round(model);
    mr_safetensors_close(file);
    return status;
}

/* Zero weights: what learns from nothing starts with. */
static mr_status zero_make(struct mr_model *model, const struct mr_model_open *open, struct mr_err *err)
{
    const size_t cols = open->feature_count;
    const struct mr_linear_kind *const kind = model->kind;
    struct mr_mlp_layer *const layer = &model->layer;
    const size_t out = kind->is_classifier && model->options.classes > 2 ? (size_t)model->options.classes : 1;
    if (!model->options.learn || !cols)
        return mr_fail(err, MR_ECONFIG, "a %s model needs a file, or \"learn\": true to start from nothing",
                       kind->type);
    layer->in = cols;
    layer->out = out;
    layer->w = calloc(out * cols, sizeof(float));
    layer->b = calloc(out, sizeof(float));
    if (!layer->w || !layer->b) return mr_fail(err, MR_ENOMEM, "model %s: out of memory", kind->type);
    params_set(model);
    model->info = (struct mr_model_info){.type = kind->type,
                                         .version = "",
                                         .feature_count = cols,
                                         .width = out,
                                         .is_classifier = kind->is_classifier,
                                         .class_count = !kind->is_classifier ? 0
                                                        : out == 1           ? 2
                                                                             : out};
    const mr_status status = mr_model_meta_name(open, &model->meta, err);
    model->info.feature = (const char *const *)model->meta.features.item;
    return status ? status : learner_open(model, err);
}

mr_status mr_linear_model_open(const struct mr_linear_kind *kind, const struct mr_option *table,
                               const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = calloc(1, sizeof *model);
    mr_status status = MR_OK;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model %s: out of memory", kind->type);
    model->kind = kind;
    if (open->options)
        model->options = *(const struct mr_linear_options *)open->options;
    else
        status = mr_options_init(table, &model->options, err);
    if (!status) status = options_check(model, table, err);
    if (!status) status = open->file ? file_read(model, open, err) : zero_make(model, open, err);
    if (status) {
        mr_linear_model_close(model);
        return status;
    }
    mr_model_info_add(&model->info, &model->layer);
    *model_out = model;
    return MR_OK;
}

const struct mr_model_info *mr_linear_model_info(const struct mr_model *model)
{
    return &model->info;
}

mr_op mr_linear_model_op(const struct mr_model *model, const void **params_out)
{
    *params_out = model->shift ? (const void *)&model->shifted : &model->params;
    return model->shift ? MR_OP_MLP_FORWARD : MR_OP_LINEAR_SCORE;
}

static mr_op linear_sum(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->learner.sum;
    return model->options.compat == MR_LINEAR_SPARK ? MR_OP_COUNT : MR_OP_LINEAR_SUM;
}

static void spark_update(struct mr_model *model, const struct mr_learn_rows *rows, struct mr_learn_report *report)
{
    struct mr_linear_learner *const l = &model->learner;
    const struct mr_linear_options *const options = &model->options;
    const struct mr_spark_options spark = {.step = options->step,
                                           .iterations = (uint32_t)options->iterations,
                                           .tolerance = options->tolerance,
                                           .l2 = options->l2,
                                           .is_logistic = model->kind->is_classifier,
                                           .has_intercept = options->intercept};
    const size_t cols = l->sum.cols, bytes = (cols + 1) * sizeof *l->w;
    *report = (struct mr_learn_report){0};
    for (size_t row = 0; row < rows->rows; row++) report->rows += mr_loss_has_label(l->sum.loss, 1, rows->label[row]);
    report->loss = mr_linear_loss(&l->sum, l->w, rows, rows->rows) * (double)report->rows;
    memcpy(l->w_before, l->w, bytes);
    mr_linear_spark_update(&spark, cols, rows, l->w, &l->w[cols], model->scratch);
    for (size_t i = 0; i <= cols; i++) report->is_undone |= !isfinite((float)l->w[i]);
    if (!report->is_undone) return;
    memcpy(l->w, l->w_before, bytes);
    l->undone_count++;
}

static void linear_update(struct mr_model *model, const struct mr_learn_batch *batch, struct mr_learn_report *report)
{
    const struct mr_learn_rows rows = {.x = batch->x, .label = batch->label, .rows = batch->rows};
    if (batch->sums)
        mr_linear_learner_update(&model->learner, batch->sums, &rows, report);
    else
        spark_update(model, &rows, report);
    weights_round(model);
}

static mr_status linear_begin(struct mr_model *model, const float *x, size_t rows, struct mr_err *err)
{
    (void)err;
    mr_linear_learner_begin(&model->learner, x, rows);
    return MR_OK;
}

static mr_status linear_store(const struct mr_model *model, struct mr_blob *out, struct mr_err *err)
{
    const struct mr_linear_learner *const l = &model->learner;
    const struct mr_standard *const standard = &l->standard;
    struct mr_optimizer_numbers numbers;
    struct mr_tensor_out optimizer[MR_OPTIMIZER_TENSORS];
    const size_t cols = l->sum.cols;
    const bool has_standard = l->standardises && standard->count > 0 && !l->has_begun_with;
    const double *const w = l->has_begun_with ? l->w_begin : l->w;
    double *const scale = calloc(cols + 1, sizeof *scale);
    if (!scale) return mr_fail(err, MR_ENOMEM, "model %s: out of memory", model->kind->type);
    for (size_t c = 0; c < cols; c++) scale[c] = 1 / standard->factor[c];
    mr_optimizer_tensors(&l->optimizer, &l->guard, &numbers, optimizer);
    const struct mr_tensor_out tensors[] = {
        {.name = "weight", .rank = 2, .shape = {l->sum.out, l->sum.cols}, .f64 = w},
        {.name = "bias", .rank = 1, .shape = {l->sum.out}, .f64 = w + l->sum.out * l->sum.cols},
        optimizer[0],
        optimizer[1],
        optimizer[2],
        optimizer[3],
        optimizer[4],
        {.name = "input.mean",
         .rank = 1,
         .shape = {cols},
         .f64 = standard->mean}, /* from here on: if it standardises */
        {.name = "input.scale", .rank = 1, .shape = {cols}, .f64 = scale},
        {.name = "input.squares", .rank = 1, .shape = {cols}, .f64 = standard->squares},
        {.name = "input.count", .rank = 1, .shape = {1}, .f64 = &standard->count},
    };
    const size_t count = sizeof tensors / sizeof *tensors - (has_standard ? 0 : 4);
    const mr_status status = mr_model_store(&model->info, NULL, tensors, count, out, err);
    free(scale);
    return status;
}

static const float *linear_weights(const struct mr_model *model, size_t *count_out)
{
    *count_out = model->params.out * model->params.cols;
    return model->params.w;
}

const struct mr_learn_ops *mr_linear_model_learn(const struct mr_model *model)
{
    static const struct mr_learn_ops ops = {.needs_label = true,
                                            .has_loss = true,
                                            .begin = linear_begin,
                                            .sum = linear_sum,
                                            .update = linear_update,
                                            .store = linear_store,
                                            .weights = linear_weights};
    return model->options.learn ? &ops : NULL;
}
