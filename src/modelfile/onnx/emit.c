#include "modelfile/onnx/emit.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "base/utf8.h"
#include "modelfile/model_file.h"
#include "modelfile/onnx/emit_graph.h"

#define LAYERS_MAX 256 /* of a perceptron */

/* A model of ours on its way out. */
struct emission {
    const struct mr_onnx_model *model;
    struct mr_onnx_forms forms;
    const struct mr_onnx_form *scores, *classes;
    bool has_scores;                    /* numbers are an output */
    const struct mr_onnx_tensor *label; /* of the columns of scores, or NULL */
    struct mr_model_info info;
    struct mr_tensor_out tensor[2 * LAYERS_MAX + 2];
    struct mr_onnx_steps steps; /* of a graph, in the place of tensors */
    size_t tensor_count;
    char *activation[LAYERS_MAX];
    size_t layer_count;
    struct mr_blob *out;
    struct mr_err *err;
};

static mr_status no_memory(const struct emission *at)
{
    return mr_fail(at->err, MR_ENOMEM, "model \"%s\": out of memory", at->model->place.name);
}

static mr_status refuse(const struct emission *at, const char *reason)
{
    return mr_fail(at->err, MR_EDATA, "model \"%s\": %s", at->model->place.name, reason);
}

/* A text of the file as a string: UTF-8 without control characters. NULL: it is not, or no memory. */
static char *text_copy(struct mr_onnx_arena *arena, struct mr_onnx_span span)
{
    char *const text = mr_onnx_take(arena, span.bytes + 1, 1);
    for (size_t i = 0; i < span.bytes; i++) {
        if (span.data[i] < 0x20 || span.data[i] == 0x7f) return NULL;
    }
    if (!text || !mr_utf8_is_valid((const char *)span.data, span.bytes)) return NULL;
    if (span.bytes) memcpy(text, span.data, span.bytes);
    return text;
}

/* Names that millrace wrote beside the graph (export.h); others are not asked for what they mean. */
static mr_status features_own(struct emission *at)
{
    const struct mr_onnx_span text = at->model->features;
    char **const name = mr_onnx_take(at->forms.arena, at->info.feature_count, sizeof *name);
    if (!name) return no_memory(at);
    cJSON *const array = cJSON_ParseWithLength((const char *)text.data, text.bytes);
    size_t count = 0;
    if (cJSON_IsArray(array) && (size_t)cJSON_GetArraySize(array) == at->info.feature_count) {
        for (const cJSON *item = array->child; item && cJSON_IsString(item); item = item->next, count++) {
            const char *const own = item->valuestring;
            name[count] = text_copy(at->forms.arena, (struct mr_onnx_span){(const unsigned char *)own, strlen(own)});
            if (!name[count]) break;
        }
        if (count == at->info.feature_count) at->info.feature = (const char *const *)name;
    }
    cJSON_Delete(array);
    return MR_OK;
}

static mr_status features_name(struct emission *at, const struct mr_onnx_program *program)
{
    char **const name = mr_onnx_take(at->forms.arena, program->feature_count, sizeof *name);
    if (!name) return no_memory(at);
    for (size_t i = 0; program->feature && i < program->feature_count; i++) {
        name[i] = text_copy(at->forms.arena, program->feature[i]);
        if (!name[i]) return refuse(at, "a name of its inputs is not UTF-8, or has control characters");
    }
    at->info.feature_count = program->feature_count;
    if (program->feature) at->info.feature = (const char *const *)name;
    return at->model->features.bytes ? features_own(at) : MR_OK;
}

/* Labels as text; none where they are the indices themselves and nothing else says that there are classes. */
static mr_status labels_name(struct emission *at, size_t count, bool is_known)
{
    const struct mr_onnx_tensor *const label = at->label;
    bool is_index = true;
    char **const name = mr_onnx_take(at->forms.arena, count, sizeof *name);
    if (!label) return MR_OK;
    if (!name) return no_memory(at);
    if (label->count != count) return refuse(at, "it has another number of labels than of classes");
    for (size_t i = 0; i < count; i++) {
        char digits[MR_NUMBER_BYTES];
        size_t bytes;
        if (label->type == MR_ONNX_STRING) {
            name[i] = text_copy(at->forms.arena, label->text[i]);
            if (!name[i]) return refuse(at, "a label of its classes is not UTF-8, or has control characters");
            is_index = false;
            continue;
        }
        const double value = mr_onnx_get(label, i);
        if (mr_onnx_is_float(label->type) && (!isfinite(value) || !isfinite((float)value)))
            return refuse(at, "a label of its classes is no number");
        bytes = mr_onnx_is_float(label->type) ? mr_print_f32((float)value, digits)
                                              : mr_print_i64((long long)mr_onnx_get_int(label, i), digits);
        name[i] = text_copy(at->forms.arena, (struct mr_onnx_span){(const unsigned char *)digits, bytes});
        if (!name[i]) return no_memory(at);
        is_index &= value == (double)i;
    }
    at->info.class_count = count;
    if (!is_index || !is_known) at->info.label = (const char *const *)name;
    return MR_OK;
}

