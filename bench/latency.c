/*
 * Latency from produce to a consumer that sees the output, at a fixed rate, by one clock.
 * bench_latency --brokers B --in TOPIC --out TOPIC [--rate 20000] [--warm-s 3] [--seconds 10]
 *
 * Sends records of workload B, a burst every 2 ms, round-robin over the partitions of a new, empty input topic, and
 * reads the output topic, where somebody writes {"id":OFFSET,...} for each. Latency of an output: when it is seen here,
 * minus when the first record of that offset was handed to the client here (the records of one offset, one a partition,
 * leave in the same burst). With
 * --in and --out the same topic it reads its own input: the floor of one broker hop. The measured window begins after
 * --warm-s seconds from the first output. Prints one JSON line.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "workload.h"

#define BURST_NS       INT64_C(2000000)
#define BATCH_MAX      1000
#define FIRST_OUTPUT_S 60 /* how long the other side may take to begin */
#define LAST_OUTPUT_S  20 /* how long the last outputs may take */

struct latency {
    const char *brokers, *in, *out;
    uint64_t rate;
    int64_t warm_s, seconds;
    int partitions;
    bool is_floor;
    uint64_t record_max;
    _Atomic int64_t *sent_ns;                   /* [record_max] when record k was handed to the client */
    _Atomic int64_t first_seen_ns;              /* of any output; 0 none yet */
    _Atomic uint64_t window_first, window_last; /* records of the window: [first, last) */
    _Atomic bool is_over;
    uint64_t *seen;      /* [record_max / partitions] outputs of each id */
    int64_t *latency_ns; /* [record_max] in order of arrival */
    uint64_t *record;    /* [record_max] which record that was */
    _Atomic uint64_t outputs;
    uint64_t late_bursts, strange;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    if (message->err) bench_die("delivery: %s", rd_kafka_err2str(message->err));
}

/* Sends records [first, first + count), each to its partition, and notes when. */
static void burst_send(struct latency *latency, rd_kafka_topic_t *topic, uint64_t first, uint64_t count)
{
    const struct bench_workload *workload = bench_workload_find("B");
    char text[BENCH_RECORD_BYTES_MAX];
    for (uint64_t k = first; k < first + count; k++) {
        const size_t bytes = workload->write(k % workload->records, text);
        atomic_store_explicit(&latency->sent_ns[k], bench_now_ns(), memory_order_release);
        if (rd_kafka_produce(topic, (int32_t)(k % (uint64_t)latency->partitions), RD_KAFKA_MSG_F_COPY, text, bytes,
                             NULL, 0, NULL)) {
            bench_die("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        }
    }
}

static void sleep_until(int64_t when_ns)
{
    const struct timespec when = {.tv_sec = when_ns / 1000000000, .tv_nsec = when_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL)) continue;
}

/* The sender's loop: until the window is over. */
static void send_all(struct latency *latency)
{
    rd_kafka_t *producer = bench_producer_open(latency->brokers, "0.5", on_delivery);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, latency->in, NULL);
    const uint64_t burst = latency->rate * (uint64_t)BURST_NS / 1000000000;
    const int64_t start = bench_now_ns();
    uint64_t k = 0;
    for (int64_t tick = 0; !latency->window_last; tick++) {
        const int64_t due = start + tick * BURST_NS;
        sleep_until(due);
        const int64_t now = bench_now_ns(), first_seen = latency->first_seen_ns;
        if (latency->window_first && now > due + BURST_NS) latency->late_bursts++;
        if (!first_seen && now - start > FIRST_OUTPUT_S * INT64_C(1000000000))
            bench_die("no output within %d s", FIRST_OUTPUT_S);
        if (first_seen && !latency->window_first && now - first_seen > latency->warm_s * 1000000000)
            latency->window_first = k;
        if (latency->window_first && k >= latency->window_first + latency->rate * (uint64_t)latency->seconds) {
            latency->window_last = k;
            break;
        }
        burst_send(latency, topic, k, burst);
        k += burst;
        rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, 10000);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
}

/* The offset that an output speaks of; false when it is no output. */
static bool id_of(const struct latency *latency, const rd_kafka_message_t *message, uint64_t *id_out)
{
    if (latency->is_floor) {
        *id_out = (uint64_t)message->offset;
        return true;
    }
    const char *text = message->payload, *end = text + message->len;
    const char *at = memmem(text, message->len, "\"id\":", 5);
    if (!at) return false;
    uint64_t id = 0;
    for (at += 5; at < end && *at >= '0' && *at <= '9'; at++) id = id * 10 + (uint64_t)(*at - '0');
    *id_out = id;
    return true;
}

static void output_take(struct latency *latency, const rd_kafka_message_t *message, int64_t now)
{
    const uint64_t partitions = (uint64_t)latency->partitions;
    uint64_t id;
    if (message->err) bench_die("read: %s", rd_kafka_message_errstr(message));
    if (!id_of(latency, message, &id) || id >= latency->record_max / partitions || !latency->sent_ns[id * partitions]) {
        latency->strange++;
        return;
    }
    if (!latency->first_seen_ns) latency->first_seen_ns = now;
    const uint64_t at = latency->outputs;
    if (latency->seen[id]++ >= partitions || at == latency->record_max) {
        latency->strange++; /* answered more often than asked */
        return;
    }
    latency->record[at] = id * partitions;
    latency->latency_ns[at] = now - latency->sent_ns[id * partitions];
    latency->outputs = at + 1;
}

