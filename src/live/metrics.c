/* GET /metrics: the text format of Prometheus, version 0.0.4. */
#include <dirent.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/blob_text.h"
#include "config/roles.h"
#include "live/inside.h"
#include "metrics/summary_sinks.h"
#include "pipeline/lane.h"

#define LABEL_MAX 1024

/* Bounds of the latency buckets, seconds. */
static const double seconds[] = {25e-6, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01,
                                 0.025, 0.05, 0.1,  0.25,   0.5,  1,    2.5,    5,    10};

/* Of the batch sizes, records. */
static const double sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};

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
/* Bounds of a histogram's buckets. */
struct bounds {
    const double *item;
    size_t count;
    double unit; /* of the histogram's values in one of the metric's */
};

/* Its buckets are as wide as 3 %, and so near the bounds are. */
static bool histogram(struct mr_blob *out, const char *name, const char *help, const struct mr_histogram *from,
                      const struct bounds *bounds)
{
    bool is_put = head(out, name, "histogram", help);
    for (size_t i = 0; i < bounds->count && is_put; i++)
        is_put = mr_blob_print(out, "millrace_%s_bucket{le=\"%g\"} %llu\n", name, bounds->item[i],
                               (unsigned long long)mr_histogram_below(from, (int64_t)(bounds->item[i] * bounds->unit)));
    const double sum = mr_histogram_sum(from) / bounds->unit;
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
                         label(backend, text[1]));
}

static bool histograms_print(const struct mr_summary *now, struct mr_blob *out)
{
    const size_t count = sizeof seconds / sizeof *seconds;
    const struct bounds ns = {seconds, count, 1e9}, us = {seconds, count, 1e6};
    const struct bounds records = {sizes, sizeof sizes / sizeof *sizes, 1};
    return histogram(out, "process_duration_seconds", "From poll to acknowledgement; a batch weighs its records.",
                     &now->process_ns, &ns) &&
           histogram(out, "end_to_end_latency_seconds",
                     "From the timestamp of a batch's oldest record to acknowledgement.", &now->end_to_end_us, &us) &&
           histogram(out, "commit_duration_seconds", "Commits of transactions.", &now->commit_ns, &ns) &&
           histogram(out, "batch_records", "Records of a batch.", &now->batch_records, &records);
}

/* ---- partitions ---- */

static bool lag_line(struct mr_blob *out, const char *name, const struct mr_lag_line *line, int64_t value)
{
    char text[LABEL_MAX];
    return value < 0 || mr_blob_print(out, "millrace_%s{topic=\"%s\",partition=\"%d\"} %lld\n", name,
                                      label(line->topic, text), (int)line->lag.partition, (long long)value);
}

static bool lags_print(const struct mr_lag_line *line, size_t count, struct mr_blob *out)
{
    bool is_put = head(out, "consumer_lag_records", "gauge",
                       "Records in a partition that are not taken in yet, by its last answer.");
    for (size_t i = 0; i < count && is_put; i++) {
        const struct mr_lag *const lag = &line[i].lag;
        const int64_t behind = lag->end > lag->next ? lag->end - lag->next : 0;
        is_put = lag_line(out, "consumer_lag_records", &line[i], lag->next < 0 || lag->end < 0 ? -1 : behind);
    }
    is_put = is_put && head(out, "consumer_position", "gauge", "The offset of a partition that is taken in next.");
    for (size_t i = 0; i < count && is_put; i++)
        is_put = lag_line(out, "consumer_position", &line[i], line[i].lag.next);
    return is_put;
}

/* All partitions of all lanes; *count_out of them, the caller's. NULL with some: no memory. */
static struct mr_lag_line *lags_take(const struct mr_run *run, size_t *count_out)
{
    struct mr_lag_line *all = NULL;
    *count_out = 0;
    for (unsigned i = 0; i < run->lane_count; i++) {
        struct mr_lags *const lags = &run->lane[i]->lags;
        const size_t count = mr_lags_copy(lags, NULL, 0);
        struct mr_lag_line *const more = realloc(all, (*count_out + count + 1) * sizeof *all);
        if (!more) break;
        all = more;
        const size_t copied = mr_lags_copy(lags, all + *count_out, count);
        *count_out += copied < count ? copied : count; /* a lane may have got more meanwhile */
    }
    return all;
}

/* ---- sinks ---- */

static const struct sink_metric {
    const char *name, *type, *help;
    size_t offset;
} sink_metrics[] = {
#define OF(field) offsetof(struct mr_sink_stats, field)
    {"sink_records_total", "counter", "Records given to a sink.", OF(taken)},
    {"sink_records_delivered_total", "counter", "Records that a sink's server has.", OF(delivered)},
    {"sink_records_dropped_total", "counter", "Records without room in a sink's queue.", OF(dropped)},
    {"sink_records_refused_total", "counter", "Records that a sink's server never takes.", OF(refused)},
    {"sink_records_spilled_total", "counter", "Records written to the disk, to be delivered later.", OF(spilled)},
    {"sink_fields_skipped_total", "counter", "Fields that a sink's format cannot hold.", OF(fields_skipped)},
    {"sink_requests_total", "counter", "Requests of a sink.", OF(requests)},
    {"sink_retries_total", "counter", "Requests of a sink that were sent again.", OF(retried)},
    {"sink_sent_bytes_total", "counter", "Bodies of a sink's requests, as they were sent.", OF(bytes_sent)},
    {"sink_queue_records", "gauge", "Records that wait in a sink.", OF(queued_records)},
    {"sink_queue_bytes", "gauge", "Bytes that wait in a sink.", OF(queued_bytes)},
    {"sink_spill_bytes", "gauge", "Bytes that wait on the disk.", OF(spill_bytes)},
#undef OF
};

