/* What the flags of `millrace score` and the model file mean, as a job without source and sink. */
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "cli/score.h"
#include "modelfile/model_type.h"
#include "registry.h"
#include "table/format.h"
#include "table/table.h"

#define MODEL_NAME "model"

const char *const score_precisions[] = {"fp32", "bf16", "int8", NULL};
/* --precision, as an option of the model. */
static mr_status precision_set(struct score *score, struct mr_err *err)
{
    const struct mr_job_model *const entry = &score->job_model;
    const char *const name = score_precisions[score->options->precision];
    char tolerance[32];
    if (!score->options->precision) return MR_OK;
    if (!entry->ops->reduced)
        return mr_fail(err, MR_EUSAGE, "--precision: a model of type %s is scored in fp32 only", entry->ops->name);
    snprintf(tolerance, sizeof tolerance, "%.17g", score->options->precision_tolerance);
    mr_status status = mr_options_set(entry->ops->options, entry->options, "precision", name, err);
    if (!status) status = mr_options_set(entry->ops->options, entry->options, "precision_tolerance", tolerance, err);
    return status;
}

static mr_status model_open(struct score *score, const char *path, struct mr_err *err)
{
    struct mr_job_model *const entry = &score->job_model;
    mr_status status = mr_model_type_find(path, &entry->ops, err);
    if (status) return status;
    entry->name = strdup(MODEL_NAME);
    entry->file = strdup(path);
    entry->options = calloc(1, entry->ops->options_size + 1);
    if (!entry->name || !entry->file || !entry->options) return mr_fail(err, MR_ENOMEM, "out of memory");
    if (entry->ops->options) status = mr_options_init(entry->ops->options, entry->options, err);
    if (!status) status = precision_set(score, err);
    const struct mr_model_open open = {.options = entry->options, .file = path};
    if (!status) status = entry->ops->open(&open, &score->model, err);
    if (!status) score->info = entry->ops->info(score->model);
    score->at_work = (struct mr_model_at_work){.job = entry, .model = score->model, .info = score->info};
    if (!status && entry->ops->reduced) score->at_work.reduced = entry->ops->reduced(score->model);
    if (!status && score->info->column_count)
        return mr_fail(
            err, MR_EUSAGE,
            "score: a model of type %s reads ids, not numbers: millrace run JOB --feed FILE --until end answers "
            "with it (datasets/ratings/job.json), eval and compare judge its ratings",
            score->info->type);
    return status;
}

