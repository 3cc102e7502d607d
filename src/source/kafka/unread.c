/*
 * Partitions that no member of the group was given. A static member that comes back gets what it had, and nothing is
 * shared out anew; if it led the group it does not know that it still does, so partitions that were added while it was
 * away would be read by nobody for as long as all members stay (KAFKA-13435; KIP-814 mends it for clients that know
 * JoinGroup 9, which librdkafka does not). So a static member looks, behind its first share, whether somebody has each
 * partition. If not it subscribes anew: of the leader's joining again the broker makes a rebalance.
 *
 * rd_kafka_DescribeConsumerGroups() would do without waiting; but where a broker dies meanwhile it ends the process
 * (librdkafka#4605, seen with 2.0.2).
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define LOOK_INTERVAL_US    5000000
#define LOOK_COUNT_MAX      12
#define SUBSCRIBE_COUNT_MAX 3
#define ANSWER_TIMEOUT_MS   1000
#define COUNT_TIMEOUT_MS    1000

enum { NOT_KNOWN = -1 };

/* A share as members send it: version, then each topic and its partitions (Kafka's ConsumerProtocolAssignment.json);
 * big-endian. */
struct share {
    const unsigned char *at, *end;
};

static bool number_take(struct share *share, size_t bytes, uint32_t *value_out)
{
    if ((size_t)(share->end - share->at) < bytes) return false;
    *value_out = 0;
    while (bytes--) *value_out = *value_out << 8 | *share->at++;
    return true;
}

/* The next topic of a share, and how many partitions of it. False: there is none. */
static bool topic_take(struct share *share, struct mr_span *topic_out, uint32_t *count_out)
{
    uint32_t bytes;
    if (!number_take(share, 2, &bytes) || (size_t)(share->end - share->at) < bytes) return false;
    *topic_out = (struct mr_span){(const char *)share->at, bytes};
    share->at += bytes;
    if (!number_take(share, 4, count_out) || (size_t)(share->end - share->at) / 4 < *count_out) return false;
    share->at += (size_t)*count_out * 4;
    return true;
}

/* How many partitions of a topic the members have between them. */
static int32_t shared_count(const struct rd_kafka_group_info *group, const char *topic)
{
    int32_t shared = 0;
    for (int i = 0; i < group->member_cnt; i++) {
        const struct rd_kafka_group_member_info *const member = &group->members[i];
        struct share share = {member->member_assignment, member->member_assignment};
        uint32_t version, topics, count;
        struct mr_span name;
        if (share.at) share.end += member->member_assignment_size;
        if (!number_take(&share, 2, &version) || !number_take(&share, 4, &topics)) continue;
        while (topics-- && topic_take(&share, &name, &count)) {
            if (name.bytes == strlen(topic) && !memcmp(name.data, topic, name.bytes)) shared += (int32_t)count;
        }
    }
    return shared;
}

/* How many partitions of the source's topics nobody has. */
static int32_t unread_count(struct mr_source *source, const struct rd_kafka_group_info *group)
{
    int32_t unread = 0;
    for (uint32_t i = 0; i < source->topic_count; i++) {
        int32_t count = source->initial_count[i];
        mr_kafka_partition_count(source->client, source->servers, source->topic[i], COUNT_TIMEOUT_MS, &count, NULL);
        const int32_t shared = shared_count(group, source->topic[i]);
        if (count <= shared) continue;
        mr_log(MR_LOG_INFO, "kafka", "topic \"%s\": no member of group \"%s\" has %d of its %d partitions",
               source->topic[i], source->group, (int)(count - shared), (int)count);
        unread += count - shared;
    }
    return unread;
}

/* The same, or NOT_KNOWN: a rebalance is under way, or no broker tells. */
static int32_t look(struct mr_source *source)
{
    const struct rd_kafka_group_list *groups;
    int32_t unread = NOT_KNOWN;
    if (rd_kafka_list_groups(source->client, source->group, &groups, ANSWER_TIMEOUT_MS)) return NOT_KNOWN;
    for (int i = 0; i < groups->group_cnt; i++) {
        const struct rd_kafka_group_info *const group = &groups->groups[i];
        if (!group->err && !strcmp(group->group, source->group) && !strcmp(group->state, "Stable"))
            unread = unread_count(source, group);
    }
    rd_kafka_group_list_destroy(groups);
    return unread;
}

void mr_kafka_unread_start(struct mr_source *source, int64_t now_us)
{
    if (source->opt->membership != MR_MEMBER_STATIC || !source->is_member || source->unread.has_begun) return;
    source->unread.has_begun = true;
    source->unread.looks_left = LOOK_COUNT_MAX;
    source->unread.subscribes_left = SUBSCRIBE_COUNT_MAX;
    source->unread.due_us = now_us;
}

void mr_kafka_unread_check(struct mr_source *source, int64_t now_us)
{
    if (!source->unread.due_us || now_us < source->unread.due_us) return;
    const int32_t unread = look(source);
    source->unread.due_us = unread && --source->unread.looks_left ? now_us + LOOK_INTERVAL_US : 0;
    if (unread <= 0 || !source->unread.subscribes_left) return;
    source->unread.subscribes_left--;
    const rd_kafka_resp_err_t code = mr_kafka_subscribe(source);
    if (code) mr_log(MR_LOG_WARN, "kafka", "subscribe: %s", rd_kafka_err2str(code));
}
