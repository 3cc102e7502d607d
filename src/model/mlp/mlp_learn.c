/* mlp: how a perceptron starts from nothing, learns, and is saved. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "model/mlp/mlp_model.h"
#include "modelfile/optimizer_file.h"

#define WIDTH_MAX 65536

#define TOLERANCE_USUAL      0.01
#define TOLERANCE_USUAL_TEXT "0.01"

/* Weights and biases of a model from nothing. Learning keeps seven float64 for each: 4 GiB in all. */
#define PARAMETERS_MAX      ((size_t)1 << 26)
#define PARAMETERS_MAX_TEXT "67108864"
_Static_assert(PARAMETERS_MAX == 67108864, "the text says the number");

static const char *const activations[] = {"relu", "sigmoid", "tanh", "gelu", "identity", NULL};
static const mr_activation activation_kinds[] = {MR_ACT_RELU, MR_ACT_SIGMOID, MR_ACT_TANH, MR_ACT_GELU,
                                                 MR_ACT_IDENTITY};
static const char *const schedules[] = {"constant", "sqrt", "adagrad", "adam", NULL};
static const mr_step_kind schedule_kinds[] = {MR_STEP_CONSTANT, MR_STEP_SQRT, MR_STEP_ADAGRAD, MR_STEP_ADAM};
static const char *const precisions[] = {"fp32", "bf16", "int8", NULL};
static const char *const losses[] = {"squared", "huber", NULL};

#define AT(field) offsetof(struct mr_mlp_options, field)
const struct mr_option mr_mlp_options_table[] = {
    {.key = "learn",
     .type = MR_OPT_BOOL,
     .offset = AT(learn),
     .doc = "Learn from record.label, after each batch is scored."},
    {.key = "hidden",
     .type = MR_OPT_STRING,
     .offset = AT(hidden),
     .fallback = "32",
     .doc = "Without a file: widths of the hidden layers, such as \"64-32\"; \"none\" for no hidden layer. A model has "
            "at most " PARAMETERS_MAX_TEXT " weights and biases."},
    {.key = "activation",
     .type = MR_OPT_ENUM,
     .offset = AT(activation),
     .fallback = "relu",
     .choices = activations,
     .doc = "Without a file: of the hidden layers."},
    {.key = "classes",
     .type = MR_OPT_INT,
     .offset = AT(classes),
     .fallback = "0",
     .min = 0,
     .max = WIDTH_MAX,
     .doc =
         "Without a file: classes 0 to N - 1 that labels name; 2 is one output, the probability of class 1; 0: labels "
         "are numbers to come near to."},
    {.key = "seed",
     .type = MR_OPT_INT,
     .offset = AT(seed),
     .fallback = "1",
     .min = 0,
     .max = 1e15,
     .doc = "Without a file: of the first weights; the same seed, input and backend give the same model."},
    {.key = "loss",
     .type = MR_OPT_ENUM,
     .offset = AT(loss),
     .fallback = "squared",
     .choices = losses,
     .doc =
         "What learning lowers without classes: squared; huber: squared up to delta, linear beyond. With classes it is "
         "the log loss."},
    {.key = "delta",
     .type = MR_OPT_DOUBLE,
     .offset = AT(delta),
     .fallback = "1",
     .min = 1e-9,
     .max = 1e9,
     .doc = "Of the Huber loss, in units of the label."},
    {.key = "step",
     .type = MR_OPT_DOUBLE,
     .offset = AT(step),
     .fallback = "0.001",
     .min = 1e-15,
     .max = 1e6,
     .doc = "Size of a step along the mean gradient of a batch."},
    {.key = "schedule",
     .type = MR_OPT_ENUM,
     .offset = AT(schedule),
     .fallback = "adam",
     .choices = schedules,
     .doc = "How steps are made: constant; sqrt: step / sqrt(batches); adagrad: by each weight's own gradients so far; "
            "adam."},
    {.key = "l1",
     .type = MR_OPT_DOUBLE,
     .offset = AT(l1),
     .min = 0,
     .max = 1e6,
     .doc = "L1 penalty on the weights, biases left out."},
    {.key = "l2",
     .type = MR_OPT_DOUBLE,
     .offset = AT(l2),
     .min = 0,
     .max = 1e6,
     .doc = "L2 penalty on the weights, biases left out."},
    {.key = "precision",
     .type = MR_OPT_ENUM,
     .offset = AT(precision),
     .fallback = "fp32",
     .choices = precisions,
     .doc = "Numbers that wide layers are multiplied in; not for a model that learns. bf16 needs a CPU with "
            "AVX512-BF16, int8 one with AVX512-VNNI. The first rows are scored in fp32 as well, and the largest "
            "error is logged and reported."},
    {.key = "precision_tolerance",
     .type = MR_OPT_DOUBLE,
     .offset = AT(precision_tolerance),
     .fallback = TOLERANCE_USUAL_TEXT,
     .min = 0,
     .max = 1,
     .doc = "Largest error that bf16 or int8 may have: of a probability, or of another output relative to its largest "
            "value in the batch; past it the job goes on in fp32 and says so."},
    {0},
};

