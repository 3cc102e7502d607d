/*
 * doctor: copies a topic into an empty one with as many partitions, and plants a fault on the way.
 *
 *   doctor SERVERS FROM TO drop|twice|again|swap|change PARTITION N   the N-th record of the partition; again: it
 * stands in the place of the next one, too
 *   doctor SERVERS FROM TO FAULT [OTHER]                        of a state topic
 *
 *   learned-twice  the first update of the last commit that learned overlaps the one before
 *   foreign        that commit names another model
 *   newer          it is of a later format
 *   cut            its last bytes are missing
 *   stranger       in its place stands the commit of the same number of the model of topic OTHER
 *   no-manifest    the commit before the last one is missing
 *   no-chunk       the last chunk is missing
 *   flip           a byte of the last chunk is another one
 *   tombstone      behind all, one over the last chunk
 *   hello          behind all, a record that is no state's
 *   again          behind all, the commit before the last one once more
 */
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state/record.h"

#define WAIT_MS 30000

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("doctor: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

struct topic {
    rd_kafka_message_t **message; /* [count]: in the order of partitions, then of offsets */
    size_t count, cap;
    int32_t partitions;
};

static rd_kafka_t *client_open(const char *servers, rd_kafka_type_t type)
{
    char reason[256];
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", servers, NULL, 0);
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
    rd_kafka_conf_set(conf, "enable.idempotence", "true", NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "2", NULL, 0);
    rd_kafka_t *const client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!client) die("%s", reason);
    return client;
}

static void partition_read(rd_kafka_topic_t *handle, int32_t partition, struct topic *topic)
{
    if (rd_kafka_consume_start(handle, partition, RD_KAFKA_OFFSET_BEGINNING)) die("no partition %d", (int)partition);
    for (;;) {
        rd_kafka_message_t *const message = rd_kafka_consume(handle, partition, WAIT_MS);
        if (!message) die("nothing came");
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            rd_kafka_message_destroy(message);
            break;
        }
        if (message->err) die("%s", rd_kafka_message_errstr(message));
        if (topic->count == topic->cap) {
            topic->cap = topic->cap ? 2 * topic->cap : 1024;
            topic->message = realloc(topic->message, topic->cap * sizeof *topic->message);
            if (!topic->message) die("out of memory");
        }
        topic->message[topic->count++] = message;
    }
    rd_kafka_consume_stop(handle, partition);
}

static void topic_read(const char *servers, const char *name, struct topic *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_t *const client = client_open(servers, RD_KAFKA_CONSUMER);
    rd_kafka_topic_t *const handle = rd_kafka_topic_new(client, name, NULL);
    if (rd_kafka_metadata(client, 0, handle, &metadata, WAIT_MS)) die("no metadata");
    topic->partitions = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    for (int32_t i = 0; i < topic->partitions; i++) partition_read(handle, i, topic);
}

static rd_kafka_t *producer;
static const char *to;

static void keyed_send(const void *key, size_t key_bytes, const void *value, size_t bytes)
{
    union {
        const void *from;
        void *to;
    } data = {value}, name = {key};
    const rd_kafka_resp_err_t code =
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(to), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE(data.to, bytes),
                          RD_KAFKA_V_KEY(name.to, key_bytes), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (code) die("%s", rd_kafka_err2str(code));
}

static void record_send(const rd_kafka_message_t *message, const void *value, size_t bytes)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_timestamp_type_t type;
    union {
        const void *from;
        void *to;
    } data = {value};
    if (!rd_kafka_message_headers(message, &headers)) headers = rd_kafka_headers_copy(headers);
    const rd_kafka_resp_err_t code =
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(to), RD_KAFKA_V_PARTITION(message->partition),
                          RD_KAFKA_V_VALUE(data.to, bytes), RD_KAFKA_V_KEY(message->key, message->key_len),
                          RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(message, &type)),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code) die("%s", rd_kafka_err2str(code));
    rd_kafka_poll(producer, 0);
}

static void whole_send(const rd_kafka_message_t *message)
{
    record_send(message, message->payload, message->len);
}

/* The record that the fault is about. */
static size_t record_find(const struct topic *topic, int32_t partition, size_t number)
{
    for (size_t i = 0; i < topic->count; i++)
        if (topic->message[i]->partition == partition && !number--) return i;
    die("partition %d has no such record", (int)partition);
}

static void outputs_copy(const struct topic *topic, const char *fault, size_t at)
{
    for (size_t i = 0; i < topic->count; i++) {
        const rd_kafka_message_t *const message = topic->message[i];
        if (i != at) {
            whole_send(message);
        } else if (!strcmp(fault, "twice")) {
            whole_send(message);
            whole_send(message);
        } else if (!strcmp(fault, "again")) {
            whole_send(message);
            whole_send(message);
            i++;
        } else if (!strcmp(fault, "swap")) {
            whole_send(topic->message[++i]);
            whole_send(message);
        } else if (!strcmp(fault, "change")) {
            char *const value = malloc(message->len);
            memcpy(value, message->payload, message->len);
            value[message->len - 2] += value[message->len - 2] == '9' ? -1 : 1; /* before the bracket */
            record_send(message, value, message->len);
            free(value);
        }
    }
}

static struct mr_state_commit *commit_read(const rd_kafka_message_t *message, mr_state_record *kind_out,
                                           uint32_t *index_out)
{
    struct mr_span model;
    uint32_t generation;
    struct mr_state_commit *commit = NULL;
    struct mr_err err;
    if (!mr_state_key_read(message->key, message->key_len, &model, &generation, kind_out, index_out)) die("no state");
    if (*kind_out == MR_STATE_MANIFEST && mr_state_commit_decode(message->payload, message->len, &commit, &err))
        die("%s", err.text);
    return commit;
}

