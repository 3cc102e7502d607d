#include "metrics/summary.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "metrics/summary_followers.h"
#include "metrics/summary_sinks.h"
#include "pipeline/lane.h"
#include "pipeline/lane_labels.h"

/* Adds one thread's CPU time (the kernel's own count, in nanoseconds) under its name. */
static void thread_add(struct mr_summary *report, const char *id)
{
    char path[64], name[20] = "";
    unsigned long long cpu_ns = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%.16s/comm", id);
    if ((file = fopen(path, "r"))) {
        if (fgets(name, sizeof name, file)) name[strcspn(name, "\n")] = '\0';
        fclose(file);
    }
    snprintf(path, sizeof path, "/proc/self/task/%.16s/schedstat", id);
    if ((file = fopen(path, "r"))) {
        if (fscanf(file, "%llu", &cpu_ns) != 1) cpu_ns = 0;
        fclose(file);
    }
    for (size_t i = 0; i < report->thread_count; i++) {
        if (strcmp(report->thread[i].name, name)) continue;
        report->thread[i].count++;
        report->thread[i].cpu_ns += cpu_ns;
        return;
    }
    if (report->thread_count == MR_THREAD_MAX) return;
    struct mr_thread_cpu *thread = &report->thread[report->thread_count++];
    *thread = (struct mr_thread_cpu){.count = 1, .cpu_ns = cpu_ns};
    memcpy(thread->name, name, sizeof name);
}

static void threads_take(struct mr_summary *report)
{
    DIR *folder = opendir("/proc/self/task");
    report->thread_count = 0;
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[0] != '.') thread_add(report, entry->d_name);
    }
    if (folder) closedir(folder);
}

static void lane_add(struct mr_summary *report, const struct mr_run *run, const struct mr_stats *stats)
{
    report->messages_in += mr_stats_get(&stats->messages_in);
    report->bytes_in += mr_stats_get(&stats->bytes_in);
    report->records_in += mr_stats_get(&stats->records_in);
    report->records_out += mr_stats_get(&stats->records_out);
    report->records_dead += mr_stats_get(&stats->records_dead);
    report->records_filtered += mr_stats_get(&stats->records_filtered);
    report->values_null += mr_stats_get(&stats->values_null);
    report->messages_out += mr_stats_get(&stats->messages_out);
    report->bytes_out += mr_stats_get(&stats->bytes_out);
    report->batches += mr_stats_get(&stats->batches);
    report->commits += mr_stats_get(&stats->commits);
    report->commit_failures += mr_stats_get(&stats->commit_failures);
    report->restarts += mr_stats_get(&stats->restarts);
    for (int i = 0; i < MR_REASON_COUNT; i++) report->reasons[i] += mr_stats_get(&stats->reasons[i]);
    for (int i = 0; i < MR_STAGE_COUNT; i++) {
        report->stage_ns[i] += mr_stats_get(&stats->stage_ns[i]);
        report->stage_cpu_ns[i] += mr_stats_get(&stats->stage_cpu_ns[i]);
    }
    const int64_t first_ns = atomic_load_explicit(&stats->first_out_ns, memory_order_relaxed);
    const double first_s = (double)(first_ns - run->started_ns) / 1e9;
    if (first_ns && (report->first_out_s < 0 || first_s < report->first_out_s)) report->first_out_s = first_s;
    mr_histogram_merge(&report->process_ns, &stats->process_ns);
    mr_histogram_merge(&report->batch_records, &stats->batch_records);
    mr_histogram_merge(&report->commit_ns, &stats->commit_ns);
    mr_histogram_merge(&report->end_to_end_us, &stats->end_to_end_us);
}

/* A lane whose thread has ended is no longer among the process's threads: its stages remember what it used. */
static void lane_thread_add(struct mr_summary *report, const struct mr_lane *lane)
{
    struct mr_thread_cpu thread = {.count = 1};
    snprintf(thread.name, sizeof thread.name, "lane %u", lane->index);
    for (size_t i = 0; i < report->thread_count; i++) {
        if (!strcmp(report->thread[i].name, thread.name)) return; /* it is just ending */
    }
    for (int i = 0; i < MR_STAGE_COUNT; i++) thread.cpu_ns += mr_stats_get(&lane->stats.stage_cpu_ns[i]);
    if (report->thread_count < MR_THREAD_MAX) report->thread[report->thread_count++] = thread;
}

void mr_summary_counts(const struct mr_run *run, struct mr_summary *report)
{
    struct rusage usage;
    struct mr_err still;
    memset(report, 0, sizeof *report);
    report->first_out_s = -1;
    report->seconds = (double)(mr_clock_ns() - run->started_ns) / 1e9;
    for (unsigned i = 0; run->lane && i < run->lane_count; i++) {
        if (run->lane[i]) lane_add(report, run, &run->lane[i]->stats);
    }
    const struct mr_lane_labels *const labels = run->lane && run->lane[0] ? run->lane[0]->labels : NULL;
    report->has_labels = labels;
    if (labels) report->matched = mr_stats_get(&mr_join_counts(labels->join)->matched);
    report->has_followers = run->follower_count;
    report->follower_lag = mr_followers_lag(run);
    report->sinks_lost = mr_sinks_lost(run, &report->is_sink_failing);
    for (size_t i = 0; i < run->models.count; i++) report->still_count += mr_follow_is_still(run->follow, i, &still);
    getrusage(RUSAGE_SELF, &usage);
    report->cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
                     (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
    report->rss_max_bytes = (uint64_t)usage.ru_maxrss * 1024;
}

void mr_summary_take(const struct mr_run *run, struct mr_summary *report)
{
    mr_summary_counts(run, report);
    threads_take(report);
    for (unsigned i = 0; run->lane && i < run->lane_count; i++) {
        if (run->lane[i] && atomic_load(&run->lane[i]->is_over)) lane_thread_add(report, run->lane[i]);
    }
}
