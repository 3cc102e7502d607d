/* Partitions come and go: where each starts, where a bounded run ends, and the hand-over when it leaves (bounds.c asks
 * for what the brokers hold). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define BROKER_TIMEOUT_MS  15000
#define COMMITTED_PAUSE_NS 50000000
#define GROWTH_INTERVAL_MS 30000
#define GROWTH_TIMEOUT_MS  1000

uint32_t mr_kafka_topic_index(struct mr_source *source, const char *name)
{
    for (uint32_t i = 0; i < source->topic_count; i++) {
        if (!strcmp(source->topic[i], name)) return i;
    }
    if (source->topic_count == MR_TOPIC_COUNT_MAX || !(source->topic[source->topic_count] = strdup(name)))
        return UINT32_MAX;
    return source->topic_count++;
}

struct partition *mr_kafka_owned(struct mr_source *source, uint32_t topic, int32_t partition)
{
    const uint32_t at = mr_part_get(&source->owned, topic, partition);
    return at == MR_PART_NONE ? NULL : &source->partition[at];
}

/* The topic of a handle: from the cell that is its own by its address, else by name. */
static uint32_t topic_of(struct mr_source *source, const rd_kafka_topic_t *handle)
{
    const size_t cell = ((uintptr_t)handle * 0x9e3779b97f4a7c15u >> 32) % MR_HANDLE_CAP;
    if (source->known[cell].handle != handle) {
        source->known[cell].topic = mr_kafka_topic_index(source, rd_kafka_topic_name(handle));
        source->known[cell].handle = handle;
    }
    return source->known[cell].topic;
}

struct partition *mr_kafka_partition_of(struct mr_source *source, const rd_kafka_message_t *message)
{
    struct partition *last = source->last;
    if (last && source->last_handle == message->rkt && last->partition == message->partition) return last;
    source->last = mr_kafka_owned(source, topic_of(source, message->rkt), message->partition);
    source->last_handle = message->rkt;
    return source->last;
}

/* Before partitions change: a handle that nothing holds any more may become that of another topic. */
static void handles_forget(struct mr_source *source)
{
    memset(source->known, 0, sizeof source->known);
    source->last = NULL;
}

/*
 * A partition leaves. That it is read to its end does not say that it is committed: who has it next may have to read
 * it again. So a bounded run is at its end when the group's offset is where this consumer's was; nobody has to commit
 * anything of one in which there was nothing to read.
 */
static void end_leave(struct mr_source *source, const struct partition *part)
{
    const struct mr_source_ends *const ends = &source->open.ends;
    const char *const topic = source->topic[part->topic];
    if (!source->open.is_bounded) return;
    if (part->is_done) ends->lower(ends->context, topic, part->partition, part->next_offset);
    ends->mark(ends->context, topic, part->partition,
               part->is_done && part->next_offset == part->first_offset ? MR_END_READ : MR_END_ELSEWHERE);
}

void mr_kafka_partitions_clear(struct mr_source *source)
{
    for (size_t i = 0; i < source->partition_count; i++) {
        const struct partition *part = &source->partition[i];
        end_leave(source, part);
        if (part->queue) rd_kafka_queue_destroy(part->queue);
        mr_part_set(&source->owned, part->topic, part->partition, MR_PART_NONE);
    }
    source->partition_count = 0;
    handles_forget(source);
}

static bool failed(struct mr_source *source, mr_status status)
{
    if (status && !source->failure.status) source->failure.status = status;
    return status != MR_OK;
}

