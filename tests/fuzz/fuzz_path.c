/* Two lines: a feature and a path. What is well-formed covers itself, and nothing is read beyond the end. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const uint8_t *const newline = bytes ? memchr(data, '\n', bytes) : NULL;
    const size_t first = newline ? (size_t)(newline - data) : bytes, second = newline ? bytes - first - 1 : 0;
    char *const feature = calloc(first + 1, 1), *const path = calloc(second + 1, 1);
    if (feature && path) {
        if (first) memcpy(feature, data, first);
        if (second) memcpy(path, newline + 1, second);
        const char *const problem = mr_path_problem(feature);
        if (problem && !*problem) abort();
        if (!mr_path_covers(feature, feature)) abort();
        const bool covers = mr_path_covers(feature, path);
        if (covers && strcmp(feature, path) != 0 && !strstr(feature, "..")) abort(); /* only a range covers others */
        mr_path_problem(path);
    }
    free(feature);
    free(path);
    return 0;
}
