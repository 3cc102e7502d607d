#include "kafka/range_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/client.h"
#include "kafka/fetch_wake.h"

#define FETCH_COUNT 1024
#define STEP_MS     500
#define SILENCE_NS  (30 * 1000000000LL)

/* A partition that is being read. */
struct stream {
    char *topic;
    rd_kafka_topic_t *handle;
    int32_t partition;
    int64_t next;   /* offset that comes next; -1: not started */
    int64_t at_end; /* the client has told the end of the partition, once: it was here; -1: not yet */
    rd_kafka_message_t *ahead[FETCH_COUNT];
    size_t ahead_first, ahead_count; /* read, and beyond what was asked for so far */
};

struct mr_range_reader {
    rd_kafka_t *client;
    struct stream **stream; /* [count] */
    size_t count;
};

mr_status mr_range_reader_create(const struct mr_map *properties, struct mr_range_reader **reader_out,
                                 struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {
        {.key = "enable.auto.commit", .value = "false"},
        {.key = "enable.auto.offset.store", .value = "false"},
        {.key = "enable.partition.eof", .value = "true", .is_reserved = true},
        {.key = "auto.offset.reset", .value = "error", .is_reserved = true},
        {.key = "isolation.level", .value = "read_committed"},
        {.key = "fetch.wait.max.ms", .value = "10"},
        {.key = "queued.max.messages.kbytes", .value = "16384"},
        {.key = "fetch.queue.backoff.ms", .value = "5", .is_optional = true}, /* see kafka/fetch_wake.h */
        {.key = "reconnect.backoff.max.ms", .value = "1000"},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "check.crcs", .value = "true"},
        {.key = "client.id", .value = "millrace"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    struct mr_range_reader *const reader = calloc(1, sizeof *reader);
    rd_kafka_conf_t *conf;
    *reader_out = NULL;
    if (!reader) return mr_fail(err, MR_ENOMEM, "out of memory");
    mr_status status = mr_kafka_conf_create("reader", properties, defaults, &conf, err);
    if (!status) status = mr_kafka_client_create("reader", RD_KAFKA_CONSUMER, conf, &reader->client, err);
    if (status)
        free(reader);
    else
        *reader_out = reader;
    return status;
}

static void stream_stop(struct stream *stream)
{
    while (stream->ahead_count) {
        rd_kafka_message_destroy(stream->ahead[stream->ahead_first++]);
        stream->ahead_count--;
    }
    if (stream->next >= 0) rd_kafka_consume_stop(stream->handle, stream->partition);
    stream->next = stream->at_end = -1;
}

void mr_range_reader_destroy(struct mr_range_reader *reader)
{
    if (!reader) return;
    for (size_t i = 0; i < reader->count; i++) {
        stream_stop(reader->stream[i]);
        if (reader->stream[i]->handle) rd_kafka_topic_destroy(reader->stream[i]->handle);
        free(reader->stream[i]->topic);
        free(reader->stream[i]);
    }
    free(reader->stream);
    rd_kafka_destroy(reader->client);
    free(reader);
}

static struct stream *stream_find(struct mr_range_reader *reader, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < reader->count; i++) {
        if (reader->stream[i]->partition == partition && !strcmp(reader->stream[i]->topic, topic))
            return reader->stream[i];
    }
    struct stream **const grown = realloc(reader->stream, (reader->count + 1) * sizeof(*grown));
    if (!grown) return NULL;
    reader->stream = grown;
    struct stream *const stream = calloc(1, sizeof *stream);
    if (!stream) return NULL;
    *stream = (struct stream){.topic = strdup(topic), .partition = partition, .next = -1, .at_end = -1};
    stream->handle = rd_kafka_topic_new(reader->client, topic, NULL);
    reader->stream[reader->count++] = stream;
    return stream->topic && stream->handle ? stream : NULL;
}

static mr_status stream_at(struct stream *stream, int64_t offset, struct mr_err *err)
{
    if (stream->next == offset) return MR_OK;
    stream_stop(stream);
    if (rd_kafka_consume_start(stream->handle, stream->partition, offset))
        return mr_fail(err, MR_EKAFKA, "reading %s[%d] from offset %lld: %s", stream->topic, (int)stream->partition,
                       (long long)offset, rd_kafka_err2str(rd_kafka_last_error()));
    stream->next = offset;
    return MR_OK;
}

