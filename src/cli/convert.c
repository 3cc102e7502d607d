/* millrace convert: a model from elsewhere as a model file of ours. */
#include "base/durable.h"
#include "base/output_check.h"
#include "cli/command.h"
#include "modelfile/model_file.h"
#include "registry.h"

struct convert_options {
    char *output;
};

/* That the model opens is known before a file is written. */
static mr_status model_try(const char *path, const struct mr_safetensors *file, struct mr_err *err)
{
    const char *const type = mr_safetensors_metadata(file, "millrace.type");
    const struct mr_model_ops *const ops = type ? mr_model_find(type) : NULL;
    struct mr_model_open open = {.file = path};
    struct mr_model *model;
    if (!ops) return mr_fail(err, MR_EDATA, "model \"%s\": no millrace.type in its metadata that is known", path);
    open.bytes = mr_safetensors_bytes(file, &open.byte_count);
    const mr_status status = ops->open(&open, &model, err);
    if (!status) ops->close(model);
    return status;
}

static mr_status convert_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct convert_options *const opt = options;
    const char *const path = words->item[0];
    struct mr_safetensors *file;
    size_t byte_count;
    mr_status status = mr_output_check("--output", opt->output, path, err);
    if (!status) status = mr_model_file_load(path, NULL, 0, &file, err);
    if (status) return status;
    const void *const bytes = mr_safetensors_bytes(file, &byte_count);
    const struct iovec part = {(void *)(uintptr_t)bytes, byte_count};
    status = model_try(path, file, err);
    if (!status) status = mr_durable_write(opt->output, &part, 1, err);
    if (!status)
        fprintf(stderr, "%s: %s, %zu bytes\n", opt->output, mr_safetensors_metadata(file, "millrace.type"), byte_count);
    mr_safetensors_close(file);
    return status;
}

static const struct mr_flag convert_flags[] = {
    {.letter = 'o',
     .argument = "FILE",
     .row = {.key = "output",
             .type = MR_OPT_STRING,
             .offset = offsetof(struct convert_options, output),
             .required = true,
             .doc = "The model file to write (safetensors)."}},
    {0},
};

const struct mr_command mr_command_convert = {
    .name = "convert",
    .summary = "Write an ONNX model as a model file of millrace",
    .usage = "MODEL -o FILE",
    .examples = "millrace convert notebook.onnx -o notebook.safetensors",
    .notes = "Jobs, score and the others read ONNX as it is; what they make of it is what this writes. A graph with\n"
             "operators that no model has is refused with the node that stands in the way.",
    .flags = convert_flags,
    .options_size = sizeof(struct convert_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = convert_run,
};
