/* First and next offsets of many partitions with two requests to each broker, instead of two for each partition. */
#include <string.h>

#include "source/kafka/source.h"

#define ASK_TIMEOUT_MS 15000

/* Asks for one bound of all partitions of the list. NULL: no answer; a partition without one has an error. */
static rd_kafka_topic_partition_list_t *bound_ask(struct mr_source *source, const rd_kafka_topic_partition_list_t *list,
                                                  int64_t which)
{
    rd_kafka_topic_partition_list_t *answer = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < list->cnt; i++) answer->elems[i].offset = which; /* in the place of a time */
    if (!rd_kafka_offsets_for_times(source->client, answer, ASK_TIMEOUT_MS)) return answer;
    rd_kafka_topic_partition_list_destroy(answer);
    return NULL;
}

static int64_t bound_of(rd_kafka_topic_partition_list_t *answer, const rd_kafka_topic_partition_t *entry, int at)
{
    const rd_kafka_topic_partition_t *found = &answer->elems[at];
    if (found->partition != entry->partition ||
        strcmp(found->topic, entry->topic)) /* the order is kept, but not promised */
        found = rd_kafka_topic_partition_list_find(answer, entry->topic, entry->partition);
    return found && !found->err ? found->offset : -1;
}

void mr_kafka_bounds_ask(struct mr_source *source, const rd_kafka_topic_partition_list_t *list,
                         struct mr_kafka_bounds *bounds)
{
    rd_kafka_topic_partition_list_t *low = bound_ask(source, list, RD_KAFKA_OFFSET_BEGINNING);
    rd_kafka_topic_partition_list_t *high = low ? bound_ask(source, list, RD_KAFKA_OFFSET_END) : NULL;

    for (int i = 0; i < list->cnt; i++) {
        const bool is_known = low && high;
        bounds[i].low = is_known ? bound_of(low, &list->elems[i], i) : -1;
        bounds[i].high = is_known ? bound_of(high, &list->elems[i], i) : -1;
    }
    if (low) rd_kafka_topic_partition_list_destroy(low);
    if (high) rd_kafka_topic_partition_list_destroy(high);
}
