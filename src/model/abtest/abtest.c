/*
 * abtest: an A/B test over a stream. A record has an arm and a value; the model keeps counts, means and squares of the
 * values by arm, and gives each record the state of the test as it was before the record's batch.
 */
#include "model/abtest/abtest.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct mr_abtest_options, field)
static const struct mr_option options_table[] = {
    {.key = "learn",
     .type = MR_OPT_BOOL,
     .offset = AT(learn),
     .doc = "Add each batch to the test, after its records were given the state before. Without it the state of a file "
            "is given."},
    {.key = "arms",
     .type = MR_OPT_STRINGS,
     .offset = AT(arms),
     .doc = "Names of the arms as records have them, the control first; a record with another one is a bad record. "
            "Without names the arm is a number: 0, the control, 1, 2 ...",
     .example = "[\"control\", \"new\"]"},
    {.key = "arm_count",
     .type = MR_OPT_INT,
     .offset = AT(arm_count),
     .unset = "-1",
     .min = 2,
     .max = MR_AB_ARMS_MAX,
     .doc = "How many arms there are where they are numbers; otherwise 2. A record with another number does not count, "
            "which the report tells."},
    {.key = "ratio",
     .type = MR_OPT_STRING,
     .offset = AT(ratio),
     .doc = "How records are meant to be divided among the arms, such as 9:1; otherwise evenly. Counts that are too "
            "unlikely for that (chi-squared, p below 0.0005) are warned of: whatever divided them so may have changed "
            "the values, too."},
    {.key = "window",
     .type = MR_OPT_INT,
     .offset = AT(window),
     .fallback = "0",
     .min = 0,
     .max = MR_ABTEST_WINDOW_MAX,
     .doc = "Newest batches that the fixed test is about; 0: all of them. The always valid interval is always about "
            "all, because a sliding window is no sequence that it holds for. batch.by \"offsets\" makes batches "
            "reproducible."},
    {.key = "peace_period",
     .type = MR_OPT_INT,
     .offset = AT(peace_period),
     .fallback = "0",
     .min = 0,
     .max = 1000000000,
     .doc = "First batches that are left out of everything: while users are still new to what they see. They are "
            "batches with records, not times."},
    {.key = "method",
     .type = MR_OPT_ENUM,
     .offset = AT(method),
     .fallback = "welch",
     .choices = mr_abtest_methods,
     .doc = "welch: arms of unequal variance, degrees of freedom by Welch and Satterthwaite. student: one variance, "
            "pooled. Of the fixed test; the always valid interval never pools."},
    {.key = "comparisons",
     .type = MR_OPT_ENUM,
     .offset = AT(comparisons),
     .fallback = "holm",
     .choices = mr_abtest_comparisons,
     .doc = "How more than two arms are treated. holm: p values by Holm's procedure, intervals at alpha / (arms - 1). "
            "bonferroni: p values times arms - 1, the same intervals. none: each as if it were the only one. p_single "
            "is never changed."},
    {.key = "alpha",
     .type = MR_OPT_DOUBLE,
     .offset = AT(alpha),
     .fallback = "0.05",
     .min = 1e-12,
     .max = 0.5,
     .doc = "Share of tests without a difference that may find one; intervals cover 1 - alpha."},
    {.key = "tightest_at",
     .type = MR_OPT_DOUBLE,
     .offset = AT(tightest_at),
     .fallback = "10000",
     .min = 1,
     .max = 1e15,
     .doc = "Records, of control and arm together, at which the always valid interval is tightest: about as many as "
            "the test is expected to need. Not to be changed while it runs."},
    {0},
};
#undef AT

/* What is found of each arm against the control, in the order of the columns. */
static const char *const comparison_names[] = {"difference", "low",        "high",        "statistic", "df",      "p",
                                               "p_single",   "always_low", "always_high", "always_p",  "decision"};
enum { PER_COMPARISON = sizeof comparison_names / sizeof *comparison_names };

static void abtest_close(struct mr_model *model)
{
    if (!model) return;
    for (size_t i = 0; model->output && i < model->info.width; i++) free(model->output[i]);
    free(model->output);
    cJSON_free(model->reading);
    mr_abtest_plan_deinit(&model->plan);
    mr_model_meta_deinit(&model->meta);
    mr_intern_deinit(&model->names);
    free(model->window);
    free(model->weight);
    free(model->bias);
    free(model);
}

