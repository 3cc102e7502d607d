#include "modelfile/onnx/run.h"

#include <string.h>

mr_status mr_onnx_node_run(const struct mr_onnx_model *model, const struct mr_onnx_node *node,
                           struct mr_onnx_arena *arena, const struct mr_onnx_tensor **value, struct mr_err *err)
{
    const struct mr_onnx_tensor **const input = mr_onnx_take(arena, node->input_count, sizeof *input);
    const struct mr_onnx_tensor **const output = mr_onnx_take(arena, node->output_count, sizeof *output);
    struct mr_onnx_call call = {.model = model,
                                .node = node,
                                .arena = arena,
                                .input = input,
                                .output = output,
                                .input_count = node->input_count,
                                .output_count = node->output_count,
                                .err = err};
    if (!input || !output) return mr_onnx_node_fail(model, node, err, MR_ENOMEM, "out of memory");
    for (size_t i = 0; i < node->input_count; i++) {
        const mr_onnx_value from = node->input[i];
        input[i] = from == MR_ONNX_NO_VALUE ? NULL : value[from];
        if (from != MR_ONNX_NO_VALUE && !input[i])
            return mr_onnx_node_fail(model, node, err, MR_EDATA, "its input %zu was not computed by the node before",
                                     i);
    }
    const mr_status status = mr_onnx_eval(&call);
    for (size_t i = 0; i < node->output_count && !status; i++) {
        if (node->output[i] != MR_ONNX_NO_VALUE) value[node->output[i]] = output[i];
    }
    return status;
}

mr_status mr_onnx_run(const struct mr_onnx_model *model, struct mr_onnx_arena *arena,
                      const struct mr_onnx_tensor *const *input, const struct mr_onnx_tensor **output,
                      struct mr_err *err)
{
    const struct mr_onnx_tensor **const value = mr_onnx_take(arena, model->value_count, sizeof *value);
    mr_status status = MR_OK;
    if (!value) return mr_fail(err, MR_ENOMEM, "model \"%s\": out of memory", model->place.name);
    memcpy(value, model->constant, model->value_count * sizeof *value);
    for (size_t i = 0; i < model->input_count; i++) value[model->input[i].value] = input[i];
    for (size_t i = 0; i < model->node_count && !status; i++)
        status = mr_onnx_node_run(model, &model->node[i], arena, value, err);
    for (size_t i = 0; i < model->output_count && !status; i++) {
        output[i] = value[model->output[i].value];
        if (!output[i])
            status = mr_fail(err, MR_EDATA, "model \"%s\": its output \"%.*s\" was not computed", model->place.name,
                             MR_ONNX_TEXT(model->output[i].name));
    }
    return status;
}
