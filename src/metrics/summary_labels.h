/** The part of a report that tells of labels on topics of their own: what came, what found its record. */
#ifndef MR_METRICS_SUMMARY_LABELS_H
#define MR_METRICS_SUMMARY_LABELS_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "pipeline/run.h"

/** Both do nothing for a job without such labels. */
void mr_labels_print(FILE *out, const struct mr_run *run);
void mr_labels_add(cJSON *root, const struct mr_run *run);

#endif