/* Replaces the logical or absent offset of one entry by the one that the job's start policy gives. */
static mr_status start_resolve(struct mr_source *source, rd_kafka_topic_partition_t *entry, struct mr_err *err)
{
    const uint32_t topic = mr_kafka_topic_index(source, entry->topic);
    const int32_t initial = topic < MR_TOPIC_COUNT_MAX ? source->initial_count[topic] : 0;

    if ((initial || source->knows_topics) &&
        entry->partition >= initial) { /* added while running: nothing of it has been seen */
        entry->offset = RD_KAFKA_OFFSET_BEGINNING;
    } else if (source->start.kind == MR_START_EARLIEST) {
        entry->offset = RD_KAFKA_OFFSET_BEGINNING;
    } else if (source->start.kind == MR_START_LATEST) {
        entry->offset = RD_KAFKA_OFFSET_END;
    } else if (source->start.kind == MR_START_OFFSETS) {
        const int64_t offset = mr_kafka_start_offset(&source->start, entry->topic, entry->partition);
        entry->offset = offset < 0 ? RD_KAFKA_OFFSET_BEGINNING : offset;
    } else {
        rd_kafka_topic_partition_list_t *times = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(times, entry->topic, entry->partition)->offset = source->start.time_ms;
        const rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(source->client, times, BROKER_TIMEOUT_MS);
        entry->offset = times->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(times);
        if (code) {
            source->was_unanswered = mr_kafka_is_passing(code);
            return mr_fail(err, MR_EKAFKA, "kafka source: offset of %s[%d] at source.start: %s", entry->topic,
                           entry->partition, rd_kafka_err2str(code));
        }
        if (entry->offset < 0) entry->offset = RD_KAFKA_OFFSET_END; /* nothing that young is there yet */
    }
    return MR_OK;
}

bool mr_kafka_is_passing(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE || code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
           code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
           code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT ||
           code == RD_KAFKA_RESP_ERR__TIMED_OUT || code == RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE;
}

/* Reads the committed offsets into the list, trying again for a while. */
static mr_status committed_read(struct mr_source *source, rd_kafka_topic_partition_list_t *list, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = COMMITTED_PAUSE_NS};
    const int64_t deadline_us = mr_clock_us() + BROKER_TIMEOUT_MS * 1000LL;
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_committed(source->client, list, BROKER_TIMEOUT_MS);
        for (int i = 0; i < list->cnt && !code; i++) code = list->elems[i].err;
        if (!code) return MR_OK;
        source->was_unanswered = mr_kafka_is_passing(code);
        if (!source->was_unanswered || mr_clock_us() >= deadline_us)
            return mr_fail(err, MR_EKAFKA, "kafka source: committed offsets: %s", rd_kafka_err2str(code));
        nanosleep(&pause, NULL);
    }
}

/* A committed offset that the topic does not hold, before a bounded run takes it for its end. */
static mr_status lost_resolve(const struct mr_source *source, rd_kafka_topic_partition_t *entry, int64_t low,
                              int64_t high, struct mr_err *err)
{
    if (entry->offset >= low && entry->offset <= high) return MR_OK;
    if (source->opt->lost_offsets == MR_LOST_STOP)
        return mr_kafka_lost(entry->topic, entry->partition, entry->offset, &(struct mr_kafka_bounds){low, high}, err);
    entry->offset = source->opt->lost_offsets == MR_LOST_EARLIEST ? low : high;
    return MR_OK;
}

/* The concrete start (and, for a bounded run, the end) of one partition. */
static mr_status bounds_resolve(struct mr_source *source, rd_kafka_topic_partition_t *entry,
                                struct mr_kafka_bounds *bounds, int64_t *end_out, struct mr_err *err)
{
    *end_out = -1;
    if (entry->offset >= 0 && !source->open.is_bounded) return MR_OK;
    const mr_status status = mr_kafka_bounds_need(source, entry, bounds, err);
    if (status) return status;
    const int64_t low = bounds->low, high = bounds->high;
    if (entry->offset == RD_KAFKA_OFFSET_BEGINNING) entry->offset = low;
    if (entry->offset == RD_KAFKA_OFFSET_END) entry->offset = high;
    if (!source->open.is_bounded) return MR_OK;
    const int64_t first_end = source->open.ends.note(source->open.ends.context, entry->topic, entry->partition, high);
    if (first_end < 0) return mr_fail(err, MR_ENOMEM, "kafka source: no memory for the ends of a bounded run");
    *end_out = first_end < high ? first_end : high; /* a topic may have lost its tail, or been made anew */
    return lost_resolve(source, entry, low, high, err);
}

