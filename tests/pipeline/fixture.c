#include "pipeline/fixture.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "kafka/embedded.h"
#include "kernels/kernels.h"
#include "modelfile/safetensors.h"
#include "pipeline/lane.h"

#define TIMEOUT_MS 30000

mr_score_fn mr_mlp_forward_ref;

static char folder[64];
static const char *servers;
static rd_kafka_t *probe;           /* a consumer that asks for metadata and watermarks */
static rd_kafka_t *producer;        /* of the test's own records */
static rd_kafka_topic_t *known[64]; /* topics that the producer has asked about */
static size_t known_count;

/* ---- clients ---- */

static rd_kafka_t *client_new(rd_kafka_type_t type, const char *const pairs[][2], rd_kafka_conf_t *conf)
{
    char reason[256];
    if (!conf) conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", servers, reason, sizeof reason), RD_KAFKA_CONF_OK);
    for (size_t i = 0; pairs[i][0]; i++) {
        if (rd_kafka_conf_set(conf, pairs[i][0], pairs[i][1], reason, sizeof reason)) fail_msg("%s", reason);
    }
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!client) fail_msg("%s", reason);
    return client;
}

static rd_kafka_t *consumer_new(const char *group)
{
    const char *const pairs[][2] = {{"group.id", group},
                                    {"enable.auto.commit", "false"},
                                    {"enable.partition.eof", "true"},
                                    {"auto.offset.reset", "error"},
                                    {"fetch.wait.max.ms", "5"},
                                    {"log_level", "3"},
                                    {NULL, NULL}};
    rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, pairs, NULL);
    rd_kafka_poll_set_consumer(client);
    return client;
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    if (message->err) fail_msg("the test's own record was not taken: %s", rd_kafka_err2str(message->err));
}

static rd_kafka_t *producer_get(void)
{
    const char *const pairs[][2] = {
        {"linger.ms", "1"}, {"message.max.bytes", "20000000"}, {"log_level", "3"}, {NULL, NULL}};
    if (!producer) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        producer = client_new(RD_KAFKA_PRODUCER, pairs, conf);
    }
    return producer;
}

/* ---- set-up ---- */

/* 2 -> 4 sigmoid -> 3 softmax, with weights that give all three classes. */
static const float w0[] = {1.5f, -0.5f, -1.0f, 2.0f, 0.75f, 0.75f, -2.0f, -1.0f}, b0[] = {0.1f, -0.2f, 0.3f, 0.5f};
static const float w1[] = {2.0f, -1.0f, 0.5f, -1.5f, -1.0f, 2.5f, -0.5f, 0.25f, -1.0f, -1.0f, 0.75f, 2.0f};
static const float b1[] = {0.05f, -0.1f, 0.2f};

static void model_write(void)
{
    const struct mr_tensor_out tensors[] = {{.name = "layer.0.weight", .rank = 2, .shape = {4, 2}, .f32 = w0},
                                            {.name = "layer.0.bias", .rank = 1, .shape = {4}, .f32 = b0},
                                            {.name = "layer.1.weight", .rank = 2, .shape = {3, 4}, .f32 = w1},
                                            {.name = "layer.1.bias", .rank = 1, .shape = {3}, .f32 = b1}};
    const struct mr_metadata_out metadata[] = {
        {"millrace.type", "mlp"}, {"millrace.version", "7"}, {"millrace.activations", "[\"sigmoid\",\"softmax\"]"}};
    struct mr_err err;
    if (mr_safetensors_write(fixture_path("m.safetensors"), tensors, 4, metadata, 3, &err)) fail_msg("%s", err.text);
}

