/* millrace inspect: what is in a model file. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file_map.h"
#include "base/near.h"
#include "base/sha256.h"
#include "cli/command.h"
#include "kernels/kernels.h"
#include "metrics/found.h"
#include "modelfile/model_file.h"
#include "registry.h"

struct inspect_options {
    bool json;
};

/* A model file that is open twice: as bytes, and as the model that would score. */
struct subject {
    const char *path;
    struct mr_file_map map;
    struct mr_safetensors *file; /* what the bytes hold, or were imported to */
    const struct mr_model_ops *ops;
    struct mr_model *model;
    const struct mr_model_info *info;
    struct mr_mlp_layer single; /* the one layer of a linear model */
    const struct mr_mlp_layer *layer;
    size_t layer_count;
    char sha256[MR_SHA256_TEXT_BYTES];
};

/* Smallest and largest of some weights; the sum of squares for their root mean square. */
struct range {
    double min, max, squares;
    size_t count;
};

static void range_add(struct range *range, double value)
{
    if (!range->count || value < range->min) range->min = value;
    if (!range->count || value > range->max) range->max = value;
    range->squares += value * value;
    range->count++;
}

static double range_rms(const struct range *range)
{
    return range->count ? sqrt(range->squares / (double)range->count) : 0;
}

static struct range tensor_range(const struct mr_tensor *tensor)
{
    struct range range = {0};
    for (uint64_t i = 0; i < tensor->count; i++) range_add(&range, mr_tensor_value(tensor, i));
    return range;
}

static void subject_close(struct subject *subject)
{
    if (subject->model) subject->ops->close(subject->model);
    mr_safetensors_close(subject->file);
    mr_file_unmap(&subject->map);
}

/* Which model type the file says it is. */
static mr_status type_find(struct subject *subject, struct mr_err *err)
{
    const char *const type = mr_safetensors_metadata(subject->file, "millrace.type");
    struct mr_near near;
    if (!type) {
        return mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata: not a model of this program",
                       subject->path);
    }
    subject->ops = mr_model_find(type);
    if (subject->ops) return MR_OK;
    mr_near_start(&near, type);
    for (size_t i = 0; mr_models[i]; i++) mr_near_offer(&near, mr_models[i]->name);
    const char *const best = mr_near_best(&near);
    return mr_fail(err, MR_EDATA, "model \"%s\": its millrace.type \"%.40s\" is not known%s%s%s", subject->path, type,
                   best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
}

/* The layers as they are scored, standardised inputs folded in; a model that is no network has none. */
static void layers_find(struct subject *subject)
{
    const void *params;
    const mr_op op = subject->ops->op(subject->model, &params);
    if (op == MR_OP_MLP_FORWARD) {
        const struct mr_mlp_params *const mlp = params;
        subject->layer = mlp->layer;
        subject->layer_count = mlp->layer_count;
    } else if (op == MR_OP_LINEAR_SCORE) {
        const struct mr_linear_params *const linear = params;
        subject->single = (struct mr_mlp_layer){linear->cols, linear->out, linear->w, linear->b, linear->activation};
        subject->layer = &subject->single;
        subject->layer_count = 1;
    }
}

static mr_status subject_open(struct subject *subject, const char *path, struct mr_err *err)
{
    *subject = (struct subject){.path = path};
    mr_status status = mr_file_map(path, &subject->map, err);
    if (!status) status = mr_model_file_load(path, subject->map.bytes, subject->map.byte_count, &subject->file, err);
    if (!status) status = type_find(subject, err);
    if (!status) status = subject->ops->open(&(struct mr_model_open){.file = path}, &subject->model, err);
    if (status) return status;
    subject->info = subject->ops->info(subject->model);
    layers_find(subject);
    mr_sha256_text(subject->map.bytes, subject->map.byte_count, subject->sha256);
    return MR_OK;
}

