/* The report and the progress, for people and for programs. */
#include <cjson/cJSON.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/roles.h"
#include "kafka/library_version.h"
#include "metrics/summary.h"
#include "metrics/summary_followers.h"
#include "metrics/summary_scoring.h"
#include "metrics/summary_sinks.h"
#include "millrace/status.h"

/* "1.24 M", "850", "12.3 k" into out. */
static const char *scaled(double value, char out[32])
{
    static const char *const units[] = {"", " k", " M", " G"};
    unsigned unit = 0;
    while (value >= 1000 && unit < 3) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 32, value < 10 && unit ? "%.2f%s" : value < 100 && unit ? "%.1f%s" : "%.0f%s", value, units[unit]);
    return out;
}

static double rate(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static void threads_print(FILE *out, const struct mr_summary *report)
{
    for (size_t i = 0; i < report->thread_count; i++) {
        const struct mr_thread_cpu *thread = &report->thread[i];
        if (thread->cpu_ns < 1000000 || !report->records_in) continue;
        fprintf(out, "    %-16s %s %7.0f ns a record\n", thread->name, thread->count > 1 ? "(several)" : "         ",
                (double)thread->cpu_ns / (double)report->records_in);
    }
}

void mr_summary_print(FILE *out, const struct mr_run *run, const struct mr_summary *report)
{
    char text[4][32], backend[256];
    const double records = report->records_in ? (double)report->records_in : 1;
    const uint64_t left = report->records_in - report->records_out - report->records_dead - report->records_filtered;

    mr_units_describe(&run->units, backend, sizeof backend);
    const char *const role = mr_job_role_name((mr_job_role)run->job->role);
    fprintf(out, "\njob %s%s%s: %.2f s, %u lane%s on %s\n", run->job->name, role ? ", " : "", role ? role : "",
            report->seconds, run->lane_count, run->lane_count == 1 ? "" : "s", backend);
    fprintf(out, "  in        %12s records in %s messages, %s bytes; %s records/s\n",
            mr_grouped(report->records_in, text[0]), mr_grouped(report->messages_in, text[1]),
            mr_grouped(report->bytes_in, text[2]), scaled(rate(report->records_in, report->seconds), text[3]));
    fprintf(out, "  out       %12s %s\n", mr_grouped(report->records_out, text[0]),
            run->job->role == MR_ROLE_TRAINER ? "taken in; the scorers answer them" : "scored and acknowledged");
    fprintf(out, "  dead      %12s", mr_grouped(report->records_dead, text[0]));
    for (int i = 0; i < MR_REASON_COUNT; i++) {
        if (report->reasons[i])
            fprintf(out, "  %s: %s", mr_reason_name((mr_reason)i), mr_grouped(report->reasons[i], text[1]));
    }
    fprintf(out, "\n  filtered  %12s\n", mr_grouped(report->records_filtered, text[0]));
    if (report->values_null)
        fprintf(out, "  null      %12s outputs were not finite and were written as null\n",
                mr_grouped(report->values_null, text[0]));
    if (left)
        fprintf(out, "  not acknowledged %s: not committed, a restart repeats them\n", mr_grouped(left, text[0]));
    else
        fprintf(out, "  in = out + dead + filtered holds\n");
    mr_followers_print(out, run);
    mr_sinks_print(out, run);
    mr_scoring_print(out, run);
    if (report->process_ns.count) {
        fprintf(out, "  latency   p50 %.2f ms, p99 %.2f ms, p99.9 %.2f ms from poll to acknowledgement\n",
                (double)mr_histogram_quantile(&report->process_ns, 0.5) / 1e6,
                (double)mr_histogram_quantile(&report->process_ns, 0.99) / 1e6,
                (double)mr_histogram_quantile(&report->process_ns, 0.999) / 1e6);
    }
    if (report->first_out_s >= 0)
        fprintf(out, "  first     %.3f s from start to the first acknowledged record\n", report->first_out_s);
    fprintf(out, "  memory    %.0f MiB at most; %llu commits", (double)report->rss_max_bytes / 1048576,
            (unsigned long long)report->commits);
    if (report->commit_ns.count)
        fprintf(out, ": p50 %.2f ms, p99 %.2f ms", (double)mr_histogram_quantile(&report->commit_ns, 0.5) / 1e6,
                (double)mr_histogram_quantile(&report->commit_ns, 0.99) / 1e6);
    fprintf(out, "\n");
    if (!report->records_in) {
        fprintf(out, "  CPU       %.2f s\n", (double)report->cpu_ns / 1e9);
        return;
    }
    fprintf(out, "  CPU       %.0f ns a record in all; by stage:", (double)report->cpu_ns / records);
    for (int i = 0; i < MR_STAGE_COUNT; i++)
        fprintf(out, " %s %.0f", mr_stage_name((mr_stage)i), (double)report->stage_cpu_ns[i] / records);
    fprintf(out, "\n");
    threads_print(out, report);
}

static void latency_add(cJSON *parent, const char *name, const struct mr_histogram *histogram, double unit)
{
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    cJSON *item = cJSON_AddObjectToObject(parent, name);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        cJSON_AddNumberToObject(item, points[i].name, (double)mr_histogram_quantile(histogram, points[i].share) / unit);
    }
}