static bool output_name(struct mr_model *model, size_t *at, const char *what, const char *arm)
{
    char *const name = malloc(strlen(what) + (arm ? strlen(arm) : 0) + 2);
    model->output[(*at)++] = name;
    if (name) strcat(strcat(strcpy(name, what), arm ? "." : ""), arm ? arm : "");
    return name != NULL;
}

/* "difference" of two arms, "difference.blue" of more; "count.blue"; "mismatch_p". */
static bool outputs_name(struct mr_model *model)
{
    const size_t arms = model->plan.rule.arms;
    bool is_done = true;
    size_t at = 0;
    for (size_t i = 1; i < arms; i++)
        for (size_t k = 0; k < PER_COMPARISON; k++)
            is_done &= output_name(model, &at, comparison_names[k], arms > 2 ? model->plan.name[i] : NULL);
    for (size_t i = 0; i < arms; i++) is_done &= output_name(model, &at, "count", model->plan.name[i]);
    for (size_t i = 0; i < arms; i++) is_done &= output_name(model, &at, "mean", model->plan.name[i]);
    return output_name(model, &at, "mismatch_p", NULL) && is_done;
}

void mr_abtest_values(const struct mr_model *model, double *values)
{
    const size_t arms = model->plan.rule.arms;
    for (size_t i = 0; i + 1 < arms; i++) {
        const struct mr_ab_result *const r = &model->result[i];
        const double all[PER_COMPARISON] = {
            r->difference, r->low,         r->high,     r->statistic,       r->df, r->p, r->p_single,
            r->always_low, r->always_high, r->always_p, (double)r->decision};
        memcpy(values, all, sizeof all);
        values += PER_COMPARISON;
    }
    for (size_t i = 0; i < arms; i++) *values++ = model->recent[i].count;
    for (size_t i = 0; i < arms; i++) *values++ = model->recent[i].count > 0 ? model->recent[i].mean : (double)NAN;
    *values = model->mismatch;
}

void mr_abtest_refresh(struct mr_model *model)
{
    const size_t arms = model->plan.rule.arms, window = model->plan.window;
    double values[MR_AB_ARMS_MAX * (PER_COMPARISON + 2) + 1] = {0};
    for (size_t k = 0; k < arms; k++) model->recent[k] = model->window ? (struct mr_arm){0} : model->all[k];
    /* Oldest first: the same bits from the ring of a model that was stored and opened again. */
    for (size_t i = 0; model->window && i < model->window_count; i++) {
        const size_t from = (model->window_next + window - model->window_count + i) % window;
        for (size_t k = 0; k < arms; k++) mr_arm_add(&model->recent[k], &model->window[from * arms + k]);
    }
    mr_ab_compare(&model->plan.rule, model->recent, model->all, model->result);
    model->mismatch = mr_ab_mismatch(arms, model->all, model->plan.share);
    mr_abtest_values(model, values);
    for (size_t i = 0; i < model->info.width; i++) model->bias[i] = (float)values[i];
}

