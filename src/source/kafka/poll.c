/* Messages from the client into the lane's batch, with the errors and ends that come between them. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/fetch_wake.h"
#include "source/kafka/source.h"

#define EVENTS_INTERVAL_US 20000
#define STARVED_WAIT_US    3000
#define SILENCE_US         2000000
#define LONG_SILENCE_US    5000000 /* of a run without an end: it asks so often while nothing comes */
#define WAKE_INTERVAL_US   20000
#define ASSIGN_QUIET_US    3000000
#define FULL_SHARE         0.9 /* of the queue's limits: then the fetcher has stopped, or is about to */
#define WAKE_SHARE         0.7

#define LOST_REMEDY                                                                                                    \
    "set source.lost_offsets to \"earliest\" or \"latest\" to go on without the lost ones; nothing was committed "     \
    "past them"

mr_status mr_kafka_lost(const char *topic, int32_t partition, int64_t offset, const struct mr_kafka_bounds *bounds,
                        struct mr_err *err)
{
    if (offset >= 0 && offset < bounds->low)
        return mr_fail(err, MR_EDATA,
                       "kafka source: offsets %lld to %lld of %s[%d], %lld of them, were deleted before they were read "
                       "(retention was shorter than the pause, or somebody deleted them): " LOST_REMEDY,
                       (long long)offset, (long long)bounds->low - 1, topic, (int)partition,
                       (long long)(bounds->low - offset));
    if (bounds->high >= 0 && offset > bounds->high)
        return mr_fail(err, MR_EDATA,
                       "kafka source: offset %lld of %s[%d] is to be read next, but the partition ends at %lld (the "
                       "topic was made anew, or has lost its end): " LOST_REMEDY,
                       (long long)offset, topic, (int)partition, (long long)bounds->high);
    return mr_fail(err, MR_EDATA,
                   "kafka source: the next record of %s[%d] is not in the topic (retention was shorter than the pause, "
                   "or the topic was made anew): " LOST_REMEDY,
                   topic, (int)partition);
}

/* The client wanted an offset that the brokers do not have. */
static void lost_take(struct mr_source *source, const rd_kafka_message_t *message, const char *topic)
{
    const struct partition *const part = message->rkt ? mr_kafka_partition_of(source, message) : NULL;
    const int64_t wanted = part ? part->next_offset : -1; /* markers may lie between it and what the client asked for */
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new(1);
    struct mr_kafka_bounds bounds;
    rd_kafka_topic_partition_list_add(list, topic, message->partition);
    mr_kafka_bounds_ask(source, list, MR_KAFKA_ASK_TIMEOUT_MS, &bounds);
    rd_kafka_topic_partition_list_destroy(list);
    mr_kafka_lost(topic, message->partition, message->offset > wanted ? message->offset : wanted, &bounds,
                  &source->failure);
}

/* An error that travels in the place of a message. */
static void error_take(struct mr_source *source, const rd_kafka_message_t *message)
{
    struct partition *part;
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "?";

    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        part = mr_kafka_partition_of(source, message);
        /* The end may lie behind markers that are never handed over: reaching it counts, whatever came last. */
        if (part && part->end_offset >= 0 && message->offset >= part->end_offset) part->is_done = true;
        if (part && source->open.events.reached && message->offset >= part->next_offset)
            source->open.events.reached(source->open.events.context,
                                        &(struct mr_position){part->topic, part->partition, message->offset});
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        lost_take(source, message, topic);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        mr_log(MR_LOG_WARN, "kafka", "topic %s: %s", topic, rd_kafka_err2str(message->err));
        if (!source->gone_due_us) source->gone_due_us = mr_clock_us();
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        mr_fail(&source->failure, MR_EKAFKA, "kafka source: %s: %s: grant this user read rights", topic,
                rd_kafka_err2str(message->err));
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
        mr_kafka_fatal(source->client, "source", &source->failure);
        break;
    default:
        mr_log(MR_LOG_WARN, "kafka", "%s: %s", topic, rd_kafka_message_errstr(message));
    }
}

