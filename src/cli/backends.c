/* millrace backends: what this machine has to score on, what would be used, and how fast a model would be on each. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "backend/measure.h"
#include "base/cores.h"
#include "cli/command.h"
#include "kernels/kernels.h"
#include "modelfile/model_file.h"
#include "pipeline/layout.h"
#include "registry.h"
#include "scoring/choose.h"
#include "scoring/precision.h"

#define CHOICES_MAX 32
#define COSTS_MAX   16

struct backends_options {
    bool json;
};

static const size_t batch_sizes[] = {1, 64, 1024, 8192};
enum { BATCH_SIZES = sizeof batch_sizes / sizeof *batch_sizes };
_Static_assert(BATCH_SIZES == MR_CHOOSE_SIZES, "the table is what \"auto\" chooses by");

/* One thing that can be forced: a backend and a variant. */
struct choice {
    const struct mr_backend_ops *ops;
    const char *variant;
    char name[64];
    double row_ns[BATCH_SIZES]; /* 0: not measured */
    bool is_host;               /* a second way to this machine's own processors: not for "auto" */
};

/* What a job's models lose by fewer bits. */
struct cost {
    char model[64], precision[8];
    double error, tolerance;
};

struct costs {
    struct cost item[COSTS_MAX];
    size_t count;
};

/* The cpu backend's variants are those of its first operation; every operation has the same. */
static size_t choices_list(struct choice *choices)
{
    size_t count = 0;
    for (size_t i = 0; mr_backends[i]; i++) {
        const bool is_cpu = !strcmp(mr_backends[i]->name, "cpu");
        for (size_t k = 0; k < (is_cpu ? mr_kernel_count : 1) && count < CHOICES_MAX; k++) {
            if (is_cpu && (mr_kernels[k].op != mr_kernels[0].op || !mr_kernel_is_available(&mr_kernels[k], NULL)))
                continue;
            struct choice *const choice = &choices[count++];
            *choice = (struct choice){.ops = mr_backends[i], .variant = is_cpu ? mr_kernels[k].variant : NULL};
            snprintf(choice->name, sizeof choice->name, "%s%s%s", mr_backends[i]->name, is_cpu ? ":" : "",
                     is_cpu ? mr_kernels[k].variant : "");
        }
    }
    return count;
}

/* "cpu     cpu:avx512, 2 cores": what each backend says of itself, or why it does not start. */
static void backend_describe(const struct mr_backend_ops *ops, char *text, size_t bytes, bool *starts_out)
{
    struct mr_backend *backend;
    struct mr_err err = {0};
    *starts_out = ops->open(NULL, &backend, &err) == MR_OK;
    snprintf(text, bytes, "%s", *starts_out ? ops->describe(backend) : err.text);
    if (*starts_out) ops->close(backend);
}

/* A model file's nanoseconds a row at every batch size on an opened backend. */
static mr_status model_measure(struct choice *choice, struct mr_backend *backend, const struct mr_model_ops *ops,
                               const struct mr_model *model, unsigned want, struct mr_err *err)
{
    const struct mr_measure measure = {
        .ops = choice->ops, .backend = backend, .model_ops = ops, .model = model, .want = want, .seconds_max = 0.05};
    double row_ns[BATCH_SIZES];
    const mr_status status = mr_backend_measure(&measure, batch_sizes, BATCH_SIZES, row_ns, err);
    for (size_t k = 0; k < BATCH_SIZES && !status; k++) choice->row_ns[k] += row_ns[k];
    return status;
}

/* Calls measure for every choice that starts; the others, and those that lack an operation, keep no figures. */
typedef mr_status measure_fn(struct choice *choice, struct mr_backend *backend, void *context, struct mr_err *err);

static mr_status choices_measure(struct choice *choices, size_t count, measure_fn *measure, void *context,
                                 struct mr_err *err)
{
    mr_status status = MR_OK;
    for (size_t i = 0; i < count && !status; i++) {
        struct mr_backend *backend;
        struct mr_err why;
        if (choices[i].ops->open(choices[i].variant, &backend, &why)) continue;
        choices[i].is_host = choices[i].ops->is_host && choices[i].ops->is_host(backend);
        status = measure(&choices[i], backend, context, err);
        if (status == MR_EBACKEND) { /* it lacks an operation */
            memset(choices[i].row_ns, 0, sizeof choices[i].row_ns);
            status = MR_OK;
        }
        choices[i].ops->close(backend);
    }
    return status;
}