int fixture_open(void **state)
{
    struct mr_err err;
    (void)state;
    strcpy(folder, "/tmp/millrace-pipeline-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    if (mr_kafka_embedded_start(&servers, &err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    probe = consumer_new("fixture-probe");
    model_write();
    return 0;
}

static int file_remove(const char *path, const struct stat *facts, int type, struct FTW *walk)
{
    (void)facts, (void)type, (void)walk;
    return remove(path);
}

int fixture_close(void **state)
{
    (void)state;
    if (probe) rd_kafka_destroy(probe);
    while (known_count) rd_kafka_topic_destroy(known[--known_count]);
    if (producer) rd_kafka_destroy(producer);
    probe = producer = NULL;
    mr_kafka_embedded_stop();
    return nftw(folder, file_remove, 16, FTW_DEPTH | FTW_PHYS);
}

rd_kafka_mock_cluster_t *fixture_cluster(void)
{
    return mr_kafka_embedded_cluster();
}

const char *fixture_servers(void)
{
    return servers;
}

const char *fixture_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

void fixture_topic(const char *name, int partition_count)
{
    struct mr_err err;
    const struct rd_kafka_metadata *metadata;
    if (mr_kafka_embedded_topic(name, partition_count, &err)) fail_msg("%s", err.text);
    /* A producer that meets a topic by its first record looks for it once a second only. */
    assert_in_range(known_count, 0, sizeof known / sizeof *known - 1);
    known[known_count] = rd_kafka_topic_new(producer_get(), name, NULL);
    assert_int_equal(rd_kafka_metadata(producer_get(), 0, known[known_count++], &metadata, TIMEOUT_MS), 0);
    rd_kafka_metadata_destroy(metadata);
}

/* ---- waiting ---- */

int64_t fixture_deadline_ns(void)
{
    return mr_clock_ns() + DEADLINE_S * 1000000000LL;
}

void fixture_tick(int64_t deadline_ns, const char *condition)
{
    const struct timespec tick = {.tv_nsec = 1000000};
    if (mr_clock_ns() > deadline_ns) fail_msg("after %d s still not: %s", DEADLINE_S, condition);
    nanosleep(&tick, NULL);
}

/* ---- producing ---- */

static rd_kafka_resp_err_t message_send(rd_kafka_t *client, const char *topic, const struct fixture_message *message)
{
    rd_kafka_headers_t *headers = message->header_count ? rd_kafka_headers_new(message->header_count) : NULL;
    for (size_t i = 0; i < message->header_count; i++) {
        const struct fixture_header *header = &message->header[i];
        rd_kafka_header_add(headers, header->name, -1, header->value, header->value ? (ssize_t)header->bytes : 0);
    }
    union {
        const char *from;
        void *to;
    } value = {message->value}, key = {message->key};
    const rd_kafka_resp_err_t code =
        rd_kafka_producev(client, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(message->partition),
                          RD_KAFKA_V_VALUE(value.to, message->bytes), RD_KAFKA_V_KEY(key.to, message->key_bytes),
                          RD_KAFKA_V_TIMESTAMP(message->timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    if (code && headers) rd_kafka_headers_destroy(headers);
    return code;
}

static void producer_flush(void)
{
    const rd_kafka_resp_err_t code = rd_kafka_flush(producer_get(), TIMEOUT_MS);
    if (code) fail_msg("the test's own records were not taken: %s", rd_kafka_err2str(code));
}

static void message_queue(const char *topic, const struct fixture_message *message)
{
    rd_kafka_resp_err_t code;
    while ((code = message_send(producer_get(), topic, message)) == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        rd_kafka_poll(producer_get(), 10);
    }
    if (code) fail_msg("%s: %s", topic, rd_kafka_err2str(code));
}

void fixture_produce(const char *topic, const struct fixture_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) message_queue(topic, &messages[i]);
    producer_flush();
}

void fixture_say(const char *topic, int32_t partition, const char *text)
{
    const struct fixture_message message = {.value = text, .bytes = strlen(text), .partition = partition};
    fixture_produce(topic, &message, 1);
}

void fixture_fill(const char *topic, uint64_t first, uint64_t count, int partition_count)
{
    for (uint64_t i = first; i < first + count; i++) {
        char key[24];
        const char *text = fixture_record(i);
        const int key_bytes = snprintf(key, sizeof key, "k%llu", (unsigned long long)i);
        message_queue(topic, &(struct fixture_message){.value = text,
                                                       .bytes = strlen(text),
                                                       .key = key,
                                                       .key_bytes = (size_t)key_bytes,
                                                       .partition = (int32_t)(i % (uint64_t)partition_count)});
    }
    producer_flush();
}

/* ---- reading back ---- */

static int partition_count_of(const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(probe, topic, NULL);
    const rd_kafka_resp_err_t code = rd_kafka_metadata(probe, 0, handle, &metadata, TIMEOUT_MS);
    if (code) fail_msg("%s: %s", topic, rd_kafka_err2str(code));
    const int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return count;
}

static int64_t end_of(const char *topic, int32_t partition, int64_t *low_out)
{
    int64_t high;
    const rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(probe, topic, partition, low_out, &high, TIMEOUT_MS);
    if (code) fail_msg("%s[%d]: %s", topic, partition, rd_kafka_err2str(code));
    return high;
}

int64_t fixture_end(const char *topic, int32_t partition)
{
    int64_t low;
    return end_of(topic, partition, &low);
}

int64_t fixture_count(const char *topic)
{
    const int partitions = partition_count_of(topic);
    int64_t count = 0, low;
    for (int i = 0; i < partitions; i++) count += end_of(topic, i, &low);
    return count;
}

static const char *bytes_copy(const void *from, size_t bytes)
{
    char *copy = malloc(bytes + 1);
    assert_non_null(copy);
    if (bytes) memcpy(copy, from, bytes);
    copy[bytes] = '\0';
    return copy;
}

static void content_add(struct fixture_content *content, const rd_kafka_message_t *raw)
{
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t type;
    if (content->count == content->cap) {
        content->cap = content->cap ? content->cap * 2 : 256;
        content->message = realloc(content->message, content->cap * sizeof *content->message);
        assert_non_null(content->message);
    }
    struct fixture_message *message = &content->message[content->count++];
    *message = (struct fixture_message){.value = raw->payload ? bytes_copy(raw->payload, raw->len) : NULL,
                                        .bytes = raw->len,
                                        .key = raw->key ? bytes_copy(raw->key, raw->key_len) : NULL,
                                        .key_bytes = raw->key_len,
                                        .partition = raw->partition,
                                        .offset = raw->offset,
                                        .timestamp_ms = rd_kafka_message_timestamp(raw, &type)};
    if (rd_kafka_message_headers(raw, &headers)) return;
    message->header_count = rd_kafka_header_cnt(headers);
    assert_in_range(message->header_count, 0, FIXTURE_HEADER_MAX);
    for (size_t i = 0; i < message->header_count; i++) {
        const char *name;
        const void *value;
        size_t bytes;
        assert_int_equal(rd_kafka_header_get_all(headers, i, &name, &value, &bytes), 0);
        message->header[i] =
            (struct fixture_header){bytes_copy(name, strlen(name)), value ? bytes_copy(value, bytes) : NULL, bytes};
    }
}

static void partition_read(rd_kafka_t *client, const char *topic, int32_t partition, struct fixture_content *content)
{
    int64_t low, next;
    const int64_t high = end_of(topic, partition, &low);
    if (low >= high) return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = low;
    assert_int_equal(rd_kafka_assign(client, list), 0);
    rd_kafka_topic_partition_list_destroy(list);
    for (next = low; next < high;) {
        rd_kafka_message_t *raw = rd_kafka_consumer_poll(client, TIMEOUT_MS);
        if (!raw) fail_msg("%s[%d]: nothing at offset %lld", topic, partition, (long long)next);
        if (!raw->err && raw->partition == partition) {
            content_add(content, raw);
            next = raw->offset + 1;
        } else if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && raw->partition == partition) {
            next = raw->offset;
        }
        rd_kafka_message_destroy(raw);
    }
}

struct fixture_content fixture_read(const char *topic)
{
    struct fixture_content content = {0};
    rd_kafka_t *client = consumer_new("fixture-reader");
    const int partitions = partition_count_of(topic);
    for (int i = 0; i < partitions; i++) partition_read(client, topic, i, &content);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
    return content;
}

static void text_free(const char *text)
{
    union {
        const char *from;
        void *to;
    } owned = {text};
    free(owned.to);
}

void fixture_content_free(struct fixture_content *content)
{
    for (size_t i = 0; i < content->count; i++) {
        struct fixture_message *message = &content->message[i];
        text_free(message->value);
        text_free(message->key);
        for (size_t h = 0; h < message->header_count; h++) {
            text_free(message->header[h].name);
            text_free(message->header[h].value);
        }
    }
    free(content->message);
    *content = (struct fixture_content){0};
}

const char *fixture_header_of(const struct fixture_message *message, const char *name)
{
    static char text[4][512];
    static unsigned turn;
    for (size_t i = 0; i < message->header_count; i++) {
        if (strcmp(message->header[i].name, name)) continue;
        char *out = text[turn++ % 4];
        snprintf(out, sizeof text[0], "%s", message->header[i].value ? message->header[i].value : "(null)");
        return out;
    }
    return NULL;
}

int64_t fixture_committed(const char *group, const char *topic, int32_t partition)
{
    rd_kafka_t *client = consumer_new(group);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    const rd_kafka_resp_err_t code = rd_kafka_committed(client, list, TIMEOUT_MS);
    if (code) fail_msg("committed offset of %s[%d]: %s", topic, partition, rd_kafka_err2str(code));
    const int64_t offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(client);
    return offset;
}

/* ---- jobs ---- */

struct mr_job *fixture_job_load(const struct fixture_job *job)
{
    char path[256], name[80];
    struct mr_job *loaded;
    struct mr_err err = {0};
    snprintf(name, sizeof name, "%s.json", job->name);
    snprintf(path, sizeof path, "%s", fixture_path(name));
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "{\"job\":\"%s\",\"source\":{\"type\":\"kafka\",%s\"topics\":[\"%s.in\"],\"group\":\"%s\",\"properties\":{"
            "\"bootstrap.servers\":\"%s\"%s}},\n",
            job->name, job->source ? job->source : "", job->name, job->name, job->servers ? job->servers : "embedded",
            job->properties ? job->properties : "");
    fprintf(file, "\"record\":%s,\n", job->record ? job->record : "{\"format\":\"json\",\"features\":[\"a\",\"b\"]}");
    fprintf(file, "\"models\":%s,\n",
            job->models ? job->models : "[{\"name\":\"m\",\"type\":\"mlp\",\"file\":\"m.safetensors\"}]");
    fprintf(file, "\"emit\":%s,\n", job->emit ? job->emit : "{\"fields\":{\"id\":\"id\",\"class\":\"m.class\"}}");
    if (job->sinks)
        fprintf(file, "\"sinks\":%s,\n", job->sinks);
    else
        fprintf(file, "\"sinks\":[{\"type\":\"kafka\",\"topic\":\"%s.out\"}],\n", job->name);
    if (job->bad)
        fprintf(file, "\"bad_records\":%s", job->bad);
    else
        fprintf(file, "\"bad_records\":{\"topic\":\"%s.dead\"}", job->name);
    fprintf(file, "%s}\n", job->rest ? job->rest : "");
    assert_int_equal(fclose(file), 0);
    if (mr_job_load(path, stderr, &loaded, &err)) fail_msg("%s: %s", job->name, err.text);
    return loaded;
}