static mr_status partition_add(struct mr_source *source, const rd_kafka_topic_partition_t *entry, int64_t end_offset,
                               struct mr_err *err)
{
    if (source->partition_count == source->partition_cap) {
        const size_t cap = source->partition_cap ? source->partition_cap * 2 : 64;
        struct partition *grown = realloc(source->partition, cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "kafka source: no memory for %zu partitions", cap);
        source->partition = grown;
        source->partition_cap = cap;
    }
    const uint32_t topic = mr_kafka_topic_index(source, entry->topic);
    if (topic == UINT32_MAX) return mr_fail(err, MR_ECONFIG, "kafka source: more than %d topics", MR_TOPIC_COUNT_MAX);
    if (!mr_part_set(&source->owned, topic, entry->partition, (uint32_t)source->partition_count))
        return mr_fail(err, MR_ENOMEM, "kafka source: no memory for %s[%d]", entry->topic, entry->partition);
    struct partition *part = &source->partition[source->partition_count++];
    *part = (struct partition){.topic = topic,
                               .partition = entry->partition,
                               .next_offset = entry->offset,
                               .first_offset = entry->offset,
                               .end_offset = end_offset,
                               .commit_offset = -1,
                               .stored_offset = -1};
    part->is_done = end_offset >= 0 && entry->offset >= end_offset;
    if (source->open.is_bounded)
        source->open.ends.mark(source->open.ends.context, entry->topic, entry->partition, MR_END_OWNED);
    /* Before assign, so that no message ever takes the consumer's own queue. */
    part->queue = rd_kafka_queue_get_partition(source->client, entry->topic, entry->partition);
    if (!part->queue)
        return mr_fail(err, MR_EKAFKA, "kafka source: no queue for %s[%d]", entry->topic, entry->partition);
    rd_kafka_queue_forward(part->queue, source->queue);
    return MR_OK;
}

/* Whether the bounds of a partition of the list matter: where nothing is committed, and to end a bounded run. */
static bool needs_bounds(const struct mr_source *source, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        if (list->elems[i].offset < 0 || source->open.is_bounded) return true;
    }
    return false;
}

/* A start that the job names must be there: where it is not, the job is wrong, and nothing was lost. */
static mr_status explicit_check(struct mr_source *source, const rd_kafka_topic_partition_t *entry,
                                struct mr_kafka_bounds *bounds, struct mr_err *err)
{
    if (source->start.kind != MR_START_OFFSETS || entry->offset < 0 || source->opt->lost_offsets != MR_LOST_STOP)
        return MR_OK;
    const mr_status status = mr_kafka_bounds_need(source, entry, bounds, err);
    if (status || (entry->offset >= bounds->low && entry->offset <= bounds->high)) return status;
    return mr_fail(
        err, MR_EDATA,
        "source.start: %s/%d=%lld: the partition has no such offset: it holds %lld up to, not including, %lld: name "
        "one of these, or set source.lost_offsets to \"earliest\" or \"latest\" to start there",
        entry->topic, (int)entry->partition, (long long)entry->offset, (long long)bounds->low, (long long)bounds->high);
}

/* The lane may know better than the group where to read on. */
static mr_status start_ask(struct mr_source *source, rd_kafka_topic_partition_t *entry, struct mr_err *err)
{
    const struct mr_source_events *const events = &source->open.events;
    int64_t offset = -1;
    if (!events->start) return MR_OK;
    char note[MR_KAFKA_NOTE_BYTES] = "";
    if (entry->metadata && entry->metadata_size < sizeof note) memcpy(note, entry->metadata, entry->metadata_size);
    const mr_status status = events->start(events->context, entry->topic, entry->partition,
                                           entry->offset < 0 ? -1 : entry->offset, note, &offset, err);
    if (!status && offset >= 0) entry->offset = offset;
    return status;
}

