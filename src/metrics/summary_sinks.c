#include "metrics/summary_sinks.h"

#include "metrics/summary_scoring.h"
#include "pipeline/follower.h"
#include "pipeline/lane.h"

bool mr_sink_stats_of(const struct mr_run *run, size_t sink, struct mr_sink_stats *sum_out)
{
    *sum_out = (struct mr_sink_stats){0};
    for (unsigned i = 0; run->lane && i < run->lane_count; i++)
        if (run->lane[i] && run->lane[i]->sink_stats) mr_sink_stats_merge(sum_out, &run->lane[i]->sink_stats[sink]);
    for (size_t i = 0; i < run->follower_count; i++)
        if (run->follower[i]->index == sink) mr_sink_stats_merge(sum_out, &run->follower[i]->sink_stats);
    return sum_out->counts;
}

static void part_print(FILE *out, uint64_t count, const char *what)
{
    char text[32];
    if (count) fprintf(out, ", %s %s", mr_grouped(count, text), what);
}

void mr_sinks_print(FILE *out, const struct mr_run *run)
{
    struct mr_sink_stats sum;
    char text[32];
    for (size_t i = 0; i < run->job->sink_count; i++) {
        if (!mr_sink_stats_of(run, i, &sum)) continue;
        fprintf(out, "  %-9s %12s records delivered in %llu requests", run->job->sink[i].ops->name,
                mr_grouped(sum.delivered, text), (unsigned long long)sum.requests);
        part_print(out, sum.dropped, "dropped");
        part_print(out, sum.refused, "refused");
        part_print(out, sum.spilled, "were spilled");
        part_print(out, sum.spill_bytes, "bytes wait on the disk");
        part_print(out, sum.queued_records, "wait");
        part_print(out, sum.fields_skipped, "fields skipped");
        fprintf(out, "%s%s\n", sum.is_failing ? "; its last error: " : "", sum.is_failing ? sum.error : "");
    }
}

static void sink_add(cJSON *list, const struct mr_run *run, size_t index, struct mr_sink_stats *sum)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"records_in", sum->taken},         {"records_delivered", sum->delivered},
        {"records_dropped", sum->dropped},  {"records_refused", sum->refused},
        {"records_spilled", sum->spilled},  {"fields_skipped", sum->fields_skipped},
        {"requests", sum->requests},        {"retries", sum->retried},
        {"bytes_sent", sum->bytes_sent},    {"queue_records", sum->queued_records},
        {"queue_bytes", sum->queued_bytes}, {"spill_bytes", sum->spill_bytes},
    };
    cJSON *const item = cJSON_CreateObject();
    cJSON_AddItemToArray(list, item);
    cJSON_AddNumberToObject(item, "sink", (double)index);
    cJSON_AddStringToObject(item, "type", run->job->sink[index].ops->name);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        cJSON_AddNumberToObject(item, counts[i].name, (double)counts[i].value);
    cJSON_AddBoolToObject(item, "is_failing", sum->is_failing);
    if (*sum->error) cJSON_AddStringToObject(item, "last_error", sum->error);
}

void mr_sinks_add(cJSON *root, const struct mr_run *run)
{
    struct mr_sink_stats sum;
    cJSON *list = NULL;
    for (size_t i = 0; i < run->job->sink_count; i++) {
        if (!mr_sink_stats_of(run, i, &sum)) continue;
        if (!list) list = cJSON_AddArrayToObject(root, "sinks");
        sink_add(list, run, i, &sum);
    }
}

uint64_t mr_sinks_lost(const struct mr_run *run, bool *is_failing_out)
{
    struct mr_sink_stats sum;
    uint64_t lost = 0;
    *is_failing_out = false;
    for (size_t i = 0; i < run->job->sink_count; i++) {
        if (!mr_sink_stats_of(run, i, &sum)) continue;
        lost += sum.dropped + sum.refused;
        *is_failing_out |= sum.is_failing;
    }
    return lost;
}