/* Serves group events (rebalances run inside) and keeps the member alive, whether or not messages are wanted. */
static void events_serve(struct mr_source *source, int64_t now_us, int timeout_ms)
{
    rd_kafka_message_t *message;
    source->events_due_us = now_us + EVENTS_INTERVAL_US;
    while ((message = rd_kafka_consumer_poll(source->client, timeout_ms))) {
        timeout_ms = 0;
        if (message->err) error_take(source, message);
        rd_kafka_message_destroy(message);
    }
    if (!source->failure.status) mr_kafka_fatal(source->client, "source", &source->failure);
}

/* Measured: without it the rate falls to what the queue holds a second. */
static void fetcher_wake(struct mr_source *source, int64_t now_us)
{
    const struct partition *part = source->last ? source->last : source->partition_count ? &source->partition[0] : NULL;
    source->was_full = false;
    if (!part || now_us < source->wake_due_us) return;
    source->wake_due_us = now_us + WAKE_INTERVAL_US;
    mr_kafka_fetch_wake(source->client, source->topic[part->topic], part->partition);
}

static bool is_behind(const struct mr_source *source)
{
    for (size_t i = 0; i < source->partition_count; i++) {
        const struct partition *part = &source->partition[i];
        int64_t low, high;
        if (part->is_done) continue;
        if (!rd_kafka_get_watermark_offsets(source->client, source->topic[part->topic], part->partition, &low, &high) &&
            high > part->next_offset && part->next_offset >= 0)
            return true;
    }
    return false;
}

int64_t mr_kafka_lag(struct mr_source *source, struct mr_lag *part, size_t cap, size_t *count_out)
{
    int64_t sum = 0;
    bool is_known = source->has_assignment;
    *count_out = source->partition_count;
    for (size_t i = 0; i < source->partition_count; i++) {
        const struct partition *from = &source->partition[i];
        int64_t low, high;
        if (rd_kafka_get_watermark_offsets(source->client, source->topic[from->topic], from->partition, &low, &high))
            high = -1;
        if (i < cap)
            part[i] = (struct mr_lag){
                .topic = from->topic, .partition = from->partition, .next = from->next_offset, .end = high};
        is_known &= from->next_offset >= 0 && high >= 0;
        if (high > from->next_offset) sum += high - from->next_offset;
    }
    return is_known ? sum : -1;
}

static size_t consume(struct mr_source *source, size_t first, size_t cap, int64_t wait_us)
{
    const int timeout_ms = (int)((wait_us + 999) / 1000);
    const ssize_t count = rd_kafka_consume_batch_queue(source->queue, timeout_ms, source->raw + first, cap - first);
    return count < 0 ? 0 : (size_t)count;
}

/* What is there at once; else waits for the first message and takes what came with it. */
static size_t consume_some(struct mr_source *source, size_t cap, int64_t wait_us)
{
    const double queued = (double)rd_kafka_queue_length(source->queue);
    const double share_count = queued / (double)source->queued_messages_max;
    const double share_bytes = queued * source->message_bytes / (double)source->queued_bytes_max;
    const double share = share_count > share_bytes ? share_count : share_bytes;
    if (share >= FULL_SHARE)
        source->was_full = true;
    else if (source->was_full && share < WAKE_SHARE)
        fetcher_wake(source, mr_clock_us());
    size_t count = consume(source, 0, cap, 0);
    if (count || wait_us <= 0) return count;

    const int64_t first_wait_us = wait_us < STARVED_WAIT_US ? wait_us : STARVED_WAIT_US;
    count = consume(source, 0, 1, first_wait_us);
    if (!count && wait_us > first_wait_us) {
        if (is_behind(source)) fetcher_wake(source, mr_clock_us());
        count = consume(source, 0, 1, wait_us - first_wait_us);
    }
    return count ? count + consume(source, count, cap, 0) : 0;
}