/* What the plan asks for: memory, names, facts. */
static mr_status shape_set(struct mr_model *model, struct mr_err *err)
{
    const size_t arms = model->plan.rule.arms, cols = model->plan.has_label ? 1 : 2;
    const size_t width = (arms - 1) * PER_COMPARISON + 2 * arms + 1;
    uint32_t number;
    bool is_done = true;
    model->weight = calloc(width * cols, sizeof *model->weight);
    model->bias = calloc(width, sizeof *model->bias);
    model->output = calloc(width, sizeof *model->output);
    if (model->plan.window) model->window = calloc(model->plan.window * arms, sizeof *model->window);
    for (size_t i = 0; i < arms; i++)
        is_done &= mr_intern_add(&model->names, model->plan.name[i], strlen(model->plan.name[i]), &number);
    if (model->plan.is_named) is_done &= (model->reading = mr_abtest_arms_print(&model->plan)) != NULL;
    if (!is_done || !model->weight || !model->bias || !model->output || (model->plan.window && !model->window))
        return mr_fail(err, MR_ENOMEM, "model abtest: out of memory");
    model->params = (struct mr_linear_params){
        .cols = cols, .out = width, .w = model->weight, .b = model->bias, .activation = MR_ACT_IDENTITY};
    model->info = (struct mr_model_info){
        .type = "abtest",
        .version = model->meta.version ? model->meta.version : "",
        .feature_count = cols,
        .feature = model->meta.features.count == cols ? (const char *const *)model->meta.features.item : NULL,
        .width = width,
        .output = (const char *const *)model->output,
        .column_count = model->plan.is_named ? cols : 0,
        .read_scratch_bytes = model->plan.is_named ? mr_abtest_read_bytes() : 0,
        .reading = model->reading,
        .parameter_count = 3 * arms,
        .flops_per_row = 2.0 * (double)(cols * width)};
    return outputs_name(model) ? MR_OK : mr_fail(err, MR_ENOMEM, "model abtest: out of memory");
}

static mr_status model_make(struct mr_model *model, const struct mr_abtest_options *options,
                            const struct mr_safetensors *file, const struct mr_model_open *open, struct mr_err *err)
{
    model->learns = options && options->learn;
    if (!file && !(model->learns && open->feature_count))
        return mr_fail(err, MR_ECONFIG, "an abtest needs a file, or \"learn\": true to start from nothing");
    mr_status status = mr_abtest_plan_make(&model->plan, options, file, open, err);
    if (!status && open->feature_count > 2)
        status = mr_fail(err, MR_ECONFIG,
                         "an abtest reads an arm and a value, or an arm alone where the value is the label: "
                         "record.features names %zu",
                         open->feature_count);
    if (!status)
        status = file ? mr_model_meta_read(file, &model->meta, err) : mr_model_meta_name(open, &model->meta, err);
    if (!status) status = shape_set(model, err);
    if (!status && file) status = mr_abtest_sums_read(model, file, err);
    if (!status) mr_abtest_refresh(model);
    return status;
}

static mr_status abtest_open(const struct mr_model_open *open, struct mr_model **model_out, struct mr_err *err)
{
    struct mr_model *const model = calloc(1, sizeof *model);
    struct mr_safetensors *file = NULL;
    mr_status status = MR_OK;
    *model_out = NULL;
    if (!model) return mr_fail(err, MR_ENOMEM, "model abtest: out of memory");
    if (open->file) status = mr_model_file_open(open, "abtest", &file, err);
    if (!status) status = model_make(model, open->options, file, open, err);
    mr_safetensors_close(file);
    if (status)
        abtest_close(model);
    else
        *model_out = model;
    return status;
}

static const struct mr_model_info *abtest_info(const struct mr_model *model)
{
    return &model->info;
}

static mr_op abtest_op(const struct mr_model *model, const void **params_out)
{
    *params_out = &model->params;
    return MR_OP_LINEAR_SCORE;
}

/* Rows are read by update itself: what they are added to differs by arm, and the sums are float64. */
static mr_op abtest_sum(const struct mr_model *model, const void **params_out)
{
    (void)model;
    *params_out = NULL;
    return MR_OP_COUNT;
}

static const struct mr_learn_ops *abtest_learn(const struct mr_model *model)
{
    static const struct mr_learn_ops of_features = {
        .sum = abtest_sum, .update = mr_abtest_update, .store = mr_abtest_store};
    static const struct mr_learn_ops of_labels = {
        .needs_label = true, .sum = abtest_sum, .update = mr_abtest_update, .store = mr_abtest_store};
    return !model->learns ? NULL : model->plan.has_label ? &of_labels : &of_features;
}

extern const struct mr_model_ops mr_model_abtest;
const struct mr_model_ops mr_model_abtest = {
    .name = "abtest",
    .summary = "A/B test: Welch or Student, and an interval that holds however often one looks",
    .options = options_table,
    .options_size = sizeof(struct mr_abtest_options),
    .open = abtest_open,
    .info = abtest_info,
    .op = abtest_op,
    .learn = abtest_learn,
    .read = mr_abtest_read,
    .found = mr_abtest_found,
    .close = abtest_close,
};