static void run_close(struct fixture_run *run)
{
    mr_run_destroy(run->run);
    mr_job_destroy(run->job);
    run->run = NULL;
    run->job = NULL;
}

mr_status fixture_start(struct fixture_run *run, const struct fixture_job *job, const struct mr_until *until)
{
    static const struct mr_until forever;
    *run = (struct fixture_run){.job = fixture_job_load(job)};
    mr_status status = mr_run_create(run->job, until ? until : &forever, &run->run, &run->err);
    if (!status) status = mr_run_start(run->run, &run->err);
    if (status) run_close(run);
    return status;
}

mr_status fixture_stop(struct fixture_run *run, mr_run_state state)
{
    mr_run_stop(run->run, state);
    const mr_status status = mr_run_finish(run->run, &run->err);
    run->summary = calloc(1, sizeof *run->summary);
    assert_non_null(run->summary);
    mr_summary_take(run->run, run->summary);
    run_close(run);
    return status;
}

mr_status fixture_run(struct fixture_run *run, const struct fixture_job *job, const struct mr_until *until)
{
    const mr_status status = fixture_start(run, job, until);
    if (status) return status;
    if (!mr_run_wait(run->run, DEADLINE_S * 1000000LL)) {
        fail_msg("%s: not over after %d s: %llu in, %llu out", job->name, DEADLINE_S,
                 (unsigned long long)fixture_sum(run, records_in), (unsigned long long)fixture_sum(run, records_out));
    }
    return fixture_stop(run, MR_RUN_DRAIN);
}

