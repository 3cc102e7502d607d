#include "modelfile/onnx/emit_graph.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A form that stands somewhere: value 0 is the features, value i what step i - 1 gives. */
struct placed {
    const void *what; /* form or chain */
    size_t value;
};

struct layout {
    struct mr_onnx_forms *forms;
    struct mr_onnx_steps *out;
    cJSON *steps;
    size_t step_count;
    struct placed placed[2 * MR_GRAPH_STEPS_MAX];
    size_t placed_count;
    const char *reason; /* why it cannot be; "": no memory */
};

static void *take(struct layout *at, size_t count, size_t size)
{
    void *const memory = mr_onnx_take(at->forms->arena, count, size);
    if (!memory && !at->reason) at->reason = "";
    return memory;
}

static bool find(const struct layout *at, const void *what, size_t *value_out)
{
    for (size_t i = at->placed_count; i-- > 0;) {
        if (at->placed[i].what != what) continue;
        *value_out = at->placed[i].value;
        return true;
    }
    return false;
}

static size_t place(struct layout *at, const void *what, size_t value)
{
    if (at->placed_count < 2 * MR_GRAPH_STEPS_MAX) at->placed[at->placed_count++] = (struct placed){what, value};
    return value;
}

/* One step more; its value. z SIZE_MAX: of one value. */
static size_t step_add(struct layout *at, mr_graph_op op, size_t x, size_t z, double a, double b, size_t count)
{
    cJSON *const step = cJSON_CreateObject(), *const of = cJSON_AddArrayToObject(step, "of");
    bool is_good = step && of && cJSON_AddStringToObject(step, "op", mr_graph_op_name(op));
    is_good = is_good && cJSON_AddItemToArray(of, cJSON_CreateNumber((double)x));
    if (z != SIZE_MAX) is_good = is_good && cJSON_AddItemToArray(of, cJSON_CreateNumber((double)z));
    if (a != 0) is_good = is_good && cJSON_AddNumberToObject(step, "a", a);
    if (b != 0) is_good = is_good && cJSON_AddNumberToObject(step, "b", b);
    if (count) is_good = is_good && cJSON_AddNumberToObject(step, "count", (double)count);
    if (!is_good || !cJSON_AddItemToArray(at->steps, step)) {
        cJSON_Delete(step);
        if (!at->reason) at->reason = "";
        return 0;
    }
    if (++at->step_count > MR_GRAPH_STEPS_MAX && !at->reason) at->reason = "it has more than 1024 steps";
    return at->step_count;
}

/* A tensor of the step that comes next. */
static void tensor_add(struct layout *at, const char *what, struct mr_tensor_out tensor)
{
    char *const name = take(at, 40, 1);
    if (!name || at->step_count >= MR_GRAPH_STEPS_MAX) return;
    snprintf(name, 40, "step.%zu.%s", at->step_count, what);
    tensor.name = name;
    at->out->tensor[at->out->tensor_count++] = tensor;
}

/* The numbers of a list as a tensor, copied where they are not the arena's. */
static void list_add(struct layout *at, const char *what, const double *value, size_t count)
{
    tensor_add(at, what, (struct mr_tensor_out){.rank = 1, .shape = {count}, .f64 = value});
}

static size_t dense_add(struct layout *at, size_t x, size_t out, size_t in, const double *w, const float *w32,
                        const double *b)
{
    tensor_add(at, "weight", (struct mr_tensor_out){.rank = 2, .shape = {out, in}, .f32 = w ? NULL : w32, .f64 = w});
    list_add(at, "bias", b, out);
    return step_add(at, MR_GRAPH_DENSE, x, SIZE_MAX, 0, 0, 0);
}

/* (x - shift) * w + bias, where the shift keeps the digits that a large bias would lose. */
static size_t columns_add(struct layout *at, size_t x, const struct mr_onnx_form *form)
{
    int32_t *const column = take(at, form->width, sizeof *column);
    double *const w = take(at, form->width, sizeof *w), *const shift = take(at, form->width, sizeof *shift),
                  *const bias = take(at, form->width, sizeof *bias);
    if (!column || !w || !shift || !bias) return 0;
    for (size_t o = 0; o < form->width; o++) {
        const double by = -form->b[o] / form->scale[o];
        column[o] = (int32_t)form->source[o];
        w[o] = form->divisor ? 1 / form->divisor[o] : form->scale[o];
        if (form->divisor)
            shift[o] = -form->offset[o];
        else if (form->b[o] != 0 && fabs(by) < (double)FLT_MAX / 4)
            shift[o] = by;
        else
            bias[o] = form->b[o];
    }
    tensor_add(at, "column", (struct mr_tensor_out){.rank = 1, .shape = {form->width}, .i32 = column});
    list_add(at, "weight", w, form->width);
    list_add(at, "bias", bias, form->width);
    list_add(at, "shift", shift, form->width);
    return step_add(at, MR_GRAPH_COLUMNS, x, SIZE_MAX, 0, 0, 0);
}

