#include "pipeline/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "config/followed.h"
#include "pipeline/layout_build.h"
#include "pipeline/paths.h"

/* Names in the model file, where there are any, must be those of record.features in the same order. */
static mr_status model_names_check(struct mr_layout_builder *b, size_t m)
{
    const struct mr_model_info *info = b->info[m];
    const struct mr_job_model *model = &b->job->model[m];
    for (size_t i = 0; info->feature && i < info->feature_count; i++) {
        const char *path = b->features.item[i];
        if (!mr_path_has_name(path) || mr_path_names(path, info->feature[i])) continue;
        for (size_t k = 0; k < b->features.count; k++) {
            if (!mr_path_names(b->features.item[k], info->feature[i])) continue;
            return mr_fail(b->err, MR_ECONFIG,
                           "models[%zu] \"%s\": %s was trained with \"%s\" as feature %zu, record.features has it as "
                           "feature %zu: give the "
                           "features in the model's order",
                           m, model->name, model->file, info->feature[i], i, k);
        }
        struct mr_near near;
        mr_near_start(&near, info->feature[i]);
        for (size_t k = 0; k < b->features.count; k++) mr_near_offer(&near, b->features.item[k]);
        const char *best = mr_near_best(&near);
        return mr_fail(b->err, MR_ECONFIG,
                       "models[%zu] \"%s\": feature %zu is \"%s\" in %s but \"%s\" in record.features%s%s%s", m,
                       model->name, i, info->feature[i], model->file, path, best ? " (nearest there: \"" : "",
                       best ? best : "", best ? "\")" : "");
    }
    return MR_OK;
}

/* A model that reads another one's scores: as many as it takes. That the other stands above was checked when it was
 * opened. */
static mr_status input_check(struct mr_layout_builder *b, size_t m)
{
    const struct mr_job_model *const model = &b->job->model[m];
    for (size_t i = 0; i < m; i++) {
        if (strcmp(b->job->model[i].name, model->input) != 0 || b->info[i]->width == b->info[m]->feature_count)
            continue;
        return mr_fail(b->err, MR_ECONFIG, "models[%zu].input: \"%s\" gives %zu numbers, \"%s\" takes %zu features", m,
                       model->input, b->info[i]->width, model->name, b->info[m]->feature_count);
    }
    return MR_OK;
}

static mr_status models_check(struct mr_layout_builder *b)
{
    for (size_t m = 0; m < b->job->model_count; m++) {
        const struct mr_model_info *info = b->info[m];
        if (b->job->model[m].input) {
            const mr_status status = input_check(b, m);
            if (status) return status;
            continue;
        }
        if (info->feature_count != b->features.count) {
            return mr_fail(b->err, MR_ECONFIG, "models[%zu] \"%s\": %s takes %zu features, record.features gives %zu",
                           m, b->job->model[m].name, b->job->model[m].file ? b->job->model[m].file : "it",
                           info->feature_count, b->features.count);
        }
        const mr_status status = model_names_check(b, m);
        if (status) return status;
    }
    return MR_OK;
}

static bool reads_alike(const struct mr_model_info *a, const struct mr_model_info *b)
{
    return a->reading && b->reading && !strcmp(a->reading, b->reading);
}

/* A model that reads ids makes the columns of x itself: only those that would make the same can read them. */
static mr_status text_check(struct mr_layout_builder *b)
{
    for (size_t m = 0; m < b->job->model_count; m++) {
        const struct mr_job_model *const model = &b->job->model[m];
        if (!b->info[m]->column_count) continue;
        b->reads_text = true;
        for (size_t k = 0; k < b->job->model_count; k++) {
            if (!b->job->model[k].input && (k == m || reads_alike(b->info[m], b->info[k]))) continue;
            return mr_fail(b->err, MR_ECONFIG,
                           "models[%zu] \"%s\": a model of type %s reads ids, not numbers: it must be the job's only "
                           "model%s",
                           m, model->name, b->info[m]->type,
                           b->info[m]->reading ? ", but for others of its type that read the same arms" : "");
        }
        if (b->job->record.defaults.count)
            return mr_fail(b->err, MR_ECONFIG,
                           "record.defaults: the features of \"%s\" are ids, which have no defaults", model->name);
    }
    return MR_OK;
}

static mr_status framing_check(struct mr_layout_builder *b)
{
    static const char *const names[] = {"single", "lines", "array", "packed"};
    const struct mr_codec_ops *codec = b->job->codec;
    const int framing = b->job->record.framing;
    char known[64] = "";
    if (codec->framings >> framing & 1) return MR_OK;
    for (int i = 0; i < 4; i++) {
        if (!(codec->framings >> i & 1)) continue;
        if (*known) strcat(known, ", ");
        strcat(known, names[i]);
    }
    return mr_fail(b->err, MR_ECONFIG, "record.framing: format %s does not read \"%s\", only %s", codec->name,
                   names[framing], known);
}

mr_status mr_layout_create(const struct mr_job *job, const struct mr_model_info *const *info,
                           struct mr_layout **layout_out, struct mr_err *err)
{
    struct mr_layout *layout = calloc(1, sizeof *layout);
    struct mr_layout_builder b = {.job = job, .info = info, .layout = layout, .err = err};
    *layout_out = NULL;
    if (!layout) return mr_layout_no_memory(err);
    layout->model_count = job->model_count;
    layout->want = calloc(job->model_count + 1, sizeof *layout->want);
    mr_status status = layout->want ? MR_OK : mr_layout_no_memory(err);
    if (!status) status = framing_check(&b);
    if (!status) status = text_check(&b);
    if (!status) status = mr_layout_record(&b);
    if (!status) status = models_check(&b);
    if (!status) status = mr_layout_emit(&b);
    if (job->emit.headers.count) layout->reads_headers = true;
    if (job->emit.timestamp || mr_job_reads_origin(job)) layout->reads_timestamps = true;
    layout->schema.feature_count = b.reads_text ? info[0]->column_count : b.features.count;
    layout->feature_name_count = b.features.count;
    layout->schema.capture_count = b.captures.count;
    layout->schema.framing = (mr_framing)job->record.framing;
    layout->schema.depth_max = (uint32_t)job->record.depth_max;
    layout->schema.record_bytes_max = job->record.bytes_max > UINT32_MAX ? UINT32_MAX : (uint32_t)job->record.bytes_max;
    layout->feature_name = b.features.item; /* the layout owns them from here on */
    mr_paths_deinit(&b.captures);
    if (status) {
        mr_layout_destroy(layout);
        return status;
    }
    *layout_out = layout;
    return MR_OK;
}

void mr_layout_destroy(struct mr_layout *layout)
{
    if (!layout) return;
    struct mr_strings features = {layout->feature_name, layout->feature_name_count};
    mr_paths_deinit(&features);
    for (size_t i = 0; i < layout->schema.field_count; i++) free((void *)(uintptr_t)layout->schema.field[i].path);
    free((void *)(uintptr_t)layout->schema.field);
    for (size_t i = 0; i < layout->part_field_count; i++) free(layout->part_field[i].header);
    free(layout->part_field);
    for (size_t i = 0; i < layout->text_count; i++) free(layout->text[i].header);
    free(layout->text);
    for (size_t i = 0; i < layout->item_count; i++) {
        free(layout->item[i].literal);
        free(layout->item[i].header);
    }
    free(layout->item);
    free(layout->want);
    free(layout);
}
