/* source.start: any text is one of the four forms or an error with a text; offsets are found again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/kafka/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *const text = calloc(bytes + 1, 1);
    struct mr_kafka_start start;
    struct mr_err err = {0};
    if (!text) return 0;
    if (bytes) memcpy(text, data, bytes);
    if (mr_kafka_start_parse(text, &start, &err)) {
        if (!err.status || !err.text[0]) abort();
    } else if (start.kind == MR_START_OFFSETS) {
        const char *const slash = strrchr(start.offsets, '/'); /* of the last entry: "topic/partition=offset" */
        if (!slash || !strchr(slash, '=')) abort();
        const char *topic = slash;
        while (topic > start.offsets && topic[-1] != ',') topic--;
        char *const name = strndup(topic, (size_t)(slash - topic));
        if (name && mr_kafka_start_offset(&start, name, (int32_t)atol(slash + 1)) < 0) abort();
        free(name);
        if (mr_kafka_start_offset(&start, "no/topic", 0) >= 0) abort();
    } else if (start.kind != MR_START_EARLIEST && start.kind != MR_START_LATEST && start.kind != MR_START_TIME) {
        abort();
    }
    free(text);
    return 0;
}
