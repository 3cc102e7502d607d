#include "pipeline/topic_clock.h"

#include <stdlib.h>

bool mr_topic_clock_see(struct mr_topic_clock *clock, uint32_t topic, int32_t partition, int64_t time_ms)
{
    uint32_t at = mr_part_get(&clock->index, topic, partition);
    if (at == MR_PART_NONE) {
        if (clock->count == clock->cap) {
            const size_t cap = clock->cap ? 2 * clock->cap : 16;
            int64_t *const grown = realloc(clock->newest_ms, cap * sizeof *grown);
            if (!grown) return false;
            clock->newest_ms = grown;
            clock->cap = cap;
        }
        at = (uint32_t)clock->count;
        if (!mr_part_set(&clock->index, topic, partition, at)) return false;
        clock->newest_ms[at] = time_ms;
        if (!clock->count++) clock->newest_all_ms = time_ms;
    }
    if (time_ms > clock->newest_ms[at]) clock->newest_ms[at] = time_ms;
    if (time_ms > clock->newest_all_ms) clock->newest_all_ms = time_ms;
    return true;
}

int64_t mr_topic_clock_ms(const struct mr_topic_clock *clock)
{
    int64_t least_ms = INT64_MAX;
    if (!clock->count || clock->count < clock->partitions) return INT64_MIN;
    for (size_t i = 0; i < clock->count; i++)
        least_ms = clock->newest_ms[i] < least_ms ? clock->newest_ms[i] : least_ms;
    return least_ms;
}

void mr_topic_clock_deinit(struct mr_topic_clock *clock)
{
    mr_part_free(&clock->index);
    free(clock->newest_ms);
    *clock = (struct mr_topic_clock){0};
}