void fixture_run_to_end(struct fixture_run *run, const struct fixture_job *job)
{
    const mr_status status = fixture_run(run, job, &(struct mr_until){.end = true});
    if (status) fail_msg("%s: %s: %s", job->name, mr_status_name(status), run->err.text);
    const struct mr_summary *sum = run->summary;
    assert_int_equal(sum->records_in, sum->records_out + sum->records_dead + sum->records_filtered);
}

uint64_t fixture_stat(const struct fixture_run *run, size_t counter_offset)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < run->run->lane_count; i++) {
        const char *stats = (const char *)&run->run->lane[i]->stats;
        sum += mr_stats_get((const _Atomic uint64_t *)(const void *)(stats + counter_offset));
    }
    return sum;
}

void fixture_run_free(struct fixture_run *run)
{
    free(run->summary);
    run->summary = NULL;
}

/* ---- records and their classes ---- */

static uint64_t scrambled(uint64_t i)
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9u;
    return i ^ i >> 27;
}

static double feature_of(uint64_t i, unsigned which)
{
    return (double)(int)(scrambled(2 * i + which) >> 40 & 0xffff) / 8192.0 - 4;
}

const char *fixture_record(uint64_t i)
{
    static char text[8][128];
    static unsigned turn;
    char *out = text[turn++ % 8];
    snprintf(out, sizeof text[0], "{\"id\":%llu,\"a\":%.6g,\"b\":%.6g}", (unsigned long long)i, feature_of(i, 0),
             feature_of(i, 1));
    return out;
}

