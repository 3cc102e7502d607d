/* millrace fit linear, logistic and mlp: rows with labels, of which some are held out to say how good the model is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/fit.h"
#include "cli/fit_class_weights.h"
#include "fit/moments.h"
#include "fit/network.h"
#include "fit/prepare.h"

#define CONFUSION_MAX 64   /* classes up to which the matrix is made */
#define CLASS_MAX     4096 /* as many as a model may have */

/* What a fit of these kinds works with. */
struct supervised {
    struct fit *fit;
    struct mr_matrix held_out, validation;
    struct mr_standard standard;
    struct mr_network network;
    struct mr_network_fit how;
    struct mr_network_end end;
    double label_mean, label_scale; /* a regression's labels are standardised, too */
    float *class_weight;            /* [classes]; NULL: 1 each */
    size_t sizes[MR_NETWORK_LAYERS_MAX + 1], layer_count;
    bool is_classifier, is_mlp;
};

static void supervised_deinit(struct supervised *s)
{
    mr_matrix_deinit(&s->held_out);
    mr_matrix_deinit(&s->validation);
    mr_standard_deinit(&s->standard);
    mr_network_deinit(&s->network);
    free(s->class_weight);
}

/* Outputs that tell these classes apart. */
static size_t outputs(const struct supervised *s)
{
    const size_t classes = s->fit->matrix.class_count;
    return !s->is_classifier || classes <= 2 ? 1 : classes;
}

static mr_status layers_read(struct supervised *s, struct mr_err *err)
{
    const char *const text = s->fit->options->layers;
    const size_t cols = s->fit->matrix.cols, classes = s->fit->matrix.class_count;
    const char *at = text;
    size_t count = 0;
    if (!text)
        return mr_fail(err, MR_EUSAGE, "which layers? --layers %zu,16,%zu has 16 units between inputs and outputs",
                       cols, s->is_classifier ? classes : 1);
    for (bool goes_on = true; goes_on; at++) {
        char *end;
        const unsigned long size = strtoul(at, &end, 10);
        if (end == at || (*end && *end != ',') || size < 1 || size > 65536 || count > MR_NETWORK_LAYERS_MAX)
            return mr_fail(err, MR_EUSAGE, "--layers \"%s\": expected sizes such as %zu,16,%zu, at most %d of them",
                           text, cols, outputs(s), MR_NETWORK_LAYERS_MAX + 1);
        s->sizes[count++] = size;
        goes_on = *end == ',';
        at = end;
    }
    if (count < 2)
        return mr_fail(err, MR_EUSAGE,
                       "--layers \"%s\": expected at least two sizes, that of the features and that of the outputs: "
                       "%zu,%zu has no hidden layer",
                       text, cols, s->is_classifier ? classes : 1);
    if (s->sizes[0] != cols)
        return mr_fail(err, MR_EUSAGE, "--layers \"%s\": the first is the number of features, which is %zu", text,
                       cols);
    s->layer_count = count - 1;
    const size_t last = s->sizes[count - 1];
    if (!s->is_classifier && last != 1)
        return mr_fail(err, MR_EUSAGE, "--layers \"%s\": the last of a regression is 1", text);
    if (s->is_classifier && last != classes && !(last == 1 && classes == 2))
        return mr_fail(err, MR_EUSAGE, "--layers \"%s\": the last is the number of classes, which is %zu", text,
                       classes);
    return MR_OK;
}

static mr_status shape_find(struct supervised *s, struct mr_err *err)
{
    const struct mr_matrix *const matrix = &s->fit->matrix;
    if (s->is_classifier && matrix->class_count < 2)
        return mr_fail(err, MR_EDATA, "label \"%s\": all rows are of one class: there is nothing to tell apart",
                       s->fit->options->data.label);
    if (s->is_classifier && matrix->class_count > CLASS_MAX)
        return mr_fail(err, MR_EDATA,
                       "label \"%s\": %zu classes, more than %d: is it a number? then fit linear, or mlp "
                       "--regression",
                       s->fit->options->data.label, matrix->class_count, CLASS_MAX);
    if (s->is_mlp) return layers_read(s, err);
    s->layer_count = 1;
    s->sizes[0] = matrix->cols;
    s->sizes[1] = outputs(s);
    return MR_OK;
}

