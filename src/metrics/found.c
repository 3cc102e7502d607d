#include "metrics/found.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void mr_found_add(cJSON *item, const struct mr_model_info *info, const char *text, const double *values)
{
    cJSON *const lines = cJSON_AddArrayToObject(item, "found");
    for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
        char line[MR_FOUND_BYTES];
        snprintf(line, sizeof line, "%.*s", (int)(end - text), text);
        cJSON_AddItemToArray(lines, cJSON_CreateString(line));
    }
    cJSON *const outputs = info->output ? cJSON_AddObjectToObject(item, "outputs") : NULL;
    for (size_t i = 0; outputs && i < info->width; i++) {
        if (isfinite(values[i]))
            cJSON_AddNumberToObject(outputs, info->output[i], values[i]);
        else
            cJSON_AddNullToObject(outputs, info->output[i]);
    }
}
