/** The parts of a report that tell how good models predict, what they have learned, where they ran, and how right that
 * was. */
#ifndef MR_METRICS_SUMMARY_SCORING_H
#define MR_METRICS_SUMMARY_SCORING_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "pipeline/run.h"

/** "1,234,567" into out; returns out. */
const char *mr_grouped(uint64_t value, char out[32]);

/** Lines for people. */
void mr_scoring_print(FILE *out, const struct mr_run *run);

/** Members "models", "backends", "precision" and "cross_check" of a report or a progress object, where there is
 * something to tell.
 */
void mr_scoring_add(cJSON *root, const struct mr_run *run);

#endif
