/* millrace backends: what this machine has to score on, what would be used, and how fast a model would be on each. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "backend/measure.h"
#include "cli/command.h"
#include "kernels/kernels.h"
#include "modelfile/safetensors.h"
#include "registry.h"

#define CHOICES_MAX 32

struct backends_options {
    bool json;
};

static const size_t batch_sizes[] = {1, 64, 1024, 8192};
enum { BATCH_SIZES = sizeof batch_sizes / sizeof *batch_sizes };

/* One thing that can be forced: a backend and a variant. */
struct choice {
    const struct mr_backend_ops *ops;
    const char *variant;
    char name[64];
    double row_ns[BATCH_SIZES]; /* 0: not measured */
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

/* Scores the model on every choice at every batch size. */
static mr_status choices_measure(struct choice *choices, size_t count, const char *path, struct mr_err *err)
{
    struct mr_safetensors *file;
    struct mr_model *model = NULL;
    mr_status status = mr_safetensors_open(path, &file, err);
    if (status) return status;
    const char *const type = mr_safetensors_metadata(file, "millrace.type");
    const struct mr_model_ops *const ops = type ? mr_model_find(type) : NULL;
    if (!ops) {
        status = mr_fail(err, MR_EDATA, "model \"%s\": no known millrace.type in its metadata", path);
    } else {
        status = ops->open(&(struct mr_model_open){.file = path}, &model, err);
    }
    mr_safetensors_close(file);
    for (size_t i = 0; i < count && !status; i++) {
        for (size_t k = 0; k < BATCH_SIZES && !status; k++) {
            const struct mr_measure measure = {.backend = choices[i].ops,
                                               .variant = choices[i].variant,
                                               .model_ops = ops,
                                               .model = model,
                                               .row_count = batch_sizes[k],
                                               .want = MR_WANT_CLASS | MR_WANT_Y,
                                               .seconds_max = 0.05};
            status = mr_backend_measure(&measure, &choices[i].row_ns[k], err);
        }
    }
    if (model) ops->close(model);
    return status;
}

static void print_operations(void)
{
    for (unsigned op = 0; op < MR_OP_COUNT; op++) {
        const struct mr_kernel *const used = mr_kernel_select((mr_op)op, NULL);
        bool is_first = true;
        printf("  %-14s uses %s; can also run", mr_op_name((mr_op)op), used->variant);
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

static void print_text(const struct choice *choices, size_t count, const char *model)
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
        for (size_t k = 0; k < BATCH_SIZES; k++) printf(" %10.4g", choices[i].row_ns[k]);
        puts("");
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

static mr_status print_json(const struct choice *choices, size_t count, const char *model, struct mr_err *err)
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
        cJSON *const figures = cJSON_AddArrayToObject(measured, "ns_per_row");
        for (size_t i = 0; i < count; i++) {
            for (size_t k = 0; k < BATCH_SIZES; k++) {
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

static mr_status backends_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct backends_options *const backends = options;
    const char *const model = words->count ? words->item[0] : NULL;
    struct choice choices[CHOICES_MAX];
    const size_t count = choices_list(choices);
    const mr_status status = model ? choices_measure(choices, count, model, err) : MR_OK;
    if (status) return status;
    if (backends->json) return print_json(choices, count, model, err);
    print_text(choices, count, model);
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
    .summary = "Say what there is to score on; with a model, measure it on each",
    .usage = "[MODEL] [--json]",
    .examples = "millrace backends                       # what was found, what is used and why\n"
                "millrace backends regime.safetensors    # nanoseconds a row at four batch sizes",
    .flags = backends_flags,
    .options_size = sizeof(struct backends_options),
    .word_max = 1,
    .completes_files = true,
    .run = backends_run,
};