struct file_measured {
    const struct mr_model_ops *ops;
    struct mr_model *model;
};

static mr_status file_measure(struct choice *choice, struct mr_backend *backend, void *context, struct mr_err *err)
{
    const struct file_measured *const file = context;
    return model_measure(choice, backend, file->ops, file->model, MR_WANT_CLASS | MR_WANT_Y, err);
}

/* Scores the model of a file on every choice at every batch size. */
static mr_status file_choices(struct choice *choices, size_t count, const char *path, struct mr_err *err)
{
    struct mr_safetensors *file;
    struct file_measured measured = {0};
    mr_status status = mr_model_file_load(path, NULL, 0, &file, err);
    if (status) return status;
    const char *const type = mr_safetensors_metadata(file, "millrace.type");
    measured.ops = type ? mr_model_find(type) : NULL;
    if (!measured.ops)
        status = mr_fail(err, MR_EDATA, "model \"%s\": no known millrace.type in its metadata", path);
    else
        status = measured.ops->open(&(struct mr_model_open){.file = path}, &measured.model, err);
    mr_safetensors_close(file);
    if (!status) status = choices_measure(choices, count, file_measure, &measured, err);
    if (measured.model) measured.ops->close(measured.model);
    return status;
}

struct job_measured {
    const struct mr_models *models;
    const struct mr_layout *layout;
};

static mr_status job_measure(struct choice *choice, struct mr_backend *backend, void *context, struct mr_err *err)
{
    const struct job_measured *const job = context;
    mr_status status = MR_OK;
    for (size_t i = 0; i < job->models->count && !status; i++) {
        const struct mr_model_at_work *const model = &job->models->item[i];
        const unsigned want = job->layout->want[i] ? job->layout->want[i] : MR_WANT_Y;
        status = model_measure(choice, backend, model->job->ops, model->model, want, err);
    }
    return status;
}

/* Scores the models that ask for fewer bits on the CPU, in both ways. */
static mr_status costs_measure(const struct mr_models *models, struct costs *costs, struct mr_err *err)
{
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    struct mr_backend *backend;
    mr_status status = cpu->open(NULL, &backend, err);
    if (status) return status;
    for (size_t i = 0; i < models->count && costs->count < COSTS_MAX && !status; i++) {
        const struct mr_model_at_work *const model = &models->item[i];
        struct cost *const cost = &costs->item[costs->count];
        if (!model->reduced.name) continue;
        snprintf(cost->model, sizeof cost->model, "%s", model->job->name);
        snprintf(cost->precision, sizeof cost->precision, "%s", model->reduced.name);
        cost->tolerance = model->reduced.tolerance;
        status = mr_precision_try(cpu, backend, model->job->ops, model->model, &cost->error, err);
        costs->count++;
    }
    cpu->close(backend);
    return status;
}

/* Scores a job's models, all of them, on every choice, and says what "auto" takes. */
static mr_status job_choices(struct choice *choices, size_t count, const char *path, struct mr_choice *choice_out,
                             struct costs *costs, struct mr_err *err)
{
    struct mr_job *job;
    struct mr_models models = {0};
    struct mr_layout *layout = NULL;
    struct mr_candidate candidates[CHOICES_MAX];
    size_t candidate_count = 0;
    mr_status status = mr_job_load(path, stderr, &job, err);
    if (status) return status;
    status = mr_models_open(job, &models, err);
    if (!status) status = mr_layout_create(job, models.info, &layout, err);
    if (!status) status = costs_measure(&models, costs, err);
    if (!status) status = choices_measure(choices, count, job_measure, &(struct job_measured){&models, layout}, err);
    for (size_t i = 0; i < count && !status; i++) {
        const bool is_cpu = !strcmp(choices[i].ops->name, "cpu");
        if (choices[i].is_host || (is_cpu && candidate_count)) continue; /* the CPU's best variant is the first */
        struct mr_candidate *const candidate = &candidates[candidate_count++];
        *candidate = (struct mr_candidate){0};
        snprintf(candidate->name, sizeof candidate->name, "%s", choices[i].name);
        memcpy(candidate->row_ns, choices[i].row_ns, sizeof candidate->row_ns);
    }
    size_t sizes = 1; /* batches that the job can have */
    while (!status && sizes < BATCH_SIZES && batch_sizes[sizes] <= (size_t)job->batch.records_max) sizes++;
    if (!status)
        mr_choose_decide(candidates, candidate_count, batch_sizes, sizes, models.learns ? 1 : mr_core_count(),
                         choice_out);
    mr_layout_destroy(layout);
    mr_models_close(&models);
    mr_job_destroy(job);
    return status;
}

