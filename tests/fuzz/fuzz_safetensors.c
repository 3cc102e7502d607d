/* Any bytes as a model file: the reader, then every tensor and every value that it lets through. */
#include <stdint.h>
#include <string.h>

#include "fuzz/graph_score.h"
#include "modelfile/model_file.h"
#include "registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct mr_safetensors *file;
    struct mr_err err;
    if (mr_safetensors_parse("fuzz", data, bytes, &file, &err)) return 0;
    volatile double sum = 0;
    for (size_t i = 0; i < mr_safetensors_count(file); i++) {
        const struct mr_tensor *const tensor = mr_safetensors_at(file, i);
        for (uint64_t k = 0; k < tensor->count; k++) sum += mr_tensor_value(tensor, k);
        if (mr_safetensors_find(file, tensor->name) != tensor) __builtin_trap();
    }
    (void)sum; /* every value was read */
    struct mr_model *model;
    const struct mr_model_open open = {.file = "fuzz", .bytes = data, .byte_count = bytes};
    const struct mr_model_ops *const graph = mr_model_find("graph");
    if (mr_safetensors_metadata(file, "millrace.graph") && !graph->open(&open, &model, &err)) {
        fuzz_graph_score(graph, model);
        graph->close(model);
    }
    struct mr_model_meta meta = {0};
    struct mr_mlp_layer layer = {0};
    struct mr_model_info info;
    if (!mr_model_meta_read(file, &meta, &err) && !mr_dense_read(file, "weight", "bias", true, &layer, NULL, &err)) {
        (void)mr_model_info_fill(file, "linear", &meta, layer.in, layer.out, MR_ACT_SOFTMAX, &info, &err);
    }
    mr_dense_deinit(&layer);
    mr_model_meta_deinit(&meta);
    mr_safetensors_close(file);
    return 0;
}
