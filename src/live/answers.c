/* What is answered beside the page: the job, its past, points, dead letters, models, progress. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blob_text.h"
#include "base/clock.h"
#include "config/roles.h"
#include "live/inside.h"
#include "pipeline/lane.h"

#define POINTS_FRAME 64
#define DEAD_FRAME   16

static const char type_json[] = "application/json";

void mr_live_answer(struct mr_http_answer *answer, const char *type, struct mr_blob *blob, bool is_whole)
{
    if (!is_whole) {
        mr_blob_deinit(blob);
        return;
    }
    answer->type = type;
    answer->body = blob->data;
    answer->bytes = blob->bytes;
    answer->is_owned = true;
}

/* ---- JSON ---- */

static bool points_print(const struct mr_live *live, const struct mr_tap_point *point, size_t count,
                         struct mr_blob *out)
{
    const size_t models = live->columns.model_count;
    const size_t cols = live->run->layout->schema.feature_count;
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < count && is_put; i++) {
        is_put = mr_blob_print(out, "%s[%lld,%d,%lld,", i ? "," : "", (long long)point[i].time_ms,
                               (int)point[i].partition, (long long)point[i].offset) &&
                 mr_blob_number(out, point[i].label);
        for (size_t m = 0; m < models && is_put; m++)
            is_put = mr_blob_put(out, ",", 1) && mr_blob_number(out, (double)point[i].answer[m].y) &&
                     mr_blob_print(out, ",%d", (int)point[i].answer[m].class_index);
        for (size_t f = 0; f < cols && f < MR_TAP_FEATURES && is_put; f++)
            is_put = mr_blob_put(out, ",", 1) && mr_blob_number(out, (double)point[i].feature[f]);
        is_put = is_put && mr_blob_put(out, "]", 1);
    }
    return is_put && mr_blob_put(out, "]", 1);
}

static bool dead_print(const struct mr_tap_dead *dead, size_t count, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < count && is_put; i++) {
        is_put =
            mr_blob_print(out, "%s{\"time\":%lld,\"topic\":", i ? "," : "", (long long)dead[i].time_ms) &&
            mr_blob_quote(out, dead[i].topic) &&
            mr_blob_print(out, ",\"partition\":%d,\"offset\":%lld,\"reason\":\"%s\",\"field\":", (int)dead[i].partition,
                          (long long)dead[i].offset, mr_reason_name(dead[i].reason)) &&
            mr_blob_quote(out, dead[i].field) && mr_blob_put(out, "}", 1);
    }
    return is_put && mr_blob_put(out, "]", 1);
}

static bool counts_print(const struct mr_live *live, struct mr_blob *out)
{
    const struct mr_summary *const now = &live->now;
    return mr_blob_print(
        out, "\"state\":\"%s\",\"seconds\":%.3f,\"records\":{\"in\":%llu,\"out\":%llu,\"dead\":%llu,\"filtered\":%llu}",
        mr_live_state(live), now->seconds, (unsigned long long)now->records_in, (unsigned long long)now->records_out,
        (unsigned long long)now->records_dead, (unsigned long long)now->records_filtered);
}

bool mr_live_frame(struct mr_live *live, struct mr_blob *out)
{
    struct mr_tap_point point[POINTS_FRAME];
    struct mr_tap_dead dead[DEAD_FRAME];
    const size_t points = mr_tap_points(live->tap, &live->points_next, point, POINTS_FRAME);
    const size_t deads = mr_tap_dead_take(live->tap, &live->dead_next, dead, DEAD_FRAME);
    bool is_put = mr_blob_print(out, "{\"time\":%lld,\"started\":%lld,\"points_at\":%llu,\"dead_at\":%llu,",
                                (long long)mr_clock_epoch_ms(), (long long)live->started_ms,
                                (unsigned long long)(live->points_next - points),
                                (unsigned long long)(live->dead_next - deads)) &&
                  counts_print(live, out) && mr_blob_put(out, ",\"values\":[", 11);
    for (size_t i = 0; i < live->columns.count && is_put; i++) {
        is_put = (!i || mr_blob_put(out, ",", 1)) &&
                 (i || isnan(live->columns.value[0]) ? mr_blob_number(out, live->columns.value[i])
                                                     : mr_blob_print(out, "%.0f", live->columns.value[0]));
    }
    return is_put && mr_blob_put(out, "],\"points\":", 11) && points_print(live, point, points, out) &&
           mr_blob_put(out, ",\"dead\":", 8) && dead_print(dead, deads, out) && mr_blob_put(out, "}", 1);
}