static void *read_all(void *argument)
{
    struct latency *latency = argument;
    static rd_kafka_message_t *batch[BATCH_MAX];
    rd_kafka_t *consumer = bench_consumer_open(latency->brokers, 1);
    const int partitions = bench_partition_count(consumer, latency->out);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int p = 0; p < partitions; p++) rd_kafka_topic_partition_list_add(list, latency->out, p)->offset = 0;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    while (!latency->is_over) {
        /* One message is waited for; those behind it are there already and are taken without waiting. */
        rd_kafka_message_t *first = rd_kafka_consumer_poll(consumer, 100);
        if (!first) continue;
        int64_t now = bench_now_ns();
        output_take(latency, first, now);
        rd_kafka_message_destroy(first);
        ssize_t count;
        while ((count = rd_kafka_consume_batch_queue(queue, 0, batch, BATCH_MAX)) > 0) {
            now = bench_now_ns();
            for (ssize_t i = 0; i < count; i++) {
                output_take(latency, batch[i], now);
                rd_kafka_message_destroy(batch[i]);
            }
        }
    }
    rd_kafka_queue_destroy(queue);
    return NULL;
}

static int compare(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static double ms_at(const int64_t *window, uint64_t index)
{
    return (double)window[index] * 1e-6;
}

static int report(const struct latency *latency)
{
    const uint64_t sent = latency->window_last - latency->window_first;
    int64_t *window = malloc((latency->outputs + 1) * sizeof *window);
    uint64_t count = 0;
    if (!window) bench_die("out of memory");
    for (uint64_t i = 0; i < latency->outputs; i++) {
        const bool is_inside = latency->record[i] >= latency->window_first && latency->record[i] < latency->window_last;
        if (is_inside) window[count++] = latency->latency_ns[i];
    }
    if (!count) bench_die("no record of the window was answered");
    qsort(window, count, sizeof *window, compare);
    printf(
        "{\"sent\": %llu, \"answered\": %llu, \"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, "
        "\"max_ms\": %.3f, \"late_bursts\": %llu, \"strange\": %llu}\n",
        (unsigned long long)sent, (unsigned long long)count, ms_at(window, count * 500 / 1000),
        ms_at(window, count * 900 / 1000), ms_at(window, count * 990 / 1000), ms_at(window, count * 999 / 1000),
        ms_at(window, count - 1), (unsigned long long)latency->late_bursts, (unsigned long long)latency->strange);
    free(window);
    return count == sent && !latency->strange ? 0 : 2;
}

/* True once every record sent has been answered, or the deadline is past. */
static void wait_answered(struct latency *latency)
{
    const int64_t deadline = bench_now_ns() + LAST_OUTPUT_S * INT64_C(1000000000);
    while (latency->outputs < latency->window_last && bench_now_ns() < deadline) sleep_until(bench_now_ns() + BURST_NS);
    latency->is_over = true;
}

static void latency_open(struct latency *latency)
{
    rd_kafka_t *client = bench_consumer_open(latency->brokers, 1);
    latency->partitions = bench_partition_count(client, latency->in);
    for (int p = 0; p < latency->partitions; p++) {
        int64_t low, high;
        bench_watermarks(client, latency->in, p, &low, &high);
        if (high) bench_die("topic \"%s\" is not empty", latency->in);
    }
    rd_kafka_destroy(client);
    latency->is_floor = !strcmp(latency->in, latency->out);
    latency->record_max = latency->rate * (uint64_t)(FIRST_OUTPUT_S + latency->warm_s + latency->seconds + 2);
    latency->sent_ns = calloc(latency->record_max, sizeof *latency->sent_ns);
    latency->seen = calloc(latency->record_max, sizeof *latency->seen);
    latency->latency_ns = calloc(latency->record_max, sizeof *latency->latency_ns);
    latency->record = calloc(latency->record_max, sizeof *latency->record);
    if (!latency->sent_ns || !latency->seen || !latency->latency_ns || !latency->record) bench_die("out of memory");
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"brokers", required_argument, NULL, 'b'},
        {"in", required_argument, NULL, 'i'},
        {"out", required_argument, NULL, 'o'},
        {"rate", required_argument, NULL, 'r'},
        {"warm-s", required_argument, NULL, 'w'},
        {"seconds", required_argument, NULL, 's'},
        {0},
    };
    static struct latency latency = {.brokers = "localhost:9092", .rate = 20000, .warm_s = 3, .seconds = 10};
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'b':
            latency.brokers = optarg;
            break;
        case 'i':
            latency.in = optarg;
            break;
        case 'o':
            latency.out = optarg;
            break;
        case 'r':
            latency.rate = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            latency.warm_s = atoll(optarg);
            break;
        case 's':
            latency.seconds = atoll(optarg);
            break;
        default:
            return 64;
        }
    }
    if (!latency.in || !latency.out || latency.rate < 500 || latency.rate % 2000 || latency.seconds < 1) {
        bench_die("usage: bench_latency --brokers B --in TOPIC --out TOPIC [--rate N, a multiple of 2000] [--warm-s N] "
                  "[--seconds N]");
    }
    latency_open(&latency);
    pthread_t reader;
    if (pthread_create(&reader, NULL, read_all, &latency)) bench_die("create thread");
    send_all(&latency);
    wait_answered(&latency);
    pthread_join(reader, NULL);
    const int code = report(&latency);
    fflush(stdout);
    _Exit(code);
}