mr_status mr_mlp_options_check(const struct mr_mlp_options *options, struct mr_err *err)
{
    const double tolerance = options->precision_tolerance;
    if (!options->precision && (tolerance < TOLERANCE_USUAL || tolerance > TOLERANCE_USUAL))
        return mr_fail(err, MR_ECONFIG,
                       "precision_tolerance: does nothing while precision is \"fp32\": drop it, or set precision");
    if (options->learn && options->precision)
        return mr_fail(err, MR_ECONFIG,
                       "precision: a model that learns is scored in fp32: drop \"learn\", or set \"precision\" to "
                       "\"fp32\"");
    return MR_OK;
}

/* ---- from nothing ---- */

/* "64-32" into widths; returns how many, 0 for "none", or -1. */
static int hidden_parse(const char *text, size_t *widths, size_t cap)
{
    int count = 0;
    if (!strcmp(text, "none")) return 0;
    for (;;) {
        char *end;
        if (*text < '0' || *text > '9') return -1;
        const unsigned long width = strtoul(text, &end, 10);
        if (!width || width > WIDTH_MAX || (size_t)count == cap) return -1;
        widths[count++] = width;
        if (!*end) return count;
        if (*end != '-') return -1;
        text = end + 1;
    }
}

/* Whether layers of these widths, the features' first, stay within PARAMETERS_MAX. */
static bool parameters_fit(const size_t *width, size_t layer_count)
{
    size_t sum = 0, weights;
    for (size_t i = 0; i < layer_count; i++) {
        if (__builtin_mul_overflow(width[i], width[i + 1], &weights) || __builtin_add_overflow(sum, weights, &sum) ||
            __builtin_add_overflow(sum, width[i + 1], &sum) || sum > PARAMETERS_MAX)
            return false;
    }
    return true;
}

/* Weights between +- sqrt(6 / (in + out)) (Glorot and Bengio 2010), biases 0. */
static bool layer_make(struct mr_mlp_layer *layer, size_t in, size_t out, mr_activation activation, uint64_t *state)
{
    float *const w = malloc(in * out * sizeof *w), *const b = calloc(out, sizeof *b);
    const double size = sqrt(6.0 / (double)(in + out));
    *layer = (struct mr_mlp_layer){.in = in, .out = out, .w = w, .b = b, .activation = activation};
    for (size_t i = 0; w && i < in * out; i++) w[i] = (float)((2 * mr_random_unit(state) - 1) * size);
    return w && b;
}

