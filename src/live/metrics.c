/* GET /metrics: the text format of Prometheus, version 0.0.4. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/blob_text.h"
#include "config/roles.h"
#include "live/inside.h"
#include "pipeline/lane.h"

#define LABEL_MAX 1024

/* Bounds of the latency buckets, seconds. */
static const double seconds[] = {25e-6, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01,
                                 0.025, 0.05, 0.1,  0.25,   0.5,  1,    2.5,    5,    10};

/* A label's value: backslash, quote and newline escaped; the rest as it is. Names come from job files and topics. */
static const char *label(const char *text, char out[LABEL_MAX])
{
    size_t used = 0;
    for (; *text && used + 3 < LABEL_MAX; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n') out[used++] = '\\';
        out[used++] = *text == '\n' ? 'n' : *text;
    }
    out[used] = '\0';
    return out;
}

static bool head(struct mr_blob *out, const char *name, const char *type, const char *help)
{
    return mr_blob_print(out, "# HELP millrace_%s %s\n# TYPE millrace_%s %s\n", name, help, name, type);
}

static bool counter(struct mr_blob *out, const char *name, const char *help, uint64_t value)
{
    return head(out, name, "counter", help) &&
           mr_blob_print(out, "millrace_%s %llu\n", name, (unsigned long long)value);
}

static bool gauge(struct mr_blob *out, const char *name, const char *help, double value)
{
    if (!isfinite(value)) return true; /* not known: left out */
    return head(out, name, "gauge", help) && mr_blob_print(out, "millrace_%s %.17g\n", name, value);
}

/* unit: of the histogram's values in a second. Its buckets are as wide as 3 %, and so near the bounds are. */
static bool histogram(struct mr_blob *out, const char *name, const char *help, const struct mr_histogram *from,
                      double unit)
{
    bool is_put = head(out, name, "histogram", help);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds && is_put; i++)
        is_put = mr_blob_print(out, "millrace_%s_bucket{le=\"%g\"} %llu\n", name, seconds[i],
                               (unsigned long long)mr_histogram_below(from, (int64_t)(seconds[i] * unit)));
    const double sum = mr_histogram_sum(from) / unit;
    const unsigned long long count = (unsigned long long)from->count;
    return is_put &&
           mr_blob_print(out, "millrace_%s_bucket{le=\"+Inf\"} %llu\nmillrace_%s_sum %.9g\nmillrace_%s_count %llu\n",
                         name, count, name, sum, name, count);
}

static bool counts_print(const struct mr_summary *now, struct mr_blob *out)
{
    bool is_put =
        counter(out, "records_consumed_total", "Records taken in.", now->records_in) &&
        counter(out, "records_scored_total", "Records scored, their outputs acknowledged.", now->records_out) &&
        counter(out, "records_filtered_total", "Records that ask for no output.", now->records_filtered) &&
        counter(out, "messages_consumed_total", "Messages taken in.", now->messages_in) &&
        counter(out, "messages_delivered_total", "Output messages acknowledged.", now->messages_out) &&
        counter(out, "bytes_in_total", "Bytes of values taken in.", now->bytes_in) &&
        counter(out, "bytes_out_total", "Bytes of values acknowledged.", now->bytes_out) &&
        counter(out, "batches_total", "Batches scored.", now->batches) &&
        counter(out, "commits_total", "Commits of offsets, or transactions.", now->commits) &&
        counter(out, "commit_failures_total", "Commits that failed and were tried again.", now->commit_failures) &&
        counter(out, "lane_restarts_total", "Lanes rebuilt from what is committed.", now->restarts) &&
        counter(out, "outputs_null_total", "Outputs that were not finite, written as null.", now->values_null) &&
        head(out, "records_rejected_total", "counter", "Records that became dead letters, by reason.");
    for (int i = 1; i < MR_REASON_COUNT && is_put; i++)
        is_put = mr_blob_print(out, "millrace_records_rejected_total{reason=\"%s\"} %llu\n",
                               mr_reason_name((mr_reason)i), (unsigned long long)now->reasons[i]);
    is_put = is_put && head(out, "stage_seconds_total", "counter", "Time that lanes have spent, by stage.");
    for (int i = 0; i < MR_STAGE_COUNT && is_put; i++)
        is_put = mr_blob_print(out, "millrace_stage_seconds_total{stage=\"%s\"} %.9g\n", mr_stage_name((mr_stage)i),
                               (double)now->stage_ns[i] / 1e9);
    return is_put;
}