/* A name from the file, without what a terminal would obey. */
static void print_safe(const char *name)
{
    for (; *name; name++) putchar((unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name);
}

static void print_names(const char *title, const char *const *names, size_t count)
{
    const size_t shown = count < 16 ? count : 16;
    if (!names) return;
    printf("  %-9s", title);
    for (size_t i = 0; i < shown; i++) {
        fputs(i ? ", " : " ", stdout);
        print_safe(names[i]);
    }
    if (shown < count) printf(", and %zu more", count - shown);
    puts("");
}

#define SHOWN_VALUES 12

/* Tensors with their values where these are few, their range where they are many. */
static void print_tensors(const struct subject *subject)
{
    for (size_t i = 0; i < mr_safetensors_count(subject->file); i++) {
        const struct mr_tensor *const tensor = mr_safetensors_at(subject->file, i);
        const struct range range = tensor_range(tensor);
        const uint64_t cols = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
        fputs("  tensor    ", stdout);
        print_safe(tensor->name);
        for (size_t k = 0; k < tensor->rank; k++)
            printf("%s%llu", k ? ", " : " [", (unsigned long long)tensor->shape[k]);
        fputs(tensor->rank ? "]" : "", stdout);
        for (uint64_t k = 0; tensor->count <= SHOWN_VALUES && k < tensor->count; k++)
            printf("%s %.6g", k && k % cols == 0 ? ";" : "", mr_tensor_value(tensor, k));
        if (tensor->count > SHOWN_VALUES) printf(" %.4g to %.4g (rms %.3g)", range.min, range.max, range_rms(&range));
        puts("");
    }
}

/* Steps of a graph: each with the columns that it takes and gives. */
static void print_steps(const struct subject *subject)
{
    const void *params;
    if (subject->ops->op(subject->model, &params) != MR_OP_GRAPH_FORWARD) return;
    const struct mr_graph_params *const graph = params;
    for (size_t i = 0; i < graph->step_count; i++) {
        const struct mr_graph_step *const step = &graph->step[i];
        printf("  step %-4zu %s, %zu", i, mr_graph_op_name(step->op), step->x_width);
        if (step->z_width) printf(" and %zu", step->z_width);
        printf(" -> %zu\n", step->width);
    }
}

/* What the model says of itself, a line each. */
static void print_found(const struct subject *subject)
{
    char text[MR_FOUND_BYTES];
    if (!subject->ops->found) return;
    subject->ops->found(subject->model, text, sizeof text, NULL);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;) {
        fputs("  found     ", stdout);
        print_safe(line);
        puts("");
    }
}

static void print_text(const struct subject *subject)
{
    const struct mr_model_info *const info = subject->info;
    const char *const origin = mr_safetensors_metadata(subject->file, "millrace.origin");
    printf("%s: %s%s", subject->path, info->type, *info->version ? ", version " : "");
    print_safe(info->version);
    printf(", %zu feature%s -> ", info->feature_count, info->feature_count == 1 ? "" : "s");
    if (info->is_classifier) {
        printf("%zu classes\n", info->class_count);
    } else {
        printf("%zu number%s\n", info->width, info->width == 1 ? "" : "s");
    }
    if (origin) {
        fputs("  origin    ", stdout);
        print_safe(origin);
        puts("");
    }
    print_names("features", info->feature, info->feature_count);
    print_names("classes", info->label, info->class_count);
    print_names("outputs", info->output, info->width);
    print_found(subject);
    for (size_t i = 0; i < subject->layer_count; i++) {
        const struct mr_mlp_layer *const layer = &subject->layer[i];
        struct range weights = {0}, biases = {0};
        for (size_t k = 0; k < layer->in * layer->out; k++) range_add(&weights, (double)layer->w[k]);
        for (size_t k = 0; k < layer->out; k++) range_add(&biases, (double)layer->b[k]);
        printf("  layer %-3zu %zu -> %zu %s, weights %.4g to %.4g (rms %.3g), biases %.4g to %.4g\n", i, layer->in,
               layer->out, mr_activation_name(layer->activation), weights.min, weights.max, range_rms(&weights),
               biases.min, biases.max);
    }
    print_steps(subject);
    if (!subject->layer_count || mr_safetensors_find(subject->file, "optimizer.updates")) print_tensors(subject);
    if (mr_safetensors_find(subject->file, "input.scale"))
        puts("  input     standardised: mean and scale of the file are applied");
    printf("  cost      %zu parameters, %.0f operations a row\n", info->parameter_count, info->flops_per_row);
    printf("  file      %zu bytes, %zu tensors, sha256 %s\n", subject->map.byte_count,
           mr_safetensors_count(subject->file), subject->sha256);
}

static void add_names(cJSON *root, const char *key, const char *const *names, size_t count)
{
    if (!names) {
        cJSON_AddNullToObject(root, key);
        return;
    }
    cJSON *const array = cJSON_AddArrayToObject(root, key);
    for (size_t i = 0; i < count; i++) cJSON_AddItemToArray(array, cJSON_CreateString(names[i]));
}

