#include "modelfile/onnx/compile.h"

#include <string.h>

static const struct step {
    const char *op;
    bool is_ml;
    mr_onnx_step_fn *layer, *graph; /* NULL: none */
} steps[] = {
#define MR_ONNX_STEP(op, is_ml, layer, graph) {#op, is_ml, layer, graph},
#include "modelfile/onnx/compile.def"
#undef MR_ONNX_STEP
};

static const struct step *step_find(const struct mr_onnx_node *node)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (steps[i].is_ml == node->is_ml && mr_onnx_span_is(node->op, steps[i].op)) return &steps[i];
    }
    return NULL;
}

const struct mr_onnx_form *mr_step_first(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    return node->input_count && node->input[0] != MR_ONNX_NO_VALUE ? compile->form[node->input[0]] : NULL;
}

const struct mr_onnx_form *mr_step_form(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                        size_t index, mr_form_kind kind)
{
    if (index >= node->input_count || node->input[index] == MR_ONNX_NO_VALUE) return NULL;
    const struct mr_onnx_form *const form = compile->form[node->input[index]];
    return form && form->kind == kind ? form : NULL;
}

const struct mr_onnx_tensor *mr_step_constant(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                              size_t index)
{
    if (index >= node->input_count || node->input[index] == MR_ONNX_NO_VALUE) return NULL;
    return compile->constant[node->input[index]];
}

const char *mr_step_set(struct mr_onnx_compile *compile, const struct mr_onnx_node *node, size_t output,
                        const struct mr_onnx_form *form)
{
    if (!form)
        compile->forms.is_out_of_memory = true;
    else if (output < node->output_count && node->output[output] != MR_ONNX_NO_VALUE)
        compile->form[node->output[output]] = form;
    return NULL;
}

const char *mr_step_columns(struct mr_onnx_compile *compile, const struct mr_onnx_tensor *constant,
                            const struct mr_onnx_form *form, const double **column_out)
{
    double *const column = mr_onnx_take(compile->forms.arena, form->width, sizeof *column);
    *column_out = column;
    if (constant->type == MR_ONNX_STRING) return "it computes with a constant that is text";
    if (constant->rank > form->rank)
        return "its constant has more dimensions than what it meets: expected one number, or [columns]";
    if (constant->count != 1 &&
        (constant->count != form->width || form->rank != 2 || (size_t)constant->dim[constant->rank - 1] != form->width))
        return "its constant is not one number, nor one a column";
    if (!column) {
        compile->forms.is_out_of_memory = true;
        return NULL;
    }
    for (size_t i = 0; i < form->width; i++) column[i] = mr_onnx_get(constant, constant->count == 1 ? 0 : i);
    return NULL;
}

const struct mr_onnx_tensor *mr_step_list(struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                                          const char *name)
{
    struct mr_onnx_tensor *list;
    const mr_status status =
        mr_onnx_attribute_list(compile->model, node, name, compile->forms.arena, &list, compile->err);
    if (status) compile->status = status;
    return list && list->count ? list : NULL;
}

const char mr_step_unknown[] =
    "no model of ours computes this operator: export the part before it, or another form of the model";

void mr_step_eval(struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                  const struct mr_onnx_tensor *const *input, const struct mr_onnx_tensor **output)
{
    struct mr_onnx_call call = {.model = compile->model,
                                .node = node,
                                .arena = compile->forms.arena,
                                .input = input,
                                .output = output,
                                .input_count = node->input_count,
                                .output_count = node->output_count,
                                .err = compile->err};
    compile->status = mr_onnx_eval(&call);
}

const struct mr_onnx_form *mr_step_class(struct mr_onnx_compile *compile, const struct mr_onnx_form *of, bool is_least,
                                         const struct mr_onnx_tensor *label, size_t rank)
{
    struct mr_onnx_form *const form = mr_onnx_take(compile->forms.arena, 1, sizeof *form);
    const int64_t count = (int64_t)of->width;
    if (!form) return NULL;
    if (!label) {
        struct mr_onnx_tensor *const index = mr_onnx_tensor_make(compile->forms.arena, MR_ONNX_INT64, 1, &count);
        if (!index) return NULL;
        for (int64_t i = 0; i < count; i++) index->i64[i] = i;
        label = index;
    }
    *form = (struct mr_onnx_form){
        .kind = MR_FORM_CLASS, .width = 1, .rank = rank, .of = of, .is_least = is_least, .label = label};
    return form;
}