void fixture_features(uint64_t i, float *a, float *b)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", feature_of(i, 0));
    *a = strtof(text, NULL);
    snprintf(text, sizeof text, "%.6g", feature_of(i, 1));
    *b = strtof(text, NULL);
}

int fixture_class(uint64_t i)
{
    static const struct mr_mlp_layer layers[] = {{2, 4, w0, b0, MR_ACT_SIGMOID}, {4, 3, w1, b1, MR_ACT_SOFTMAX}};
    static const struct mr_mlp_params params = {.layer = layers, .layer_count = 2};
    static const struct mr_packed packed = {.params = &params, .in = 2, .out = 3, .layer_count = 2, .width_max = 4};
    static _Alignas(64) float x[2 * MR_TILE_ROWS];
    double scratch[8];
    int32_t class_index = -1;
    fixture_features(i, &x[mr_tile_at(0, 0, 2)], &x[mr_tile_at(0, 1, 2)]);
    mr_mlp_forward_ref(x, &packed, NULL, &class_index, scratch, 1);
    return class_index;
}

void fixture_check_scores(const char *topic, uint64_t first, uint64_t count, int partition_count, bool is_exact)
{
    struct fixture_content content = fixture_read(topic);
    unsigned char *times = calloc(count, 1);
    assert_non_null(times);
    for (size_t i = 0; i < content.count; i++) {
        const struct fixture_message *message = &content.message[i];
        unsigned long long id = 0;
        int class_index = 0, used = 0;
        if (!message->value || sscanf(message->value, "{\"id\":%llu,\"class\":%d}%n", &id, &class_index, &used) != 2 ||
            (size_t)used != message->bytes) {
            fail_msg("%s: not an answer: %.100s", topic, message->value ? message->value : "(null)");
        }
        if (id < first || id >= first + count) fail_msg("%s: nobody asked for record %llu", topic, id);
        if (class_index != fixture_class(id))
            fail_msg("record %llu: class %d, want %d", id, class_index, fixture_class(id));
        if (partition_count) assert_int_equal(message->partition, (int32_t)(id % (uint64_t)partition_count));
        if (times[id - first] < 255) times[id - first]++;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!times[i])
            fail_msg("%s: record %llu has no answer (%zu have)", topic, (unsigned long long)(first + i), content.count);
        if (is_exact && times[i] > 1)
            fail_msg("%s: record %llu has %d answers", topic, (unsigned long long)(first + i), times[i]);
    }
    free(times);
    fixture_content_free(&content);
}