static void print_operations(void)
{
    for (unsigned op = 0; op < MR_OP_COUNT; op++) {
        const struct mr_kernel *const used = mr_kernel_select((mr_op)op, NULL);
        bool is_first = true;
        printf("  %-14s %s%s; can also run", mr_op_name((mr_op)op), used ? "uses " : "is not for this CPU",
               used ? used->variant : "");
        for (size_t i = 0; i < mr_kernel_count; i++) {
            if (mr_kernels[i].op != (mr_op)op || &mr_kernels[i] == used ||
                !mr_kernel_is_available(&mr_kernels[i], NULL))
                continue;
            printf("%s %s", is_first ? "" : ",", mr_kernels[i].variant);
            is_first = false;
        }
        for (size_t i = 0; i < mr_kernel_count; i++) {
            const char *reason;
            if (mr_kernels[i].op != (mr_op)op || mr_kernel_is_available(&mr_kernels[i], &reason)) continue;
            printf("; not %s: %s", mr_kernels[i].variant, reason);
        }
        puts("");
    }
}

/* chosen: NULL for a model file. */
static void print_text(const struct choice *choices, size_t count, const char *model, const struct mr_choice *chosen,
                       const struct costs *costs)
{
    for (size_t i = 0; mr_backends[i]; i++) {
        char text[MR_ERR_TEXT_BYTES];
        bool starts;
        backend_describe(mr_backends[i], text, sizeof text, &starts);
        printf("%-8s %s%s\n", mr_backends[i]->name, starts ? "" : "does not start: ", text);
        if (!strcmp(mr_backends[i]->name, "cpu")) print_operations();
    }
    if (!model) return;
    printf("\n%s, nanoseconds a row (classes and outputs), one thread, by rows a batch:\n  %-14s", model, "backend");
    for (size_t k = 0; k < BATCH_SIZES; k++) printf(" %10zu", batch_sizes[k]);
    puts("");
    for (size_t i = 0; i < count; i++) {
        printf("  %-14s", choices[i].name);
        for (size_t k = 0; k < BATCH_SIZES; k++) {
            if (choices[i].row_ns[k] > 0)
                printf(" %10.4g", choices[i].row_ns[k]);
            else
                printf(" %10s", "-");
        }
        puts("");
    }
    if (chosen)
        printf("\n\"auto\" takes %s; %s\n", chosen->device == MR_NO_UNIT ? "cpu" : "the device", chosen->because);
    for (size_t i = 0; i < costs->count; i++) {
        const struct cost *const cost = &costs->item[i];
        printf("\"%s\" in %s: off by at most %.2g of fp32 on %d made-up rows (precision_tolerance %g)\n", cost->model,
               cost->precision, cost->error, MR_PRECISION_ROWS, cost->tolerance);
    }
}

static void add_kernels(cJSON *root)
{
    cJSON *const kernels = cJSON_AddArrayToObject(root, "kernels");
    for (size_t i = 0; i < mr_kernel_count; i++) {
        const char *reason;
        cJSON *const kernel = cJSON_CreateObject();
        const bool is_available = mr_kernel_is_available(&mr_kernels[i], &reason);
        cJSON_AddStringToObject(kernel, "operation", mr_kernels[i].op_name);
        cJSON_AddStringToObject(kernel, "variant", mr_kernels[i].variant);
        cJSON_AddBoolToObject(kernel, "is_available", is_available);
        cJSON_AddBoolToObject(kernel, "is_used", &mr_kernels[i] == mr_kernel_select(mr_kernels[i].op, NULL));
        if (!is_available) cJSON_AddStringToObject(kernel, "reason", reason);
        cJSON_AddItemToArray(kernels, kernel);
    }
}

