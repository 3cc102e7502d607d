/* millrace fit: a model from a file of rows. */
#include "cli/fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/output_check.h"
#include "cli/command.h"
#include "cli/data_flags.h"

static const struct fit_kind *const kinds[] = {&fit_kmeans, &fit_mlp, &fit_linear, &fit_logistic, &fit_scaler, &fit_mf};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const char *const orders[] = {"parallel", "sequential", NULL};

static const char *const kind_names[] = {"kmeans", "mlp", "linear", "logistic", "scaler", "mf", NULL};

/* Flags that only some kinds take. */
static mr_status flags_check(const struct fit *fit, struct mr_err *err)
{
    const struct fit_options *const o = fit->options;
    const struct {
        const char *flag, *kinds;
        bool is_given;
    } rows[] = {
        {"k", "kmeans", o->k},
        {"start", "kmeans", o->start},
        {"labels", "kmeans", o->labels},
        {"svg", "kmeans", o->svg},
        {"restarts", "kmeans", o->restarts != FIT_UNSET},
        {"silhouette", "kmeans", o->silhouette != FIT_UNSET},
        {"iterations", "kmeans, mlp, linear, logistic, mf", o->iterations != FIT_UNSET},
        {"tolerance", "kmeans, mlp, linear, logistic", o->tolerance >= 0},
        {"l2", "mlp, linear, logistic, mf", o->l2 >= 0},
        {"held-out", "mlp, linear, logistic, mf", o->held_out >= 0},
        {"validation", "mlp, linear, logistic", o->validation >= 0},
        {"class-weights", "mlp, logistic", o->class_weights},
        {"layers", "mlp", o->layers},
        {"activation", "mlp", o->activation},
        {"solver", "mlp, mf", o->solver},
        {"batch", "mlp", o->batch != FIT_UNSET},
        {"step", "mlp, mf", o->step >= 0},
        {"patience", "mlp", o->patience != FIT_UNSET},
        {"regression", "mlp", o->is_regression},
        {"factors", "mf", o->factors != FIT_UNSET},
        {"order", "mf", o->order != FIT_ORDER_PARALLEL},
        {"unbiased", "mf", o->is_unbiased},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].is_given && !strstr(rows[i].kinds, fit->kind->name))
            return mr_fail(err, MR_EUSAGE, "--%s is of: %s; not of %s", rows[i].flag, rows[i].kinds, fit->kind->name);
    }
    if (!o->data.label && fit->label != MR_LABEL_NONE)
        return mr_fail(err, MR_EUSAGE, "%s learns from answers: say with --label which field has them",
                       fit->kind->name);
    return MR_OK;
}

static mr_status data_read(struct fit *fit, struct mr_err *err)
{
    struct mr_table_options data = fit->options->data;
    data.wants_hash = true;
    if (fit->kind->opens) return MR_OK;
    mr_status status = mr_table_open(fit->path, &data, fit->label, &fit->table, err);
    if (status) return status;
    size_t cols;
    fit->feature = mr_table_feature(fit->table, &cols);
    if (fit->kind->streams)
        fit->matrix.cols = cols;
    else
        status = mr_matrix_read(fit->table, fit->options->spill, &fit->matrix, err);
    if (!status && !fit->kind->streams && !fit->matrix.rows)
        status = mr_fail(err, MR_EDATA, "%s: there are no rows", mr_table_path(fit->table));
    return status;
}

/* What the card says of where the model comes from. */
static bool report_begin(struct fit *fit)
{
    fit->report = cJSON_CreateObject();
    cJSON_AddStringToObject(fit->report, "command", "fit");
    cJSON_AddStringToObject(fit->report, "kind", fit->kind->name);
    if (!fit->kind->streams) fit_data(fit, fit->matrix.rows);
    if (!fit->kind->opens) cJSON_AddNumberToObject(fit->report, "features", (double)fit->matrix.cols);
    cJSON_AddNumberToObject(fit->report, "seed", (double)fit->options->seed);
    cJSON_AddStringToObject(fit->report, "backend", mr_crew_describe(fit->crew));
    return cJSON_AddObjectToObject(fit->report, "scores") != NULL;
}

/* A label among the features would be predicted from itself. */
static mr_status label_check(const struct fit *fit, struct mr_err *err)
{
    const struct mr_table_options *const data = &fit->options->data;
    for (size_t i = 0; data->label && fit->label != MR_LABEL_NONE && i < data->features.count; i++) {
        if (!strcmp(data->features.item[i], data->label))
            return mr_fail(err, MR_EUSAGE,
                           "--features: \"%s\" is the label, too: what is to be predicted is no feature", data->label);
    }
    return MR_OK;
}