/* A commit that has learned once more from what the update before it ended with. */
static void overlap_send(const rd_kafka_message_t *message, const struct mr_state_commit *commit)
{
    struct mr_state_range *const range = malloc(commit->range_count * sizeof *range);
    struct mr_state_commit changed = *commit;
    struct mr_blob blob = {0};
    struct mr_err err;
    if (!range) die("out of memory");
    memcpy(range, commit->range, commit->range_count * sizeof *range);
    range[0].first_offset -= 3;
    changed.range = range;
    if (mr_state_commit_encode(&changed, &blob, &err)) die("%s", err.text);
    record_send(message, blob.data, blob.bytes);
    mr_blob_deinit(&blob);
    free(range);
}

static void foreign_send(const rd_kafka_message_t *message, const struct mr_state_commit *commit)
{
    struct mr_state_commit changed = *commit;
    struct mr_blob blob = {0};
    struct mr_err err;
    changed.model = "another";
    if (mr_state_commit_encode(&changed, &blob, &err)) die("%s", err.text);
    record_send(message, blob.data, blob.bytes); /* under this model's key */
    mr_blob_deinit(&blob);
}

static void bytes_send(const rd_kafka_message_t *message, const char *fault)
{
    char *const value = malloc(message->len);
    if (!value) die("out of memory");
    memcpy(value, message->payload, message->len);
    if (!strcmp(fault, "newer")) value[4]++; /* behind the magic number */
    if (!strcmp(fault, "flip")) value[message->len - 1] ^= 1;
    record_send(message, value, message->len - (strcmp(fault, "cut") ? 0 : 9));
    free(value);
}

/* The commit of that number, of another model, under this one's key. */
static void stranger_send(const rd_kafka_message_t *message, uint64_t seq, const struct topic *other)
{
    for (size_t i = 0; i < other->count; i++) {
        mr_state_record kind;
        uint32_t index;
        struct mr_state_commit *const commit = commit_read(other->message[i], &kind, &index);
        const bool is_it = commit && commit->seq == seq;
        if (is_it) record_send(message, other->message[i]->payload, other->message[i]->len);
        free(commit);
        if (is_it) return;
    }
    die("the other topic has no commit %llu", (unsigned long long)seq);
}

/* Which records a fault is about. */
struct places {
    size_t last_chunk, before_last, last;
};

static struct places places_find(const struct topic *topic)
{
    struct places at = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    size_t manifests = 0, newest = SIZE_MAX;
    for (size_t i = 0; i < topic->count; i++) {
        mr_state_record kind;
        uint32_t index;
        struct mr_state_commit *const commit = commit_read(topic->message[i], &kind, &index);
        if (kind == MR_STATE_CHUNK) at.last_chunk = i;
        if (commit) {
            at.before_last = newest;
            newest = i;
            manifests++;
            if (commit->update_count) at.last = i;
        }
        free(commit);
    }
    if (at.last == SIZE_MAX || manifests < 3) die("%zu commits are too few", manifests);
    return at;
}

static void state_copy(const struct topic *topic, const char *fault, const struct topic *other)
{
    const struct places at = places_find(topic);
    const bool is_gap = !strcmp(fault, "no-manifest"), is_hole = !strcmp(fault, "no-chunk");
    for (size_t i = 0; i < topic->count; i++) {
        const rd_kafka_message_t *const message = topic->message[i];
        mr_state_record kind;
        uint32_t index;
        struct mr_state_commit *const commit = commit_read(message, &kind, &index);
        if (i == at.last && !strcmp(fault, "learned-twice"))
            overlap_send(message, commit);
        else if (i == at.last && !strcmp(fault, "foreign"))
            foreign_send(message, commit);
        else if (i == at.last && !strcmp(fault, "stranger"))
            stranger_send(message, commit->seq, other);
        else if ((i == at.last && (!strcmp(fault, "newer") || !strcmp(fault, "cut"))) ||
                 (i == at.last_chunk && !strcmp(fault, "flip")))
            bytes_send(message, fault);
        else if (!(is_gap && i == at.before_last) && !(is_hole && i == at.last_chunk))
            whole_send(message);
        free(commit);
    }
    const rd_kafka_message_t *const chunk = topic->message[at.last_chunk];
    if (!strcmp(fault, "tombstone")) keyed_send(chunk->key, chunk->key_len, NULL, 0);
    if (!strcmp(fault, "hello")) keyed_send("hello", 5, "world", 5);
    if (!strcmp(fault, "again")) whole_send(topic->message[at.before_last]);
}

int main(int argc, char **argv)
{
    struct topic topic = {0}, other = {0};
    if (argc < 5) die("SERVERS FROM TO FAULT ...");
    to = argv[3];
    topic_read(argv[1], argv[2], &topic);
    if (argc == 6) topic_read(argv[1], argv[5], &other);
    producer = client_open(argv[1], RD_KAFKA_PRODUCER);
    if (argc == 7)
        outputs_copy(&topic, argv[4], record_find(&topic, atoi(argv[5]), (size_t)atoll(argv[6])));
    else
        state_copy(&topic, argv[4], &other);
    if (rd_kafka_flush(producer, WAIT_MS)) die("not all of it was acknowledged");
    return 0;
}