mr_status mr_mlp_zero_make(struct mr_model *model, size_t cols, struct mr_err *err)
{
    const struct mr_mlp_options *const options = &model->options;
    const size_t out = options->classes > 2 ? (size_t)options->classes : 1;
    size_t width[MR_MLP_LAYER_COUNT_MAX + 1] = {cols};
    uint64_t state = (uint64_t)options->seed;
    if (!options->learn || !cols)
        return mr_fail(err, MR_ECONFIG, "an mlp model needs a file, or \"learn\": true to start from nothing");
    if (options->classes == 1)
        return mr_fail(err, MR_ECONFIG, "classes: 1 class leaves nothing to learn: 2 or more, or 0 for a number");
    const int hidden = hidden_parse(options->hidden, width + 1, MR_MLP_LAYER_COUNT_MAX - 1);
    if (hidden < 0)
        return mr_fail(err, MR_ECONFIG,
                       "hidden: \"%.40s\": expected widths from 1 to %d with - between them, such as 64-32, or none",
                       options->hidden, WIDTH_MAX);
    width[hidden + 1] = out;
    if (!parameters_fit(width, (size_t)hidden + 1))
        return mr_fail(err, MR_ECONFIG,
                       "hidden: \"%.40s\": with %zu features and %zu output%s that is more than " PARAMETERS_MAX_TEXT
                       " weights and biases, the most that a model may have: fewer or narrower layers",
                       options->hidden, cols, out, out == 1 ? "" : "s");
    model->layer = calloc((size_t)hidden + 1, sizeof *model->layer);
    bool is_whole = model->layer;
    for (size_t i = 0; i <= (size_t)hidden && is_whole; i++) {
        const mr_activation last = !options->classes ? MR_ACT_IDENTITY : out == 1 ? MR_ACT_SIGMOID : MR_ACT_SOFTMAX;
        is_whole = layer_make(&model->layer[i], width[i], width[i + 1],
                              i < (size_t)hidden ? activation_kinds[options->activation] : last, &state);
        model->params.layer_count = i + 1;
    }
    if (!is_whole) return mr_fail(err, MR_ENOMEM, "model mlp: out of memory");
    model->params.layer = model->layer;
    model->info = (struct mr_model_info){.type = "mlp",
                                         .version = "",
                                         .feature_count = cols,
                                         .width = out,
                                         .is_classifier = options->classes > 0,
                                         .class_count = (size_t)options->classes};
    return MR_OK;
}

/* ---- learning ---- */

static mr_status input_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    const struct mr_tensor *mean, *scale;
    const size_t cols = model->info.feature_count;
    if (!mr_safetensors_find(file, "input.scale")) return MR_OK;
    mr_status status = mr_model_tensor(file, "input.mean", 1, cols, &mean, err);
    if (!status) status = mr_model_tensor(file, "input.scale", 1, cols, &scale, err);
    if (status) return status;
    model->mean = calloc(cols, sizeof *model->mean);
    model->scale = calloc(cols, sizeof *model->scale);
    model->factor = calloc(cols, sizeof *model->factor);
    if (!model->mean || !model->scale || !model->factor) return mr_fail(err, MR_ENOMEM, "model mlp: out of memory");
    for (size_t c = 0; c < cols; c++) {
        model->mean[c] = mr_tensor_value(mean, c);
        model->scale[c] = mr_tensor_value(scale, c);
        model->factor[c] = 1 / model->scale[c];
    }
    return MR_OK;
}

/* A file that was saved while learning: float64 weights as they were, and the optimizer's state. */
static mr_status state_read(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    struct mr_mlp_learner *const l = &model->learner;
    const struct mr_tensor *tensor;
    double *w = l->w, *b = l->w + l->weights;
    mr_status status = MR_OK;
    for (size_t i = 0; i < model->params.layer_count && !status; i++) {
        const struct mr_mlp_layer *const layer = &model->layer[i];
        char name[64];
        snprintf(name, sizeof name, "layer.%zu.weight", i);
        status = mr_model_tensor(file, name, 2, 0, &tensor, err);
        for (size_t k = 0; !status && k < layer->in * layer->out; k++) *w++ = mr_tensor_value(tensor, k);
        snprintf(name, sizeof name, "layer.%zu.bias", i);
        if (!status) status = mr_model_tensor(file, name, 1, layer->out, &tensor, err);
        for (size_t o = 0; !status && o < layer->out; o++) *b++ = mr_tensor_value(tensor, o);
    }
    return status ? status : mr_optimizer_read(&l->optimizer, &l->guard, file, err);
}

/* The loss that goes with the last activation; false: there is none. */
static bool loss_of(const struct mr_model *model, mr_loss *loss_out)
{
    const struct mr_mlp_layer *const last = &model->layer[model->params.layer_count - 1];
    *loss_out =
        last->activation == MR_ACT_IDENTITY ? model->options.loss ? MR_LOSS_HUBER : MR_LOSS_SQUARED : MR_LOSS_LOG;
    return last->activation == MR_ACT_SOFTMAX                                          ? last->out > 1
           : last->activation == MR_ACT_SIGMOID || last->activation == MR_ACT_IDENTITY ? last->out == 1
                                                                                       : false;
}

