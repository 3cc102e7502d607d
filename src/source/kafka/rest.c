/*
 * What a bounded run does not read itself: partitions that belong to other members of its group. It is at its end when
 * they, too, are read to where they ended when it began: by those that have them, or by us once those are gone.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/timeouts.h"
#include "source/kafka/source.h"

#define LOOK_INTERVAL_US 500000
#define LOOK_TIMEOUT_MS  5000
#define END_TIMEOUT_MS   1000 /* the lane waits for it, at each look */
#define QUIET_US         3000000
#define MARGIN_MS        15000

static mr_end_state state_of(const struct mr_source *source, const rd_kafka_topic_partition_t *entry)
{
    return source->open.ends.state(source->open.ends.context, entry->topic, entry->partition);
}

/* Those of the run's partitions that nobody in it reads. */
static rd_kafka_topic_partition_list_t *elsewhere_list(const struct mr_source *source)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (int i = 0; i < source->rest->cnt; i++) {
        const rd_kafka_topic_partition_t *entry = &source->rest->elems[i];
        if (state_of(source, entry) == MR_END_ELSEWHERE)
            rd_kafka_topic_partition_list_add(list, entry->topic, entry->partition);
    }
    return list;
}

/* Where a partition was to be read to; -1: no broker has told yet. */
static int64_t end_of(const struct mr_source *source, const rd_kafka_topic_partition_t *entry)
{
    return source->open.ends.note(source->open.ends.context, entry->topic, entry->partition, -1);
}

/* Those of them whose end is not known. */
static rd_kafka_topic_partition_list_t *unknown_list(const struct mr_source *source,
                                                     const rd_kafka_topic_partition_list_t *elsewhere)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (int i = 0; i < elsewhere->cnt; i++) {
        const rd_kafka_topic_partition_t *entry = &elsewhere->elems[i];
        if (end_of(source, entry) < 0) rd_kafka_topic_partition_list_add(list, entry->topic, entry->partition);
    }
    return list;
}

/* Asks where the partitions of a list end. Without an answer it stays unknown. */
static mr_status list_note(struct mr_source *source, const rd_kafka_topic_partition_list_t *list, struct mr_err *err)
{
    const struct mr_source_ends *ends = &source->open.ends;
    struct mr_kafka_bounds *bounds = calloc((size_t)list->cnt + 1, sizeof *bounds);
    mr_status status = bounds ? MR_OK : mr_fail(err, MR_ENOMEM, "kafka source: out of memory");

    if (!status && list->cnt) mr_kafka_bounds_ask(source, list, END_TIMEOUT_MS, bounds);
    for (int i = 0; i < list->cnt && !status; i++) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        if (bounds[i].high < 0) continue;
        if (ends->note(ends->context, entry->topic, entry->partition, bounds[i].high) < 0)
            status = mr_fail(err, MR_ENOMEM, "kafka source: no memory for the ends of a bounded run");
        else if (bounds[i].low == bounds[i].high)
            ends->mark(ends->context, entry->topic, entry->partition, MR_END_READ);
    }
    free(bounds);
    return status;
}

/* Asks where partitions that are elsewhere end, those of which it is not known: of all at once, and where that tells
 * nothing, because one of them has no leader, of one of them at each look. */
static mr_status ends_note(struct mr_source *source, const rd_kafka_topic_partition_list_t *elsewhere,
                           struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *unknown = unknown_list(source, elsewhere);
    const int asked = unknown->cnt;
    mr_status status = list_note(source, unknown, err);
    rd_kafka_topic_partition_list_destroy(unknown);
    unknown = unknown_list(source, elsewhere);
    if (!status && asked > 1 && unknown->cnt == asked) {
        const rd_kafka_topic_partition_t *entry = &unknown->elems[source->rest_turn++ % (unsigned)asked];
        rd_kafka_topic_partition_list_t *one = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(one, entry->topic, entry->partition);
        status = list_note(source, one, err);
        rd_kafka_topic_partition_list_destroy(one);
    }
    rd_kafka_topic_partition_list_destroy(unknown);
    return status;
}

