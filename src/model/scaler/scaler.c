/* scaler: (x - mean) / standard deviation of each feature, for the model behind it; running mean and variance when it
 * learns. */
#include <math.h>
#include <stdlib.h>

#include "kernels/moments/moments.h"
#include "learn/standard.h"
#include "modelfile/model_file.h"

struct scaler_options {
    bool learn, center, scale;
};

#define AT(field) offsetof(struct scaler_options, field)
static const struct mr_option options_table[] = {
    {.key = "learn",
     .type = MR_OPT_BOOL,
     .offset = AT(learn),
     .doc = "Follow mean and variance of the stream, after each batch is scaled."},
    {.key = "center", .type = MR_OPT_BOOL, .offset = AT(center), .fallback = "true", .doc = "Subtract the mean."},
    {.key = "scale",
     .type = MR_OPT_BOOL,
     .offset = AT(scale),
     .fallback = "true",
     .doc = "Divide by the standard deviation."},
    {0},
};
#undef AT

struct mr_model {
    struct scaler_options options;
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_standard standard, before; /* before: a batch that is undone */
    size_t has_begun_with;               /* rows of the batch at hand that are in `standard` already */
    float *shift, *factor;               /* [cols]: what is scaled by */
    float *near;                         /* [cols]: a value near the mean, for the sums */
    struct mr_scale_params params, moments;
};

static void scaler_close(struct mr_model *model)
{
    if (!model) return;
    mr_model_meta_deinit(&model->meta);
    mr_standard_deinit(&model->standard);
    mr_standard_deinit(&model->before);
    free(model->shift);
    free(model->factor);
    free(model->near);
    free(model);
}

static void factors_set(struct mr_model *model)
{
    for (size_t c = 0; c < model->params.cols; c++) {
        model->shift[c] = model->options.center ? (float)model->standard.mean[c] : 0;
        model->factor[c] = model->options.scale ? (float)model->standard.factor[c] : 1;
        model->near[c] = (float)model->standard.mean[c];
    }
}

static mr_status sizes_set(struct mr_model *model, size_t cols, struct mr_err *err)
{
    model->shift = calloc(cols, sizeof *model->shift);
    model->factor = calloc(cols, sizeof *model->factor);
    model->near = calloc(cols, sizeof *model->near);
    const bool is_before = mr_standard_init(&model->before, cols);
    if (!mr_standard_init(&model->standard, cols) || !is_before || !model->shift || !model->factor || !model->near)
        return mr_fail(err, MR_ENOMEM, "model scaler: out of memory");
    model->params = (struct mr_scale_params){cols, model->shift, model->factor};
    model->moments = (struct mr_scale_params){cols, model->near, model->factor};
    factors_set(model);
    return MR_OK;
}

static mr_status file_read(struct mr_model *model, const char *path, const struct mr_safetensors *file,
                           struct mr_err *err)
{
    const struct mr_tensor *mean, *variance, *count = NULL, *squares = NULL;
    mr_status status = mr_model_meta_read(file, &model->meta, err);
    if (status) return status;
    const struct mr_tensor *const found = mr_safetensors_find(file, "mean");
    const uint64_t cols = found && found->rank == 1 ? found->shape[0] : 0;
    status = mr_model_tensor(file, "mean", 1, cols, &mean, err);
    if (!status) status = mr_model_tensor(file, "variance", 1, cols, &variance, err);
    if (!status && mr_safetensors_find(file, "count")) status = mr_model_tensor(file, "count", 1, 1, &count, err);
    if (!status && mr_safetensors_find(file, "squares"))
        status = mr_model_tensor(file, "squares", 1, cols, &squares, err);
    if (!status && !cols) status = mr_fail(err, MR_EDATA, "model \"%s\": tensor \"mean\" is empty", path);
    if (!status) status = sizes_set(model, (size_t)cols, err);
    if (status) return status;
    struct mr_standard *const standard = &model->standard;
    standard->count = count ? mr_tensor_value(count, 0) : 1;
    const bool has_begun = standard->count > 0;
    if (!has_begun && !(model->options.learn && squares))
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"count\" is not positive", path);
    for (size_t c = 0; c < cols; c++) {
        standard->mean[c] = mr_tensor_value(mean, c);
        standard->squares[c] = squares ? mr_tensor_value(squares, c) : mr_tensor_value(variance, c) * standard->count;
        if (!(standard->squares[c] >= 0) || !isfinite((float)standard->mean[c]))
            return mr_fail(err, MR_EDATA, "model \"%s\": column %zu: the variance is negative or the mean too large",
                           path, c);
    }
    if (has_begun)
        mr_standard_refresh(standard);
    else
        mr_standard_clear(standard);
    factors_set(model);
    return MR_OK;
}

