/*
 * The C program that most people would write: librdkafka one message at a time, cJSON, plain loops, snprintf.
 * bench_peer_cjson --brokers HOST:PORT --in TOPIC --out TOPIC --model PATH
 * PATH.json holds the names of the features and the layers. Reads what the topic holds at start, then ends.
 */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

#define LAYERS_MAX 8
#define WIDTH_MAX  256

struct layer {
    int in, out;
    float *weight; /* [out][in] */
    float *bias;
};

struct model {
    int feature_count, layer_count;
    const char *feature[WIDTH_MAX];
    struct layer layer[LAYERS_MAX];
};

struct peer {
    const char *brokers, *in, *out, *model_path;
    struct model model;
    rd_kafka_t *consumer, *producer;
    rd_kafka_topic_t *topic;
    int64_t end[BENCH_PARTITIONS_MAX];
    int open_partitions;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    if (message->err) bench_die("delivery: %s", rd_kafka_err2str(message->err));
}

static cJSON *json_read(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) bench_die("%s: can not be opened", path);
    fseek(file, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(file);
    rewind(file);
    char *text = malloc(bytes);
    if (!text || fread(text, 1, bytes, file) != bytes) bench_die("%s: can not be read", path);
    fclose(file);
    cJSON *json = cJSON_ParseWithLength(text, bytes);
    if (!json) bench_die("%s: not JSON", path);
    free(text);
    return json;
}

static float *numbers(const cJSON *array, float *out)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, array) *out++ = (float)item->valuedouble;
    return out;
}

static void layer_read(struct layer *layer, const cJSON *json)
{
    const cJSON *weight = cJSON_GetObjectItem(json, "weight"), *row;
    layer->out = cJSON_GetArraySize(weight);
    layer->in = cJSON_GetArraySize(cJSON_GetArrayItem(weight, 0));
    if (layer->in < 1 || layer->in > WIDTH_MAX || layer->out < 1 || layer->out > WIDTH_MAX)
        bench_die("a layer's width");
    layer->weight = malloc((size_t)(layer->in * layer->out) * sizeof(float));
    layer->bias = malloc((size_t)layer->out * sizeof(float));
    if (!layer->weight || !layer->bias) bench_die("out of memory");
    float *at = layer->weight;
    cJSON_ArrayForEach(row, weight) at = numbers(row, at);
    numbers(cJSON_GetObjectItem(json, "bias"), layer->bias);
}

static void model_read(struct model *model, const char *path)
{
    char name[1024];
    snprintf(name, sizeof name, "%s.json", path);
    const cJSON *json = json_read(name), *item; /* kept: the names point into it */
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "features"))
    {
        if (model->feature_count == WIDTH_MAX) bench_die("%s: more than %d features", name, WIDTH_MAX);
        model->feature[model->feature_count++] = item->valuestring;
    }
    cJSON_ArrayForEach(item, cJSON_GetObjectItem(json, "layers"))
    {
        if (model->layer_count == LAYERS_MAX) bench_die("%s: more than %d layers", name, LAYERS_MAX);
        layer_read(&model->layer[model->layer_count++], item);
    }
}

static int model_class(const struct model *model, const float *x)
{
    float value[2][WIDTH_MAX];
    const float *from = x;
    for (int l = 0; l < model->layer_count; l++) {
        const struct layer *layer = &model->layer[l];
        float *to = value[l % 2];
        for (int o = 0; o < layer->out; o++) {
            float sum = layer->bias[o];
            for (int i = 0; i < layer->in; i++) sum += layer->weight[o * layer->in + i] * from[i];
            to[o] = l + 1 < model->layer_count ? 1.0f / (1.0f + expf(-sum)) : sum;
        }
        from = to;
    }
    int best = 0;
    for (int o = 1; o < model->layer[model->layer_count - 1].out; o++) best = from[o] > from[best] ? o : best;
    return best;
}

static int message_score(const struct model *model, const rd_kafka_message_t *message)
{
    float x[WIDTH_MAX];
    cJSON *record = cJSON_ParseWithLength(message->payload, message->len);
    for (int i = 0; i < model->feature_count; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(record, model->feature[i]);
        if (!cJSON_IsNumber(item))
            bench_die("offset %lld: no number \"%s\"", (long long)message->offset, model->feature[i]);
        x[i] = (float)item->valuedouble;
    }
    cJSON_Delete(record);
    return model_class(model, x);
}

static void message_pass(struct peer *peer, const rd_kafka_message_t *message)
{
    char text[64];
    const int class = message_score(&peer->model, message);
    const int bytes = snprintf(text, sizeof text, "{\"id\":%lld,\"prediction\":%d}", (long long)message->offset, class);
    while (
        rd_kafka_produce(peer->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, text, (size_t)bytes, NULL, 0, NULL)) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            bench_die("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(peer->producer, 10);
    }
    rd_kafka_poll(peer->producer, 0);
    peer->open_partitions -= message->offset + 1 == peer->end[message->partition];
}

static void assign(struct peer *peer)
{
    const int count = bench_partition_count(peer->consumer, peer->in);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int p = 0; p < count; p++) {
        int64_t low;
        bench_watermarks(peer->consumer, peer->in, p, &low, &peer->end[p]);
        if (peer->end[p] == low) continue;
        rd_kafka_topic_partition_list_add(list, peer->in, p)->offset = low;
        peer->open_partitions++;
    }
    rd_kafka_assign(peer->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"brokers", required_argument, NULL, 'b'},
        {"in", required_argument, NULL, 'i'},
        {"out", required_argument, NULL, 'o'},
        {"model", required_argument, NULL, 'm'},
        {0},
    };
    static struct peer peer = {.brokers = "localhost:9092"};
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'b':
            peer.brokers = optarg;
            break;
        case 'i':
            peer.in = optarg;
            break;
        case 'o':
            peer.out = optarg;
            break;
        case 'm':
            peer.model_path = optarg;
            break;
        default:
            return 64;
        }
    }
    if (!peer.in || !peer.out || !peer.model_path)
        bench_die("usage: bench_peer_cjson --brokers B --in TOPIC --out TOPIC --model PATH");
    model_read(&peer.model, peer.model_path);
    peer.consumer = bench_consumer_open(peer.brokers, 0); /* prefetch limits lifted: the defaults halve its rate */
    peer.producer = bench_producer_open(peer.brokers, "5", on_delivery);
    peer.topic = rd_kafka_topic_new(peer.producer, peer.out, NULL);
    assign(&peer);
    while (peer.open_partitions) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(peer.consumer, 100);
        if (!message) continue;
        if (message->err) bench_die("consume: %s", rd_kafka_message_errstr(message));
        message_pass(&peer, message);
        rd_kafka_message_destroy(message);
    }
    const rd_kafka_resp_err_t code = rd_kafka_flush(peer.producer, 60000);
    if (code) bench_die("flush: %s", rd_kafka_err2str(code));
    _Exit(0);
}
