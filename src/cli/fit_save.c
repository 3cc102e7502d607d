/* The model file that `millrace fit` writes, and its card: what it was made of, how, and how good it is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/durable.h"
#include "base/log.h"
#include "cli/fit.h"
#include "modelfile/model_file.h"

const char *fit_output(const struct fit *fit, char *text, size_t bytes)
{
    if (fit->options->output) return fit->options->output;
    snprintf(text, bytes, "%s.safetensors", fit->kind->name);
    return text;
}

void fit_score(struct fit *fit, const char *name, double value)
{
    cJSON *const scores = cJSON_GetObjectItem(fit->report, "scores");
    if (isfinite(value))
        cJSON_AddNumberToObject(scores, name, value);
    else
        cJSON_AddNullToObject(scores, name);
}

const char *fit_ended(struct fit *fit, bool is_converged, bool is_stopped)
{
    cJSON_AddStringToObject(fit->report, "ended", is_stopped ? "stopped" : is_converged ? "converged" : "iterations");
    return is_stopped ? "stopped" : is_converged ? "converged" : "no more were asked for";
}

void fit_data(struct fit *fit, size_t rows)
{
    cJSON *const data = cJSON_AddObjectToObject(fit->report, "data");
    const char *const hash = mr_table_hash(fit->table);
    cJSON_AddStringToObject(data, "path", mr_table_path(fit->table));
    if (hash) cJSON_AddStringToObject(data, "sha256", hash);
    cJSON_AddNumberToObject(data, "rows", (double)rows);
    const unsigned long long skipped = mr_table_skipped(fit->table);
    cJSON_AddNumberToObject(data, "skipped", (double)skipped);
    if (skipped && !fit->options->json)
        printf("%llu row%s left out: they could not be read\n", skipped, skipped == 1 ? "" : "s");
}

mr_status fit_save(struct fit *fit, const struct fit_model *model, struct mr_err *err)
{
    char name[64];
    const char *const path = fit_output(fit, name, sizeof name);
    const struct mr_model_info info = {.type = model->type,
                                       .version = fit->options->version ? fit->options->version : "",
                                       .feature_count = fit->feature ? fit->matrix.cols : 0,
                                       .feature = fit->feature,
                                       .class_count = model->label_count,
                                       .label = model->label};
    const struct mr_names activations = {(char **)(uintptr_t)model->activation, model->activation_count};
    struct mr_blob blob = {0};
    cJSON_AddStringToObject(fit->report, "file", path);
    if (atomic_load(&mr_fit_is_stopped)) {
        cJSON_AddTrueToObject(fit->report, "is_stopped");
        mr_log(MR_LOG_WARN, "fit", "stopped before its end: %s is the best so far", path);
    }
    cJSON *const card = cJSON_Duplicate(fit->report, true);
    char *const text = card ? cJSON_PrintUnformatted(card) : NULL;
    struct mr_metadata_out more[FIT_METADATA_MAX + 1] = {{"millrace.card", text}};
    for (size_t i = 0; i < model->metadata_count; i++) more[i + 1] = model->metadata[i];
    mr_status status = text ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status)
        status = mr_model_store_with(&info, model->activation ? &activations : NULL, model->tensor, model->tensor_count,
                                     more, model->metadata_count + 1, &blob, err);
    const struct iovec part = {blob.data, blob.bytes};
    if (!status) status = mr_durable_write(path, &part, 1, err);
    cJSON_free(text);
    cJSON_Delete(card);
    mr_blob_deinit(&blob);
    if (!status && !fit->options->quiet) mr_log(MR_LOG_INFO, "fit", "model written file=\"%s\"", path);
    return status;
}