/* sink: its place in the job file, from 0. */
static bool sink_line(struct mr_blob *out, const char *name, const struct mr_job *job, size_t sink, uint64_t value)
{
    return mr_blob_print(out, "millrace_%s{sink=\"%zu\",type=\"%s\"} %llu\n", name, sink, job->sink[sink].ops->name,
                         (unsigned long long)value);
}

static bool sinks_print(const struct mr_run *run, struct mr_blob *out)
{
    const size_t count = run->job->sink_count;
    struct mr_sink_stats *const sum = calloc(count + 1, sizeof *sum);
    bool is_put = sum;
    for (size_t i = 0; i < count && sum; i++) mr_sink_stats_of(run, i, &sum[i]);
    for (size_t m = 0; m < sizeof sink_metrics / sizeof *sink_metrics && is_put; m++) {
        const struct sink_metric *const metric = &sink_metrics[m];
        is_put = head(out, metric->name, metric->type, metric->help);
        for (size_t i = 0; i < count && is_put; i++) {
            const _Atomic uint64_t *const value = (const void *)((const char *)&sum[i] + metric->offset);
            if (sum[i].counts) is_put = sink_line(out, metric->name, run->job, i, atomic_load(value));
        }
    }
    is_put = is_put && head(out, "sink_failing", "gauge", "1: the last request of a sink had no good answer.");
    for (size_t i = 0; i < count && is_put; i++)
        if (sum[i].counts) is_put = sink_line(out, "sink_failing", run->job, i, sum[i].is_failing);
    free(sum);
    return is_put;
}

/* ---- the process ---- */

static size_t open_files(void)
{
    size_t count = 0;
    DIR *const folder = opendir("/proc/self/fd");
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the folder itself */
}

/* Pages that are in memory now. */
static double resident_bytes(void)
{
    unsigned long size, resident = 0;
    FILE *const file = fopen("/proc/self/statm", "re");
    if (file && fscanf(file, "%lu %lu", &size, &resident) != 2) resident = 0;
    if (file) fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* The names that every Prometheus client has: without a prefix. */
static bool process_print(const struct mr_live *live, struct mr_blob *out)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    return mr_blob_print(out,
                         "# HELP process_cpu_seconds_total CPU time of the process.\n"
                         "# TYPE process_cpu_seconds_total counter\n"
                         "process_cpu_seconds_total %.9g\n"
                         "# HELP process_resident_memory_bytes Memory of the process that is resident.\n"
                         "# TYPE process_resident_memory_bytes gauge\n"
                         "process_resident_memory_bytes %.17g\n",
                         (double)live->now.cpu_ns / 1e9, resident_bytes()) &&
           mr_blob_print(out,
                         "# HELP process_open_fds Open files and connections.\n"
                         "# TYPE process_open_fds gauge\n"
                         "process_open_fds %zu\n"
                         "# HELP process_max_fds How many may be open.\n"
                         "# TYPE process_max_fds gauge\n"
                         "process_max_fds %llu\n",
                         open_files(), (unsigned long long)files.rlim_cur) &&
           mr_blob_print(out,
                         "# HELP process_start_time_seconds When it began, since 1970.\n"
                         "# TYPE process_start_time_seconds gauge\n"
                         "process_start_time_seconds %.3f\n",
                         (double)live->started_ms / 1e3);
}

void mr_live_answer_metrics(void *context, const struct mr_http_request *request, struct mr_http_answer *answer)
{
    struct mr_live *const live = context;
    struct mr_blob blob = {0};
    (void)request;
    pthread_mutex_lock(&live->lock);
    const struct mr_summary *const now = &live->now;
    size_t lag_count = 0;
    bool is_put = facts_print(live, &blob) && process_print(live, &blob);
    if (live->has_begun) {
        struct mr_lag_line *const lags = lags_take(live->run, &lag_count);
        is_put = is_put && counts_print(now, &blob) && models_print(live, &blob) && histograms_print(now, &blob) &&
                 lags_print(lags, lag_count, &blob) && sinks_print(live->run, &blob) &&
                 gauge(&blob, "lanes", "Threads that poll, score and emit.", live->run->lane_count) &&
                 gauge(&blob, "uptime_seconds", "Since the run began.", now->seconds) &&
                 head(&blob, "state_info", "gauge", "How the run is, in a word.") &&
                 mr_blob_print(&blob, "millrace_state_info{state=\"%s\"} 1\n", mr_live_state(live));
        free(lags);
    }
    pthread_mutex_unlock(&live->lock);
    mr_live_answer(answer, "text/plain; version=0.0.4; charset=utf-8", &blob, is_put);
}