static void tensor_add(struct emission *at, const char *name, size_t rows, size_t cols, const float *f32,
                       const double *f64)
{
    struct mr_tensor_out *const tensor = &at->tensor[at->tensor_count++];
    *tensor = (struct mr_tensor_out){.name = name, .rank = cols ? 2 : 1, .shape = {rows, cols}, .f32 = f32, .f64 = f64};
    if (f32) tensor->f64 = NULL;
}

/* "MatMul 2, Add 2, Relu, Softmax": operators in the order in which they first stand there, and how often. */
static void ops_print(const struct mr_onnx_model *model, char *text, size_t text_bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < model->node_count && used + 100 < text_bytes; i++) {
        const struct mr_onnx_span op = model->node[i].op;
        size_t count = 0;
        bool is_first = true;
        for (size_t k = 0; k < model->node_count && is_first; k++) {
            if (!mr_onnx_span_same(model->node[k].op, op)) continue;
            is_first = k >= i;
            count++;
        }
        if (!is_first) continue;
        used += (size_t)snprintf(text + used, text_bytes - used, "%s%.*s", used ? ", " : "", MR_ONNX_TEXT(op));
        if (count > 1) used += (size_t)snprintf(text + used, text_bytes - used, " %zu", count);
    }
}

/* Where the model comes from: producer, opsets and graph, as far as they are text. */
static void origin_print(const struct mr_onnx_model *model, char *text, size_t text_bytes)
{
    char ops[512] = "", ml[32] = "";
    if (model->opset_ml) snprintf(ml, sizeof ml, ", ai.onnx.ml %lld", (long long)model->opset_ml);
    ops_print(model, ops, sizeof ops);
    snprintf(text, text_bytes, "ONNX of %.*s %.*s, opset %lld%s, %zu nodes: %s", MR_ONNX_TEXT(model->producer),
             MR_ONNX_TEXT(model->producer_version), (long long)model->opset, ml, model->node_count, ops);
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e) *at = '?';
    }
}

static mr_status store(struct emission *at)
{
    char origin[1024];
    struct mr_names activations = {at->activation, at->layer_count};
    const char *const version = text_copy(at->forms.arena, at->model->version);
    at->info.version = version ? version : "";
    const bool is_mlp = !strcmp(at->info.type, "mlp");
    origin_print(at->model, origin, sizeof origin);
    const struct mr_metadata_out more[] = {{"millrace.origin", origin}, {"millrace.graph", at->steps.text}};
    return mr_model_store_with(&at->info, is_mlp ? &activations : NULL, at->steps.text ? at->steps.tensor : at->tensor,
                               at->steps.text ? at->steps.tensor_count : at->tensor_count, more, at->steps.text ? 2 : 1,
                               at->out, at->err);
}

/* mean and scale that do nothing are not worth a tensor. */
static void standard_add(struct emission *at, const struct mr_onnx_chain *chain)
{
    bool is_nothing = true;
    for (size_t i = 0; i < chain->width; i++) is_nothing &= chain->mean[i] == 0 && chain->scale[i] == 1;
    if (is_nothing) return;
    tensor_add(at, "input.mean", chain->width, 0, NULL, chain->mean);
    tensor_add(at, "input.scale", chain->width, 0, NULL, chain->scale);
}

/* Layers, the first one first. */
static mr_status layers_add(struct emission *at, const struct mr_onnx_chain *last)
{
    const struct mr_onnx_chain *layer[LAYERS_MAX], *chain = last;
    size_t count = 0;
    for (; chain->before && chain->b; chain = chain->before) {
        if (count == LAYERS_MAX) return refuse(at, "it has more than 256 layers");
        layer[count++] = chain;
        if (chain->is_erf) return refuse(at, "it has an Erf that is not part of a GELU");
        if (chain->activation == MR_ACT_SOFTMAX && chain != last)
            return refuse(at, "it has a Softmax that is not the last: ours is the last alone");
    }
    at->layer_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct mr_onnx_chain *const from = layer[count - 1 - i];
        char *const weight = mr_onnx_take(at->forms.arena, 2, 40);
        if (!weight) return no_memory(at);
        snprintf(weight, 40, count > 1 || !strcmp(at->info.type, "mlp") ? "layer.%zu.weight" : "weight", i);
        snprintf(weight + 40, 40, count > 1 || !strcmp(at->info.type, "mlp") ? "layer.%zu.bias" : "bias", i);
        tensor_add(at, weight, from->width, from->before->width, from->w32, from->w);
        tensor_add(at, weight + 40, from->width, 0, NULL, from->b);
        at->activation[i] = (char *)(uintptr_t)mr_activation_name(from->activation);
    }
    if (chain->mean) standard_add(at, chain);
    return MR_OK;
}

