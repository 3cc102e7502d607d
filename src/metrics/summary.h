/** Sums over the lanes of a run: what the progress line, the JSON progress and the report at the end are made of. */
#ifndef MR_METRICS_SUMMARY_H
#define MR_METRICS_SUMMARY_H

#include <stdio.h>

#include "pipeline/run.h"

#define MR_THREAD_MAX 64

/** CPU time of the process's threads of one name ("rdk:broker1", "lane 0"). */
struct mr_thread_cpu {
    char name[20];
    unsigned count;
    uint64_t cpu_ns;
};

struct mr_summary {
    double seconds; /* since the run was created */
    uint64_t messages_in, bytes_in, records_in, records_out, records_dead, records_filtered, values_null, messages_out,
        bytes_out, batches, commits, commit_failures, restarts;
    uint64_t reasons[MR_REASON_COUNT];
    uint64_t stage_ns[MR_STAGE_COUNT], stage_cpu_ns[MR_STAGE_COUNT];
    bool has_labels;  /* on topics of their own */
    uint64_t matched; /* records that met theirs */
    bool has_followers;
    int64_t follower_lag; /* offsets that some sink does not have yet; -1: not known */
    uint64_t sinks_lost;  /* records that sinks dropped, or their servers refused */
    bool is_sink_failing;
    size_t still_count; /* followed models that stand still */
    double first_out_s; /* from the start of the run to the first acknowledged record; negative: none yet */
    struct mr_histogram process_ns, commit_ns, end_to_end_us, batch_records;
    uint64_t cpu_ns;        /* of the process */
    uint64_t rss_max_bytes; /* largest resident size so far */
    struct mr_thread_cpu thread[MR_THREAD_MAX];
    size_t thread_count;
};

/** Counts, stages, latencies and the process's CPU time and memory, without its threads: cheap enough for many times a
 * second; any thread. */
void mr_summary_counts(const struct mr_run *run, struct mr_summary *report);

/** Takes the sums now. Cheap enough for once a second; any thread. The report is about 65 kB: not for a small stack. */
void mr_summary_take(const struct mr_run *run, struct mr_summary *report);

/** For people: a page on what came in, went out, was dead, how fast, and what it cost. */
void mr_summary_print(FILE *out, const struct mr_run *run, const struct mr_summary *report);

/** One JSON object on one line. */
void mr_summary_print_json(FILE *out, const struct mr_run *run, const struct mr_summary *report, mr_status status);

/** One line of progress as JSON, with the field names of Spark's StreamingQueryProgress; `before` is the previous one
 * (or all zero). */
void mr_progress_print_json(FILE *out, const struct mr_run *run, const struct mr_summary *before,
                            const struct mr_summary *now, uint64_t sequence);

/** The moving line of a terminal, at most `cols` wide, without newline. */
void mr_progress_line(char *out, size_t out_bytes, const struct mr_summary *before, const struct mr_summary *now,
                      unsigned cols);

#endif