static mr_status scaler_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = calloc(1, sizeof *model);
    struct mr_safetensors *file = NULL;
    mr_status status = MR_OK;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model scaler: out of memory");
    if (open->options)
        model->options = *(const struct scaler_options *)open->options;
    else
        status = mr_options_init(options_table, &model->options, err);
    if (!status && open->file) {
        status = mr_model_file_open(open, "scaler", &file, err);
        if (!status) status = file_read(model, open->file, file, err);
        mr_safetensors_close(file);
    } else if (!status && (!model->options.learn || !open->feature_count)) {
        status = mr_fail(err, MR_ECONFIG, "a scaler needs a file, or \"learn\": true to start from nothing");
    } else if (!status) {
        status = sizes_set(model, open->feature_count, err);
        if (!status) status = mr_model_meta_name(open, &model->meta, err);
    }
    if (status) {
        scaler_close(model);
        return status;
    }
    const size_t cols = model->params.cols;
    model->info = (struct mr_model_info){
        .type = "scaler",
        .version = model->meta.version ? model->meta.version : "",
        .feature_count = cols,
        .feature = model->meta.features.count == cols ? (const char *const *)model->meta.features.item : NULL,
        .width = cols,
        .is_transform = true,
        .parameter_count = 2 * cols,
        .flops_per_row = 2.0 * (double)cols};
    *model_out = model;
    return MR_OK;
}

static const struct mr_model_info *scaler_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_op scaler_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return MR_OP_SCALE;
}

/* The first batch is scaled by its own mean and variance: unscaled, it would throw a model that learns from it. */
static mr_status scaler_begin(struct mr_model *model, const float *x, size_t rows, struct mr_err *err)
{
    (void)err;
    if (!rows || model->standard.count > 0) return MR_OK;
    mr_standard_clear(&model->before);
    mr_standard_add_rows(&model->standard, x, rows);
    if (!mr_standard_fits(&model->standard)) mr_standard_clear(&model->standard);
    model->has_begun_with = rows;
    factors_set(model);
    return MR_OK;
}

static mr_op scaler_sum(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->moments;
    return MR_OP_MOMENTS;
}

static void scaler_update(struct mr_model *model, const struct mr_learn_batch *batch,
                          struct mr_learn_report *report_out)
{
    const size_t cols = model->params.cols;
    const double rows = batch->sums[2 * cols];
    *report_out = (struct mr_learn_report){.rows = batch->rows};
    for (size_t c = 0; c < 2 * cols; c++) report_out->is_undone |= !isfinite(batch->sums[c]);
    if (!(rows > 0)) return;
    mr_standard_copy(&model->before, &model->standard);
    if (!report_out->is_undone && !model->has_begun_with) {
        mr_standard_add(&model->standard, model->near, batch->sums, rows);
        report_out->is_undone = !mr_standard_fits(&model->standard);
        if (report_out->is_undone) mr_standard_copy(&model->standard, &model->before);
    }
    if (model->has_begun_with) { /* its rows are in there, or they did not fit */
        report_out->is_undone = !(model->standard.count > 0);
        report_out->must_begin = report_out->is_undone;
        model->has_begun_with = 0;
    }
    factors_set(model);
}

static mr_status scaler_store(const struct mr_model *model, struct mr_blob *out, struct mr_err *err)
{
    /* `before` has no rows while the first batch is only begun with. */
    const struct mr_standard *const standard = model->has_begun_with ? &model->before : &model->standard;
    const size_t cols = model->params.cols;
    double *const variance = calloc(cols, sizeof *variance);
    if (!variance) return mr_fail(err, MR_ENOMEM, "model scaler: out of memory");
    for (size_t c = 0; c < cols && standard->count > 0; c++) variance[c] = standard->squares[c] / standard->count;
    const struct mr_tensor_out tensors[] = {{.name = "mean", .rank = 1, .shape = {cols}, .f64 = standard->mean},
                                            {.name = "variance", .rank = 1, .shape = {cols}, .f64 = variance},
                                            {.name = "squares", .rank = 1, .shape = {cols}, .f64 = standard->squares},
                                            {.name = "count", .rank = 1, .shape = {1}, .f64 = &standard->count}};
    const mr_status status = mr_model_store(&model->info, NULL, tensors, 4, out, err);
    free(variance);
    return status;
}

static const struct mr_learn_ops *scaler_learn(const struct mr_model *model)
{
    static const struct mr_learn_ops ops = {
        .begin = scaler_begin, .sum = scaler_sum, .update = scaler_update, .store = scaler_store};
    return model->options.learn ? &ops : NULL;
}

extern const struct mr_model_ops mr_model_scaler;
const struct mr_model_ops mr_model_scaler = {
    .name = "scaler",
    .summary = "standardised features, for the model behind it; follows mean and variance",
    .options = options_table,
    .options_size = sizeof(struct scaler_options),
    .open = scaler_open,
    .info = scaler_info,
    .op = scaler_op,
    .learn = scaler_learn,
    .close = scaler_close,
};