static void add_layers(cJSON *root, const struct subject *subject)
{
    cJSON *const layers = cJSON_AddArrayToObject(root, "layers");
    for (size_t i = 0; i < subject->layer_count; i++) {
        cJSON *const layer = cJSON_CreateObject();
        cJSON_AddNumberToObject(layer, "in", (double)subject->layer[i].in);
        cJSON_AddNumberToObject(layer, "out", (double)subject->layer[i].out);
        cJSON_AddStringToObject(layer, "activation", mr_activation_name(subject->layer[i].activation));
        cJSON_AddItemToArray(layers, layer);
    }
}

static void add_steps(cJSON *root, const struct subject *subject)
{
    const char *const text = mr_safetensors_metadata(subject->file, "millrace.graph");
    cJSON *const graph = text ? cJSON_Parse(text) : NULL;
    if (graph) cJSON_AddItemToObject(root, "graph", graph);
}

/* What the model says of itself, in words and in numbers by their names; one that is not known is null. */
static void add_found(cJSON *root, const struct subject *subject)
{
    const struct mr_model_info *const info = subject->info;
    char text[MR_FOUND_BYTES];
    double *const values = subject->ops->found ? calloc(info->width, sizeof *values) : NULL;
    if (!values) return;
    subject->ops->found(subject->model, text, sizeof text, values);
    mr_found_add(root, info, text, values);
    free(values);
}

static void add_tensors(cJSON *root, const struct subject *subject)
{
    cJSON *const tensors = cJSON_AddArrayToObject(root, "tensors");
    for (size_t i = 0; i < mr_safetensors_count(subject->file); i++) {
        const struct mr_tensor *const tensor = mr_safetensors_at(subject->file, i);
        const struct range range = tensor_range(tensor);
        cJSON *const item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", tensor->name);
        cJSON_AddStringToObject(item, "dtype", mr_dtype_name(tensor->dtype));
        cJSON *const shape = cJSON_AddArrayToObject(item, "shape");
        for (size_t k = 0; k < tensor->rank; k++)
            cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[k]));
        cJSON_AddNumberToObject(item, "min", range.min);
        cJSON_AddNumberToObject(item, "max", range.max);
        cJSON_AddNumberToObject(item, "rms", range_rms(&range));
        cJSON_AddItemToArray(tensors, item);
    }
}

static mr_status print_json(const struct subject *subject, struct mr_err *err)
{
    const struct mr_model_info *const info = subject->info;
    const char *const origin = mr_safetensors_metadata(subject->file, "millrace.origin");
    cJSON *const root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "path", subject->path);
    cJSON_AddStringToObject(root, "type", info->type);
    cJSON_AddStringToObject(root, "version", info->version);
    if (origin) cJSON_AddStringToObject(root, "origin", origin);
    cJSON_AddNumberToObject(root, "feature_count", (double)info->feature_count);
    add_names(root, "features", info->feature, info->feature_count);
    cJSON_AddNumberToObject(root, "width", (double)info->width);
    cJSON_AddBoolToObject(root, "is_classifier", info->is_classifier);
    cJSON_AddNumberToObject(root, "class_count", (double)info->class_count);
    add_names(root, "labels", info->label, info->class_count);
    add_layers(root, subject);
    add_steps(root, subject);
    cJSON_AddNumberToObject(root, "parameter_count", (double)info->parameter_count);
    cJSON_AddNumberToObject(root, "flops_per_row", info->flops_per_row);
    cJSON_AddNumberToObject(root, "bytes", (double)subject->map.byte_count);
    cJSON_AddStringToObject(root, "sha256", subject->sha256);
    add_found(root, subject);
    add_tensors(root, subject);
    char *const text = cJSON_PrintUnformatted(root);
    if (text) puts(text);
    free(text);
    cJSON_Delete(root);
    return text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

static mr_status inspect_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct inspect_options *const inspect = options;
    struct subject subject;
    mr_status status = subject_open(&subject, words->item[0], err);
    if (!status && inspect->json) {
        status = print_json(&subject, err);
    } else if (!status) {
        print_text(&subject);
    }
    subject_close(&subject);
    return status;
}

static const struct mr_flag inspect_flags[] = {
    {.row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = offsetof(struct inspect_options, json),
             .doc = "One JSON object on stdout, with every tensor."}},
    {0},
};

const struct mr_command mr_command_inspect = {
    .name = "inspect",
    .summary = "Say what is in a model file",
    .usage = "MODEL [--json]",
    .examples = "millrace inspect regime.safetensors\n"
                "millrace inspect notebook.onnx               # what its graph is as a model of ours\n"
                "millrace inspect regime.safetensors --json   # every tensor, for scripts",
    .flags = inspect_flags,
    .options_size = sizeof(struct inspect_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = inspect_run,
};