/* Features that the inputs of the graph have: one input with all of them, or one for each. */
static mr_status inputs_read(struct mr_onnx_compile *compile, struct mr_onnx_program *program)
{
    const struct mr_onnx_model *const model = compile->model;
    struct mr_onnx_span *const name = mr_onnx_take(compile->forms.arena, model->input_count, sizeof *name);
    if (!name) return mr_fail(compile->err, MR_ENOMEM, "model \"%s\": out of memory", model->place.name);
    for (size_t i = 0; i < model->input_count; i++) {
        const struct mr_onnx_port *const port = &model->input[i];
        int64_t width = 1;
        if (!mr_onnx_type_bytes(port->type) || port->type == MR_ONNX_STRING || port->type == MR_ONNX_BOOL)
            return mr_fail(
                compile->err, MR_EDATA,
                "model \"%s\": its input \"%.*s\" is %s: features are numbers, encode texts before the model",
                model->place.name, MR_ONNX_TEXT(port->name), mr_onnx_type_name(port->type));
        for (size_t k = 1; k < port->rank; k++) {
            if (port->dim[k] < 1 || __builtin_mul_overflow(width, port->dim[k], &width) || width > INT32_MAX)
                return mr_fail(
                    compile->err, MR_EDATA,
                    "model \"%s\": its input \"%.*s\" has an unknown size in dimension %zu: export it with a "
                    "fixed number of columns and only the rows open",
                    model->place.name, MR_ONNX_TEXT(port->name), k);
        }
        if (!port->has_shape || !port->rank || (width > 1 && model->input_count > 1))
            return mr_fail(compile->err, MR_EDATA,
                           "model \"%s\": its input \"%.*s\" is not read: expected one input [rows, columns], or one "
                           "input [rows, 1] a column",
                           model->place.name, MR_ONNX_TEXT(port->name));
        name[i] = port->name;
        program->feature_count += (size_t)width;
    }
    if (!program->feature_count)
        return mr_fail(compile->err, MR_EDATA, "model \"%s\": its graph has no input", model->place.name);
    if (model->input_count > 1 || program->feature_count == 1) program->feature = name;
    const struct mr_onnx_chain *const chain = mr_chain_input(&compile->forms, program->feature_count);
    if (!chain) return mr_fail(compile->err, MR_ENOMEM, "model \"%s\": out of memory", model->place.name);
    for (size_t i = 0; i < model->input_count; i++) {
        const struct mr_onnx_port *const port = &model->input[i];
        const size_t width = model->input_count > 1 ? 1 : program->feature_count;
        compile->is_whole[port->value] = !mr_onnx_is_float(port->type);
        compile->form[port->value] = mr_form_input(&compile->forms, chain, i, width, port->rank);
    }
    return MR_OK;
}

/* What stands in the way of a node's outputs. */
static void blame(struct mr_onnx_compile *compile, const struct mr_onnx_node *node, const struct mr_onnx_node *culprit,
                  const char *reason)
{
    for (size_t i = 0; i < node->output_count; i++) {
        if (node->output[i] == MR_ONNX_NO_VALUE) continue;
        compile->culprit[node->output[i]] = culprit;
        compile->reason[node->output[i]] = reason;
    }
}

/* Pending squares and roots, which layers know nothing of, become values for one step. False: there are none. */
static bool inputs_settle(struct mr_onnx_compile *compile, const struct mr_onnx_node *node,
                          const struct mr_onnx_form **before)
{
    bool is_other = false;
    for (size_t i = 0; i < node->input_count; i++) {
        const mr_onnx_value value = node->input[i];
        before[i] = value == MR_ONNX_NO_VALUE ? NULL : compile->form[value];
        if (!before[i] || before[i]->kind != MR_FORM_ROWS || (before[i]->squares == 0 && !before[i]->is_root)) continue;
        compile->form[value] = mr_step_settle(compile, before[i]);
        compile->forms.is_out_of_memory |= !compile->form[value];
        is_other = true;
    }
    return is_other;
}

/* Whether a node computes with whole numbers what ONNX rounds there: our values have no such type. */
static bool rounds_whole(const struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    static const char *const ops[] = {
        "Div", "Pow", "Mean", "ReduceMean", "Reciprocal", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "Sqrt"};
    bool is_whole = false;
    for (size_t i = 0; i < node->input_count; i++)
        is_whole |= node->input[i] != MR_ONNX_NO_VALUE && compile->is_whole[node->input[i]];
    for (size_t i = 0; is_whole && i < sizeof ops / sizeof *ops; i++) {
        if (mr_onnx_span_is(node->op, ops[i])) return true;
    }
    return false;
}

/* Notes which outputs are whole numbers: those of whole numbers, and what is cast to them. */
static void whole_note(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const mr_onnx_type type = (mr_onnx_type)mr_onnx_attribute_int(node, "to", MR_ONNX_NONE);
    const bool is_cast = mr_onnx_span_is(node->op, "Cast");
    bool is_whole = false;
    for (size_t i = 0; i < node->input_count && !is_cast && !node->is_ml; i++)
        is_whole |= node->input[i] != MR_ONNX_NO_VALUE && compile->is_whole[node->input[i]];
    if (is_cast) is_whole = !mr_onnx_is_float(type);
    for (size_t i = 0; i < node->output_count; i++) {
        const bool is_index = i == 1 && mr_onnx_span_is(node->op, "TopK");
        if (node->output[i] != MR_ONNX_NO_VALUE) compile->is_whole[node->output[i]] = is_whole || is_index;
    }
}