/* What is written at the end can be written, and is not what is read: asked before the work. */
static mr_status outputs_check(const struct fit *fit, struct mr_err *err)
{
    const struct fit_options *const options = fit->options;
    char name[64];
    const char *const what[] = {"--output", "--labels", "--svg"}, *const path[] = {fit_output(fit, name, sizeof name),
                                                                                   options->labels, options->svg};
    mr_status status = MR_OK;
    for (size_t i = 0; i < 3 && !status; i++) {
        if (path[i]) status = mr_output_check(what[i], path[i], fit->path, err);
        for (size_t j = 0; j < i && path[i] && !status; j++)
            if (path[j] && mr_output_is_same(path[i], path[j]))
                status = mr_fail(err, MR_EUSAGE, "%s %s and %s %s are one file: name two", what[j], path[j], what[i],
                                 path[i]);
    }
    return status;
}

static mr_status fit_all(struct fit *fit, const struct mr_words *words, struct mr_err *err)
{
    const struct fit_options *const options = fit->options;
    for (size_t i = 0; i < KINDS; i++)
        if (!strcmp(words->item[0], kinds[i]->name)) fit->kind = kinds[i];
    fit->label = options->is_regression ? MR_LABEL_NUMBER : fit->kind->label;
    mr_status status = flags_check(fit, err);
    if (!status) status = label_check(fit, err);
    fit->path = words->count > 1 ? words->item[1] : "-";
    if (!status) status = outputs_check(fit, err);
    if (!status) status = mr_crew_open(options->backend, (unsigned)options->threads, &fit->crew, err);
    mr_fit_stop_on_signals();
    if (!status) status = data_read(fit, err);
    if (!status && !report_begin(fit)) status = mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = fit->kind->run(fit, err);
    if (!status && options->json) {
        char *const text = cJSON_PrintUnformatted(fit->report);
        if (text) puts(text);
        cJSON_free(text);
    }
    return status;
}

static mr_status fit_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct fit fit = {.options = options};
    const mr_status status = fit_all(&fit, words, err);
    cJSON_Delete(fit.report);
    mr_matrix_deinit(&fit.matrix);
    mr_table_close(fit.table);
    mr_crew_close(fit.crew);
    return status;
}