/* One probability for two classes, where the graph has both: (1 - p, p). The form as it was where it is no such pair.
 */
static const struct mr_onnx_form *pair_halve(struct emission *at, const struct mr_onnx_form *scores)
{
    static const size_t second[] = {1};
    const struct mr_onnx_chain *const chain = scores->chain;
    if (!mr_form_is_pair(scores)) return scores;
    if (chain->width == 1) return scores->scale[1] == 1 ? mr_form_input(&at->forms, chain, 0, 1, 2) : scores;
    const struct mr_onnx_form sums = {.kind = MR_FORM_ROWS,
                                      .width = 2,
                                      .rank = 2,
                                      .chain = chain->before,
                                      .w = chain->w,
                                      .w32 = chain->w32,
                                      .b = chain->b};
    const struct mr_onnx_form *const half = mr_form_pick(&at->forms, &sums, second, 1);
    return half ? mr_form_activate(&at->forms, half, MR_ACT_SIGMOID, false) : NULL;
}

static mr_status layers_emit(struct emission *at)
{
    const struct mr_onnx_form *form = pair_halve(at, at->scores);
    if (form && !(mr_form_is_plain(form) && form->chain->b))
        form = mr_form_activate(&at->forms, form, MR_ACT_IDENTITY, false);
    if (!form) return no_memory(at);
    const struct mr_onnx_chain *const last = form->chain;
    const bool is_single = !last->before->b, is_one = last->width == 1;
    const bool is_logistic =
        (last->activation == MR_ACT_SIGMOID && is_one) || (last->activation == MR_ACT_SOFTMAX && !is_one);
    const bool has_classes = at->classes || at->label;
    if (has_classes && is_one && last->activation != MR_ACT_SIGMOID)
        return refuse(at, "its classes are those of a single column that is no probability");
    at->info.type = is_single && is_logistic                                           ? "logistic"
                    : is_single && last->activation == MR_ACT_IDENTITY && !has_classes ? "linear"
                                                                                       : "mlp";
    mr_status status = layers_add(at, last);
    if (!status) status = labels_name(at, is_one ? 2 : last->width, is_logistic);
    return status ? status : store(at);
}

/* Whether a number is the sum of squares of a centre, as far as float32 says. */
static bool is_square_of(double value, const double *center, size_t cols)
{
    double sum = 0;
    for (size_t c = 0; c < cols; c++) sum += center[c] * center[c];
    return fabs(value - sum) <= (double)(cols + 8) * (double)FLT_EPSILON * sum; /* a sum in float32 */
}

/* Distances from centres of the features as they come: |x|^2 - 2 c.x + |c|^2, the nearest of which is the class;
 * without the first term where the class alone is asked for. *center_out [width][cols], NULL without memory. */
static bool is_centers(struct emission *at, double **center_out)
{
    const struct mr_onnx_form *const form = at->classes ? at->classes->of : at->scores;
    const size_t cols = form->chain->width;
    *center_out = NULL;
    if (form->chain->before || form->chain->made || (form->squares != 0 && form->squares != 1)) return false;
    if (!at->classes || !at->classes->is_least || at->scores->squares != (at->has_scores ? 1 : form->squares))
        return false;
    double *const center = mr_onnx_take(at->forms.arena, form->width, cols * sizeof *center);
    for (size_t i = 0; center && i < form->width; i++) {
        for (size_t c = 0; c < cols; c++) center[i * cols + c] = mr_form_weight(form, i, c) / -2;
        if (!is_square_of(form->b[i], &center[i * cols], cols)) return false;
    }
    *center_out = center;
    return true;
}

static mr_status centers_emit(struct emission *at, const double *center)
{
    const struct mr_onnx_form *const form = at->classes ? at->classes->of : at->scores;
    if (!center) return no_memory(at);
    at->info.type = "kmeans";
    tensor_add(at, "centers", form->width, form->chain->width, NULL, center);
    const mr_status status = labels_name(at, form->width, true);
    return status ? status : store(at);
}

/* (x - mean) / scale of each feature, in its place. False: it is something else. */
static bool is_scaler(const struct mr_onnx_form *form)
{
    if (form->chain->before || form->chain->made || !form->source || form->width != form->chain->width) return false;
    for (size_t i = 0; i < form->width; i++) {
        const double scale = form->scale[i];
        if (form->source[i] != i || !(scale > 0) || !isfinite(1 / (scale * scale)) || !isfinite(form->b[i] / scale))
            return false;
    }
    return true;
}

