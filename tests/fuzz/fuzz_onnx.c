/* Any bytes as an ONNX file: the reader, its bound of memory, the import, and the model that comes of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/graph_score.h"
#include "modelfile/model_file.h"
#include "modelfile/onnx/import.h"
#include "modelfile/onnx/run.h"
#include "registry.h"

#define ARENA_BYTES ((size_t)8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* The graph computed with zeros for what its inputs leave open, one row: operators meet shapes that nobody meant. */
static void graph_run(struct mr_onnx_model *model, struct mr_onnx_arena *arena, struct mr_err *err)
{
    const struct mr_onnx_tensor **const input = mr_onnx_take(arena, model->input_count, sizeof *input);
    const struct mr_onnx_tensor **const output = mr_onnx_take(arena, model->output_count, sizeof *output);
    for (size_t i = 0; input && i < model->input_count; i++) {
        int64_t dim[MR_ONNX_RANK_MAX];
        for (size_t k = 0; k < model->input[i].rank; k++)
            dim[k] = model->input[i].dim[k] < 0 ? 1 : model->input[i].dim[k];
        const mr_onnx_type type = mr_onnx_type_bytes(model->input[i].type) ? model->input[i].type : MR_ONNX_FLOAT;
        input[i] = mr_onnx_tensor_make(arena, type, model->input[i].rank, dim);
        if (!input[i]) return;
    }
    if (input && output) (void)mr_onnx_run(model, arena, input, output, err);
}

/* What the import stores is whole, and opens or is refused for its numbers. */
static void model_open(struct mr_blob *blob)
{
    struct mr_safetensors *file;
    struct mr_model *model;
    struct mr_err err;
    if (mr_safetensors_parse("fuzz", blob->data, blob->bytes, &file, &err)) __builtin_trap();
    const struct mr_model_ops *const ops = mr_model_find(mr_safetensors_metadata(file, "millrace.type"));
    const struct mr_model_open open = {.file = "fuzz", .bytes = blob->data, .byte_count = blob->bytes};
    if (!ops->open(&open, &model, &err)) {
        if (!strcmp(ops->name, "graph")) fuzz_graph_score(ops, model);
        ops->close(model);
    }
    mr_safetensors_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct mr_onnx_place place = {.name = "fuzz"};
    struct mr_onnx_arena arena = {.bytes_max = ARENA_BYTES};
    struct mr_onnx_model model;
    struct mr_blob blob = {0};
    struct mr_err err;
    if (!mr_onnx_model_read(&place, (struct mr_onnx_span){data, bytes}, &arena, &model, &err))
        graph_run(&model, &arena, &err);
    if (arena.taken > ARENA_BYTES) __builtin_trap();
    mr_onnx_arena_deinit(&arena);
    if (!mr_onnx_import(&place, data, bytes, &blob, &err)) model_open(&blob);
    mr_blob_deinit(&blob);
    return 0;
}