static mr_status list_add(struct mr_message_list *list, rd_kafka_message_t *raw, struct mr_err *err)
{
    if (list->count == list->cap) {
        const size_t cap = list->cap ? 2 * list->cap : FETCH_COUNT;
        struct mr_message *const grown = realloc(list->message, cap * sizeof *grown);
        if (!grown) return mr_fail(err, MR_ENOMEM, "no memory for %zu messages", cap);
        list->message = grown;
        list->cap = cap;
    }
    list->message[list->count++] = (struct mr_message){.value = raw->payload,
                                                       .value_bytes = raw->len,
                                                       .key = raw->key,
                                                       .key_bytes = raw->key_len,
                                                       .offset = raw->offset,
                                                       .partition = raw->partition,
                                                       .handle = raw};
    return MR_OK;
}

/* Whether an error in the place of a message ends the range, and how. MR_END: its end is the partition's. */
static mr_status error_judge(const struct stream *stream, const rd_kafka_message_t *raw, int64_t end,
                             struct mr_err *err)
{
    if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) return raw->offset >= end ? MR_END : MR_OK;
    if (raw->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || raw->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        return mr_fail(err, MR_EINPUT, "%s[%d] does not hold offset %lld any more: its retention was shorter",
                       stream->topic, (int)stream->partition, (long long)stream->next);
    if (raw->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || raw->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
        raw->err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
        return mr_fail(err, MR_EKAFKA, "reading %s[%d]: %s", stream->topic, (int)stream->partition,
                       rd_kafka_err2str(raw->err));
    return MR_OK; /* passes by itself, or the silence ends it */
}

/* Takes what is ahead, up to the end of the range. MR_END: the range is complete. */
static mr_status ahead_take(struct stream *stream, int64_t end, struct mr_message_list *list, struct mr_err *err)
{
    while (stream->ahead_count) {
        rd_kafka_message_t *const raw = stream->ahead[stream->ahead_first];
        mr_status status = MR_OK;
        if (!raw->err && raw->offset >= end) return MR_END;
        stream->ahead_first++;
        stream->ahead_count--;
        if (raw->err) {
            status = error_judge(stream, raw, end, err);
            if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) stream->at_end = raw->offset;
            rd_kafka_message_destroy(raw);
        } else {
            stream->next = raw->offset + 1;
            status = list_add(list, raw, err);
        }
        if (status) return status;
        if (stream->next >= end) return MR_END;
    }
    return MR_OK;
}

/* What is there; waits a little for the first of it. A batch alone would be waited for until it is full. */
static size_t fetch(rd_kafka_t *client, struct stream *stream)
{
    ssize_t count = rd_kafka_consume_batch(stream->handle, stream->partition, 0, stream->ahead, FETCH_COUNT);
    stream->ahead_first = 0;
    if (count <= 0) {
        stream->ahead[0] = mr_kafka_consume_soon(client, stream->handle, stream->partition, STEP_MS);
        count = stream->ahead[0] ? 1 : 0;
    }
    stream->ahead_count = (size_t)count;
    return stream->ahead_count;
}

mr_status mr_range_read(struct mr_range_reader *reader, const char *topic, int32_t partition, int64_t first,
                        int64_t end, struct mr_message_list *list, struct mr_err *err)
{
    struct stream *const stream = stream_find(reader, topic, partition);
    if (first >= end) return MR_OK;
    if (!stream) return mr_fail(err, MR_ENOMEM, "no memory to read %s[%d]", topic, (int)partition);
    mr_status status = stream_at(stream, first, err);
    if (!status && !stream->ahead_count && end <= stream->at_end) status = MR_END; /* markers alone: not told again */
    int64_t deadline_ns = mr_clock_ns() + SILENCE_NS;
    while (!status && !(status = ahead_take(stream, end, list, err))) {
        const size_t count = fetch(reader->client, stream);
        if (count > 0)
            deadline_ns = mr_clock_ns() + SILENCE_NS;
        else if (mr_clock_ns() >= deadline_ns)
            status = mr_fail(err, MR_EKAFKA, "reading %s[%d] at offset %lld: nothing came within %d s", topic,
                             (int)partition, (long long)stream->next, (int)(SILENCE_NS / 1000000000));
    }
    if (status != MR_END) return status;
    if (stream->next < end) stream->next = end; /* what is missing before it are markers, or was compacted */
    return MR_OK;
}

void mr_message_list_clear(struct mr_message_list *list)
{
    for (size_t i = 0; i < list->count; i++) rd_kafka_message_destroy(list->message[i].handle);
    list->count = 0;
}

void mr_message_list_deinit(struct mr_message_list *list)
{
    mr_message_list_clear(list);
    free(list->message);
    *list = (struct mr_message_list){0};
}
