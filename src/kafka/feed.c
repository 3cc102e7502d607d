#include "kafka/feed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/client.h"
#include "millrace/batch.h"

#define ASK_TIMEOUT_MS   10000
#define ASK_STEP_MS      2000 /* a question that is older is asked anew, after a look at feed->stop */
#define FLUSH_TIMEOUT_MS 30000
#define FLUSH_STEP_MS    100       /* between two looks at feed->stop */
#define PACE_NS          2000000   /* records of 2 ms go out together */
#define AHEAD_BYTES      (2 << 20) /* of the reader: the embedded broker keeps 5 MiB a partition, headers included */
#define AHEAD_WAIT_NS                                                                                                  \
    1000000000 /* for a reader that does not move, as one that reads only what comes after its start */

struct feeding {
    struct mr_feed *feed;
    rd_kafka_t *client;
    int64_t started_ns;
    uint64_t messages, failed, bytes;
    char reason[128];
    char *block; /* lines that are being joined */
    size_t block_bytes, block_cap;
    int64_t block_lines;
};

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct feeding *feeding = opaque;
    (void)client;
    if (!message->err) return;
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return; /* given up by a stop */
    if (!feeding->failed++) snprintf(feeding->reason, sizeof feeding->reason, "%s", rd_kafka_err2str(message->err));
}

/* Waits until the rate allows the next record. */
static void pace(struct feeding *feeding)
{
    const struct mr_feed *feed = feeding->feed;
    if (feed->records_per_s <= 0) return;
    const int64_t due_ns = feeding->started_ns + (int64_t)((double)feed->sent / feed->records_per_s * 1e9);
    while (mr_clock_ns() + PACE_NS < due_ns && !feed->stop) {
        const int64_t left_ms = (due_ns - mr_clock_ns()) / 1000000;
        rd_kafka_poll(feeding->client, left_ms > 50 ? 50 : (int)left_ms);
    }
}

/* Waits until the reader is near enough, or has not moved for a while. */
static void reader_wait(struct feeding *feeding)
{
    const struct mr_feed *const feed = feeding->feed;
    uint64_t before = 0;
    int64_t due_ns = mr_clock_ns() + AHEAD_WAIT_NS;
    if (!feed->taken) return;
    while (!feed->stop && mr_clock_ns() < due_ns) {
        const uint64_t taken = feed->taken(feed->reader);
        if (feeding->bytes < taken + AHEAD_BYTES) return;
        if (taken != before) due_ns = mr_clock_ns() + AHEAD_WAIT_NS;
        before = taken;
        rd_kafka_poll(feeding->client, 2);
    }
}

static mr_status message_send(struct feeding *feeding, struct mr_span key, const char *bytes, size_t count,
                              struct mr_err *err)
{
    for (;;) {
        const union {
            const char *from;
            void *to;
        } value = {bytes}, name = {key.data}; /* RD_KAFKA_MSG_F_COPY: only read */
        const rd_kafka_resp_err_t code = rd_kafka_producev(
            feeding->client, RD_KAFKA_V_TOPIC(feeding->feed->topic), RD_KAFKA_V_KEY(name.to, key.bytes),
            RD_KAFKA_V_VALUE(value.to, count), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (!code) break;
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return mr_fail(err, MR_EKAFKA, "topic \"%s\": %s", feeding->feed->topic, rd_kafka_err2str(code));
        if (feeding->feed->stop) return MR_OK; /* what waits is given up, and so is this */
        rd_kafka_poll(feeding->client, 10);
    }
    feeding->bytes += count;
    if (++feeding->messages % 256 == 0) rd_kafka_poll(feeding->client, 0);
    if (feeding->messages % 16 == 0) reader_wait(feeding);
    return MR_OK;
}

static mr_status block_send(struct feeding *feeding, struct mr_err *err)
{
    if (!feeding->block_lines) return MR_OK;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): mr_feed_run frees the block */
    const mr_status status = message_send(feeding, (struct mr_span){0}, feeding->block, feeding->block_bytes - 1,
                                          err); /* without the last \n */
    feeding->block_bytes = 0;
    feeding->block_lines = 0;
    return status;
}

/* Sends a line as a message; with keys, what stands before its first tab as the key, and without a tab no key. */
static mr_status line_alone(struct feeding *feeding, const char *line, size_t count, struct mr_err *err)
{
    const char *const tab = feeding->feed->has_keys ? memchr(line, '\t', count) : NULL;
    if (!tab) return message_send(feeding, (struct mr_span){0}, line, count, err);
    const size_t key_bytes = (size_t)(tab - line);
    return message_send(feeding, (struct mr_span){line, key_bytes}, tab + 1, count - key_bytes - 1, err);
}

static mr_status line_send(struct feeding *feeding, const char *line, size_t count, struct mr_err *err)
{
    mr_status status = MR_OK;
    pace(feeding);
    if (feeding->feed->lines_per_message <= 1) {
        status = line_alone(feeding, line, count, err);
    } else {
        if (feeding->block_bytes + count + 1 > feeding->block_cap) {
            const size_t cap = 2 * (feeding->block_bytes + count + 1);
            char *grown = realloc(feeding->block, cap);
            if (!grown) return mr_fail(err, MR_ENOMEM, "out of memory");
            feeding->block = grown;
            feeding->block_cap = cap;
        }
        memcpy(feeding->block + feeding->block_bytes, line, count);
        feeding->block_bytes += count;
        feeding->block[feeding->block_bytes++] = '\n';
        if (++feeding->block_lines == feeding->feed->lines_per_message) status = block_send(feeding, err);
    }
    feeding->feed->sent++;
    return status;
}