static bool strings_print(const char *const *text, size_t count, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < count && is_put; i++)
        is_put = (!i || mr_blob_put(out, ",", 1)) && mr_blob_quote(out, text[i]);
    return is_put && mr_blob_put(out, "]", 1);
}

static bool model_print(const struct mr_live *live, size_t m, struct mr_blob *out)
{
    const struct mr_model_at_work *const model = &live->run->models.item[m];
    const struct mr_model_info *const info = model->info;
    bool is_put = mr_blob_put(out, "{\"name\":", 8) && mr_blob_quote(out, model->job->name) &&
                  mr_blob_put(out, ",\"input\":", 9) &&
                  (model->job->input ? mr_blob_quote(out, model->job->input) : mr_blob_put(out, "null", 4)) &&
                  mr_blob_print(out,
                                ",\"type\":\"%s\",\"width\":%zu,\"classes\":%zu,\"learns\":%s,\"judged\":\"%s\",\"is_"
                                "logit\":%s,\"features\":",
                                info->type, info->width, info->class_count, model->learn ? "true" : "false",
                                model->judged == MR_JUDGED_NUMBER    ? "number"
                                : model->judged == MR_JUDGED_CLASSES ? "classes"
                                                                     : "no",
                                info->is_logit ? "true" : "false");
    is_put = is_put && strings_print(info->feature, info->feature ? info->feature_count : 0, out) &&
             mr_blob_put(out, ",\"labels\":", 10) &&
             strings_print(info->label, info->label ? info->class_count : 0, out);
    return is_put && mr_blob_print(out, ",\"columns\":%zu,\"numbers\":[%zu,%zu],\"version\":%llu}",
                                   live->columns.model_at[m], live->columns.numbers_at[m],
                                   live->columns.number_count[m], (unsigned long long)atomic_load(&model->version));
}

