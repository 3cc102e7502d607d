/* The sender's batch: records become the body of a request; what a server refuses is halved until it is known which. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sink/remote/inside.h"

/* ---- one item ---- */

static void entry_refuse(struct mr_remote *remote, struct mr_remote_entry *entry, const char *topic, mr_reason reason,
                         const char *text)
{
    entry->reason = reason;
    atomic_fetch_add(&remote->stats->refused, 1);
    if (entry->box) {
        entry->why = strdup(text);
        return; /* the pipeline tells of it */
    }
    mr_log(MR_LOG_WARN, "sink", "%s: the record of %s[%d] offset %lld is left out: %s", remote->protocol->what, topic,
           (int)entry->partition, (long long)entry->offset, text);
}

/* The name of an entry's topic, copied: the lane may add others meanwhile. */
const char *mr_remote_topic(struct mr_remote *remote, uint32_t number)
{
    pthread_mutex_lock(&remote->lock);
    const size_t first = remote->topics.first[number], end = remote->topics.first[number + 1];
    const size_t bytes = end - first < MR_REMOTE_TOPIC_BYTES ? end - first : MR_REMOTE_TOPIC_BYTES - 1;
    memcpy(remote->topic_text, remote->topics.text + first, bytes);
    pthread_mutex_unlock(&remote->lock);
    remote->topic_text[bytes] = 0;
    return remote->topic_text;
}

void mr_remote_refuse(struct mr_remote *remote, struct mr_remote_item *item, mr_reason reason, const char *text)
{
    const struct mr_remote_entry *const entry = item->entry;
    const char *const topic = entry->topic_name ? entry->topic_name : mr_remote_topic(remote, entry->topic);
    item->state = MR_ITEM_REFUSED;
    entry_refuse(remote, item->entry, topic, reason, text);
}

/* ---- filling ---- */

/* Adds an entry to the batch. False: it has no room for it. */
static bool entry_add(struct mr_remote *remote, struct mr_remote_entry *entry, const char *topic)
{
    const struct mr_remote_record record = {.value = entry->is_null ? NULL : entry->value,
                                            .value_bytes = entry->value_bytes,
                                            .topic = topic,
                                            .offset = entry->offset,
                                            .event_ms = entry->event_ms,
                                            .partition = entry->partition,
                                            .row = entry->row};
    const size_t first = remote->body.used;
    char why[128] = "";
    uint32_t units = 0;
    mr_reason reason = MR_REASON_NONE;
    mr_status status = remote->protocol->add(remote->context, &record, &remote->body, &units, &reason, why);
    if (status == MR_AGAIN && first) return false;
    if (status == MR_AGAIN) {
        reason = MR_REASON_OUTPUT_SIZE;
        strcpy(why, "larger than batch_bytes");
    }
    if (status) {
        remote->body.used = first;
        entry_refuse(remote, entry, topic, reason, why);
        return true;
    }
    remote->item[remote->item_count++] = (struct mr_remote_item){
        .first = first, .bytes = remote->body.used - first, .units = units, .state = MR_ITEM_WAITS, .entry = entry};
    return true;
}

static void spill_take(struct mr_remote *remote)
{
    struct mr_remote_entry *entry;
    pthread_mutex_lock(&remote->spill_lock);
    while (remote->item_count < remote->item_cap && (entry = mr_spill_next(remote->spill))) {
        if (entry_add(remote, entry, entry->topic_name)) continue;
        mr_spill_unread(remote->spill); /* it comes with the next batch */
        break;
    }
    pthread_mutex_unlock(&remote->spill_lock);
}

void mr_remote_batch_fill(struct mr_remote *remote, uint64_t tail)
{
    uint32_t topic_last = MR_INTERN_NONE;
    const char *topic = "";
    remote->item_count = remote->body.used = 0;
    /* What is in the queue came before what is spilled: as long as anything is, nothing new is queued. */
    remote->is_from_spill = remote->head == tail && remote->spill;
    if (remote->is_from_spill) spill_take(remote);
    while (remote->head < tail && remote->item_count < remote->item_cap) {
        const uint64_t position = mr_remote_position(remote, remote->head);
        struct mr_remote_entry *const entry = mr_remote_entry_at(remote, position);
        if (entry->topic != topic_last) topic = mr_remote_topic(remote, entry->topic);
        topic_last = entry->topic;
        if (!entry_add(remote, entry, topic)) break;
        remote->head = position + entry->bytes;
        remote->head_records++;
    }
}

/* ---- sending ---- */

static void delivered(struct mr_remote_item *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (items[i].state == MR_ITEM_WAITS) items[i].state = MR_ITEM_DELIVERED;
}

static void all_refused(struct mr_remote *remote, struct mr_remote_item *items, size_t count,
                        const struct mr_remote_outcome *outcome)
{
    for (size_t i = 0; i < count; i++) mr_remote_refuse(remote, &items[i], MR_REASON_REFUSED, outcome->text);
}

/* Sends items [from .. end), and parts of them as long as the server says that something in them is bad: a part without
 * bad ones is delivered, so the good ones of a batch arrive, whatever stands beside them. Sent twice they are repeats
 * that the server knows. False: it takes nothing now. */
static bool range_send(struct mr_remote *remote, size_t from, size_t end, struct mr_remote_outcome *outcome)
{
    struct mr_remote_item *const items = remote->item + from;
    const size_t count = end - from, last = end - 1;
    const char *const body = remote->body.data + items->first;
    const size_t bytes = remote->item[last].first + remote->item[last].bytes - items->first;
    *outcome = (struct mr_remote_outcome){0};
    atomic_fetch_add(&remote->stats->requests, 1);
    remote->protocol->send(remote->context, remote, items, count, body, bytes, outcome);
    switch (outcome->answer) {
    case MR_ANSWER_GOOD:
        delivered(items, count);
        return true;
    case MR_ANSWER_ALL_BAD:
        all_refused(remote, items, count, outcome);
        return true;
    case MR_ANSWER_BAD:
        if (count == 1) {
            all_refused(remote, items, 1, outcome);
            return true;
        }
        return range_send(remote, from, from + count / 2, outcome) &&
               range_send(remote, from + count / 2, end, outcome);
    case MR_ANSWER_PART:
    case MR_ANSWER_LATER:
    case MR_ANSWER_ABSENT:
    case MR_ANSWER_DENIED:
        break;
    }
    return false;
}

void mr_remote_batch_send(struct mr_remote *remote, struct mr_remote_outcome *outcome)
{
    outcome->answer = MR_ANSWER_GOOD;
    if (!remote->item_count) return;
    if (range_send(remote, 0, remote->item_count, outcome)) outcome->answer = MR_ANSWER_GOOD;
}

void mr_remote_batch_pack(struct mr_remote *remote)
{
    size_t kept = 0, used = 0;
    uint64_t count = 0;
    for (size_t i = 0; i < remote->item_count; i++) {
        struct mr_remote_item item = remote->item[i];
        count += item.state == MR_ITEM_DELIVERED;
        if (item.state != MR_ITEM_WAITS) continue;
        memmove(remote->body.data + used, remote->body.data + item.first, item.bytes);
        item.first = used;
        used += item.bytes;
        remote->item[kept++] = item;
    }
    remote->item_count = kept;
    remote->body.used = used;
    atomic_fetch_add(&remote->stats->delivered, count);
}