/* One column times a number. */
static size_t column_scale(struct layout *at, size_t x, double by)
{
    static const size_t first[] = {0};
    double *const number = take(at, 2, sizeof *number);
    if (!number) return 0;
    number[0] = by;
    const struct mr_onnx_form form = {.width = 1, .source = first, .scale = number, .b = number + 1};
    return columns_add(at, x, &form);
}

/* What stands for a form; its chain stands already. */
static size_t form_place(struct layout *at, const struct mr_onnx_form *form)
{
    size_t value, chain = 0;
    if (find(at, form, &value)) return value;
    if (!find(at, form->chain, &chain) && !at->reason) at->reason = "its values are not in their order";
    if (mr_form_is_plain(form)) return place(at, form, chain);
    value = form->source ? columns_add(at, chain, form)
                         : dense_add(at, chain, form->width, form->chain->width, form->w, form->w32, form->b);
    if (form->squares != 0) {
        size_t squares = step_add(at, MR_GRAPH_REDUCE_SUM_SQUARE, chain, SIZE_MAX, 0, 0, 0);
        if (form->squares != 1) squares = column_scale(at, squares, form->squares);
        value = step_add(at, MR_GRAPH_ADD, value, squares, 0, 0, 0);
    }
    if (form->is_root) { /* of a distance: rounding may have taken it below 0 */
        value = step_add(at, MR_GRAPH_RELU, value, SIZE_MAX, 0, 0, 0);
        value = step_add(at, MR_GRAPH_SQRT, value, SIZE_MAX, 0, 0, 0);
    }
    return place(at, form, value);
}

static size_t layer_place(struct layout *at, const struct mr_onnx_chain *chain)
{
    static const mr_graph_op activation[] = {[MR_ACT_SIGMOID] = MR_GRAPH_SIGMOID,
                                             [MR_ACT_TANH] = MR_GRAPH_TANH,
                                             [MR_ACT_RELU] = MR_GRAPH_RELU,
                                             [MR_ACT_GELU] = MR_GRAPH_GELU,
                                             [MR_ACT_SOFTMAX] = MR_GRAPH_SOFTMAX};
    size_t before = 0;
    find(at, chain->before, &before);
    size_t value = dense_add(at, before, chain->width, chain->before->width, chain->w, chain->w32, chain->b);
    if (chain->is_erf) return step_add(at, MR_GRAPH_ERF, value, SIZE_MAX, 0, 0, 0);
    if (chain->activation != MR_ACT_IDENTITY)
        value = step_add(at, activation[chain->activation], value, SIZE_MAX, 0, 0, 0);
    return value;
}

/* (x - mean) / scale of the input's columns. */
static size_t standard_place(struct layout *at, const struct mr_onnx_chain *chain)
{
    size_t *const source = take(at, chain->width, sizeof *source), before = 0;
    double *const offset = take(at, chain->width, sizeof *offset), *const none = take(at, chain->width, sizeof *none);
    find(at, chain->before, &before);
    if (!source || !offset || !none) return 0;
    for (size_t i = 0; i < chain->width; i++) {
        source[i] = i;
        offset[i] = -chain->mean[i];
    }
    const struct mr_onnx_form form = {
        .width = chain->width, .source = source, .scale = none, .b = none, .offset = offset, .divisor = chain->scale};
    return columns_add(at, before, &form);
}

static size_t made_place(struct layout *at, const struct mr_onnx_chain *chain)
{
    const struct mr_onnx_made *const made = chain->made;
    const size_t x = form_place(at, made->x), z = made->z ? form_place(at, made->z) : SIZE_MAX;
    if (made->op == MR_GRAPH_OP_COUNT) return x;
    return step_add(at, made->op, x, z, made->a, made->b,
                    mr_graph_kind_of(made->op) == MR_GRAPH_top ? chain->width : 0);
}

