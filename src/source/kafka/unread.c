/*
 * Partitions that no member of the group was given. A static member that comes back gets what it had, and nothing is
 * shared out anew; if it led the group it does not know that it still does, so partitions that were added while it was
 * away would be read by nobody for as long as all members stay (KAFKA-13435; KIP-814 mends it for clients that know
 * JoinGroup 9, which librdkafka does not). So a static member looks, behind its first share, whether somebody has each
 * partition. If not it subscribes anew: of the leader's joining again the broker makes a rebalance.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define LOOK_INTERVAL_US    5000000
#define LOOK_COUNT_MAX      12
#define ANSWER_TIMEOUT_MS   5000
#define COUNT_TIMEOUT_MS    1000
#define SUBSCRIBE_COUNT_MAX 3

enum { MEMBERS_MOVE = -1 }; /* a rebalance is under way: nothing can be said */

/* How many partitions of a topic the members have between them. */
static int32_t shared_count(const rd_kafka_ConsumerGroupDescription_t *group, const char *topic)
{
    int32_t count = 0;
    for (size_t i = 0; i < rd_kafka_ConsumerGroupDescription_member_count(group); i++) {
        const rd_kafka_MemberDescription_t *const member = rd_kafka_ConsumerGroupDescription_member(group, i);
        const rd_kafka_MemberAssignment_t *const share = rd_kafka_MemberDescription_assignment(member);
        const rd_kafka_topic_partition_list_t *const list = share ? rd_kafka_MemberAssignment_partitions(share) : NULL;
        for (int k = 0; list && k < list->cnt; k++) count += !strcmp(list->elems[k].topic, topic);
    }
    return count;
}

/* How many partitions of the source's topics nobody has, or MEMBERS_MOVE. */
static int32_t unread_count(struct mr_source *source, const rd_kafka_ConsumerGroupDescription_t *group)
{
    int32_t unread = 0;
    if (rd_kafka_ConsumerGroupDescription_state(group) != RD_KAFKA_CONSUMER_GROUP_STATE_STABLE) return MEMBERS_MOVE;
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

static void ask(struct mr_source *source)
{
    const char *group = source->group;
    rd_kafka_AdminOptions_t *const options =
        rd_kafka_AdminOptions_new(source->client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    if (!source->unread.answers) source->unread.answers = rd_kafka_queue_new(source->client);
    rd_kafka_AdminOptions_set_request_timeout(options, ANSWER_TIMEOUT_MS, NULL, 0);
    rd_kafka_DescribeConsumerGroups(source->client, &group, 1, options, source->unread.answers);
    rd_kafka_AdminOptions_destroy(options);
    source->unread.is_asked = true;
}

/* The next look, or none: nothing is left out, or nobody tells. */
static void answer_take(struct mr_source *source, rd_kafka_event_t *event, int64_t now_us)
{
    size_t count = 0;
    const rd_kafka_DescribeConsumerGroups_result_t *const result =
        rd_kafka_event_error(event) ? NULL : rd_kafka_event_DescribeConsumerGroups_result(event);
    const rd_kafka_ConsumerGroupDescription_t **const group =
        result ? rd_kafka_DescribeConsumerGroups_result_groups(result, &count) : NULL;
    source->unread.due_us = 0;
    if (!count || rd_kafka_ConsumerGroupDescription_error(group[0])) return;
    const int32_t unread = unread_count(source, group[0]);
    if (!unread || !source->unread.looks_left) return;
    source->unread.looks_left--;
    source->unread.due_us = now_us + LOOK_INTERVAL_US;
    if (unread == MEMBERS_MOVE || !source->unread.subscribes_left) return;
    source->unread.subscribes_left--;
    const rd_kafka_resp_err_t code = mr_kafka_subscribe(source);
    if (code) mr_log(MR_LOG_WARN, "kafka", "subscribe: %s", rd_kafka_err2str(code));
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
    if (!source->unread.is_asked) {
        ask(source);
        return;
    }
    rd_kafka_event_t *const event = rd_kafka_queue_poll(source->unread.answers, 0);
    if (!event) return;
    source->unread.is_asked = false;
    answer_take(source, event, now_us);
    rd_kafka_event_destroy(event);
}
