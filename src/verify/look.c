#include "verify/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "kafka/client.h"
#include "source/kafka/options.h"

#define WAIT_MS    15000
#define STEP_MS    5000
#define DECIDED_MS 45000 /* longer than a transaction may last */
#define PAUSE_NS   50000000

/* group: NULL for the job's. */
static mr_status open_as(struct mr_look *look, const struct mr_job *job, const char *group, bool is_uncommitted,
                         struct mr_err *err)
{
    const struct mr_kafka_source_options *const opt = job->source_options;
    const struct mr_kafka_default defaults[] = {
        {.key = "group.id", .value = look->group, .is_reserved = true},
        {.key = "enable.auto.commit", .value = "false"},
        {.key = "isolation.level", .value = is_uncommitted ? "read_uncommitted" : "read_committed", .is_ours = true},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "client.id", .value = "millrace-verify"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    rd_kafka_conf_t *conf;
    *look = (struct mr_look){0};
    if (strcmp(job->source->name, "kafka") != 0)
        return mr_fail(err, MR_ECONFIG, "source.type \"%s\": only what was read from Kafka can be looked at again",
                       job->source->name);
    mr_kafka_group(group ? group : opt->group, job->name, look->group, sizeof look->group);
    look->servers = mr_kafka_property(&opt->properties, "bootstrap.servers");
    if (!look->servers) look->servers = "no bootstrap.servers";
    const mr_status status = mr_kafka_conf_create("reader", &opt->properties, defaults, &conf, err);
    return status ? status : mr_kafka_client_create("reader", RD_KAFKA_CONSUMER, conf, &look->client, err);
}

mr_status mr_look_open(struct mr_look *look, const struct mr_job *job, bool is_uncommitted, struct mr_err *err)
{
    return open_as(look, job, NULL, is_uncommitted, err);
}

mr_status mr_look_open_group(struct mr_look *look, const struct mr_job *job, const char *group, struct mr_err *err)
{
    return open_as(look, job, group, false, err);
}

void mr_look_close(struct mr_look *look)
{
    if (look->client) rd_kafka_destroy(look->client);
    *look = (struct mr_look){0};
}

void mr_look_parts_deinit(struct mr_look_parts *parts)
{
    for (size_t i = 0; i < parts->topic_count; i++) free(parts->topic[i]);
    free(parts->topic);
    free(parts->part);
    *parts = (struct mr_look_parts){0};
}

mr_status mr_look_topic(struct mr_look *look, const char *topic, struct mr_look_parts *parts, struct mr_err *err)
{
    int32_t count;
    const mr_status status = mr_kafka_partition_count(look->client, look->servers, topic, WAIT_MS, &count, err);
    if (status) return status;
    struct mr_look_part *const part = realloc(parts->part, (parts->count + (size_t)count + 1) * sizeof *part);
    if (part) parts->part = part;
    char **const names = realloc(parts->topic, (parts->topic_count + 1) * sizeof(*names));
    if (names) parts->topic = names;
    char *const name = part && names ? strdup(topic) : NULL;
    if (!name) return mr_fail(err, MR_ENOMEM, "out of memory");
    parts->topic[parts->topic_count++] = name;
    for (int32_t i = 0; i < count; i++) parts->part[parts->count++] = (struct mr_look_part){name, i, -1, -1, -1};
    return MR_OK;
}

/* Topics that a pattern matches now. */
static mr_status patterns_look(struct mr_look *look, const struct mr_strings *topics, struct mr_look_parts *parts,
                               struct mr_err *err)
{
    const struct rd_kafka_metadata *metadata;
    const rd_kafka_resp_err_t code = rd_kafka_metadata(look->client, 1, NULL, &metadata, WAIT_MS);
    mr_status status = MR_OK;
    if (code) return mr_fail(err, MR_EKAFKA, "topics at %s: %s", look->servers, rd_kafka_err2str(code));
    for (int i = 0; i < metadata->topic_cnt && !status; i++) {
        if (mr_kafka_is_read(topics, metadata->topics[i].topic))
            status = mr_look_topic(look, metadata->topics[i].topic, parts, err);
    }
    rd_kafka_metadata_destroy(metadata);
    return status;
}

mr_status mr_look_inputs(struct mr_look *look, const struct mr_job *job, struct mr_look_parts *parts,
                         struct mr_err *err)
{
    const struct mr_kafka_source_options *const opt = job->source_options;
    mr_status status = MR_OK;
    for (size_t i = 0; i < opt->topics.count; i++)
        if (opt->topics.item[i][0] == '^') return patterns_look(look, &opt->topics, parts, err);
    for (size_t i = 0; i < opt->topics.count && !status; i++)
        status = mr_look_topic(look, opt->topics.item[i], parts, err);
    return status;
}

static rd_kafka_topic_partition_list_t *list_of(const struct mr_look_parts *parts, int64_t offset)
{
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new((int)parts->count + 1);
    for (size_t i = 0; i < parts->count; i++)
        rd_kafka_topic_partition_list_add(list, parts->part[i].topic, parts->part[i].partition)->offset = offset;
    return list;
}

typedef rd_kafka_resp_err_t ask_fn(rd_kafka_t *client, rd_kafka_topic_partition_list_t *list, int timeout_ms);

static bool is_undecided(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT || code == RD_KAFKA_RESP_ERR__TIMED_OUT;
}

/* Asks until all have an answer; a client that has just been made may not know who to ask. */
static mr_status ask(struct mr_look *look, ask_fn *fn, const char *what, const struct mr_look_parts *parts,
                     int64_t offset, rd_kafka_topic_partition_list_t **list_out, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    /* Offsets that a transaction holds are not told before it is decided. */
    const bool is_group = fn == rd_kafka_committed;
    const int64_t deadline_ns = mr_clock_ns() + (is_group ? DECIDED_MS : WAIT_MS) * 1000000LL;
    for (;;) {
        *list_out = list_of(parts, offset);
        rd_kafka_resp_err_t code = parts->count ? fn(look->client, *list_out, STEP_MS) : RD_KAFKA_RESP_ERR_NO_ERROR;
        for (int i = 0; i < (*list_out)->cnt && !code; i++) code = (*list_out)->elems[i].err;
        if (!code) return MR_OK;
        rd_kafka_topic_partition_list_destroy(*list_out);
        *list_out = NULL;
        if (mr_clock_ns() >= deadline_ns || code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
            code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED)
            return mr_fail(err, is_group && is_undecided(code) ? MR_ERETRY : MR_EKAFKA, "%s at %s: %s%s", what,
                           look->servers, rd_kafka_err2str(code),
                           is_group && is_undecided(code) ? " (a transaction may still hold them)" : "");
        nanosleep(&pause, NULL);
    }
}

mr_status mr_look_bounds(struct mr_look *look, struct mr_look_parts *parts, struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *low, *end;
    mr_status status =
        ask(look, rd_kafka_offsets_for_times, "the bounds of topics", parts, RD_KAFKA_OFFSET_BEGINNING, &low, err);
    if (status) return status;
    status = ask(look, rd_kafka_offsets_for_times, "the bounds of topics", parts, RD_KAFKA_OFFSET_END, &end, err);
    for (size_t i = 0; i < parts->count && !status; i++) {
        parts->part[i].low = low->elems[i].offset;
        parts->part[i].end = end->elems[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(low);
    if (!status) rd_kafka_topic_partition_list_destroy(end);
    return status;
}

mr_status mr_look_committed(struct mr_look *look, struct mr_look_parts *parts, struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *list;
    const mr_status status =
        ask(look, rd_kafka_committed, "the group's offsets", parts, RD_KAFKA_OFFSET_INVALID, &list, err);
    if (status) return status;
    for (size_t i = 0; i < parts->count; i++)
        parts->part[i].committed = list->elems[i].offset >= 0 ? list->elems[i].offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return MR_OK;
}

mr_status mr_look_notes(struct mr_look *look, const struct mr_look_parts *parts, char **note_out, struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *list;
    mr_status status = ask(look, rd_kafka_committed, "the group's offsets", parts, RD_KAFKA_OFFSET_INVALID, &list, err);
    if (status) return status;
    for (size_t i = 0; i < parts->count && !status; i++) {
        const rd_kafka_topic_partition_t *const entry = &list->elems[i];
        if (!entry->metadata) continue;
        note_out[i] = strndup(entry->metadata, entry->metadata_size);
        if (!note_out[i]) status = mr_fail(err, MR_ENOMEM, "out of memory");
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

mr_status mr_look_time(struct mr_look *look, const struct mr_look_part *part, int64_t time_ms, int64_t *offset_out,
                       struct mr_err *err)
{
    struct mr_look_part one = *part;
    const struct mr_look_parts parts = {.part = &one, .count = 1};
    rd_kafka_topic_partition_list_t *list;
    const mr_status status = ask(look, rd_kafka_offsets_for_times, "the offset of a time", &parts, time_ms, &list, err);
    if (status) return status;
    *offset_out = list->elems[0].offset >= 0 ? list->elems[0].offset : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return MR_OK;
}

mr_status mr_look_members(struct mr_look *look, int *count_out, char *names, size_t bytes, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const int64_t deadline_ns = mr_clock_ns() + WAIT_MS * 1000000LL;
    const struct rd_kafka_group_list *list;
    rd_kafka_resp_err_t code;
    size_t at = 0;
    *count_out = 0;
    *names = '\0';
    while ((code = rd_kafka_list_groups(look->client, look->group, &list, STEP_MS)) && mr_clock_ns() < deadline_ns)
        nanosleep(&pause, NULL);
    if (code)
        return mr_fail(err, MR_EKAFKA, "group \"%s\" at %s: %s", look->group, look->servers, rd_kafka_err2str(code));
    for (int i = 0; i < list->group_cnt; i++) {
        const struct rd_kafka_group_info *const group = &list->groups[i];
        *count_out += group->member_cnt;
        for (int m = 0; m < group->member_cnt && m < 3 && at < bytes; m++)
            at += (size_t)snprintf(names + at, bytes - at, "%s%s at %s", at ? ", " : "", group->members[m].client_id,
                                   group->members[m].client_host);
    }
    rd_kafka_group_list_destroy(list);
    return MR_OK;
}

mr_status mr_look_commit(struct mr_look *look, const struct mr_look_parts *parts, struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new((int)parts->count + 1);
    for (size_t i = 0; i < parts->count; i++)
        rd_kafka_topic_partition_list_add(list, parts->part[i].topic, parts->part[i].partition)->offset =
            parts->part[i].committed;
    rd_kafka_resp_err_t code = rd_kafka_commit(look->client, list, 0);
    for (int i = 0; i < list->cnt && !code; i++) code = list->elems[i].err;
    rd_kafka_topic_partition_list_destroy(list);
    return code ? mr_fail(err, MR_EKAFKA, "the offsets of group \"%s\" could not be set: %s%s", look->group,
                          rd_kafka_err2str(code),
                          code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ? " (the group has members: stop them)" : "")
                : MR_OK;
}
