/** What followers have done, in the report and in progress. */
#ifndef MR_METRICS_SUMMARY_FOLLOWERS_H
#define MR_METRICS_SUMMARY_FOLLOWERS_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "pipeline/run.h"

/** A line for each; nothing where there is none. */
void mr_followers_print(FILE *out, const struct mr_run *run);

/** "followers": an array, if there are any. */
void mr_followers_add(cJSON *root, const struct mr_run *run);

/** Offsets of the output topic that some sink does not have yet, the most of any; -1: not known, or there is none. */
int64_t mr_followers_lag(const struct mr_run *run);

#endif