/* Features as given, or those that the model was trained with, or by place. */
static mr_status features_fill(struct score *score, struct mr_err *err)
{
    const struct mr_strings *const given = &score->options->features;
    const struct mr_model_info *const info = score->info;
    bool is_added = true;
    for (size_t i = 0; i < given->count && is_added; i++)
        is_added = mr_strings_add(&score->job.record.features, given->item[i]);
    if (!given->count && !info->feature && score->job.codec->captures_json) {
        return mr_fail(err, MR_EUSAGE,
                       "the model file names no features: say which fields they are with --features a,b,...");
    }
    for (size_t i = 0; !given->count && i < info->feature_count && is_added; i++) {
        char number[32], path[MR_FIELD_PATH_MAX];
        snprintf(number, sizeof number, "%zu", i + 1);
        is_added = mr_strings_add(&score->job.record.features,
                                  mr_field_path(score->job.codec, info->feature ? info->feature[i] : number, path));
    }
    return is_added ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* What is printed unless --emit says otherwise. */
static mr_status emit_fill(struct score *score, struct mr_err *err)
{
    struct mr_map *const fields = &score->job.emit.fields;
    const struct mr_map *const given = &score->options->emit;
    bool is_put = true;
    for (size_t i = 0; i < given->count && is_put; i++)
        is_put = mr_map_put(fields, given->item[i].key, given->item[i].value);
    if (!given->count && score->info->is_classifier) {
        is_put = mr_map_put(fields, "prediction", MODEL_NAME ".class");
        if (is_put && score->info->label) is_put = mr_map_put(fields, "label", MODEL_NAME ".label");
        if (is_put && score->info->is_distance)
            is_put = mr_map_put(fields, "distance", MODEL_NAME ".score");
        else if (is_put && (score->info->is_logit || score->info->has_no_probability))
            is_put = mr_map_put(fields, "scores", MODEL_NAME ".scores");
        else if (is_put)
            is_put = mr_map_put(fields, "probability", MODEL_NAME ".probability");
    } else if (!given->count) {
        is_put = mr_map_put(fields, "prediction", score->info->width == 1 ? MODEL_NAME ".score" : MODEL_NAME ".scores");
    }
    return is_put ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

bool mr_score_needs_header(const struct score *score)
{
    const struct mr_strings *const features = &score->job.record.features;
    if (strcmp(score->job.codec->name, "csv") != 0 || mr_map_get(&score->options->record, "columns")) return false;
    if (mr_map_get(&score->options->record, "header"))
        return !strcmp(mr_map_get(&score->options->record, "header"), "message");
    for (size_t i = 0; i < features->count; i++) {
        const char *digits = features->item[i] + (*features->item[i] == '$');
        if (strspn(digits, "0123456789") != strlen(digits)) return true;
    }
    return false;
}

/* Codec options: fallbacks, then --record. */
static mr_status codec_fill(struct score *score, bool has_tabs, struct mr_err *err)
{
    const struct mr_codec_ops *const codec = score->job.codec;
    const struct mr_map *const record = &score->options->record;
    score->job.codec_options = calloc(1, codec->options_size + 1);
    if (!score->job.codec_options) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = codec->options ? mr_options_init(codec->options, score->job.codec_options, err) : MR_OK;
    if (!status && has_tabs) status = mr_options_set(codec->options, score->job.codec_options, "delimiter", "tab", err);
    for (size_t i = 0; i < record->count && !status; i++) {
        if (!codec->options) return mr_fail(err, MR_EUSAGE, "--record: format %s has no options", codec->name);
        status =
            mr_options_set(codec->options, score->job.codec_options, record->item[i].key, record->item[i].value, err);
    }
    if (!status && mr_score_needs_header(score))
        status = mr_options_set(codec->options, score->job.codec_options, "header", "message", err);
    if (!status && codec->check) status = codec->check(score->job.codec_options, err);
    return status;
}

static mr_status job_fill(struct score *score, const char *path, struct mr_err *err)
{
    struct mr_job *const job = &score->job;
    bool has_tabs;
    job->codec = mr_format_find(score->options->format, path, &has_tabs);
    if (!job->codec) job->codec = mr_codec_find("json");
    if (!job->codec) return mr_fail(err, MR_EUSAGE, "--format: say which: this build reads no JSON");
    job->model = &score->job_model;
    job->model_count = 1;
    job->record.framing = score_is_packed(score) ? MR_FRAMING_PACKED : MR_FRAMING_LINES;
    job->record.depth_max = 32;
    job->record.bytes_max = 1 << 20;
    job->emit.framing = MR_EMIT_LINES;
    job->emit.records_max = SCORE_ROW_CAP;
    job->emit.floats = score->options->floats;
    mr_status status = features_fill(score, err);
    if (!status) status = emit_fill(score, err);
    if (!status) status = codec_fill(score, has_tabs, err);
    if (!status) status = mr_layout_create(job, &score->info, &score->layout, err);
    if (!status) status = job->codec->create(job->codec_options, &score->layout->schema, &score->decoder, err);
    if (!status) status = mr_encoder_create(job, score->layout, &score->info, &score->encoder, err);
    if (status == MR_ECONFIG && err) err->status = status = MR_EUSAGE; /* there is no job file: flags said it */
    return status;
}

mr_status mr_score_job_open(struct score *score, const char *model, const char *path, struct mr_err *err)
{
    const mr_status status = model_open(score, model, err);
    return status ? status : job_fill(score, path, err);
}

void mr_score_job_close(struct score *score)
{
    mr_encoder_destroy(score->encoder);
    if (score->decoder) score->job.codec->destroy(score->decoder);
    mr_layout_destroy(score->layout);
    if (score->model) score->job_model.ops->close(score->model);
    if (score->job_model.options && score->job_model.ops->options)
        mr_options_deinit(score->job_model.ops->options, score->job_model.options);
    free(score->job_model.options);
    free(score->job_model.name);
    free(score->job_model.file);
    if (score->job.codec_options && score->job.codec->options)
        mr_options_deinit(score->job.codec->options, score->job.codec_options);
    free(score->job.codec_options);
    for (size_t i = 0; i < score->job.record.features.count; i++) free(score->job.record.features.item[i]);
    free(score->job.record.features.item);
    for (size_t i = 0; i < score->job.emit.fields.count; i++) {
        free(score->job.emit.fields.item[i].key);
        free(score->job.emit.fields.item[i].value);
    }
    free(score->job.emit.fields.item);
}