static mr_status scaler_emit(struct emission *at)
{
    const struct mr_onnx_form *const form = at->scores;
    double *const mean = mr_onnx_take(at->forms.arena, form->width, sizeof *mean), *const variance = mr_onnx_take(
                                                                                       at->forms.arena, form->width,
                                                                                       sizeof *variance);
    if (!mean || !variance) return no_memory(at);
    for (size_t i = 0; i < form->width; i++) {
        mean[i] = form->b[i] == 0 ? 0 : form->divisor ? -form->offset[i] : -form->b[i] / form->scale[i];
        variance[i] = form->divisor ? form->divisor[i] * form->divisor[i] : 1 / (form->scale[i] * form->scale[i]);
    }
    at->info.type = "scaler";
    tensor_add(at, "mean", form->width, 0, NULL, mean);
    tensor_add(at, "variance", form->width, 0, NULL, variance);
    return store(at);
}

static bool is_root_of(const struct mr_onnx_form *scores, const struct mr_onnx_form *of)
{
    return scores->is_root && of->squares == scores->squares && of->w == scores->w && of->b == scores->b;
}

/* Whether the classes that are an output are those of the numbers that are one. */
static bool classes_fit(const struct mr_onnx_form *scores, const struct mr_onnx_form *classes)
{
    return classes->of == scores || is_root_of(scores, classes->of);
}

/* Whether layers alone lead to a form, and it is one of theirs. */
static bool is_layers(const struct mr_onnx_form *form)
{
    const struct mr_onnx_chain *const last = form->chain;
    if (form->squares != 0 || form->is_root) return false;
    for (const struct mr_onnx_chain *chain = last; chain; chain = chain->before) {
        if (chain->made || chain->is_erf) return false;
        if (chain->b && chain->activation == MR_ACT_SOFTMAX && (chain != last || !mr_form_is_plain(form))) return false;
    }
    return true;
}

/* Whether numbers are the roots of those whose least is the class: distances, and their squares. */
static bool is_distance(const struct mr_onnx_form *scores, const struct mr_onnx_form *of)
{
    const struct mr_onnx_made *const made = scores->chain->made;
    if (scores->is_root && is_root_of(scores, of)) return true;
    return made && made->op == MR_GRAPH_SQRT && made->x == of && mr_form_is_plain(scores);
}

/* The least of the distances: as a native k-means gives it, squared where they are squares and roots of them. */
static const struct mr_onnx_form *nearest_make(struct emission *at, const struct mr_onnx_form *distances)
{
    const struct mr_onnx_made made = {.op = MR_GRAPH_REDUCE_MIN, .x = distances};
    return mr_form_make(&at->forms, &made, 1, 2);
}

/* What no layers are: its steps. */
static mr_status graph_emit(struct emission *at)
{
    const struct mr_onnx_form *const of = at->classes ? at->classes->of : at->label ? at->scores : NULL;
    const bool is_least = at->classes && at->classes->is_least;
    if (is_least && is_distance(at->scores, of)) at->scores = nearest_make(at, of);
    if (!at->scores) return no_memory(at);
    const char *const reason = mr_onnx_steps_make(&at->forms, at->scores, of, is_least, &at->steps);
    if (reason) return *reason ? refuse(at, reason) : no_memory(at);
    at->info.type = "graph";
    const mr_status status = of ? labels_name(at, of->width == 1 ? 2 : of->width, true) : MR_OK;
    return status ? status : store(at);
}

/* A perceptron's class is that of the largest sum of its last layer, which is not the largest output where a function
 * is flat, or falls: of a row of zeros behind relu it is the first. */
static bool is_class_of_sums(const struct emission *at)
{
    const mr_activation last = at->scores->chain->activation;
    const bool has_classes = at->classes || at->label;
    return !has_classes || !mr_form_is_plain(at->scores) || (last != MR_ACT_RELU && last != MR_ACT_GELU);
}

mr_status mr_onnx_emit(const struct mr_onnx_model *model, const struct mr_onnx_program *program,
                       struct mr_onnx_arena *arena, struct mr_blob *out, struct mr_err *err)
{
    struct emission at = {.model = model,
                          .forms = {.arena = arena, .newest = program->newest},
                          .scores = program->scores ? program->scores : program->classes->of,
                          .classes = program->classes,
                          .has_scores = program->scores != NULL,
                          .label = program->classes ? program->classes->label : program->zip_label,
                          .out = out,
                          .err = err};
    double *center;
    const mr_status status = features_name(&at, program);
    if (status) return status;
    if (at.classes && !classes_fit(at.scores, at.classes)) return graph_emit(&at);
    if (is_centers(&at, &center)) return centers_emit(&at, center);
    if (!at.classes && !at.label && is_scaler(at.scores)) return scaler_emit(&at);
    const bool is_least = at.classes && at.classes->is_least;
    return is_layers(at.scores) && !is_least && is_class_of_sums(&at) ? layers_emit(&at) : graph_emit(&at);
}