/* Which chains are needed, the newest first; operands are older than what is made of them. */
static const struct mr_onnx_chain **chains_find(struct layout *at, const struct mr_onnx_form *const output[2],
                                                size_t *count_out)
{
    size_t count = 0, all = 0, marked = 0;
    for (const struct mr_onnx_chain *chain = at->forms->newest; chain; chain = chain->older) all++;
    const struct mr_onnx_chain **const needed = take(at, all, sizeof(const struct mr_onnx_chain *));
    /* What is needed and not come to yet: at most two a chain that was. */
    const struct mr_onnx_chain **const wanted = take(at, 2 * all + 2, sizeof(const struct mr_onnx_chain *));
    if (!needed || !wanted) return NULL;
    for (size_t i = 0; i < 2; i++) {
        if (output[i]) wanted[marked++] = output[i]->chain;
    }
    for (const struct mr_onnx_chain *chain = at->forms->newest; chain; chain = chain->older) {
        bool is_wanted = false;
        for (size_t i = marked; i-- > 0 && !is_wanted;) is_wanted = wanted[i] == chain;
        if (!is_wanted) continue;
        if (count == MR_GRAPH_STEPS_MAX) {
            at->reason = "it has more than 1024 steps";
            return NULL;
        }
        needed[count++] = chain;
        if (chain->before) wanted[marked++] = chain->before;
        if (chain->made) wanted[marked++] = chain->made->x->chain;
        if (chain->made && chain->made->z) wanted[marked++] = chain->made->z->chain;
    }
    *count_out = count;
    return needed;
}

static void chains_place(struct layout *at, const struct mr_onnx_form *const output[2])
{
    size_t count = 0;
    const struct mr_onnx_chain **const needed = chains_find(at, output, &count);
    while (needed && count-- > 0 && !at->reason) {
        const struct mr_onnx_chain *const chain = needed[count];
        place(at, chain,
              chain->made     ? made_place(at, chain)
              : chain->mean   ? standard_place(at, chain)
              : chain->before ? layer_place(at, chain)
                              : 0);
    }
}

/* The text, copied into the arena. */
static void text_make(struct layout *at, cJSON *graph)
{
    char *const printed = cJSON_PrintUnformatted(graph);
    char *const text = printed ? take(at, strlen(printed) + 1, 1) : NULL;
    if (text) memcpy(text, printed, strlen(printed) + 1);
    if (!text && !at->reason) at->reason = "";
    cJSON_free(printed);
    at->out->text = text;
}

static const struct mr_onnx_chain *input_of(const struct mr_onnx_forms *forms)
{
    const struct mr_onnx_chain *chain = forms->newest;
    while (chain->older) chain = chain->older;
    return chain;
}

const char *mr_onnx_steps_make(struct mr_onnx_forms *forms, const struct mr_onnx_form *scores,
                               const struct mr_onnx_form *of, bool is_least, struct mr_onnx_steps *steps)
{
    struct layout *const at = mr_onnx_take(forms->arena, 1, sizeof *at);
    cJSON *const graph = cJSON_CreateObject();
    const struct mr_onnx_form *const output[2] = {scores, of};
    *steps = (struct mr_onnx_steps){
        .tensor = mr_onnx_take(forms->arena, (size_t)4 * MR_GRAPH_STEPS_MAX, sizeof *steps->tensor)};
    if (!at || !graph || !steps->tensor) {
        cJSON_Delete(graph);
        return "";
    }
    *at = (struct layout){.forms = forms, .out = steps, .steps = cJSON_CreateArray()};
    bool is_good = cJSON_AddNumberToObject(graph, "features", (double)input_of(forms)->width) != NULL;
    is_good = is_good && cJSON_AddItemToObject(graph, "steps", at->steps);
    if (!is_good) at->reason = "";
    if (is_good) chains_place(at, output);
    const size_t y = at->reason ? 0 : form_place(at, scores);
    is_good = is_good && cJSON_AddNumberToObject(graph, "y", (double)y);
    if (of && !at->reason) is_good = is_good && cJSON_AddNumberToObject(graph, "class", (double)form_place(at, of));
    if (of && is_least) is_good = is_good && cJSON_AddTrueToObject(graph, "least");
    if (!is_good && !at->reason) at->reason = "";
    if (!at->reason && !at->step_count) at->reason = "its outputs are its inputs";
    if (!at->reason) text_make(at, graph);
    cJSON_Delete(graph);
    return at->reason;
}
