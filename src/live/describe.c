/* What the job is: its models, and the numbers that are drawn of it. */
#include <stdlib.h>
#include <string.h>

#include "base/blob_text.h"
#include "base/utf8.h"
#include "config/roles.h"
#include "live/inside.h"

static const char type_json[] = "application/json";

/* What is no UTF-8 is no JSON: a topic's name, a line of the log that was cut. */
bool mr_live_text(struct mr_blob *out, const char *text)
{
    const size_t bytes = strlen(text);
    char *const copy = malloc(3 * bytes + 1);
    size_t used = 0;
    if (!copy) return false;
    for (size_t i = 0; i < bytes;) {
        const size_t step = mr_utf8_sequence(text + i, bytes - i);
        memcpy(copy + used, step ? text + i : "\xef\xbf\xbd", step ? step : 3);
        used += step ? step : 3;
        i += step ? step : 1;
    }
    copy[used] = '\0';
    const bool is_put = mr_blob_quote(out, copy);
    free(copy);
    return is_put;
}

static bool strings_print(const char *const *text, size_t count, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < count && is_put; i++)
        is_put = (!i || mr_blob_put(out, ",", 1)) && mr_blob_quote(out, text[i]);
    return is_put && mr_blob_put(out, "]", 1);
}

static const char *judged_name(const struct mr_model_at_work *model)
{
    return model->judged == MR_JUDGED_NUMBER ? "number" : model->judged == MR_JUDGED_CLASSES ? "classes" : "no";
}

static bool range_print(const char *name, const struct mr_column_range *range, struct mr_blob *out)
{
    return mr_blob_print(out, ",\"%s\":[%zu,%zu,%zu]", name, range->at, range->count, range->all);
}

/* What the model has found, in its own words. */
static bool found_print(struct mr_model_at_work *model, struct mr_blob *out)
{
    char text[MR_FOUND_BYTES];
    double *const values = calloc(model->info->width + 1, sizeof *values);
    const bool has_words = values && mr_model_found(model, text, values);
    bool is_put = values && mr_blob_put(out, ",\"found\":[", 10);
    char *line = text, *next;
    for (; is_put && has_words && (next = strchr(line, '\n')); line = next) {
        *next++ = '\0';
        is_put = (line == text || mr_blob_put(out, ",", 1)) && mr_live_text(out, line);
    }
    free(values);
    return is_put && mr_blob_put(out, "]", 1);
}

static bool model_print(const struct mr_live *live, size_t m, struct mr_blob *out)
{
    struct mr_model_at_work *const model = &live->run->models.item[m];
    const struct mr_model_info *const info = model->info;
    const struct mr_column_model *const place = &live->columns.model[m];
    bool is_put =
        mr_blob_put(out, "{\"name\":", 8) && mr_blob_quote(out, model->job->name) &&
        mr_blob_put(out, ",\"input\":", 9) &&
        (model->job->input ? mr_blob_quote(out, model->job->input) : mr_blob_put(out, "null", 4)) &&
        mr_blob_print(out, ",\"type\":\"%s\",\"width\":%zu,\"classes\":%zu,\"learns\":%s,\"judged\":\"%s\"", info->type,
                      info->width, info->class_count, model->learn ? "true" : "false", judged_name(model)) &&
        mr_blob_print(out,
                      ",\"is_logit\":%s,\"has_y\":%s,\"items\":%zu,\"features\":", info->is_logit ? "true" : "false",
                      model->want & MR_WANT_Y ? "true" : "false", info->item_count);
    is_put = is_put && strings_print(info->feature, info->feature ? info->feature_count : 0, out) &&
             mr_blob_put(out, ",\"labels\":", 10) &&
             strings_print(info->label, info->label ? info->class_count : 0, out);
    return is_put &&
           mr_blob_print(out, ",\"columns\":%zu,\"is_raw\":%s", live->columns.model_at[m],
                         place->has_raw ? "true" : "false") &&
           range_print("numbers", &place->numbers, out) && range_print("truth", &place->truth, out) &&
           range_print("says", &place->found, out) && found_print(model, out) &&
           mr_blob_print(out, ",\"version\":%llu}", (unsigned long long)atomic_load(&model->version));
}

