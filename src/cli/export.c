/* millrace export: a model in a form that other programs read. */
#include <stdlib.h>
#include <string.h>

#include "base/durable.h"
#include "base/output_check.h"
#include "cli/command.h"
#include "modelfile/json_export.h"
#include "modelfile/model_file.h"
#include "modelfile/npz_export.h"
#include "modelfile/onnx/export.h"

enum { FORM_AUTO, FORM_ONNX, FORM_JSON, FORM_NPZ };
static const char *const forms[] = {"auto", "onnx", "json", "npz", NULL};

typedef mr_status export_fn(const struct mr_safetensors *file, struct mr_blob *out, struct mr_err *err);
static export_fn *const exporters[] = {
    [FORM_ONNX] = mr_onnx_export, [FORM_JSON] = mr_json_export, [FORM_NPZ] = mr_npz_export};

struct export_options {
    int form;
    char *output;
};

/* auto: by the ending of --output; ONNX without one. */
static mr_status form_find(const struct export_options *options, int *form_out, struct mr_err *err)
{
    const char *const dot = options->output ? strrchr(options->output, '.') : ".onnx";
    *form_out = options->form;
    for (int form = FORM_ONNX; !*form_out && dot && forms[form]; form++)
        if (!strcmp(dot + 1, forms[form])) *form_out = form;
    return *form_out ? MR_OK
                     : mr_fail(err, MR_EUSAGE, "%s: in which form? Say --to onnx, json or npz", options->output);
}

/* Without --output: the model's name with another ending. */
static char *output_name(const char *path, const char *form)
{
    const char *const slash = strrchr(path, '/'), *const dot = strrchr(path, '.');
    const size_t bytes = dot && dot > (slash ? slash + 1 : path) ? (size_t)(dot - path) : strlen(path);
    char *name = NULL;
    return asprintf(&name, "%.*s.%s", (int)bytes, path, form) < 0 ? NULL : name;
}

static mr_status export_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    const struct export_options *const opt = options;
    const char *const path = words->item[0];
    struct mr_safetensors *file;
    struct mr_blob blob = {0};
    int form;
    mr_status status = form_find(opt, &form, err);
    if (!status) status = mr_model_file_load(path, NULL, 0, &file, err);
    if (status) return status;
    char *const output = opt->output ? strdup(opt->output) : output_name(path, forms[form]);
    if (!output) status = mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_output_check("--output", output, path, err);
    if (!status) status = exporters[form](file, &blob, err);
    const struct iovec part = {blob.data, blob.bytes};
    if (!status) status = mr_durable_write(output, &part, 1, err);
    if (!status) fprintf(stderr, "%s: %s, %zu bytes\n", output, forms[form], blob.bytes);
    mr_blob_deinit(&blob);
    free(output);
    mr_safetensors_close(file);
    return status;
}

static const struct mr_flag export_flags[] = {
    {.argument = "FORM",
     .row =
         {.key = "to",
          .type = MR_OPT_ENUM,
          .offset = offsetof(struct export_options, form),
          .fallback = "auto",
          .choices = forms,
          .doc =
              "onnx: a graph that ONNX Runtime and others run, and that reads back as the same model; json: "
              "metadata and tensors as text; npz: arrays for numpy.load; auto: by the ending of --output, else onnx."}},
    {.letter = 'o',
     .argument = "FILE",
     .row = {.key = "output",
             .type = MR_OPT_STRING,
             .offset = offsetof(struct export_options, output),
             .is_path = true,
             .doc = "The file to write; without it the model's name with the ending of the form."}},
    {0},
};

const struct mr_command mr_command_export = {
    .name = "export",
    .summary = "Write a model as ONNX, JSON or NumPy arrays",
    .usage = "MODEL [--to onnx|json|npz] [-o FILE]",
    .examples =
        "millrace export regime.safetensors --to onnx                 # regime.onnx\n"
        "millrace export ratings.safetensors --to npz -o ratings.npz  # numpy.load(\"ratings.npz\")[\"user_factors\"]",
    .notes =
        "Every number is the one of the model file. What no graph can say stays out of ONNX: what a learner goes on\n"
        "from, and all of a model of type mf. The model file itself is safetensors, which Python, Rust and JavaScript\n"
        "read as it is.",
    .flags = export_flags,
    .options_size = sizeof(struct export_options),
    .word_min = 1,
    .word_max = 1,
    .completes_files = true,
    .run = export_run,
};