/* One client message into the batch; false when it is a repeat, past the end, or of a partition that left. */
static bool message_take(struct mr_source *source, rd_kafka_message_t *raw, struct mr_message *out)
{
    struct partition *part = mr_kafka_partition_of(source, raw);
    /* The client went back: only where the job lets it start anew at the earliest record. */
    if (!part || (raw->offset < part->next_offset && source->opt->lost_offsets == MR_LOST_STOP)) return false;
    if (part->end_offset >= 0) {
        if (raw->offset + 1 >= part->end_offset) part->is_done = true;
        if (raw->offset >= part->end_offset) return false;
    }
    part->next_offset = raw->offset + 1;
    out->value = raw->payload;
    out->value_bytes = raw->len;
    out->key = raw->key;
    out->key_bytes = raw->key_len;
    out->offset = raw->offset;
    out->partition = raw->partition;
    out->topic = part->topic;
    out->handle = raw;
    return true;
}

static bool is_at_end(const struct mr_source *source)
{
    if (!source->open.is_bounded || !source->has_assignment) return false;
    for (size_t i = 0; i < source->partition_count; i++) {
        if (!source->partition[i].is_done) return false;
    }
    return true;
}

/* A group that hands out nothing looks like a topic that has nothing. */
static void assignment_miss(struct mr_source *source, int64_t now_us)
{
    if (source->has_assignment || !source->unassigned_us || now_us - source->unassigned_us < ASSIGN_QUIET_US) return;
    mr_log(MR_LOG_INFO, "kafka", "lane %u: waiting for group \"%s\" to assign partitions", source->open.lane,
           source->group);
    source->unassigned_us = 0;
}

static void gone_hint(struct mr_source *source, int64_t now_us)
{
    if (!source->gone_due_us) source->gone_due_us = now_us + (source->open.is_bounded ? SILENCE_US : LONG_SILENCE_US);
}

mr_status mr_kafka_poll(struct mr_source *source, struct mr_message *messages, size_t cap, int64_t wait_us,
                        int64_t fill_us, size_t *count_out, struct mr_err *err)
{
    const int64_t now_us = mr_clock_us();
    size_t taken = 0;
    double bytes = 0;

    *count_out = 0;
    /* Without messages to wait for, the next thing to happen is an event. */
    if (!source->partition_count || is_at_end(source))
        events_serve(source, now_us, (int)((wait_us + 999) / 1000));
    else if (now_us >= source->events_due_us)
        events_serve(source, now_us, 0);
    assignment_miss(source, now_us);
    if (cap) mr_kafka_gone_check(source, now_us); /* else offsets may be on their way */
    mr_kafka_growth_check(source, now_us);
    mr_kafka_unread_check(source, now_us);
    if (source->failure.status) {
        if (err) *err = source->failure;
        return source->failure.status;
    }
    if (!cap) return MR_OK;
    if (is_at_end(source)) return mr_kafka_rest_wait(source, err);
    const bool is_watched = source->open.is_bounded || source->open.must_exist;
    if (!source->partition_count && source->open.must_exist) gone_hint(source, now_us);
    if (!source->partition_count) return MR_OK;
    if (cap > source->raw_cap) cap = source->raw_cap;
    size_t count = consume_some(source, cap, wait_us);
    if (count && count < cap && fill_us >= 1000) count += consume(source, count, cap, fill_us);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_t *raw = source->raw[i];
        if (raw->err)
            error_take(source, raw);
        else if (message_take(source, raw, &messages[taken])) {
            bytes += (double)(raw->len + raw->key_len);
            taken++;
            continue;
        }
        rd_kafka_message_destroy(raw);
    }
    /* Without a group the client does not hand over the error of a topic that was deleted: silence is the hint. */
    if (!count && is_watched) gone_hint(source, now_us);
    if (taken) source->message_bytes = bytes / (double)taken;
    *count_out = taken;
    return MR_OK;
}