static bool columns_print(const struct mr_columns *columns, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < columns->count && is_put; i++) {
        is_put = mr_blob_print(out, "%s{\"key\":", i ? "," : "") && mr_blob_quote(out, columns->item[i].key) &&
                 mr_blob_put(out, ",\"label\":", 9) && mr_blob_quote(out, columns->item[i].label) &&
                 mr_blob_print(out, ",\"unit\":\"%s\"}", columns->item[i].unit);
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

static bool job_print(const struct mr_live *live, struct mr_blob *out)
{
    const struct mr_run *const run = live->run;
    const char *const role = mr_job_role_name((mr_job_role)run->job->role);
    const size_t features = run->layout->schema.feature_count;
    char backend[256];
    mr_units_describe(&run->units, backend, sizeof backend);
    bool is_put =
        mr_blob_put(out, "{\"name\":", 8) && mr_blob_quote(out, run->job->name) && mr_blob_put(out, ",\"role\":", 8) &&
        mr_blob_quote(out, role ? role : "") && mr_blob_put(out, ",\"backend\":", 11) && mr_blob_quote(out, backend) &&
        mr_blob_print(out, ",\"version\":\"%s\",\"source\":\"%s\",\"started\":%lld,\"features\":", MR_VERSION,
                      run->job->source->name, (long long)live->started_ms) &&
        strings_print((const char *const *)run->layout->feature_name,
                      features < run->layout->feature_name_count ? features : run->layout->feature_name_count, out);
    is_put = is_put && mr_blob_put(out, ",\"label\":", 9) &&
             (run->job->record.label ? mr_blob_quote(out, run->job->record.label) : mr_blob_put(out, "null", 4)) &&
             mr_blob_put(out, ",\"sinks\":[", 10);
    for (size_t i = 0; i < run->job->sink_count && is_put; i++)
        is_put = mr_blob_print(out, "%s\"%s\"", i ? "," : "", run->job->sink[i].ops->name);
    return is_put && mr_blob_put(out, "],\"models\":", 11) && models_print(live, out) &&
           mr_blob_put(out, ",\"columns\":", 11) && columns_print(&live->columns, out) && mr_blob_put(out, "}", 1);
}

/* ---- handlers ---- */

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

void mr_live_answer_history(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    char text[32];
    const double since = mr_http_argument(request, "since", text, sizeof text) ? strtod(text, NULL) : 0;
    const bool has_part = mr_http_argument(request, "part", text, sizeof text); /* recent, whole; both without it */
    const bool has_recent = !has_part || !strcmp(text, "recent"), has_whole = !has_part || !strcmp(text, "whole");
    pthread_mutex_lock(&live->lock);
    const bool is_whole =
        mr_blob_put(&blob, "{", 1) &&
        (!has_recent || (mr_blob_print(&blob, "\"recent\":") && mr_series_print(&live->recent, since, &blob))) &&
        (!has_recent || !has_whole || mr_blob_put(&blob, ",", 1)) &&
        (!has_whole || (mr_blob_print(&blob, "\"whole\":") && mr_series_print(&live->whole, since, &blob))) &&
        mr_blob_put(&blob, "}", 1);
    pthread_mutex_unlock(&live->lock);
    mr_live_answer(answer, type_json, &blob, is_whole);
}

void mr_live_answer_points(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_tap_point *const point = malloc(MR_TAP_POINTS * sizeof *point);
    struct mr_blob blob = {0};
    uint64_t next = 0;
    (void)request;
    const size_t count = point ? mr_tap_points(live->tap, &next, point, MR_TAP_POINTS) : 0;
    const bool is_whole = point && mr_blob_print(&blob, "{\"next\":%llu,\"rows\":", (unsigned long long)next) &&
                          points_print(live, point, count, &blob) && mr_blob_put(&blob, "}", 1);
    mr_live_answer(answer, type_json, &blob, is_whole);
    free(point);
}

void mr_live_answer_dead(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_tap_dead dead[MR_TAP_DEAD];
    struct mr_blob blob = {0};
    uint64_t next = 0;
    (void)request;
    const size_t count = mr_tap_dead_take(live->tap, &next, dead, MR_TAP_DEAD);
    const bool is_whole = mr_blob_print(&blob, "{\"next\":%llu,\"rows\":", (unsigned long long)next) &&
                          dead_print(dead, count, &blob) && mr_blob_put(&blob, "}", 1);
    mr_live_answer(answer, type_json, &blob, is_whole);
}

/* The newest progress object, or with ?history=N the last ones. */
void mr_live_answer_status(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    char text[32];
    const bool is_list = mr_http_argument(request, "history", text, sizeof text);
    const uint64_t asked = is_list ? strtoull(text, NULL, 10) : 1;
    pthread_mutex_lock(&live->lock);
    const uint64_t held = live->statuses < MR_LIVE_STATUSES ? live->statuses : MR_LIVE_STATUSES;
    const uint64_t count = asked < held ? asked : held;
    bool is_put = mr_blob_put(&blob, is_list ? "[" : "", is_list);
    for (uint64_t i = live->statuses - count; i < live->statuses && is_put; i++) {
        const char *const status = live->status[i % MR_LIVE_STATUSES];
        is_put = (i == live->statuses - count || mr_blob_put(&blob, ",", 1)) &&
                 (is_list || mr_blob_print(&blob, "{\"state\":\"%s\",", mr_live_state(live))) &&
                 mr_blob_put(&blob, status + !is_list, strlen(status) - !is_list);
    }
    if (!is_list && !count)
        is_put = mr_blob_put(&blob, "{", 1) && counts_print(live, &blob) && mr_blob_put(&blob, "}\n", 2);
    is_put = is_put && mr_blob_put(&blob, is_list ? "]\n" : "", is_list ? 2 : 0);
    pthread_mutex_unlock(&live->lock);
    mr_live_answer(answer, type_json, &blob, is_put);
}

void mr_live_answer_events(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    (void)request;
    answer->type = "text/event-stream";
    answer->stream = live->stream;
}