/* Fills in the offsets of list, whose committed ones are read, and takes its partitions into the table. */
static mr_status entries_take(struct mr_source *source, rd_kafka_topic_partition_list_t *list,
                              struct mr_kafka_bounds *bounds, struct mr_err *err)
{
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *entry = &list->elems[i];
        int64_t end_offset;
        mr_status status = start_ask(source, entry, err);
        const bool is_told = entry->offset < 0 && source->open.events.began;
        if (!status && entry->offset < 0) {
            status = start_resolve(source, entry, err);
            if (!status) status = explicit_check(source, entry, &bounds[i], err);
        }
        const bool is_end = entry->offset == RD_KAFKA_OFFSET_END;
        if (!status) status = bounds_resolve(source, entry, &bounds[i], &end_offset, err);
        if (!status) status = partition_add(source, entry, end_offset, err);
        if (status) return status;
        /* The end is stored as if it had been reached: else the next rebalance would look for it again, and skip what
         * came meanwhile. */
        if (is_end || is_told) source->partition[source->partition_count - 1].commit_offset = entry->offset;
        if (is_told)
            status = source->open.events.began(source->open.events.context, entry->topic, entry->partition,
                                               entry->offset, err);
        if (status) return status;
    }
    return MR_OK;
}

static mr_status partitions_take(struct mr_source *source, rd_kafka_topic_partition_list_t *list, struct mr_err *err)
{
    struct mr_kafka_bounds *bounds = malloc(((size_t)list->cnt + 1) * sizeof *bounds);
    mr_status status = bounds ? MR_OK : mr_fail(err, MR_ENOMEM, "kafka source: out of memory");

    handles_forget(source);
    source->was_unanswered = false;
    if (!status && list->cnt) status = committed_read(source, list, err);
    for (int i = 0; i < list->cnt && !status; i++) bounds[i] = (struct mr_kafka_bounds){-1, -1};
    if (!status && needs_bounds(source, list)) mr_kafka_bounds_ask(source, list, MR_KAFKA_ASK_TIMEOUT_MS, bounds);
    if (!status) status = entries_take(source, list, bounds, err);
    free(bounds);
    if (!status) source->has_assignment = true;
    source->rest_end_us = 0; /* something has moved */
    return status;
}

/* Tells the lane which partitions leave, then forgets them. */
static void partitions_drop(struct mr_source *source, const rd_kafka_topic_partition_list_t *list, bool is_lost)
{
    struct mr_position *positions = calloc((size_t)list->cnt + 1, sizeof *positions);
    size_t count = 0, kept = 0;

    for (int i = 0; i < list->cnt; i++) {
        struct partition *part =
            mr_kafka_owned(source, mr_kafka_topic_index(source, list->elems[i].topic), list->elems[i].partition);
        if (!part) continue;
        part->is_revoked = true;
        end_leave(source, part);
        if (positions) positions[count++] = (struct mr_position){part->topic, part->partition, part->next_offset};
    }
    source->unassigned_us = mr_clock_us();
    if (!source->gone_due_us) source->gone_due_us = source->unassigned_us; /* a topic that is gone leaves so, too */
    source->has_assignment = false; /* until the next one comes, having no partitions does not mean that all are read */
    if (count && source->open.events.revoke)
        source->open.events.revoke(source->open.events.context, positions, count, is_lost);
    for (size_t i = 0; i < source->partition_count; i++) {
        struct partition *part = &source->partition[i];
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): with a count there is an array */
        mr_part_set(&source->owned, part->topic, part->partition, part->is_revoked ? MR_PART_NONE : (uint32_t)kept);
        if (!part->is_revoked)
            source->partition[kept++] = *part;
        else if (part->queue)
            rd_kafka_queue_destroy(part->queue);
    }
    source->partition_count = kept;
    handles_forget(source);
    free(positions);
}

