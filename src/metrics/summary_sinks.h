/** What sinks have done that settle records before their server has them, in the report and in progress. */
#ifndef MR_METRICS_SUMMARY_SINKS_H
#define MR_METRICS_SUMMARY_SINKS_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "metrics/sink_stats.h"
#include "pipeline/run.h"

/** Sums over the lanes of a run, of one sink of the job; false: it does not count. Any thread. */
bool mr_sink_stats_of(const struct mr_run *run, size_t sink, struct mr_sink_stats *sum_out);

/** A line for each; nothing where none counts. */
void mr_sinks_print(FILE *out, const struct mr_run *run);

/** "sinks": an array, if there are any. */
void mr_sinks_add(cJSON *root, const struct mr_run *run);

/** Records that were dropped or refused, of all; whether one fails now. */
uint64_t mr_sinks_lost(const struct mr_run *run, bool *is_failing_out);

#endif