/* Labels of mean 0 and deviation 1: then a step is as good for dollars as for millions. */
static void labels_standardise(struct supervised *s)
{
    struct mr_matrix *const rows[] = {&s->fit->matrix, &s->validation};
    double mean = 0, squares = 0;
    const struct mr_matrix *const train = rows[0];
    for (size_t i = 0; i < train->rows; i++) mean += train->label[i] / (double)train->rows;
    for (size_t i = 0; i < train->rows; i++) squares += (train->label[i] - mean) * (train->label[i] - mean);
    s->label_mean = mean;
    s->label_scale = squares > 0 ? sqrt(squares / (double)train->rows) : 1;
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 0; i < rows[m]->rows; i++) rows[m]->label[i] = (rows[m]->label[i] - mean) / s->label_scale;
}

static mr_status rows_prepare(struct supervised *s, struct mr_err *err)
{
    const struct fit_options *const options = s->fit->options;
    struct mr_matrix *const matrix = &s->fit->matrix;
    const double held_out = options->held_out >= 0 ? options->held_out : 0.2;
    const double validation = options->validation >= 0 ? options->validation : s->is_mlp ? 0.1 : 0;
    mr_matrix_shuffle(matrix, (uint64_t)options->seed);
    mr_status status = mr_matrix_hold_out(matrix, held_out, &s->held_out, err);
    if (!status) status = mr_matrix_hold_out(matrix, validation, &s->validation, err);
    if (!status && !mr_standard_init(&s->standard, matrix->cols)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_rows_moments(s->fit->crew, matrix->x, matrix->rows, &s->standard, err);
    if (!status && !mr_standard_fits(&s->standard))
        status = mr_fail(err, MR_EDATA, "the mean or the variance of a feature is beyond float32: scale it");
    if (!status) status = mr_matrix_standardise(s->fit->crew, matrix, &s->standard, err);
    if (!status) status = mr_matrix_standardise(s->fit->crew, &s->held_out, &s->standard, err);
    if (!status) status = mr_matrix_standardise(s->fit->crew, &s->validation, &s->standard, err);
    if (!status && !s->is_classifier) labels_standardise(s);
    return status;
}

static void stepped(void *context, size_t epoch, double loss, double validation_loss)
{
    struct supervised *const s = context;
    mr_fit_progress_step(&s->fit->progress, epoch, isnan(validation_loss) ? loss : validation_loss);
}

static mr_status activation_read(const char *text, mr_activation *activation_out, struct mr_err *err)
{
    if (mr_activation_find(text, activation_out) && *activation_out != MR_ACT_SOFTMAX) return MR_OK;
    return mr_fail(err, MR_EUSAGE, "--activation \"%s\": known are identity, sigmoid, tanh, relu, gelu", text);
}

static mr_status how_read(struct supervised *s, struct mr_err *err)
{
    const struct fit_options *const o = s->fit->options;
    const double rows = (double)s->fit->matrix.rows;
    const bool is_lbfgs = !s->is_mlp || (o->solver && !strcmp(o->solver, "lbfgs"));
    if (o->solver && strcmp(o->solver, "lbfgs") != 0 && strcmp(o->solver, "adam") != 0)
        return mr_fail(err, MR_EUSAGE, "--solver \"%s\": expected adam or lbfgs", o->solver);
    s->how = (struct mr_network_fit){.solver = is_lbfgs ? MR_SOLVER_LBFGS : MR_SOLVER_ADAM,
                                     .train = &s->fit->matrix,
                                     .validation = &s->validation,
                                     .epochs_max = o->iterations > 0 ? (size_t)o->iterations
                                                   : is_lbfgs        ? 1000
                                                                     : 200,
                                     .batch_rows = o->batch > 0 ? (size_t)o->batch : 256,
                                     .step = o->step > 0 ? o->step : 1e-3,
                                     .l2 = o->l2 >= 0         ? o->l2
                                           : s->is_mlp        ? 1e-4 / rows
                                           : s->is_classifier ? 1 / rows
                                                              : 0,
                                     .tolerance = o->tolerance >= 0 ? o->tolerance : 1e-4,
                                     .patience = o->patience >= 0 ? (size_t)o->patience
                                                 : is_lbfgs       ? 0 /* it crosses plateaus, and ends by itself */
                                                                  : 10,
                                     .seed = (uint64_t)o->seed,
                                     .is_stopped = &mr_fit_is_stopped,
                                     .stepped = stepped,
                                     .context = s};
    return MR_OK;
}

static mr_status network_fit(struct supervised *s, struct mr_err *err)
{
    const char *const name = s->fit->options->activation;
    mr_activation hidden = MR_ACT_RELU;
    mr_status status = name ? activation_read(name, &hidden, err) : MR_OK;
    if (!status) status = how_read(s, err);
    if (!status && s->fit->options->class_weights) status = fit_class_weights_read(s->fit, &s->class_weight, err);
    if (!status)
        status =
            mr_network_init(&s->network, s->sizes, s->layer_count, hidden,
                            s->is_classifier ? MR_LOSS_LOG : MR_LOSS_SQUARED, (uint64_t)s->fit->options->seed, err);
    if (status) return status;
    s->network.params.class_weight = s->class_weight;
    s->fit->progress = (struct mr_fit_progress){.what = s->fit->kind->name,
                                                .loss_name = s->validation.rows ? "validation loss" : "loss",
                                                .step_max = s->how.epochs_max,
                                                .rows = s->fit->matrix.rows,
                                                .is_quiet = s->fit->options->quiet};
    mr_fit_progress_begin(&s->fit->progress);
    status = mr_network_fit(s->fit->crew, &s->network, &s->how, &s->end, err);
    mr_fit_progress_end(&s->fit->progress);
    return status;
}

static void confusion_print(const struct supervised *s, const double *confusion)
{
    const size_t classes = s->fit->matrix.class_count, shown = classes < 16 ? classes : 16;
    char *const *const name = s->fit->matrix.class_name;
    printf("\n%16s  predicted\n%16s", "held-out rows", "label");
    for (size_t i = 0; i < shown; i++) printf("  %8.8s", name[i]);
    printf("%s\n", shown < classes ? "  ..." : "");
    for (size_t i = 0; i < shown; i++) {
        printf("%16.16s", name[i]);
        for (size_t j = 0; j < shown; j++) printf("  %8.0f", confusion[i * classes + j]);
        printf("%s\n", shown < classes ? "  ..." : "");
    }
}

static void score_line(struct supervised *s, const char *name, double value, const char *text)
{
    fit_score(s->fit, name, value);
    if (!s->fit->options->json) printf("%-22s  %.6g\n", text, value);
}

/* A regression's labels back in their unit, and the model with them. */
static void labels_restore(struct supervised *s)
{
    struct mr_network *const network = &s->network;
    const size_t last = network->layer[s->layer_count - 1].in; /* times one output */
    if (s->is_classifier) return;
    for (size_t i = network->weights - last; i < network->weights; i++) network->w[i] *= s->label_scale;
    double *const bias = &network->w[network->count - 1];
    *bias = *bias * s->label_scale + s->label_mean;
    for (size_t i = 0; i < network->count; i++) network->rounded[i] = (float)network->w[i];
    s->end.loss *= s->label_scale * s->label_scale;
    s->end.validation_loss *= s->label_scale * s->label_scale;
}

static void held_out_report(struct supervised *s, const struct mr_network_score *score)
{
    if (s->is_classifier) {
        score_line(s, "held_out_accuracy", score->right / score->rows, "accuracy (held out)");
        score_line(s, "held_out_log_loss", score->loss, "log loss (held out)");
        if (score->confusion && !s->fit->options->json) confusion_print(s, score->confusion);
        return;
    }
    const double mean = score->label_sum / score->rows, variance = score->label_squares / score->rows - mean * mean;
    score_line(s, "held_out_rmse", sqrt(2 * score->loss), "RMSE (held out)");
    score_line(s, "held_out_r2", variance > 0 ? 1 - 2 * score->loss / variance : NAN, "R2 (held out)");
}

static mr_status network_report(struct supervised *s, struct mr_err *err)
{
    const size_t classes = s->fit->matrix.class_count;
    struct mr_network_score score = {0};
    double *const confusion =
        s->is_classifier && classes <= CONFUSION_MAX ? calloc(classes * classes, sizeof *confusion) : NULL;
    cJSON *const report = s->fit->report;
    cJSON_AddNumberToObject(report, "held_out_rows", (double)s->held_out.rows);
    cJSON_AddNumberToObject(report, "validation_rows", (double)s->validation.rows);
    cJSON_AddNumberToObject(report, "l2", s->how.l2);
    cJSON_AddNumberToObject(report, "iterations", (double)s->end.epochs);
    const char *const ended = fit_ended(s->fit, s->end.why == MR_FIT_CONVERGED, s->end.why == MR_FIT_STOPPED);
    if (!s->fit->options->json)
        printf("%zu rows fitted, %zu validated, %zu held out; %zu iterations (%s); l2 %.3g\n", s->fit->matrix.rows,
               s->validation.rows, s->held_out.rows, s->end.epochs, ended, s->how.l2);
    score_line(s, "loss", s->end.loss, s->is_classifier ? "log loss, with l2" : "loss (error^2 / 2)");
    if (s->validation.rows) score_line(s, "validation_loss", s->end.validation_loss, "validation loss");
    mr_status status = MR_OK;
    if (s->held_out.rows) {
        status = mr_network_score(s->fit->crew, &s->network, &s->held_out, confusion, &score, err);
        if (!status) held_out_report(s, &score);
    }
    free(confusion);
    return status;
}

#define TENSORS_MAX (2 * MR_NETWORK_LAYERS_MAX + 2)

static mr_status network_save(struct supervised *s, struct mr_err *err)
{
    const struct mr_network *const network = &s->network;
    const size_t cols = s->fit->matrix.cols;
    struct mr_tensor_out tensors[TENSORS_MAX];
    char names[2 * MR_NETWORK_LAYERS_MAX][48];
    const char *activations[MR_NETWORK_LAYERS_MAX];
    const double *w = network->w, *b = network->w + network->weights;
    size_t count = 0;
    double *const scale = malloc((cols + 1) * sizeof *scale);
    if (!scale) return mr_fail(err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < s->layer_count; i++) {
        const struct mr_mlp_layer *const layer = &network->layer[i];
        snprintf(names[2 * i], sizeof *names, s->is_mlp ? "layer.%zu.weight" : "weight", i);
        snprintf(names[2 * i + 1], sizeof *names, s->is_mlp ? "layer.%zu.bias" : "bias", i);
        tensors[count++] =
            (struct mr_tensor_out){.name = names[2 * i], .rank = 2, .shape = {layer->out, layer->in}, .f64 = w};
        tensors[count++] = (struct mr_tensor_out){.name = names[2 * i + 1], .rank = 1, .shape = {layer->out}, .f64 = b};
        activations[i] = mr_activation_name(layer->activation);
        w += layer->out * layer->in;
        b += layer->out;
    }
    for (size_t c = 0; c < cols; c++) scale[c] = 1 / s->standard.factor[c];
    tensors[count++] =
        (struct mr_tensor_out){.name = "input.mean", .rank = 1, .shape = {cols}, .f64 = s->standard.mean};
    tensors[count++] = (struct mr_tensor_out){.name = "input.scale", .rank = 1, .shape = {cols}, .f64 = scale};
    const struct fit_model model = {.type = s->fit->kind->name,
                                    .label = s->is_classifier ? (const char *const *)s->fit->matrix.class_name : NULL,
                                    .label_count = s->is_classifier ? s->fit->matrix.class_count : 0,
                                    .activation = s->is_mlp ? activations : NULL,
                                    .activation_count = s->layer_count,
                                    .tensor = tensors,
                                    .tensor_count = count};
    const mr_status status = fit_save(s->fit, &model, err);
    free(scale);
    return status;
}

static mr_status supervised_run(struct fit *fit, struct mr_err *err)
{
    struct supervised s = {.fit = fit, .is_classifier = fit->label == MR_LABEL_CLASS, .is_mlp = fit->kind == &fit_mlp};
    mr_status status = shape_find(&s, err);
    if (!status) status = rows_prepare(&s, err);
    if (!status) status = network_fit(&s, err);
    if (!status) labels_restore(&s);
    if (!status) status = network_report(&s, err);
    if (!status) status = network_save(&s, err);
    supervised_deinit(&s);
    return status;
}

const struct fit_kind fit_linear = {.name = "linear", .label = MR_LABEL_NUMBER, .run = supervised_run};
const struct fit_kind fit_logistic = {.name = "logistic", .label = MR_LABEL_CLASS, .run = supervised_run};
const struct fit_kind fit_mlp = {.name = "mlp", .label = MR_LABEL_CLASS, .run = supervised_run};