mr_status mr_kafka_rest_note(struct mr_source *source, struct mr_err *err)
{
    if (!source->open.is_bounded || source->open.lane || source->rest) return MR_OK;
    source->rest = rd_kafka_topic_partition_list_new(16);
    for (uint32_t i = 0; i < source->topic_count; i++) {
        for (int32_t number = 0; number < source->initial_count[i]; number++)
            rd_kafka_topic_partition_list_add(source->rest, source->topic[i], number);
    }
    rd_kafka_topic_partition_list_t *list = elsewhere_list(source);
    const mr_status status = ends_note(source, list, err);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* Takes from the list what others have committed to its end; returns the sum of what they have committed of the rest.
 */
static int64_t committed_trim(struct mr_source *source, rd_kafka_topic_partition_list_t *list)
{
    int64_t sum = 0;
    if (rd_kafka_committed(source->client, list, LOOK_TIMEOUT_MS)) return source->rest_sum;
    for (int i = list->cnt - 1; i >= 0; i--) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        if (entry->err || entry->offset < 0) continue;
        sum += entry->offset;
        const int64_t end = end_of(source, entry);
        if (end >= 0 && entry->offset >= end) rd_kafka_topic_partition_list_del_by_idx(list, i);
    }
    return sum;
}

/* A member that has ended is forgotten after its session, and its partitions come here: nothing moves for so long. */
static int64_t patience_ms(const struct mr_source *source)
{
    return mr_timeouts_session_ms(&source->opt->properties) + MARGIN_MS;
}

static int unknown_count(const struct mr_source *source, const rd_kafka_topic_partition_list_t *list)
{
    int count = 0;
    for (int i = 0; i < list->cnt; i++) count += end_of(source, &list->elems[i]) < 0;
    return count;
}

static mr_status others_wait(struct mr_source *source, const rd_kafka_topic_partition_list_t *list, int64_t sum,
                             struct mr_err *err)
{
    const int64_t now_us = mr_clock_us();
    if (!source->rest_since_us) source->rest_since_us = now_us;
    if (!source->rest_end_us || sum != source->rest_sum) source->rest_end_us = now_us + 1000 * patience_ms(source);
    source->rest_sum = sum;
    if (!source->has_told_rest && now_us - source->rest_since_us >= QUIET_US) {
        mr_log(MR_LOG_INFO, "kafka",
               "%d of %d partitions belong to other members of group \"%s\": not read here; waiting until those have "
               "read them to their end, or leave them",
               list->cnt, source->rest->cnt, source->group);
        source->has_told_rest = true;
    }
    if (now_us < source->rest_end_us) return MR_OK;
    const int unknown = unknown_count(source, list);
    if (unknown)
        return mr_fail(
            err, MR_ERETRY,
            "kafka source: no broker has told for %d s where %d of %d partitions end, which are not read here: "
            "have they a leader?",
            (int)(patience_ms(source) / 1000), unknown, source->rest->cnt);
    return mr_fail(err, MR_ERETRY,
                   "kafka source: %d of %d partitions (%s[%d] ...) belong to other members of group \"%s\", which have "
                   "committed nothing for %d s: they are not read to their end",
                   list->cnt, source->rest->cnt, list->elems[0].topic, list->elems[0].partition, source->group,
                   (int)(patience_ms(source) / 1000));
}

mr_status mr_kafka_rest_wait(struct mr_source *source, struct mr_err *err)
{
    mr_status status = MR_END;
    if (!source->rest) return MR_END;
    if (mr_clock_us() < source->rest_due_us) return MR_OK;
    rd_kafka_topic_partition_list_t *list = elsewhere_list(source);
    const mr_status noted = ends_note(source, list, err);
    if (noted) {
        status = noted;
    } else if (list->cnt) {
        const int64_t sum = committed_trim(source, list);
        if (list->cnt) status = others_wait(source, list, sum, err);
    }
    source->rest_due_us = status == MR_END ? 0 : mr_clock_us() + LOOK_INTERVAL_US;
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}
