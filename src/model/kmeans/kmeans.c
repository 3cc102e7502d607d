/* kmeans: the nearest of k centres and the squared distance to it; centres that move with the stream when it learns. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kmeans_assign/kmeans_assign.h"
#include "learn/kmeans_learner.h"
#include "learn/kmeans_start.h"
#include "modelfile/model_file.h"

#define K_MAX      (1 << 20)
#define SQUARE_MAX 8e37 /* of |centre|^2: a quarter of what float32 has */

enum { COMPAT_NONE, COMPAT_SPARK };

struct kmeans_options {
    bool learn;
    int64_t k, seed;
    double decay, half_life;
    int unit;   /* mr_decay_unit */
    int compat; /* COMPAT_... */
};

static const char *const units[] = {"batches", "points", NULL};
static const char *const compats[] = {"none", "spark", NULL};

#define AT(field) offsetof(struct kmeans_options, field)
static const struct mr_option options_table[] = {
    {.key = "learn",
     .type = MR_OPT_BOOL,
     .offset = AT(learn),
     .doc = "Move the centres with the stream, after each batch is scored."},
    {.key = "k",
     .type = MR_OPT_INT,
     .offset = AT(k),
     .min = 0,
     .max = K_MAX,
     .doc = "Centres, when there is no file: they start as k-means++ finds them in the first batch."},
    {.key = "decay",
     .type = MR_OPT_DOUBLE,
     .offset = AT(decay),
     .fallback = "1",
     .min = 0,
     .max = 1,
     .doc = "What the weight of the past is multiplied by for each batch, or point: 1 forgets nothing, 0 everything."},
    {.key = "half_life",
     .type = MR_OPT_DOUBLE,
     .offset = AT(half_life),
     .min = 0,
     .max = 1e15,
     .doc = "Instead of decay: batches, or points, after which the past counts half; 0: decay is used."},
    {.key = "unit",
     .type = MR_OPT_ENUM,
     .offset = AT(unit),
     .fallback = "batches",
     .choices = units,
     .doc = "What decay and half_life count."},
    {.key = "seed", .type = MR_OPT_INT, .offset = AT(seed), .fallback = "1", .max = 9e15, .doc = "Of the start."},
    {.key = "compat",
     .type = MR_OPT_ENUM,
     .offset = AT(compat),
     .fallback = "none",
     .choices = compats,
     .doc = "spark: assigns in float64, so that centres agree with StreamingKMeans to the last digits; slower."},
    {0},
};
#undef AT

struct mr_model {
    struct kmeans_options options;
    struct mr_model_meta meta;
    struct mr_model_info info;
    struct mr_kmeans_params params;
    struct mr_kmeans_learner learner;
    float *center;                         /* [k][cols], of params */
    double *count, *sum;                   /* COMPAT_SPARK: [k], [k][cols] */
    double *center_before, *weight_before; /* as the learner's, for a batch that is undone */
    bool has_centers, has_learned;         /* has_learned: or the centres came from a file */
};

static void kmeans_close(struct mr_model *model)
{
    if (!model) return;
    mr_kmeans_learner_deinit(&model->learner);
    mr_model_meta_deinit(&model->meta);
    free(model->center);
    free(model->count);
    free(model->sum);
    free(model->center_before);
    free(model->weight_before);
    free(model);
}

/* The kernels' copy. */
static void centers_round(struct mr_model *model)
{
    for (size_t i = 0; i < model->params.k * model->params.cols; i++)
        model->center[i] = (float)model->learner.center[i];
}

static mr_status sizes_set(struct mr_model *model, size_t k, size_t cols, struct mr_err *err)
{
    size_t count, bytes;
    if (__builtin_mul_overflow(k, cols, &count) || __builtin_mul_overflow(count, 2 * sizeof(double), &bytes))
        return mr_fail(err, MR_EDATA, "model kmeans: %zu centres of %zu features are too many", k, cols);
    model->center = calloc(count, sizeof *model->center);
    model->count = calloc(k, sizeof *model->count);
    model->sum = calloc(count, sizeof *model->sum);
    model->center_before = calloc(count, sizeof *model->center_before);
    model->weight_before = calloc(k, sizeof *model->weight_before);
    if (!mr_kmeans_learner_init(&model->learner, k, cols) || !model->center || !model->count || !model->sum ||
        !model->center_before || !model->weight_before)
        return mr_fail(err, MR_ENOMEM, "model kmeans: no memory for %zu centres of %zu features", k, cols);
    model->learner.unit = (mr_decay_unit)model->options.unit;
    model->learner.decay =
        model->options.half_life > 0 ? mr_decay_of_half_life(model->options.half_life) : model->options.decay;
    model->params = (struct mr_kmeans_params){.cols = cols, .k = k, .center = model->center};
    return MR_OK;
}