static void line_print(FILE *out, cJSON *root)
{
    char *text = cJSON_PrintUnformatted(root);
    if (text) fprintf(out, "%s\n", text);
    fflush(out);
    free(text);
    cJSON_Delete(root);
}

static void counts_add(cJSON *root, const struct mr_summary *report)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"records_in", report->records_in},     {"records_out", report->records_out},
        {"records_dead", report->records_dead}, {"records_filtered", report->records_filtered},
        {"messages_in", report->messages_in},   {"messages_out", report->messages_out},
        {"values_null", report->values_null},   {"bytes_in", report->bytes_in},
        {"bytes_out", report->bytes_out},       {"batches", report->batches},
        {"commits", report->commits},           {"commit_failures", report->commit_failures},
        {"restarts", report->restarts},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        cJSON_AddNumberToObject(root, counts[i].name, (double)counts[i].value);
    cJSON *reasons = cJSON_AddObjectToObject(root, "reasons");
    for (int i = 0; i < MR_REASON_COUNT; i++) {
        if (report->reasons[i])
            cJSON_AddNumberToObject(reasons, mr_reason_name((mr_reason)i), (double)report->reasons[i]);
    }
}

static void role_add(cJSON *root, const struct mr_run *run)
{
    const char *const role = mr_job_role_name((mr_job_role)run->job->role);
    if (role) cJSON_AddStringToObject(root, "role", role);
}

void mr_summary_print_json(FILE *out, const struct mr_run *run, const struct mr_summary *report, mr_status status)
{
    const double records = report->records_in ? (double)report->records_in : 1;
    cJSON *root = cJSON_CreateObject();
    char backend[256];

    mr_units_describe(&run->units, backend, sizeof backend);
    cJSON_AddStringToObject(root, "type", "report");
    cJSON_AddStringToObject(root, "job", run->job->name);
    role_add(root, run);
    cJSON_AddStringToObject(root, "status", mr_status_name(status));
    cJSON_AddStringToObject(root, "backend", backend);
    cJSON_AddStringToObject(root, "librdkafka", rd_kafka_version_str());
    mr_library_notes_add(root);
    cJSON_AddNumberToObject(root, "lanes", run->lane_count);
    cJSON_AddNumberToObject(root, "seconds", report->seconds);
    counts_add(root, report);
    mr_scoring_add(root, run);
    mr_followers_add(root, run);
    mr_sinks_add(root, run);
    cJSON_AddNumberToObject(root, "records_per_second", rate(report->records_in, report->seconds));
    if (report->first_out_s >= 0) cJSON_AddNumberToObject(root, "first_out_seconds", report->first_out_s);
    latency_add(root, "process_ms", &report->process_ns, 1e6);
    latency_add(root, "end_to_end_ms", &report->end_to_end_us, 1e3);
    if (report->commit_ns.count) latency_add(root, "commit_ms", &report->commit_ns, 1e6);
    cJSON_AddNumberToObject(root, "rss_max_bytes", (double)report->rss_max_bytes);
    cJSON_AddNumberToObject(root, "cpu_ns_per_record", (double)report->cpu_ns / records);
    cJSON *stages = cJSON_AddObjectToObject(root, "stage_cpu_ns_per_record");
    for (int i = 0; i < MR_STAGE_COUNT; i++)
        cJSON_AddNumberToObject(stages, mr_stage_name((mr_stage)i), (double)report->stage_cpu_ns[i] / records);
    cJSON *threads = cJSON_AddObjectToObject(root, "thread_cpu_ns_per_record");
    for (size_t i = 0; i < report->thread_count; i++)
        cJSON_AddNumberToObject(threads, report->thread[i].name, (double)report->thread[i].cpu_ns / records);
    line_print(out, root);
}