static FILE *file_open(const char *path, struct mr_err *err)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
    if (!file) mr_fail(err, MR_EINPUT, "%s: %s", path, strerror(errno));
    return file;
}

/* Bytes of a line without what ends it: \n, \r\n. */
static size_t line_trim(const char *line, ssize_t count)
{
    while (count > 0 && (line[count - 1] == '\n' || line[count - 1] == '\r')) count--;
    return (size_t)count;
}

static mr_status file_send(struct feeding *feeding, struct mr_err *err)
{
    FILE *file = file_open(feeding->feed->path, err);
    char *line = NULL;
    size_t cap = 0;
    ssize_t taken;
    mr_status status = file ? MR_OK : MR_EINPUT;

    if (!file && feeding->feed->stop) return MR_OK; /* a stop interrupts the wait for a pipe's writer */
    while (!status && !feeding->feed->stop && (taken = getline(&line, &cap, file)) >= 0 && !feeding->feed->stop) {
        const size_t count = line_trim(line, taken);
        if (count) status = line_send(feeding, line, count, err);
    }
    if (!status) status = block_send(feeding, err);
    free(line);
    if (file && file != stdin) fclose(file);
    return status;
}

/* Waits for the acknowledgements. A stop gives up what is not acknowledged: the broker may have stalled. */
static mr_status acknowledged_wait(struct feeding *feeding, struct mr_err *err)
{
    const int64_t due_ns = mr_clock_ns() + FLUSH_TIMEOUT_MS * 1000000LL;
    rd_kafka_resp_err_t code;

    do code = rd_kafka_flush(feeding->client, FLUSH_STEP_MS);
    while (code && !feeding->feed->stop && mr_clock_ns() < due_ns);
    if (!code) return MR_OK;
    if (!feeding->feed->stop) {
        return mr_fail(err, MR_EKAFKA, "topic \"%s\": %d messages were not acknowledged within %d s",
                       feeding->feed->topic, rd_kafka_outq_len(feeding->client), FLUSH_TIMEOUT_MS / 1000);
    }
    rd_kafka_purge(feeding->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(feeding->client, FLUSH_STEP_MS);
    return MR_OK;
}

/* Waits until the topic is known to be there: MR_EINPUT when it is not, MR_EKAFKA when no broker says so in time. */
static mr_status topic_wait(struct feeding *feeding, struct mr_err *err)
{
    const char *servers = mr_kafka_property(feeding->feed->properties, "bootstrap.servers");
    const int64_t due_ns = mr_clock_ns() + ASK_TIMEOUT_MS * 1000000LL;
    int32_t partitions;
    mr_status status;
    do {
        status = mr_kafka_partition_count(feeding->client, servers ? servers : "?", feeding->feed->topic, ASK_STEP_MS,
                                          &partitions, err);
    } while (status == MR_EKAFKA && !feeding->feed->stop && mr_clock_ns() < due_ns);
    if (feeding->feed->stop) return MR_OK;
    if (status == MR_EKAFKA && err) {
        char reason[512];
        snprintf(reason, sizeof reason, "%.500s", err->text);
        mr_fail(err, status, "%s (asked again and again for %d s)", reason, ASK_TIMEOUT_MS / 1000);
    }
    return status;
}

mr_status mr_feed_run(struct mr_feed *feed, struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {{.key = "linger.ms", .value = "5"},
                                                {.key = "socket.nagle.disable", .value = "true"},
                                                {.key = "client.id", .value = "millrace-replay"},
                                                {.key = "queue.buffering.max.messages", .value = "1000000"},
                                                {0}};
    struct feeding feeding = {.feed = feed};
    rd_kafka_conf_t *conf;
    mr_status status = mr_kafka_conf_create("replay", feed->properties, defaults, &conf, err);

    if (status) return status;
    rd_kafka_conf_set_opaque(conf, &feeding);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    status = mr_kafka_client_create("replay", RD_KAFKA_PRODUCER, conf, &feeding.client, err);
    if (status) return status;
    status = topic_wait(&feeding, err);
    feeding.started_ns = mr_clock_ns();
    for (int64_t i = 0; i < feed->repeat && !status && !feed->stop; i++) status = file_send(&feeding, err);
    if (!status) status = acknowledged_wait(&feeding, err);
    if (!status && feeding.failed)
        status = mr_fail(err, MR_EKAFKA, "topic \"%s\": %llu messages failed: %s", feed->topic,
                         (unsigned long long)feeding.failed, feeding.reason);
    free(feeding.block);
    rd_kafka_destroy(feeding.client);
    return status;
}

mr_status mr_feed_count(const char *path, uint64_t *count_out, struct mr_err *err)
{
    FILE *file = file_open(path, err);
    char *line = NULL;
    size_t cap = 0;
    *count_out = 0;
    if (!file) return MR_EINPUT;
    for (ssize_t count; (count = getline(&line, &cap, file)) >= 0;) *count_out += line_trim(line, count) > 0;
    free(line);
    if (file != stdin) fclose(file);
    return MR_OK;
}
