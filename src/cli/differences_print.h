/** What `compare` and `score --expect` say about two sets of outputs. */
#ifndef MR_CLI_DIFFERENCES_PRINT_H
#define MR_CLI_DIFFERENCES_PRINT_H

#include <cjson/cJSON.h>
#include <stdio.h>

#include "evaluate/differences.h"

/** Text; a, b: what the sets are called. */
void mr_differences_print(FILE *out, const struct mr_differences *differences, const struct mr_model_info *info,
                          const char *a, const char *b);

/** Puts the same into a JSON object. */
void mr_differences_add_json(cJSON *object, const struct mr_differences *differences, const struct mr_model_info *info);

#endif
