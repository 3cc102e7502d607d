/*
 * Topics that are deleted while they are read, or deleted and made anew. A client says little of it: the first it may
 * hide (no assignment, no records), of the second it says nothing, and would read on where the old topic was.
 */
#include "base/clock.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define GONE_INTERVAL_US 1000000
#define GONE_TIMEOUT_MS  5000

static mr_status topic_check(struct mr_source *source, const char *topic, struct mr_err *err)
{
    int32_t count;
    const mr_status status =
        mr_kafka_partition_count(source->client, source->servers, topic, GONE_TIMEOUT_MS, &count, NULL);
    if (status != MR_EINPUT) return status;
    return mr_fail(err, MR_EINPUT, "kafka source: topic \"%s\" was deleted while it was read", topic);
}

static bool has_pattern(const struct mr_source *source)
{
    for (size_t i = 0; i < source->opt->topics.count; i++) {
        if (*source->opt->topics.item[i] == '^') return true;
    }
    return false;
}

/* Whether all topics are there: those of which partitions were assigned, else those of the job. MR_EINPUT: one is not;
 * else no answer, or none that is sure. Topics that a pattern finds may go, but for a bounded run. */
static mr_status topics_check(struct mr_source *source, struct mr_err *err)
{
    const size_t count = source->topic_count ? source->topic_count : source->opt->topics.count;
    mr_status status = MR_OK;
    if (has_pattern(source) && (!source->open.is_bounded || !source->topic_count)) return MR_OK;
    for (size_t i = 0; i < count && status != MR_EINPUT; i++) {
        const mr_status other =
            topic_check(source, source->topic_count ? source->topic[i] : source->opt->topics.item[i], err);
        if (other) status = other;
    }
    return status;
}

mr_status mr_kafka_offsets_check(struct mr_source *source, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (!source->keeps_offsets) return MR_OK;
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new((int)source->partition_count);
    for (size_t i = 0; i < source->partition_count; i++) {
        const struct partition *const part = &source->partition[i];
        if (part->stored_offset >= 0)
            rd_kafka_topic_partition_list_add(list, source->topic[part->topic], part->partition);
    }
    const bool is_known = list->cnt && !rd_kafka_committed(source->client, list, GONE_TIMEOUT_MS);
    for (int i = 0; i < list->cnt && is_known && !status; i++) {
        const rd_kafka_topic_partition_t *const entry = &list->elems[i];
        if (entry->err || entry->offset >= 0) continue;
        status = mr_fail(err, MR_EINPUT,
                         "kafka source: the offset that was committed of %s[%d] is not there any more: the topic was "
                         "deleted and made anew while it was read, or somebody deleted the offset: start again to read "
                         "from source.start",
                         entry->topic, (int)entry->partition);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

void mr_kafka_gone_check(struct mr_source *source, int64_t now_us)
{
    const bool was_gone = source->is_gone;
    struct mr_err err;
    if (!source->gone_due_us || now_us < source->gone_due_us || source->failure.status) return;
    source->gone_due_us = 0;
    source->is_gone = false;
    if (!source->open.is_bounded && !source->open.must_exist) return;
    mr_status status = topics_check(source, &err);
    if (!status && source->open.must_exist) status = mr_kafka_offsets_check(source, &err);
    if (!status) return;
    source->gone_due_us = now_us + GONE_INTERVAL_US;
    source->is_gone = status == MR_EINPUT;
    if (source->is_gone && was_gone) source->failure = err;
}
