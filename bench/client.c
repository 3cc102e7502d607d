/* librdkafka with the settings that cost least, topics, clocks, CPU time by thread. */
#include "client.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 30000

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t bench_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t bench_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

void bench_set(rd_kafka_conf_t *conf, const char *key, const char *value)
{
    char reason[256];
    if (rd_kafka_conf_set(conf, key, value, reason, sizeof reason) != RD_KAFKA_CONF_OK) bench_die("%s", reason);
}

static rd_kafka_t *client_open(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char reason[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!client) bench_die("create client: %s", reason);
    return client;
}

/* BENCH_CONSUMER="key=value key=value": to see what a setting costs. */
static void set_from_environment(rd_kafka_conf_t *conf, const char *variable)
{
    const char *given = getenv(variable);
    char *text = strdup(given ? given : ""), *rest = NULL;
    if (!text) bench_die("out of memory");
    for (char *pair = strtok_r(text, " ", &rest); pair; pair = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(pair, '=');
        if (!value) bench_die("%s: \"%s\" is not key=value", variable, pair);
        *value = '\0';
        bench_set(conf, pair, value + 1);
    }
    free(text);
}

rd_kafka_t *bench_consumer_open(const char *brokers, int low_latency)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bench_set(conf, "bootstrap.servers", brokers);
    bench_set(conf, "group.id", "bench-assigned"); /* never joined: assign() only */
    bench_set(conf, "enable.auto.commit", "false");
    bench_set(conf, "enable.auto.offset.store", "false");
    bench_set(conf, "auto.offset.reset", "error");
    bench_set(conf, "queued.min.messages", "10000000");
    bench_set(conf, "queued.max.messages.kbytes", "1000000");
    bench_set(conf, "fetch.message.max.bytes", "5000000");
    bench_set(conf, "fetch.wait.max.ms", low_latency ? "5" : "100");
    set_from_environment(conf, "BENCH_CONSUMER");
    rd_kafka_t *client = client_open(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(client);
    return client;
}

rd_kafka_t *bench_producer_open(const char *brokers, const char *linger_ms,
                                void (*dr)(rd_kafka_t *, const rd_kafka_message_t *, void *))
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bench_set(conf, "bootstrap.servers", brokers);
    bench_set(conf, "linger.ms", linger_ms);
    bench_set(conf, "acks", "1");
    bench_set(conf, "batch.num.messages", "100000");
    bench_set(conf, "batch.size", "900000");
    bench_set(conf, "queue.buffering.max.messages", "10000000");
    bench_set(conf, "queue.buffering.max.kbytes", "1000000");
    if (dr) rd_kafka_conf_set_dr_msg_cb(conf, dr);
    set_from_environment(conf, "BENCH_PRODUCER");
    return client_open(RD_KAFKA_PRODUCER, conf);
}

/* Partitions of `topic` that have a leader; -1 when the topic is unknown. */
static int partitions_ready(rd_kafka_t *client, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    int ready = -1;
    if (!rd_kafka_metadata(client, 0, handle, &metadata, DEADLINE_MS)) {
        if (metadata->topic_cnt == 1 && !metadata->topics[0].err) {
            ready = 0;
            for (int p = 0; p < metadata->topics[0].partition_cnt; p++) {
                ready += metadata->topics[0].partitions[p].leader >= 0;
            }
        }
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    return ready;
}

int bench_partition_count(rd_kafka_t *client, const char *topic)
{
    const int count = partitions_ready(client, topic);
    if (count <= 0) bench_die("topic \"%s\": not there, or the broker does not answer", topic);
    if (count > BENCH_PARTITIONS_MAX) bench_die("topic \"%s\": more than %d partitions", topic, BENCH_PARTITIONS_MAX);
    return count;
}

void bench_watermarks(rd_kafka_t *client, const char *topic, int partition, int64_t *low_out, int64_t *high_out)
{
    const int64_t deadline = bench_now_ns() + (int64_t)DEADLINE_MS * 1000000;
    rd_kafka_resp_err_t code;
    do { /* a partition made this moment has a leader that does not know it yet */
        code = rd_kafka_query_watermark_offsets(client, topic, partition, low_out, high_out, DEADLINE_MS);
    } while ((code == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) &&
             bench_now_ns() < deadline);
    if (code) bench_die("watermarks of %s [%d]: %s", topic, partition, rd_kafka_err2str(code));
}

/* The outcome of the one admin call in `queue`. */
static rd_kafka_resp_err_t admin_result(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, DEADLINE_MS);
    if (!event) return RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (!code && rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT) {
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    } else if (!code) {
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    }
    if (count) code = rd_kafka_topic_result_error(results[0]);
    rd_kafka_event_destroy(event);
    return code;
}