static mr_status file_read(struct mr_model *model, const char *path, const struct mr_safetensors *file,
                           struct mr_err *err)
{
    const struct mr_tensor *center, *weight = NULL;
    mr_status status = mr_model_meta_read(file, &model->meta, err);
    if (!status) status = mr_model_tensor(file, "centers", 2, 0, &center, err);
    if (status) return status;
    if (!center->shape[0] || !center->shape[1] || center->shape[0] > K_MAX)
        return mr_fail(err, MR_EDATA, "model \"%s\": tensor \"centers\" is [%llu, %llu]: it needs 1 to %d centres",
                       path, (unsigned long long)center->shape[0], (unsigned long long)center->shape[1], K_MAX);
    if (model->options.k && (uint64_t)model->options.k != center->shape[0])
        return mr_fail(err, MR_EDATA, "model \"%s\": it has %llu centres, the job says k %lld", path,
                       (unsigned long long)center->shape[0], (long long)model->options.k);
    if (mr_safetensors_find(file, "weights"))
        status = mr_model_tensor(file, "weights", 1, center->shape[0], &weight, err);
    if (!status) status = sizes_set(model, (size_t)center->shape[0], (size_t)center->shape[1], err);
    for (uint64_t i = 0; i < center->count && !status; i++) {
        model->learner.center[i] = mr_tensor_value(center, i);
        if (!isfinite((float)model->learner.center[i]))
            status = mr_fail(err, MR_EDATA, "model \"%s\": tensor \"centers\": value %llu is not finite as float32",
                             path, (unsigned long long)i);
    }
    for (uint64_t i = 0; weight && i < weight->count && !status; i++) {
        model->learner.weight[i] = mr_tensor_value(weight, i);
        if (!(model->learner.weight[i] >= 0) || !isfinite(model->learner.weight[i]))
            status = mr_fail(err, MR_EDATA, "model \"%s\": tensor \"weights\": value %llu is negative or not finite",
                             path, (unsigned long long)i);
    }
    model->has_centers = model->has_learned = !mr_safetensors_find(file, "begun");
    if (!status && !model->has_learned && !model->options.learn)
        status = mr_fail(err, MR_EDATA, "model \"%s\": it was stored before its first batch and has no centres", path);
    if (!status) centers_round(model);
    return status;
}

static mr_status info_fill(struct mr_model *model, const char *path, struct mr_err *err)
{
    const struct mr_model_meta *const meta = &model->meta;
    const size_t k = model->params.k, cols = model->params.cols;
    if (meta->features.count && meta->features.count != cols)
        return mr_fail(err, MR_EDATA, "model \"%s\": %zu names in millrace.features, but centers have %zu columns",
                       path, meta->features.count, cols);
    if (meta->labels.count && meta->labels.count != k)
        return mr_fail(err, MR_EDATA, "model \"%s\": %zu names in millrace.labels, but there are %zu centres", path,
                       meta->labels.count, k);
    model->info = (struct mr_model_info){.type = "kmeans",
                                         .version = meta->version ? meta->version : "",
                                         .feature_count = cols,
                                         .feature = (const char *const *)meta->features.item,
                                         .width = 1,
                                         .is_classifier = true,
                                         .has_no_probability = true,
                                         .is_distance = true,
                                         .class_count = k,
                                         .label = (const char *const *)meta->labels.item,
                                         .parameter_count = k * cols,
                                         .flops_per_row = 2.0 * (double)k * (double)cols};
    if (!meta->features.count) model->info.feature = NULL;
    if (!meta->labels.count) model->info.label = NULL;
    return MR_OK;
}

static mr_status kmeans_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = calloc(1, sizeof *model);
    struct mr_safetensors *file = NULL;
    mr_status status = MR_OK;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model kmeans: out of memory");
    if (open->options)
        model->options = *(const struct kmeans_options *)open->options;
    else
        status = mr_options_init(options_table, &model->options, err);
    if (!status && model->options.half_life > 0 && model->options.decay < 1)
        status =
            mr_fail(err, MR_ECONFIG, "decay: does nothing beside half_life, which stands for it: drop one of them");
    if (!status && open->file) {
        status = mr_model_file_open(open, "kmeans", &file, err);
        if (!status) status = file_read(model, open->file, file, err);
        mr_safetensors_close(file);
    } else if (!status && (!model->options.learn || !model->options.k || !open->feature_count)) {
        status =
            mr_fail(err, MR_ECONFIG, "a kmeans model needs a file, or \"learn\": true and \"k\" to start from nothing");
    } else if (!status) {
        status = sizes_set(model, (size_t)model->options.k, open->feature_count, err);
        if (!status) status = mr_model_meta_name(open, &model->meta, err);
    }
    if (!status) status = info_fill(model, open->file ? open->file : "", err);
    if (status)
        kmeans_close(model);
    else
        *model_out = model;
    return status;
}

static const struct mr_model_info *kmeans_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_op kmeans_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return MR_OP_KMEANS_ASSIGN;
}

static mr_status kmeans_begin(struct mr_model *model, const float *x, size_t rows, struct mr_err *err)
{
    if (model->has_centers) return MR_OK;
    if (!mr_kmeans_start(x, rows, model->params.cols, model->params.k, (uint64_t)model->options.seed,
                         model->learner.center))
        return mr_fail(err, MR_ENOMEM, "model kmeans: no memory for the start");
    model->has_centers = true;
    centers_round(model);
    return MR_OK;
}

