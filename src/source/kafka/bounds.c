/*
 * First and next offsets of partitions: of many with two requests to each broker, instead of two for each partition,
 * then once more, one by one, of those that had no answer.
 *
 * Not rd_kafka_query_watermark_offsets: when the request for the first offset fails and the answers to both requests
 * are served at once, it forgets the error and reports the next offset as both (librdkafka,
 * query_wmark_offsets_resp_cb, up to this day's master). A partition that is full then looks empty.
 */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define PAUSE_NS 50000000

/* Asks for one bound of all partitions of the list. On success *answer_out is the caller's; a partition without an
 * answer has an error there, or an offset below 0. */
static rd_kafka_resp_err_t bound_ask(struct mr_source *source, const rd_kafka_topic_partition_list_t *list,
                                     int64_t which, int timeout_ms, rd_kafka_topic_partition_list_t **answer_out)
{
    rd_kafka_topic_partition_list_t *answer = rd_kafka_topic_partition_list_copy(list);
    for (int i = 0; i < list->cnt; i++) answer->elems[i].offset = which; /* in the place of a time */
    const rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(source->client, answer, timeout_ms);
    if (code) rd_kafka_topic_partition_list_destroy(answer);
    *answer_out = code ? NULL : answer;
    return code;
}

/* The offset that was answered, -1 and *code_out when there is none. */
static int64_t bound_of(rd_kafka_topic_partition_list_t *answer, const rd_kafka_topic_partition_t *entry, int at,
                        rd_kafka_resp_err_t *code_out)
{
    const rd_kafka_topic_partition_t *found = &answer->elems[at];
    if (found->partition != entry->partition ||
        strcmp(found->topic, entry->topic)) /* the order is kept, but not promised */
        found = rd_kafka_topic_partition_list_find(answer, entry->topic, entry->partition);
    if (found && !found->err && found->offset >= 0) return found->offset;
    *code_out = found && found->err ? found->err : RD_KAFKA_RESP_ERR__BAD_MSG;
    return -1;
}

/* The bounds of a list; the code is that of the last partition without an answer, or of all. */
static rd_kafka_resp_err_t list_ask(struct mr_source *source, const rd_kafka_topic_partition_list_t *list,
                                    int timeout_ms, struct mr_kafka_bounds *bounds)
{
    rd_kafka_topic_partition_list_t *low = NULL, *high = NULL;
    rd_kafka_resp_err_t code = bound_ask(source, list, RD_KAFKA_OFFSET_BEGINNING, timeout_ms, &low);
    if (!code) code = bound_ask(source, list, RD_KAFKA_OFFSET_END, timeout_ms, &high);

    for (int i = 0; i < list->cnt; i++) {
        bounds[i] = (struct mr_kafka_bounds){-1, -1};
        if (!high) continue;
        bounds[i].low = bound_of(low, &list->elems[i], i, &code);
        bounds[i].high = bound_of(high, &list->elems[i], i, &code);
    }
    if (low) rd_kafka_topic_partition_list_destroy(low);
    if (high) rd_kafka_topic_partition_list_destroy(high);
    return code;
}

void mr_kafka_bounds_ask(struct mr_source *source, const rd_kafka_topic_partition_list_t *list, int timeout_ms,
                         struct mr_kafka_bounds *bounds)
{
    list_ask(source, list, timeout_ms, bounds);
}

/* What passes when the client has asked for the topic again. */
static bool is_unknown(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
           code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION ||
           code == RD_KAFKA_RESP_ERR__BAD_MSG;
}

mr_status mr_kafka_bounds_need(struct mr_source *source, const rd_kafka_topic_partition_t *entry,
                               struct mr_kafka_bounds *bounds, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const int64_t deadline_us = mr_clock_us() + MR_KAFKA_ASK_TIMEOUT_MS * 1000LL;
    rd_kafka_topic_partition_list_t *list;
    mr_status status = MR_AGAIN;

    if (bounds->low >= 0 && bounds->high >= 0) return MR_OK;
    list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, entry->topic, entry->partition);
    while (status == MR_AGAIN) {
        const rd_kafka_resp_err_t code = list_ask(source, list, MR_KAFKA_ASK_TIMEOUT_MS, bounds);
        int32_t count;
        if (!code) {
            status = MR_OK;
        } else if ((!is_unknown(code) && !mr_kafka_is_passing(code)) || mr_clock_us() >= deadline_us) {
            source->was_unanswered = mr_kafka_is_passing(code);
            status = mr_fail(err, MR_EKAFKA, "kafka source: bounds of %s[%d]: %s", entry->topic, entry->partition,
                             rd_kafka_err2str(code));
        } else {
            /* A topic that is gone is told so; one that is new is known then. */
            status = mr_kafka_partition_count(source->client, source->servers, entry->topic, MR_KAFKA_ASK_TIMEOUT_MS,
                                              &count, err) == MR_EINPUT
                         ? MR_EINPUT
                         : MR_AGAIN;
            if (status == MR_AGAIN) nanosleep(&pause, NULL);
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}
