/*
 * Offsets to the group: what is acknowledged, and what is stored; a commit that fails is sent again. One at a time is
 * on its way: the client tries a commit again by itself, and an older one that arrives late would set the group back.
 */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "kafka/client.h"
#include "kafka/transaction.h"
#include "source/kafka/source.h"

#define COMMIT_WAIT_MS   3000
#define METADATA_WAIT_MS 2000
#define PAUSE_US         400000 /* less than fetch.error.backoff.ms */

/* The group moves on without this member: its partitions are, or will be, others'. Trying on would only keep it from
 * joining again. */
static bool is_out_of_group(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
}

/* Whether the group goes on without this member, because its thread was away for too long: it has no member id until it
 * joins again. A static member without one looks to brokers as its own twin would. */
static bool is_away(const struct mr_source *source)
{
    if (!source->is_member) return false;
    char *const id = rd_kafka_memberid(source->client);
    const bool is_it = !id || !*id;
    rd_kafka_mem_free(source->client, id);
    return is_it;
}

/* After a fatal error of the client (another process took its place) there is no point in trying on. */
static mr_status commit_fail(struct mr_source *source, rd_kafka_resp_err_t code, struct mr_err *err)
{
    if (code == RD_KAFKA_RESP_ERR__FATAL || mr_kafka_status(code) == MR_EFENCED) {
        const mr_status status = mr_kafka_fatal(source->client, "source", err);
        if (status) return status;
    }
    if (mr_kafka_status(code) == MR_EFENCED && is_away(source))
        return mr_fail(err, MR_ERETRY, "kafka source: commit: the group has gone on without this member");
    if (mr_kafka_status(code) == MR_EFENCED)
        return mr_fail(err, MR_EFENCED, "kafka source: commit: %s: another process has this one's source.instance",
                       rd_kafka_err2str(code));
    return mr_fail(err, is_out_of_group(code) ? MR_ERETRY : MR_AGAIN, "kafka source: commit: %s",
                   rd_kafka_err2str(code));
}

/* Whether an offset has no place any more: it would be sent again for ever. */
static bool is_deleted(struct mr_source *source, const rd_kafka_topic_partition_t *entry)
{
    int32_t count;
    if (entry->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
        mr_kafka_partition_count(source->client, source->servers, entry->topic, METADATA_WAIT_MS, &count, NULL) !=
            MR_EINPUT)
        return false;
    mr_log(MR_LOG_WARN, "kafka", "topic %s was deleted: offset %lld of its partition %d cannot be stored", entry->topic,
           (long long)entry->offset, (int)entry->partition);
    return true;
}

/* Notes how the commit of each partition ended; returns the first error. */
static rd_kafka_resp_err_t outcome_note(struct mr_source *source, rd_kafka_resp_err_t code,
                                        const rd_kafka_topic_partition_list_t *list)
{
    /* An error of the whole is that of its partitions, where these have one. */
    for (int i = 0; list && i < list->cnt && code; i++) {
        if (list->elems[i].err) code = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    for (int i = 0; list && i < list->cnt && !code; i++) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        struct partition *part = mr_kafka_owned(source, mr_kafka_topic_index(source, entry->topic), entry->partition);
        if (entry->err && part && is_deleted(source, entry))
            part->stored_offset = part->commit_offset;
        else if (entry->err)
            code = entry->err;
        else if (part)
            part->stored_offset = entry->offset;
    }
    return code == RD_KAFKA_RESP_ERR__NO_OFFSET ? RD_KAFKA_RESP_ERR_NO_ERROR : code;
}

/* Takes the report on the commit that is on its way, waiting for it; false when none came in time. */
static bool report_take(struct mr_source *source, int64_t wait_us, rd_kafka_resp_err_t *code_out)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(source->reports, wait_us > 0 ? (int)(wait_us / 1000) : 0);
    if (!event) return false;
    source->is_committing = false;
    *code_out = outcome_note(source, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event));
    rd_kafka_event_destroy(event);
    return true;
}

/* What the lane wants to be kept with the offset; without memory for it, nothing. */
static void note_add(const struct mr_source *source, rd_kafka_topic_partition_t *entry)
{
    const struct mr_source_events *const events = &source->open.events;
    const char *const note = events->note ? events->note(events->context, entry->topic, entry->partition) : NULL;
    entry->metadata = note ? strdup(note) : NULL; /* the list frees it */
    entry->metadata_size = entry->metadata ? strlen(note) : 0;
}

/* What is acknowledged and not stored; NULL: nothing. */
static rd_kafka_topic_partition_list_t *due_list(struct mr_source *source)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    for (size_t i = 0; i < source->partition_count; i++) {
        const struct partition *part = &source->partition[i];
        if (part->commit_offset < 0 || part->commit_offset == part->stored_offset) continue;
        if (!list) list = rd_kafka_topic_partition_list_new((int)source->partition_count);
        rd_kafka_topic_partition_t *const entry =
            rd_kafka_topic_partition_list_add(list, source->topic[part->topic], part->partition);
        entry->offset = part->commit_offset;
        note_add(source, entry);
    }
    return list;
}