mr_status mr_mlp_learner_open(struct mr_model *model, const struct mr_safetensors *file, struct mr_err *err)
{
    const struct mr_mlp_options *const options = &model->options;
    const struct mr_mlp_layer *const last = &model->layer[model->params.layer_count - 1];
    struct mr_mlp_gradient_params sum = {.mlp = model->params, .delta = (float)options->delta};
    const struct mr_optimizer_options optimizer = {
        .kind = schedule_kinds[options->schedule], .step = options->step, .l1 = options->l1, .l2 = options->l2};
    mr_status status = MR_OK;
    if (!loss_of(model, &sum.loss))
        return mr_fail(
            err, MR_ECONFIG,
            "an mlp learns with a last layer of softmax, or of one output with sigmoid or identity; this one "
            "has %zu with %s",
            last->out, mr_activation_name(last->activation));
    if (file) status = input_read(model, file, err);
    if (!status && !mr_mlp_learner_init(&model->learner, &sum, model->factor, &optimizer))
        status = mr_fail(err, MR_ENOMEM, "model mlp: out of memory");
    if (!status && file) status = state_read(model, file, err);
    if (!status) mr_mlp_learner_round(&model->learner);
    return status;
}

static mr_op mlp_sum(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->learner.sum;
    return MR_OP_MLP_GRADIENT;
}

static void mlp_update(struct mr_model *model, const struct mr_learn_batch *batch, struct mr_learn_report *report)
{
    const struct mr_learn_rows rows = {.x = batch->x, .label = batch->label, .rows = batch->rows};
    mr_mlp_learner_update(&model->learner, batch->sums, &rows, report);
}

/* Tensors of a saved model: two a layer, the standardised input, the optimizer. */
struct tensors {
    struct mr_tensor_out item[2 * MR_MLP_LAYER_COUNT_MAX + 2 + MR_OPTIMIZER_TENSORS];
    char name[2 * MR_MLP_LAYER_COUNT_MAX][40];
    size_t count;
};

static void layers_put(const struct mr_model *model, struct tensors *to)
{
    const double *w = model->learner.w, *b = w + model->learner.weights;
    for (size_t i = 0; i < model->params.layer_count; i++) {
        const struct mr_mlp_layer *const layer = &model->layer[i];
        snprintf(to->name[2 * i], sizeof *to->name, "layer.%zu.weight", i);
        snprintf(to->name[2 * i + 1], sizeof *to->name, "layer.%zu.bias", i);
        to->item[to->count++] =
            (struct mr_tensor_out){.name = to->name[2 * i], .rank = 2, .shape = {layer->out, layer->in}, .f64 = w};
        to->item[to->count++] =
            (struct mr_tensor_out){.name = to->name[2 * i + 1], .rank = 1, .shape = {layer->out}, .f64 = b};
        w += layer->in * layer->out;
        b += layer->out;
    }
}

static mr_status mlp_store(const struct mr_model *model, struct mr_blob *out, struct mr_err *err)
{
    const struct mr_mlp_learner *const l = &model->learner;
    const size_t cols = model->info.feature_count, layers = model->params.layer_count;
    struct mr_optimizer_numbers numbers;
    struct tensors *const tensors = calloc(1, sizeof *tensors);
    char *names[MR_MLP_LAYER_COUNT_MAX];
    mr_status status = tensors ? MR_OK : mr_fail(err, MR_ENOMEM, "model mlp: out of memory");
    if (!status) {
        layers_put(model, tensors);
        const struct mr_tensor_out others[] = {
            {.name = "input.mean", .rank = 1, .shape = {cols}, .f64 = model->mean},
            {.name = "input.scale", .rank = 1, .shape = {cols}, .f64 = model->scale}};
        for (size_t i = 0; model->scale && i < 2; i++) tensors->item[tensors->count++] = others[i];
        mr_optimizer_tensors(&l->optimizer, &l->guard, &numbers, &tensors->item[tensors->count]);
        tensors->count += MR_OPTIMIZER_TENSORS;
        for (size_t i = 0; i < layers; i++)
            names[i] = (char *)(uintptr_t)mr_activation_name(model->layer[i].activation);
        const struct mr_names activation_names = {.item = names, .count = layers};
        status = mr_model_store(&model->info, &activation_names, tensors->item, tensors->count, out, err);
    }
    free(tensors);
    return status;
}

const struct mr_learn_ops *mr_mlp_learn(const struct mr_model *model)
{
    static const struct mr_learn_ops ops = {
        .needs_label = true, .has_loss = true, .sum = mlp_sum, .update = mlp_update, .store = mlp_store};
    return model->options.learn ? &ops : NULL;
}