void bench_topic_create(const char *brokers, const char *topic, int partitions)
{
    char reason[256];
    rd_kafka_t *client = bench_producer_open(brokers, "5", NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_NewTopic_t *request = rd_kafka_NewTopic_new(topic, partitions, 1, reason, sizeof reason);
    if (!request) bench_die("create topic \"%s\": %s", topic, reason);
    rd_kafka_NewTopic_set_config(request, "message.timestamp.type", "LogAppendTime");
    rd_kafka_CreateTopics(client, &request, 1, NULL, queue);
    const rd_kafka_resp_err_t code = admin_result(queue);
    if (code) bench_die("create topic \"%s\": %s", topic, rd_kafka_err2str(code));
    const int64_t deadline = bench_now_ns() + (int64_t)DEADLINE_MS * 1000000;
    while (partitions_ready(client, topic) != partitions) {
        if (bench_now_ns() > deadline) bench_die("create topic \"%s\": partitions got no leader", topic);
    }
    for (int p = 0; p < partitions; p++) {
        int64_t low, high;
        bench_watermarks(client, topic, p, &low, &high);
    }
    rd_kafka_NewTopic_destroy(request);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

void bench_topic_delete(const char *brokers, const char *topic)
{
    rd_kafka_t *client = bench_producer_open(brokers, "5", NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopic_t *request = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(client, &request, 1, NULL, queue);
    const rd_kafka_resp_err_t code = admin_result(queue);
    if (code && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        bench_die("delete topic \"%s\": %s", topic, rd_kafka_err2str(code));
    }
    rd_kafka_DeleteTopic_destroy(request);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

/* Name and CPU time (schedstat: nanoseconds on a core) of one thread; 0 when it is gone. */
static int thread_read(const char *tid, char *name, size_t name_cap, unsigned long long *ns_out)
{
    char path[300];
    snprintf(path, sizeof path, "/proc/self/task/%s/comm", tid);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    char *read = fgets(name, (int)name_cap, file);
    fclose(file);
    if (!read) return 0;
    name[strcspn(name, "\n")] = '\0';
    snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", tid);
    file = fopen(path, "re");
    if (!file) return 0;
    const int found = fscanf(file, "%llu", ns_out);
    fclose(file);
    return found == 1;
}

void bench_threads_print(FILE *out)
{
    struct {
        char name[32];
        unsigned long long ns;
    } thread[256];
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) bench_die("/proc/self/task: can not be read");
    for (const struct dirent *entry; (entry = readdir(tasks));) {
        char name[32];
        unsigned long long ns;
        if (entry->d_name[0] == '.' || !thread_read(entry->d_name, name, sizeof name, &ns)) continue;
        size_t i = 0;
        while (i < count && strcmp(thread[i].name, name)) i++;
        if (i == sizeof thread / sizeof *thread) continue;
        if (i == count) {
            memcpy(thread[i].name, name, sizeof name);
            thread[i].ns = 0;
            count++;
        }
        thread[i].ns += ns;
    }
    closedir(tasks);
    fputc('{', out);
    for (size_t i = 0; i < count; i++) fprintf(out, "%s\"%s\": %llu", i ? ", " : "", thread[i].name, thread[i].ns);
    fputc('}', out);
}