static mr_status print_json(const struct choice *choices, size_t count, const char *model,
                            const struct mr_choice *chosen, const struct costs *costs, struct mr_err *err)
{
    cJSON *const root = cJSON_CreateObject();
    cJSON *const backends = cJSON_AddArrayToObject(root, "backends");
    for (size_t i = 0; mr_backends[i]; i++) {
        char text[MR_ERR_TEXT_BYTES];
        bool starts;
        cJSON *const backend = cJSON_CreateObject();
        backend_describe(mr_backends[i], text, sizeof text, &starts);
        cJSON_AddStringToObject(backend, "name", mr_backends[i]->name);
        cJSON_AddBoolToObject(backend, "starts", starts);
        cJSON_AddStringToObject(backend, starts ? "description" : "reason", text);
        cJSON_AddItemToArray(backends, backend);
    }
    add_kernels(root);
    if (model) {
        cJSON *const measured = cJSON_AddObjectToObject(root, "measured");
        cJSON_AddStringToObject(measured, "model", model);
        if (chosen) cJSON_AddStringToObject(measured, "auto", chosen->device == MR_NO_UNIT ? "cpu" : "device");
        if (chosen) cJSON_AddStringToObject(measured, "because", chosen->because);
        cJSON *const precision = costs->count ? cJSON_AddArrayToObject(measured, "precision") : NULL;
        for (size_t i = 0; i < costs->count; i++) {
            cJSON *const cost = cJSON_CreateObject();
            cJSON_AddItemToArray(precision, cost);
            cJSON_AddStringToObject(cost, "model", costs->item[i].model);
            cJSON_AddStringToObject(cost, "precision", costs->item[i].precision);
            cJSON_AddNumberToObject(cost, "error_max", costs->item[i].error);
            cJSON_AddNumberToObject(cost, "tolerance", costs->item[i].tolerance);
        }
        cJSON *const figures = cJSON_AddArrayToObject(measured, "ns_per_row");
        for (size_t i = 0; i < count; i++) {
            for (size_t k = 0; k < BATCH_SIZES && choices[i].row_ns[0] > 0; k++) {
                cJSON *const figure = cJSON_CreateObject();
                cJSON_AddStringToObject(figure, "backend", choices[i].name);
                cJSON_AddNumberToObject(figure, "rows", (double)batch_sizes[k]);
                cJSON_AddNumberToObject(figure, "ns", choices[i].row_ns[k]);
                cJSON_AddItemToArray(figures, figure);
            }
        }
    }
    char *const text = cJSON_PrintUnformatted(root);
    if (text) puts(text);
    free(text);
    cJSON_Delete(root);
    return text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static bool is_job(const char *path)
{
    const size_t bytes = strlen(path);
    return (bytes > 5 && !strcmp(path + bytes - 5, ".json")) || (bytes > 6 && !strcmp(path + bytes - 6, ".jsonc"));
}

static mr_status backends_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct backends_options *const backends = options;
    const char *const what = words->count ? words->item[0] : NULL;
    const bool has_job = what && is_job(what);
    struct choice choices[CHOICES_MAX];
    struct mr_choice chosen;
    struct costs costs = {.count = 0};
    const size_t count = choices_list(choices);
    mr_status status = MR_OK;
    if (has_job)
        status = job_choices(choices, count, what, &chosen, &costs, err);
    else if (what)
        status = file_choices(choices, count, what, err);
    if (status) return status;
    if (backends->json) return print_json(choices, count, what, has_job ? &chosen : NULL, &costs, err);
    print_text(choices, count, what, has_job ? &chosen : NULL, &costs);
    return MR_OK;
}

static const struct mr_flag backends_flags[] = {
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = offsetof(struct backends_options, json),
             .doc = "One JSON object on stdout."}},
    {0},
};

const struct mr_command mr_command_backends = {
    .name = "backends",
    .summary = "Say what there is to score on; with a job or a model, measure it on each",
    .usage = "[JOB | MODEL] [--json]",
    .examples = "millrace backends                       # what was found, what is used and why\n"
                "millrace backends job.json              # its models on each, and what \"auto\" takes\n"
                "millrace backends regime.safetensors    # nanoseconds a row at four batch sizes",
    .flags = backends_flags,
    .options_size = sizeof(struct backends_options),
    .word_max = 1,
    .completes_files = true,
    .run = backends_run,
};