#define AT(field) offsetof(struct fit_options, field)
static const struct mr_flag fit_flags[] = {
    {.letter = 'o',
     .argument = "FILE",
     .row = {.key = "output",
             .type = MR_OPT_STRING,
             .offset = AT(output),
             .is_path = true,
             .doc = "The model file; without it KIND.safetensors. What was there stays until the new one is whole."}},
    MR_FLAGS_DATA(AT(data)),
    MR_FLAG_LABEL(AT(data)),
    {.argument = "N",
     .row = {.key = "seed",
             .type = MR_OPT_INT,
             .offset = AT(seed),
             .fallback = "1",
             .min = 0,
             .max = 9e15,
             .doc = "What all that is random begins from: the same data, flags and seed give the same model."}},
    {.argument = "N",
     .row = {.key = "threads",
             .type = MR_OPT_INT,
             .offset = AT(threads),
             .fallback = "0",
             .min = 0,
             .max = 256,
             .doc = "Threads on a CPU; 0: as many as there are cores. The model does not depend on it."}},
    {.argument = "NAME",
     .row = {.key = "backend",
             .type = MR_OPT_STRING,
             .offset = AT(backend),
             .fallback = "cpu",
             .doc = "Where to compute: cpu, cpu:avx2, opencl, cuda ..."}},
    {.argument = "DIR",
     .row = {.key = "spill",
             .type = MR_OPT_STRING,
             .offset = AT(spill),
             .is_path = true,
             .doc = "Rows lie in a file without a name in this folder, not in memory: for more rows than memory; the "
                    "system keeps in memory what fits. The model is the same. scaler needs no such: it reads block by "
                    "block."}},
    {.argument = "TEXT",
     .row = {.key = "model-version",
             .type = MR_OPT_STRING,
             .offset = AT(version),
             .doc = "Version that the model file carries."}},
    {.argument = "N|A..B",
     .row = {.key = "k",
             .type = MR_OPT_STRING,
             .offset = AT(k),
             .doc =
                 "kmeans: clusters. A range fits each of them, shows the curve of their inertia, and keeps the knee: "
                 "the k behind which more clusters bring little."}},
    {.argument = "HOW",
     .row = {.key = "start",
             .type = MR_OPT_STRING,
             .offset = AT(start),
             .doc =
                 "kmeans: first centres by kmeans++ (the default), kmeans|| (for large k: few passes over the data), "
                 "random, or the centres of a model file."}},
    {.argument = "N",
     .row = {.key = "restarts",
             .type = MR_OPT_INT,
             .offset = AT(restarts),
             .unset = FIT_UNSET_TEXT,
             .min = 1,
             .max = 10000,
             .doc = "kmeans: runs with seeds of their own, of which the best counts; 1 unless given."}},
    {.argument = "N",
     .row = {.key = "silhouette",
             .type = MR_OPT_INT,
             .offset = AT(silhouette),
             .unset = FIT_UNSET_TEXT,
             .min = 0,
             .max = 100000,
             .doc =
                 "kmeans: rows that the silhouette is taken of (2000 unless given, 0: none); their square in time."}},
    {.argument = "FILE",
     .row = {.key = "labels",
             .type = MR_OPT_STRING,
             .offset = AT(labels),
             .is_path = true,
             .doc = "kmeans: also writes the rows with the number of their cluster as \"label\": CSV, or JSON lines "
                    "where the name ends in .jsonl."}},
    {.argument = "FILE",
     .row = {.key = "svg",
             .type = MR_OPT_STRING,
             .offset = AT(svg),
             .is_path = true,
             .doc = "kmeans: the curve of the inertia as a picture."}},
    {.argument = "N",
     .row = {.key = "iterations",
             .type = MR_OPT_INT,
             .offset = AT(iterations),
             .unset = FIT_UNSET_TEXT,
             .min = 1,
             .max = MR_NO_MAX,
             .doc = "Most iterations, or epochs; unless given 300 of kmeans, 200 of Adam, 1000 of L-BFGS, 20 of mf (15 "
                    "with als)."}},
    {.argument = "SIZE",
     .row = {.key = "tolerance",
             .type = MR_OPT_DOUBLE,
             .offset = AT(tolerance),
             .unset = FIT_UNSET_TEXT,
             .min = 0,
             .max = 1,
             .doc = "kmeans: it ends when the centres move less (squared, as a share of the features' mean variance); "
                    "mlp: less is no gain, as a share of the loss. 1e-4 unless given."}},
    {.argument = "SIZE",
     .row = {.key = "l2",
             .type = MR_OPT_DOUBLE,
             .offset = AT(l2),
             .unset = FIT_UNSET_TEXT,
             .min = 0,
             .max = MR_NO_MAX,
             .doc = "mlp, linear, logistic: half of this times the squared weights (of standardised features) is added "
                    "to the mean loss. Unless given 0 of linear, 1 / rows of logistic, 1e-4 / rows of mlp: what "
                    "scikit-learn has. mf: this times the squared biases and factors is added to each rating's squared "
                    "error; 0.02 as in Surprise, with als 0.1."}},
    {.argument = "SHARE",
     .row = {.key = "held-out",
             .type = MR_OPT_DOUBLE,
             .offset = AT(held_out),
             .unset = FIT_UNSET_TEXT,
             .min = 0,
             .max = 0.9,
             .doc =
                 "mlp, linear, logistic, mf: rows, chosen by the seed, that the model is judged by and does not see; "
                 "0.2 unless given. Of mf every user and item keeps one."}},
    {.argument = "SHARE",
     .row = {.key = "validation",
             .type = MR_OPT_DOUBLE,
             .offset = AT(validation),
             .unset = FIT_UNSET_TEXT,
             .min = 0,
             .max = 0.9,
             .doc = "Of the other rows: those that decide when to end and which weights to keep; 0.1 of mlp unless "
                    "given."}},
    {.argument = "WEIGHTS",
     .row = {.key = "class-weights",
             .type = MR_OPT_STRING,
             .offset = AT(class_weights),
             .doc = "mlp, logistic: how much rows of a class count in the loss that is lowered: NAME=WEIGHT,..., 1 of "
                    "those that are not named; balanced: all classes together as much, rows / (classes * rows of the "
                    "class) each, as scikit-learn has it."}},
    {.argument = "SIZES",
     .row = {.key = "layers",
             .type = MR_OPT_STRING,
             .offset = AT(layers),
             .doc = "mlp: units of each layer, the features first, the classes last: 1,6,8,6."}},
    {.argument = "NAME",
     .row = {.key = "activation",
             .type = MR_OPT_STRING,
             .offset = AT(activation),
             .doc = "mlp: of the layers between: relu (the default), sigmoid, tanh, gelu, identity."}},
    {.argument = "NAME",
     .row = {.key = "solver",
             .type = MR_OPT_STRING,
             .offset = AT(solver),
             .doc =
                 "mlp: adam (the default), in batches; or lbfgs, over all rows: better for few of them. mf: sgd (the "
                 "default), rating by rating; or als, alternating least squares."}},
    {.argument = "ROWS",
     .row = {.key = "batch",
             .type = MR_OPT_INT,
             .offset = AT(batch),
             .unset = FIT_UNSET_TEXT,
             .min = 64,
             .max = MR_NO_MAX,
             .doc = "mlp with adam: rows of a step, rounded down to a multiple of 64; 256 unless given."}},
    {.argument = "SIZE",
     .row = {.key = "step",
             .type = MR_OPT_DOUBLE,
             .offset = AT(step),
             .unset = FIT_UNSET_TEXT,
             .min = 1e-12,
             .max = 100,
             .doc = "How far a step goes; mlp with adam 0.001 unless given, mf with sgd 0.005."}},
    {.argument = "N",
     .row = {.key = "patience",
             .type = MR_OPT_INT,
             .offset = AT(patience),
             .unset = FIT_UNSET_TEXT,
             .min = 0,
             .max = MR_NO_MAX,
             .doc = "mlp: it ends after so many epochs without gain, 0: never; unless given 10 of Adam, 0 of L-BFGS."}},
    {.row = {.key = "regression",
             .type = MR_OPT_BOOL,
             .offset = AT(is_regression),
             .doc = "mlp: the label is a number to be met, not the name of a class."}},
    {.argument = "N",
     .row = {.key = "factors",
             .type = MR_OPT_INT,
             .offset = AT(factors),
             .unset = FIT_UNSET_TEXT,
             .min = 1,
             .max = 65536,
             .doc = "mf: numbers that stand for a user, and for an item; 100 unless given."}},
    {.argument = "ORDER",
     .row = {.key = "order",
             .type = MR_OPT_ENUM,
             .offset = AT(order),
             .fallback = "parallel",
             .choices = orders,
             .doc = "mf with sgd: parallel, in float32, on all threads; or sequential, in float64 in the order of "
                    "Surprise's SVD: the same seed gives its numbers."}},
    {.row = {.key = "unbiased",
             .type = MR_OPT_BOOL,
             .offset = AT(is_unbiased),
             .doc = "mf: factors alone, without mean and biases."}},
    {.letter = 'q',
     .row = {.key = "quiet", .type = MR_OPT_BOOL, .offset = AT(quiet), .doc = "No progress and no log of success."}},
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = AT(json),
             .doc = "What was found as one JSON object on stdout, in place of the tables."}},
    {0},
};
#undef AT