/* As sums and layers, else as a step of a graph, else as sums of settled values; the first reason where none fits. */
static const char *node_step(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    const struct step *const step = step_find(node);
    if (!step)
        return mr_onnx_op_is_known(node) ? mr_step_unknown : "this operator is not known: export the model without it";
    const char *const reason = step->layer ? step->layer(compile, node) : "";
    if (!reason || compile->status || compile->forms.is_out_of_memory) return reason;
    const char *other = step->graph ? step->graph(compile, node) : reason;
    if (!other || !step->layer || compile->status || compile->forms.is_out_of_memory) return other;
    const struct mr_onnx_form **const before =
        mr_onnx_take(compile->forms.arena, node->input_count, sizeof(const struct mr_onnx_form *));
    if (!before) {
        compile->forms.is_out_of_memory = true;
        return NULL;
    }
    if (inputs_settle(compile, node, before)) other = step->layer(compile, node);
    for (size_t i = 0; i < node->input_count; i++) {
        if (before[i]) compile->form[node->input[i]] = before[i];
    }
    return other ? reason : NULL;
}

static mr_status node_compile(struct mr_onnx_compile *compile, const struct mr_onnx_node *node)
{
    bool is_constant = true;
    for (size_t i = 0; i < node->input_count; i++) {
        const mr_onnx_value value = node->input[i];
        if (value == MR_ONNX_NO_VALUE) continue;
        if (compile->culprit[value]) {
            blame(compile, node, compile->culprit[value], compile->reason[value]);
            return MR_OK;
        }
        is_constant &= compile->constant[value] != NULL;
    }
    if (is_constant)
        return mr_onnx_node_run(compile->model, node, compile->forms.arena, compile->constant, compile->err);
    const char *const reason = rounds_whole(compile, node)
                                   ? "it computes with whole numbers and rounds: cast them to float before it"
                                   : node_step(compile, node);
    whole_note(compile, node);
    if (compile->status) return compile->status;
    if (compile->forms.is_out_of_memory)
        return mr_onnx_node_fail(compile->model, node, compile->err, MR_ENOMEM, "out of memory");
    if (reason) blame(compile, node, node, reason);
    return MR_OK;
}

/* One output of the graph, beside those before it. */
static mr_status output_take(struct mr_onnx_compile *compile, const struct mr_onnx_port *port,
                             struct mr_onnx_program *program)
{
    const struct mr_onnx_model *const model = compile->model;
    const struct mr_onnx_form *const form = compile->form[port->value];
    if (compile->culprit[port->value])
        return mr_onnx_node_fail(model, compile->culprit[port->value], compile->err, MR_EDATA, "%s",
                                 compile->reason[port->value]);
    if (!form)
        return mr_fail(compile->err, MR_EDATA, "model \"%s\": its output \"%.*s\" does not depend on the input",
                       model->place.name, MR_ONNX_TEXT(port->name));
    const struct mr_onnx_form **const place = form->kind == MR_FORM_CLASS ? &program->classes : &program->scores;
    if (*place && form->kind == MR_FORM_CLASS && *place != form)
        return mr_fail(compile->err, MR_EDATA,
                       "model \"%s\": its output \"%.*s\" is a second one of classes: export the model with one",
                       model->place.name, MR_ONNX_TEXT(port->name));
    if (form->kind == MR_FORM_ROWS && *place) {
        if (form->rank > 2 || (*place)->rank > 2)
            return mr_fail(
                compile->err, MR_EDATA,
                "model \"%s\": its output \"%.*s\" does not stand beside the others: expected [rows, columns]",
                model->place.name, MR_ONNX_TEXT(port->name));
        *place = mr_step_join(compile, *place, form);
    } else {
        *place = form;
    }
    return *place ? MR_OK : mr_fail(compile->err, MR_ENOMEM, "model \"%s\": out of memory", model->place.name);
}

mr_status mr_onnx_compile(const struct mr_onnx_model *model, struct mr_onnx_arena *arena,
                          struct mr_onnx_program *program, struct mr_err *err)
{
    struct mr_onnx_compile compile = {.model = model,
                                      .forms = {.arena = arena},
                                      .err = err,
                                      .constant = mr_onnx_take(arena, model->value_count, sizeof *compile.constant),
                                      .form = mr_onnx_take(arena, model->value_count, sizeof *compile.form),
                                      .culprit = mr_onnx_take(arena, model->value_count, sizeof *compile.culprit),
                                      .is_whole = mr_onnx_take(arena, model->value_count, sizeof *compile.is_whole),
                                      .reason = mr_onnx_take(arena, model->value_count, sizeof *compile.reason)};
    *program = (struct mr_onnx_program){0};
    if (!compile.constant || !compile.form || !compile.culprit || !compile.reason || !compile.is_whole)
        return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", model->place.name);
    memcpy(compile.constant, model->constant, model->value_count * sizeof *compile.constant);
    mr_status status = inputs_read(&compile, program);
    for (size_t i = 0; i < model->node_count && !status; i++) status = node_compile(&compile, &model->node[i]);
    for (size_t i = 0; i < model->output_count && !status; i++)
        status = output_take(&compile, &model->output[i], program);
    program->zip_label = compile.zip_label;
    program->newest = compile.forms.newest;
    return status;
}
