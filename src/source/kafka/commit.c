/* Offsets to the group: what is acknowledged, what is on its way, what is stored; a commit that fails is sent again. */
#include <string.h>

#include "base/log.h"
#include "kafka/client.h"
#include "source/kafka/source.h"

#define COMMIT_WAIT_MS 3000

static struct partition *owned_find(struct mr_source *source, uint32_t topic, int32_t number)
{
    for (size_t i = 0; i < source->partition_count; i++) {
        if (source->partition[i].partition == number && source->partition[i].topic == topic)
            return &source->partition[i];
    }
    return NULL;
}

/* The group moves on without this member: its partitions are, or will be, others'. Trying on would only keep it from joining again. */
static bool is_out_of_group(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
}

/* After a fatal error of the client (another process took its place) there is no point in trying on. */
static mr_status commit_fail(struct mr_source *source, rd_kafka_resp_err_t code, struct mr_err *err)
{
    if (code == RD_KAFKA_RESP_ERR__FATAL || mr_kafka_status(code) == MR_EFENCED) {
        const mr_status status = mr_kafka_fatal(source->client, "source", err);
        if (status) return status;
    }
    if (mr_kafka_status(code) == MR_EFENCED)
        return mr_fail(err, MR_EFENCED, "kafka source: commit: %s: another process has this one's source.instance",
                       rd_kafka_err2str(code));
    return mr_fail(err, is_out_of_group(code) ? MR_ERETRY : MR_AGAIN, "kafka source: commit: %s",
                   rd_kafka_err2str(code));
}

/* Notes how the commit of each partition ended; returns the first error. */
static rd_kafka_resp_err_t outcome_note(struct mr_source *source, rd_kafka_resp_err_t code,
                                        const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        struct partition *part = owned_find(source, mr_kafka_topic_index(source, entry->topic), entry->partition);
        const rd_kafka_resp_err_t own = code ? code : entry->err;
        if (!code && entry->err) code = entry->err;
        if (!part) continue;
        if (!own)
            part->stored_offset = entry->offset;
        else if (part->sent_offset == entry->offset)
            part->sent_offset = -1;
    }
    return code;
}

void mr_kafka_committed(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                        void *opaque)
{
    struct mr_source *source = opaque;
    (void)client;
    if (code == RD_KAFKA_RESP_ERR__NO_OFFSET) return;
    code = outcome_note(source, code, list);
    if (!code) return;
    struct mr_err err = {0};
    const mr_status status = commit_fail(source, code, &err);
    if (status != MR_EFENCED && status != MR_EKAFKA) mr_log(MR_LOG_WARN, "kafka", "%s; the offsets are sent again", err.text);
    else if (!source->failure.status) source->failure = err;
}

/* What is acknowledged and not stored (or not even on its way); NULL: nothing. */
static rd_kafka_topic_partition_list_t *due_list(struct mr_source *source, bool wait)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < source->partition_count; i++) {
        struct partition *part = &source->partition[i];
        if (part->commit_offset < 0 || part->commit_offset == (wait ? part->stored_offset : part->sent_offset))
            continue;
        if (!list) list = rd_kafka_topic_partition_list_new((int)source->partition_count);
        rd_kafka_topic_partition_list_add(list, source->topic[part->topic], part->partition)->offset =
            part->commit_offset;
        part->sent_offset = part->commit_offset;
    }
    return list;
}

/* rd_kafka_commit would wait without end for a broker that is away. */
static rd_kafka_resp_err_t commit_wait(struct mr_source *source, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(source->client);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(source->client, list, queue, NULL, NULL);
    if (!code) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, COMMIT_WAIT_MS);
        code = event ? outcome_note(source, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event))
                     : outcome_note(source, RD_KAFKA_RESP_ERR__TIMED_OUT, list);
        if (event) rd_kafka_event_destroy(event);
    } else {
        outcome_note(source, code, list);
    }
    rd_kafka_queue_destroy(queue);
    return code;
}

mr_status mr_kafka_commit(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                          struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < count; i++) {
        struct partition *part = owned_find(source, positions[i].topic, positions[i].partition);
        if (part) part->commit_offset = positions[i].next_offset;
    }
    if (!(list = due_list(source, wait))) return MR_OK;
    if (wait) {
        code = commit_wait(source, list);
    } else {
        code = rd_kafka_commit(source->client, list, 1);
        if (code) outcome_note(source, code, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (!code) return MR_OK;
    return commit_fail(source, code, err);
}
