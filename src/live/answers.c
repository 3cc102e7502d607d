/* What is answered beside the page: the past, points, dead letters, log lines, progress; and the frames. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blob_text.h"
#include "base/clock.h"
#include "base/log_kept.h"
#include "config/roles.h"
#include "live/inside.h"
#include "pipeline/lane.h"

#define POINTS_FRAME 64
#define DEAD_FRAME   16
#define LOG_FRAME    8

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
        is_put = is_put && mr_blob_print(out, ",%d]", (int)point[i].topic);
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

static bool log_print(const struct mr_log_line *line, size_t count, struct mr_blob *out)
{
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < count && is_put; i++) {
        is_put = mr_blob_print(out, "%s{\"time\":%lld,\"level\":\"%s\",\"component\":\"%s\",\"text\":", i ? "," : "",
                               (long long)line[i].time_ms, line[i].level == MR_LOG_ERROR ? "error" : "warn",
                               line[i].component) &&
                 mr_live_text(out, line[i].text) && mr_blob_put(out, "}", 1);
    }
    return is_put && mr_blob_put(out, "]", 1);
}

static bool topics_print(const struct mr_live *live, struct mr_blob *out)
{
    char topic[MR_TAP_TOPICS][MR_TAP_TEXT];
    const size_t count = mr_tap_topics(live->tap, topic);
    bool is_put = mr_blob_put(out, "[", 1);
    for (size_t i = 0; i < count && is_put; i++)
        is_put = (!i || mr_blob_put(out, ",", 1)) && mr_live_text(out, topic[i]);
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
    struct mr_log_line line[LOG_FRAME];
    const size_t points = mr_tap_points(live->tap, &live->points_next, point, POINTS_FRAME);
    const size_t deads = mr_tap_dead_take(live->tap, &live->dead_next, dead, DEAD_FRAME);
    const size_t lines = mr_log_kept(&live->log_next, line, LOG_FRAME);
    bool is_put =
        mr_blob_print(out, "{\"time\":%lld,\"started\":%lld,\"points_at\":%llu,\"dead_at\":%llu,\"log_at\":%llu,",
                      (long long)mr_clock_epoch_ms(), (long long)live->started_ms,
                      (unsigned long long)(live->points_next - points), (unsigned long long)(live->dead_next - deads),
                      (unsigned long long)(live->log_next - lines)) &&
        counts_print(live, out) && mr_blob_put(out, ",\"values\":[", 11);
    for (size_t i = 0; i < live->columns.count && is_put; i++) {
        is_put = (!i || mr_blob_put(out, ",", 1)) &&
                 (i || isnan(live->columns.value[0]) ? mr_blob_number(out, live->columns.value[i])
                                                     : mr_blob_print(out, "%.0f", live->columns.value[0]));
    }
    return is_put && mr_blob_put(out, "],\"topics\":", 11) && topics_print(live, out) &&
           mr_blob_put(out, ",\"points\":", 10) && points_print(live, point, points, out) &&
           mr_blob_put(out, ",\"dead\":", 8) && dead_print(dead, deads, out) && mr_blob_put(out, ",\"log\":", 7) &&
           log_print(line, lines, out) && mr_blob_put(out, "}", 1);
}

/* ---- handlers ---- */

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
    const bool is_whole = point && mr_blob_print(&blob, "{\"next\":%llu,\"topics\":", (unsigned long long)next) &&
                          topics_print(live, &blob) && mr_blob_put(&blob, ",\"rows\":", 8) &&
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

void mr_live_answer_log(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_log_line *const line = malloc(MR_LOG_KEPT * sizeof *line);
    struct mr_blob blob = {0};
    uint64_t next = 0;
    (void)context;
    (void)request;
    const size_t count = line ? mr_log_kept(&next, line, MR_LOG_KEPT) : 0;
    const bool is_whole = line && mr_blob_print(&blob, "{\"next\":%llu,\"rows\":", (unsigned long long)next) &&
                          log_print(line, count, &blob) && mr_blob_put(&blob, "}", 1);
    mr_live_answer(answer, type_json, &blob, is_whole);
    free(line);
}

static bool offsets_print(const struct mr_by_offset *all, const char *topic, struct mr_blob *out)
{
    bool is_first = true;
    bool is_put = mr_blob_put(out, "{\"topic\":", 9) && mr_live_text(out, topic) &&
                  mr_blob_print(out, ",\"rows\":%llu,\"mean\":", (unsigned long long)all->rows) &&
                  mr_blob_number(out, all->rows ? all->sum / (double)all->rows : (double)NAN) &&
                  mr_blob_print(out, ",\"step\":%llu,\"bins\":[", 1ull << all->shift);
    for (size_t i = 0; i < MR_BY_OFFSET_BINS && is_put; i++) {
        const unsigned long long from = (unsigned long long)all->first + ((unsigned long long)i << all->shift);
        if (!all->bin[i].rows) continue;
        is_put = mr_blob_print(out, "%s[%llu,", is_first ? "" : ",", from) &&
                 mr_blob_number(out, all->bin[i].sum / (double)all->bin[i].rows) &&
                 mr_blob_print(out, ",%llu]", (unsigned long long)all->bin[i].rows);
        is_first = false;
    }
    return is_put && mr_blob_put(out, "]}", 2);
}

static bool errors_print(const struct mr_live *live, size_t m, char topic[][MR_TAP_TEXT], size_t topics,
                         struct mr_blob *out)
{
    struct mr_tap_errors *const errors = malloc(sizeof *errors);
    bool is_put = errors && mr_blob_put(out, "{\"model\":", 9) &&
                  mr_blob_quote(out, live->run->models.item[m].job->name) && mr_blob_put(out, ",\"topics\":[", 11);
    if (is_put) mr_tap_errors(live->tap, m, errors);
    for (size_t i = 0; i < topics && is_put; i++)
        is_put = (!i || mr_blob_put(out, ",", 1)) && offsets_print(&errors->topic[i], topic[i], out);
    free(errors);
    return is_put && mr_blob_put(out, "]}", 2);
}

/* How wrong each judged model was, by topic and offset. */
void mr_live_answer_offsets(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    char topic[MR_TAP_TOPICS][MR_TAP_TEXT];
    const size_t topics = mr_tap_topics(live->tap, topic);
    bool is_put = mr_blob_put(&blob, "{\"models\":[", 11), is_first = true;
    (void)request;
    for (size_t m = 0; m < live->columns.model_count && is_put; m++) {
        if (live->run->models.item[m].judged == MR_JUDGED_NOT) continue;
        is_put = (is_first || mr_blob_put(&blob, ",", 1)) && errors_print(live, m, topic, topics, &blob);
        is_first = false;
    }
    mr_live_answer(answer, type_json, &blob, is_put && mr_blob_put(&blob, "]}", 2));
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