static bool columns_print(const struct mr_columns *columns, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < columns->count && is_put; i++) {
        is_put = mr_blob_print(out, "%s{\"key\":", i ? "," : "") && mr_blob_quote(out, columns->item[i].key) &&
                 mr_blob_put(out, ",\"label\":", 9) && mr_blob_quote(out, columns->item[i].label) &&
                 mr_blob_print(out, ",\"unit\":\"%s\",\"of\":%zu}", columns->item[i].unit, columns->item[i].of);
    }
    return is_put && mr_blob_put(out, "]", 1);
}

static bool models_print(const struct mr_live *live, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < live->columns.model_count && is_put; i++)
        is_put = (!i || mr_blob_put(out, ",", 1)) && model_print(live, i, out);
    return is_put && mr_blob_put(out, "]", 1);
}

/* Models that the page has no room for, by name. */
static bool models_left_print(const struct mr_live *live, struct mr_blob *out)
{
    const struct mr_models *const models = &live->run->models;
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = live->columns.model_count; i < models->count && is_put; i++)
        is_put = (i == live->columns.model_count || mr_blob_put(out, ",", 1)) &&
                 mr_blob_quote(out, models->item[i].job->name);
    return is_put && mr_blob_put(out, "]", 1);
}

/* Columns of a row that a point holds: ids and lists have other ones than features have names. */
static size_t features_in_points(const struct mr_run *run)
{
    const size_t count = run->layout->schema.feature_count;
    return count < MR_TAP_FEATURES ? count : MR_TAP_FEATURES;
}

/* Whether records come from several topics, which the page then draws apart. */
static bool has_topics(const struct mr_job *job)
{
    const struct mr_strings *const topics = mr_job_topics(job);
    return topics && topics->count > 1;
}

static bool job_print(const struct mr_live *live, struct mr_blob *out)
{
    const struct mr_run *const run = live->run;
    const char *const role = mr_job_role_name((mr_job_role)run->job->role);
    const size_t features = run->layout->feature_name_count;
    char backend[256];
    mr_units_describe(&run->units, backend, sizeof backend);
    bool is_put = mr_blob_put(out, "{\"name\":", 8) && mr_blob_quote(out, run->job->name) &&
                  mr_blob_put(out, ",\"role\":", 8) && mr_blob_quote(out, role ? role : "") &&
                  mr_blob_put(out, ",\"backend\":", 11) && mr_blob_quote(out, backend) &&
                  mr_blob_print(out, ",\"version\":\"%s\",\"source\":\"%s\",\"started\":%lld,\"features\":", MR_VERSION,
                                run->job->source->name, (long long)live->started_ms) &&
                  strings_print((const char *const *)run->layout->feature_name, features, out) &&
                  mr_blob_print(out, ",\"features_in_points\":%zu,\"feature_count\":%zu", features_in_points(run),
                                run->layout->feature_name_count);
    is_put =
        is_put && mr_blob_put(out, ",\"label\":", 9) &&
        (run->job->record.label ? mr_blob_quote(out, run->job->record.label) : mr_blob_put(out, "null", 4)) &&
        mr_blob_print(out, ",\"labels_come_later\":%s,\"has_lag\":%s", run->job->labels.topics.count ? "true" : "false",
                      run->job->source->lag ? "true" : "false") &&
        mr_blob_print(out, ",\"has_topics\":%s", has_topics(run->job) ? "true" : "false") &&
        mr_blob_put(out, ",\"models_left\":", 15) && models_left_print(live, out) &&
        mr_blob_put(out, ",\"sinks\":[", 10);
    for (size_t i = 0; i < run->job->sink_count && is_put; i++)
        is_put = mr_blob_print(out, "%s\"%s\"", i ? "," : "", run->job->sink[i].ops->name);
    return is_put && mr_blob_put(out, "],\"models\":", 11) && models_print(live, out) &&
           mr_blob_put(out, ",\"columns\":", 11) && columns_print(&live->columns, out) && mr_blob_put(out, "}", 1);
}

void mr_live_answer_job(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    (void)request;
    mr_live_answer(answer, type_json, &blob, job_print(live, &blob));
}

void mr_live_answer_models(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    (void)request;
    mr_live_answer(answer, type_json, &blob, models_print(live, &blob));
}