static void check_rebalance(struct mr_source *source, rd_kafka_error_t *error, const char *what)
{
    if (!error) return;
    mr_log(MR_LOG_WARN, "kafka", "%s: %s", what, rd_kafka_error_string(error));
    if (rd_kafka_error_is_fatal(error)) {
        failed(source, mr_fail(&source->failure, mr_kafka_status(rd_kafka_error_code(error)), "kafka source: %s: %s",
                               what, rd_kafka_error_string(error)));
    }
    rd_kafka_error_destroy(error);
}

void mr_kafka_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                        void *opaque)
{
    struct mr_source *source = opaque;
    const char *protocol = rd_kafka_rebalance_protocol(client); /* NULL: an assignment that comes while we close */
    const bool is_cooperative = protocol && !strcmp(protocol, "COOPERATIVE");

    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !source->is_closing) {
        struct mr_err err;
        mr_status status = partitions_take(source, list, &err);
        if (!status) status = mr_kafka_rest_note(source, &err);
        if (status) {
            if (status == MR_EKAFKA && source->was_unanswered) err.status = MR_AGAIN;
            if (!source->failure.status) source->failure = err;
            return;
        }
        mr_log(MR_LOG_INFO, "kafka", "lane %u reads %zu partition%s as group \"%s\"", source->open.lane,
               source->partition_count, source->partition_count == 1 ? "" : "s", source->group);
        mr_kafka_unread_start(source, mr_clock_us());
        if (is_cooperative)
            check_rebalance(source, rd_kafka_incremental_assign(client, list), "incremental assign");
        else
            failed(source, mr_kafka_status(rd_kafka_assign(client, list)));
    } else {
        const bool is_lost = rd_kafka_assignment_lost(client) != 0;
        if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) partitions_drop(source, list, is_lost);
        if (is_cooperative && code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
            check_rebalance(source, rd_kafka_incremental_unassign(client, list), "incremental unassign");
        else
            rd_kafka_assign(client, NULL);
    }
}

static int64_t growth_interval_us(const struct mr_source *source)
{
    const int64_t ms = mr_kafka_property_whole(&source->opt->properties, "topic.metadata.refresh.interval.ms", 0);
    return 1000 * (ms > 0 ? ms : GROWTH_INTERVAL_MS);
}

void mr_kafka_growth_check(struct mr_source *source, int64_t now_us)
{
    if (!source->growth_due_us || now_us < source->growth_due_us) return;
    source->growth_due_us = now_us + growth_interval_us(source);
    for (uint32_t i = 0; i < source->topic_count; i++) {
        int32_t count;
        if (mr_kafka_partition_count(source->client, source->servers, source->topic[i], GROWTH_TIMEOUT_MS, &count,
                                     NULL) ||
            count <= source->initial_count[i])
            continue;
        mr_log(
            MR_LOG_WARN, "kafka",
            "partition count of topic \"%s\" changed from %d to %d: without a group the new ones are not read: start "
            "again to read them",
            source->topic[i], (int)source->initial_count[i], (int)count);
        source->initial_count[i] = count;
    }
}

mr_status mr_kafka_assign_share(struct mr_source *source, struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    unsigned turn = 0;
    mr_status status = MR_OK;

    for (size_t i = 0; i < source->opt->topics.count && !status; i++) {
        int32_t count;
        status = mr_kafka_partition_count(source->client, source->servers, source->opt->topics.item[i],
                                          (int)(source->opt->connect_timeout / 1000), &count, err);
        for (int32_t number = 0; !status && number < count; number++) {
            if (turn++ % source->open.lane_count == source->open.lane)
                rd_kafka_topic_partition_list_add(list, source->opt->topics.item[i], number);
        }
    }
    if (!status) status = partitions_take(source, list, err);
    if (!status) {
        const rd_kafka_resp_err_t code = rd_kafka_assign(source->client, list);
        if (code) status = mr_fail(err, MR_EKAFKA, "kafka source: assign: %s", rd_kafka_err2str(code));
    }
    if (!source->open.lane && !source->open.is_bounded)
        source->growth_due_us = mr_clock_us() + growth_interval_us(source);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}