void mr_progress_print_json(FILE *out, const struct mr_run *run, const struct mr_summary *before,
                            const struct mr_summary *now, uint64_t sequence)
{
    const double seconds = now->seconds - before->seconds;
    char timestamp[40];
    struct tm utc;
    const int64_t epoch_ms = mr_clock_epoch_ms();
    const time_t epoch_s = (time_t)(epoch_ms / 1000);
    cJSON *root = cJSON_CreateObject();

    gmtime_r(&epoch_s, &utc);
    strftime(timestamp, sizeof timestamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(timestamp + strlen(timestamp), sizeof timestamp - strlen(timestamp), ".%03dZ", (int)(epoch_ms % 1000));
    cJSON_AddStringToObject(root, "type", "progress");
    cJSON_AddStringToObject(root, "name", run->job->name);
    role_add(root, run);
    cJSON_AddStringToObject(root, "timestamp", timestamp);
    cJSON_AddNumberToObject(root, "batchId", (double)sequence);
    cJSON_AddNumberToObject(root, "numInputRows", (double)(now->records_in - before->records_in));
    cJSON_AddNumberToObject(root, "inputRowsPerSecond", rate(now->records_in - before->records_in, seconds));
    cJSON_AddNumberToObject(root, "processedRowsPerSecond", rate(now->records_out - before->records_out, seconds));
    cJSON *durations = cJSON_AddObjectToObject(root, "durationMs");
    for (int i = 0; i < MR_STAGE_COUNT; i++) {
        cJSON_AddNumberToObject(durations, mr_stage_name((mr_stage)i),
                                (double)(now->stage_ns[i] - before->stage_ns[i]) / 1e6);
    }
    cJSON *sources = cJSON_AddArrayToObject(root, "sources"), *source = cJSON_CreateObject();
    cJSON_AddItemToArray(sources, source);
    cJSON_AddStringToObject(source, "description", run->job->source->name);
    cJSON_AddNumberToObject(source, "numInputRows", (double)(now->records_in - before->records_in));
    cJSON *sink = cJSON_AddObjectToObject(root, "sink");
    cJSON_AddStringToObject(sink, "description", run->job->sink_count ? run->job->sink[0].ops->name : "none");
    cJSON_AddNumberToObject(sink, "numOutputRows", (double)(now->records_out - before->records_out));
    cJSON *total = cJSON_AddObjectToObject(root, "total");
    counts_add(total, now);
    mr_scoring_add(root, run);
    mr_followers_add(root, run);
    mr_sinks_add(root, run);
    latency_add(root, "process_ms", &now->process_ns, 1e6);
    line_print(out, root);
}

void mr_progress_line(char *out, size_t out_bytes, const struct mr_summary *before, const struct mr_summary *now,
                      unsigned cols)
{
    char text[4][32], matched[48] = "", behind[48] = "", still[48] = "", lost[64] = "", count[32];
    const double seconds = now->seconds - before->seconds;
    const unsigned whole = (unsigned)now->seconds;
    if (now->has_labels) snprintf(matched, sizeof matched, "  matched %s", mr_grouped(now->matched, count));
    if (now->has_followers && now->follower_lag >= 0)
        snprintf(behind, sizeof behind, "  sinks behind %s", mr_grouped((uint64_t)now->follower_lag, count));
    if (now->still_count)
        snprintf(still, sizeof still, "  %zu model%s stand%s still", now->still_count, now->still_count == 1 ? "" : "s",
                 now->still_count == 1 ? "s" : "");
    if (now->sinks_lost || now->is_sink_failing)
        snprintf(lost, sizeof lost, "  %s%s lost by sinks", now->is_sink_failing ? "a sink fails, " : "",
                 mr_grouped(now->sinks_lost, count));
    snprintf(out, out_bytes, "%02u:%02u  in %s  out %s  dead %s%s%s%s%s  %s records/s  p50 %.1f ms  p99 %.1f ms",
             whole / 60, whole % 60, mr_grouped(now->records_in, text[0]), mr_grouped(now->records_out, text[1]),
             mr_grouped(now->records_dead, text[2]), matched, behind, still, lost,
             scaled(rate(now->records_out - before->records_out, seconds), text[3]),
             (double)mr_histogram_quantile(&now->process_ns, 0.5) / 1e6,
             (double)mr_histogram_quantile(&now->process_ns, 0.99) / 1e6);
    if (cols && strlen(out) >= cols) out[cols - 1] = '\0';
}