/* Sends what is due; nothing may be on its way. */
static rd_kafka_resp_err_t due_send(struct mr_source *source)
{
    rd_kafka_topic_partition_list_t *list = due_list(source);
    rd_kafka_resp_err_t code;
    if (!list) return RD_KAFKA_RESP_ERR_NO_ERROR;
    code = rd_kafka_commit_queue(source->client, list, source->reports, NULL, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    source->is_committing = !code;
    return code;
}

static void positions_note(struct mr_source *source, const struct mr_position *positions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct partition *part = mr_kafka_owned(source, positions[i].topic, positions[i].partition);
        if (part) part->commit_offset = positions[i].next_offset;
    }
}

/* Asked when the group's metadata were taken, which are of no use when they are of a member that is away. */
static mr_txn_outcome member_check(struct mr_source *source, struct mr_err *err)
{
    if (mr_kafka_fatal(source->client, "source", err)) return err->status == MR_EFENCED ? MR_TXN_FENCED : MR_TXN_FATAL;
    if (!is_away(source)) return MR_TXN_OK;
    mr_fail(err, MR_ERESTART, "the group has gone on without this member");
    return MR_TXN_ABORT;
}

/* A topic that was deleted and made anew is silent for the half second in which the client leaves it alone after the
 * error. So where a partition had no records for nearly that long, the offset that was committed last must still be
 * there: the new topic would be read on from where the old one was. */
static mr_txn_outcome pause_check(struct mr_source *source, int64_t now_us, struct mr_err *err)
{
    bool has_paused = false;
    for (size_t i = 0; i < source->partition_count && !has_paused; i++) {
        const struct partition *const part = &source->partition[i];
        has_paused = part->stored_offset >= 0 && part->commit_offset != part->stored_offset &&
                     now_us - part->stored_us > PAUSE_US;
    }
    return has_paused && mr_kafka_offsets_check(source, err) ? MR_TXN_REFUSED : MR_TXN_OK;
}

const rd_kafka_topic_partition_list_t *mr_kafka_offer(struct mr_source *source, const struct mr_position *positions,
                                                      size_t count)
{
    positions_note(source, positions, count);
    if (!source->offer) source->offer = due_list(source);
    return source->offer;
}

void mr_kafka_offer_stored(struct mr_source *source, int64_t now_us)
{
    for (int i = 0; i < source->offer->cnt; i++) {
        const rd_kafka_topic_partition_t *const entry = &source->offer->elems[i];
        struct partition *const part =
            mr_kafka_owned(source, mr_kafka_topic_index(source, entry->topic), entry->partition);
        if (!part) continue;
        part->stored_us = now_us;
        part->stored_offset = entry->offset;
    }
    rd_kafka_topic_partition_list_destroy(source->offer);
    source->offer = NULL;
}

mr_txn_outcome mr_kafka_offsets_send(struct mr_source *source, struct mr_transaction *transaction,
                                     const struct mr_position *positions, size_t count, struct mr_err *err)
{
    for (size_t i = 0; i < count; i++) { /* the revocation was told: what it could not finish must not be committed */
        if (mr_kafka_owned(source, positions[i].topic, positions[i].partition)) continue;
        mr_fail(err, MR_ERESTART, "%s[%d] has gone to another member", source->topic[positions[i].topic],
                (int)positions[i].partition);
        return MR_TXN_ABORT;
    }
    const rd_kafka_topic_partition_list_t *const list = mr_kafka_offer(source, positions, count);
    if (!list) {
        mr_fail(err, MR_EINVARIANT, "kafka source: no offset to commit");
        return MR_TXN_FATAL;
    }
    rd_kafka_consumer_group_metadata_t *const group = rd_kafka_consumer_group_metadata(source->client);
    const int64_t now_us = mr_clock_us();
    mr_txn_outcome outcome = member_check(source, err);
    if (!outcome) outcome = pause_check(source, now_us, err);
    if (!outcome) outcome = mr_transaction_offsets(transaction, list, group, err);
    if (!outcome) mr_kafka_offer_stored(source, now_us);
    if (group) rd_kafka_consumer_group_metadata_destroy(group);
    return outcome;
}

mr_status mr_kafka_commit(struct mr_source *source, const struct mr_position *positions, size_t count, bool wait,
                          struct mr_err *err)
{
    const int64_t deadline_us = mr_clock_us() + (wait ? COMMIT_WAIT_MS * 1000LL : 0);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;

    positions_note(source, positions, count);
    do {
        if (source->is_committing && !report_take(source, deadline_us - mr_clock_us(), &code)) {
            return wait ? mr_fail(err, MR_AGAIN, "kafka source: commit: no answer within %d s", COMMIT_WAIT_MS / 1000)
                        : MR_OK;
        }
        if (!code) code = due_send(source);
    } while (wait && !code && source->is_committing);
    if (!code) return MR_OK;
    const mr_status status = commit_fail(source, code, err);
    return status == MR_ERETRY && !wait ? MR_AGAIN : status; /* before its partitions leave, a member just goes on */
}