static mr_op kmeans_sum(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return model->options.compat == COMPAT_SPARK ? MR_OP_COUNT : MR_OP_KMEANS_SUM;
}

/* Assigns in double, from the float64 centres, the lowest index of equally near ones. Returns the sum of the distances.
 */
static double exact_sums(struct mr_model *model, const struct mr_learn_batch *batch)
{
    const size_t k = model->params.k, cols = model->params.cols;
    double total = 0;
    memset(model->count, 0, k * sizeof *model->count);
    memset(model->sum, 0, k * cols * sizeof *model->sum);
    for (size_t row = 0; row < batch->rows; row++) {
        double nearest = INFINITY;
        size_t at = 0;
        for (size_t i = 0; i < k; i++) {
            double distance = 0;
            for (size_t c = 0; c < cols; c++) {
                const double off = (double)batch->x[mr_tile_at(row, c, cols)] - model->learner.center[i * cols + c];
                distance += off * off;
            }
            if (distance < nearest) nearest = distance, at = i;
        }
        model->count[at] += 1;
        total += isfinite((float)nearest) ? nearest : INFINITY;
        for (size_t c = 0; c < cols; c++) model->sum[at * cols + c] += (double)batch->x[mr_tile_at(row, c, cols)];
    }
    return total;
}

/* Whether distances from every centre can be had in float32. */
static bool centers_fit(const struct mr_model *model)
{
    const size_t cols = model->params.cols;
    for (size_t i = 0; i < model->params.k; i++) {
        double square = 0;
        for (size_t c = 0; c < cols; c++)
            square += model->learner.center[i * cols + c] * model->learner.center[i * cols + c];
        if (!(square <= SQUARE_MAX)) return false;
    }
    return true;
}

/* The centres as they were before a batch whose features are too large for their squares; those of a start that it gave
 * are none. */
static void batch_undo(struct mr_model *model, struct mr_learn_report *report)
{
    const size_t k = model->params.k, bytes = k * model->params.cols * sizeof *model->center_before;
    memcpy(model->learner.center, model->center_before, bytes);
    memcpy(model->learner.weight, model->weight_before, k * sizeof *model->weight_before);
    report->is_undone = true;
    if (model->has_learned) return;
    memset(model->learner.center, 0, bytes);
    model->has_centers = false;
    report->must_begin = true;
}

static void kmeans_update(struct mr_model *model, const struct mr_learn_batch *batch,
                          struct mr_learn_report *report_out)
{
    const size_t k = model->params.k, cols = model->params.cols;
    const uint64_t split_count = model->learner.split_count;
    *report_out = (struct mr_learn_report){.rows = batch->rows};
    memcpy(model->center_before, model->learner.center, k * cols * sizeof *model->center_before);
    memcpy(model->weight_before, model->learner.weight, k * sizeof *model->weight_before);
    if (batch->sums) {
        report_out->loss = batch->sums[k * (cols + 1)];
        mr_kmeans_learner_update(&model->learner, batch->sums, batch->sums + k);
    } else {
        report_out->loss = exact_sums(model, batch);
        mr_kmeans_learner_update(&model->learner, model->count, model->sum);
    }
    if (!isfinite(report_out->loss) || !centers_fit(model)) {
        batch_undo(model, report_out);
        model->learner.split_count = split_count;
    }
    model->has_learned |= !report_out->is_undone;
    centers_round(model);
}

static mr_status kmeans_store(const struct mr_model *model, struct mr_blob *out, struct mr_err *err)
{
    const size_t k = model->params.k, cols = model->params.cols;
    const double begun = 0;
    double *const zero = model->has_learned ? NULL : calloc(k * cols, sizeof *zero);
    if (!model->has_learned && !zero) return mr_fail(err, MR_ENOMEM, "model kmeans: out of memory");
    const struct mr_tensor_out tensors[] = {
        {.name = "centers", .rank = 2, .shape = {k, cols}, .f64 = zero ? zero : model->learner.center},
        {.name = "weights", .rank = 1, .shape = {k}, .f64 = model->learner.weight},
        {.name = "begun", .rank = 1, .shape = {1}, .f64 = &begun}}; /* only of one that has not */
    const mr_status status = mr_model_store(&model->info, NULL, tensors, zero ? 3 : 2, out, err);
    free(zero);
    return status;
}

static const struct mr_learn_ops *kmeans_learn(const struct mr_model *model)
{
    static const struct mr_learn_ops ops = {
        .has_loss = true, .begin = kmeans_begin, .sum = kmeans_sum, .update = kmeans_update, .store = kmeans_store};
    return model->options.learn ? &ops : NULL;
}

extern const struct mr_model_ops mr_model_kmeans;
const struct mr_model_ops mr_model_kmeans = {
    .name = "kmeans",
    .summary = "k-means: the nearest centre and the squared distance to it; learns with decay",
    .options = options_table,
    .options_size = sizeof(struct kmeans_options),
    .open = kmeans_open,
    .info = kmeans_info,
    .op = kmeans_op,
    .learn = kmeans_learn,
    .close = kmeans_close,
};
