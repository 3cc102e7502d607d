/** What models say that they have found (mr_model_ops.found), as JSON. */
#ifndef MR_METRICS_FOUND_H
#define MR_METRICS_FOUND_H

#include <cjson/cJSON.h>

#include "millrace/model.h"

/** Members "found", the lines of the text, and "outputs", the values by their names: null where one is not finite. */
void mr_found_add(cJSON *item, const struct mr_model_info *info, const char *text, const double *values);

#endif