static bool model_line(struct mr_blob *out, const char *name, const char *model, double value)
{
    char text[LABEL_MAX];
    return !isfinite(value) || mr_blob_print(out, "millrace_%s{model=\"%s\"} %.17g\n", name, label(model, text), value);
}

static bool models_print(const struct mr_live *live, struct mr_blob *out)
{
    const struct mr_models *const models = &live->run->models;
    bool is_put = head(out, "model_loss", "gauge", "Mean loss of the last half second that had labels.");
    for (size_t i = 0; i < live->columns.model_count && is_put; i++)
        is_put =
            model_line(out, "model_loss", models->item[i].job->name, live->columns.value[live->columns.model_at[i]]);
    is_put = is_put && head(out, "model_updates_total", "counter", "Updates of a model since it began.");
    for (size_t i = 0; i < models->count && is_put; i++)
        is_put = model_line(out, "model_updates_total", models->item[i].job->name,
                            (double)atomic_load(&models->item[i].version));
    is_put = is_put && head(out, "model_rows_judged_total", "counter", "Rows with a label that a model was judged by.");
    for (size_t i = 0; i < models->count && is_put; i++)
        is_put = model_line(out, "model_rows_judged_total", models->item[i].job->name,
                            (double)atomic_load(&models->item[i].losses.rows));
    return is_put;
}

static bool facts_print(const struct mr_live *live, struct mr_blob *out)
{
    const struct mr_run *const run = live->run;
    char backend[256], text[2][LABEL_MAX];
    mr_units_describe(&run->units, backend, sizeof backend);
    return head(out, "build_info", "gauge", "The program.") &&
           mr_blob_print(out, "millrace_build_info{version=\"%s\"} 1\n", MR_VERSION) &&
           head(out, "job_info", "gauge", "The job, and what it runs on.") &&
           mr_blob_print(out, "millrace_job_info{pipeline=\"%s\",backend=\"%s\"} 1\n", label(run->job->name, text[0]),
                         label(backend, text[1])) &&
           gauge(out, "lanes", "Threads that poll, score and emit.", run->lane_count);
}

void mr_live_answer_metrics(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    (void)request;
    pthread_mutex_lock(&live->lock);
    const struct mr_summary *const now = &live->now;
    bool is_put = facts_print(live, &blob);
    if (live->has_begun) {
        is_put =
            is_put && counts_print(now, &blob) && models_print(live, &blob) &&
            histogram(&blob, "process_seconds", "From poll to acknowledgement; a batch weighs its records.",
                      &now->process_ns, 1e9) &&
            histogram(&blob, "end_to_end_latency_seconds",
                      "From the timestamp of a batch's oldest record to acknowledgement.", &now->end_to_end_us, 1e6) &&
            histogram(&blob, "commit_seconds", "Commits of transactions.", &now->commit_ns, 1e9) &&
            gauge(&blob, "consumer_lag_records", "Records in the topics that are not taken in yet.",
                  mr_live_lag(live)) &&
            gauge(&blob, "uptime_seconds", "Since the run began.", now->seconds) &&
            gauge(&blob, "process_cpu_seconds", "CPU time of the process.", (double)now->cpu_ns / 1e9) &&
            gauge(&blob, "process_resident_memory_max_bytes", "Largest resident size so far.",
                  (double)now->rss_max_bytes);
    }
    pthread_mutex_unlock(&live->lock);
    mr_live_answer(answer, "text/plain; version=0.0.4; charset=utf-8", &blob, is_put);
}