const struct mr_command mr_command_fit = {
    .name = "fit",
    .summary = "Make a model from a file of rows",
    .usage = "kmeans|mlp|linear|logistic|scaler|mf [DATA] [flags]",
    .examples =
        "millrace fit kmeans readings.csv --k 2..20 --labels labelled.csv   # which k? and rows with their cluster\n"
        "millrace fit kmeans points.f32 -F x,y --k 64 --start 'kmeans||' -o regions.safetensors\n"
        "millrace fit mf ratings.csv -F uid,item -l rating -o ratings.safetensors\n"
        "millrace fit scaler readings.jsonl -o scaler.safetensors           # mean and deviation of each feature",
    .notes =
        "DATA is CSV with a header, JSON lines or packed float32, by the end of its name or --format; without it, "
        "standard input. The model file says in its metadata (millrace.card) what it was made of, how, and how good "
        "it is; `millrace run`, `score` and `inspect` take it as it is. Features are standardised before a fit of mlp, "
        "linear or logistic, and the file says by what. Ctrl-C ends the fit with the best model so "
        "far, and writes that.",
    .flags = fit_flags,
    .options_size = sizeof(struct fit_options),
    .word_min = 1,
    .word_max = 2,
    .choices = kind_names,
    .completes_files = true,
    .run = fit_run,
};
