/*
 * The floor: what librdkafka itself costs when it is called well. Reads every message that a topic held at start, in
 * batches, and writes for each a message of the size of a scored one to the same partition, in batches, without a copy.
 * No decoding, no model. Prints one JSON line: messages, CPU nanoseconds of each thread. Usage: bench_passthrough
 * --brokers B --in T --out T [--lanes N]
 */
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client.h"
#include "workload.h"

#define BATCH_MAX            10000
#define SLOTS                64
#define LANES_MAX            16
#define OUT_RECORD_BYTES_MAX 64

struct options {
    const char *brokers, *in, *out, *linger_ms;
    int lanes;
    size_t repeat; /* records a message, one line each */
    bool follow;   /* until killed, with short waits: for latency */
    pthread_barrier_t *done;
};

/* The outputs of one batch, until the last of them is delivered. */
struct slot {
    char *bytes; /* [BATCH_MAX][out_bytes] */
    rd_kafka_message_t *message;
    size_t pending;
};

struct lane {
    const struct options *options;
    int index;
    pthread_t thread;
    rd_kafka_t *consumer, *producer;
    rd_kafka_topic_t *topic;
    struct slot slot[SLOTS];
    rd_kafka_message_t *in[BATCH_MAX];
    int64_t end[BENCH_PARTITIONS_MAX]; /* high watermark at start; 0 where another lane reads */
    size_t open_partitions;
    uint64_t messages;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    struct slot *slot = message->_private;
    slot->pending--;
    if (message->err) bench_die("delivery: %s", rd_kafka_err2str(message->err));
}

/* The partitions of this lane, from their first message to the last one there now. */
static void lane_assign(struct lane *lane)
{
    const int count = bench_partition_count(lane->consumer, lane->options->in);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int p = lane->index; p < count; p += lane->options->lanes) {
        int64_t low;
        bench_watermarks(lane->consumer, lane->options->in, p, &low, &lane->end[p]);
        if (lane->options->follow) lane->end[p] = INT64_MAX;
        if (lane->end[p] <= low) continue;
        rd_kafka_topic_partition_list_add(list, lane->options->in, p)->offset = low;
        lane->open_partitions++;
    }
    if (lane->open_partitions) {
        const rd_kafka_resp_err_t code = rd_kafka_assign(lane->consumer, list);
        if (code) bench_die("assign: %s", rd_kafka_err2str(code));
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static struct slot *slot_take(struct lane *lane)
{
    for (;;) {
        for (size_t i = 0; i < SLOTS; i++) {
            if (!lane->slot[i].pending) return &lane->slot[i];
        }
        rd_kafka_poll(lane->producer, 100);
    }
}

/* Messages a batch: as many bytes of output whatever a message holds. */
static size_t batch_max(const struct options *options)
{
    return options->repeat < BATCH_MAX / 100 ? BATCH_MAX / options->repeat : 100;
}

/* {"id":OFFSET,"prediction":0}, as many lines as the input has records. */
static size_t output_write(const struct options *options, int64_t offset, char *out)
{
    memcpy(out, "{\"id\":", 6);
    size_t line = 6 + bench_print_u64((uint64_t)offset, out + 6);
    memcpy(out + line, ",\"prediction\":0}\n", 17);
    line += 17;
    for (size_t i = 1; i < options->repeat; i++) memcpy(out + i * line, out, line);
    return options->repeat * line - 1;
}

/* Messages for one partition go out in one call. Those of a fetched batch come in runs of one partition. */
static void send_run(struct lane *lane, int partition, rd_kafka_message_t *message, size_t count)
{
    const size_t sent = (size_t)rd_kafka_produce_batch(lane->topic, partition, 0, message, (int)count);
    if (sent != count) bench_die("produce: %zu of %zu taken", sent, count);
}

static void batch_pass(struct lane *lane, size_t count)
{
    const size_t out_bytes = OUT_RECORD_BYTES_MAX * lane->options->repeat;
    struct slot *slot = slot_take(lane);
    size_t used = 0, run = 0;
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_message_t *in = lane->in[i];
        if (in->err) bench_die("consume: %s", rd_kafka_message_errstr(in));
        if (in->offset + 1 == lane->end[in->partition]) lane->open_partitions--;
        if (in->offset >= lane->end[in->partition]) continue;
        rd_kafka_message_t *out = &slot->message[used];
        char *bytes = slot->bytes + used * out_bytes;
        *out = (rd_kafka_message_t){.partition = in->partition, .payload = bytes, ._private = slot};
        out->len = output_write(lane->options, in->offset, bytes);
        if (used > run && slot->message[run].partition != in->partition) {
            slot->pending += used - run;
            send_run(lane, slot->message[run].partition, &slot->message[run], used - run);
            run = used;
        }
        used++;
    }
    if (used > run) {
        slot->pending += used - run;
        send_run(lane, slot->message[run].partition, &slot->message[run], used - run);
    }
    for (size_t i = 0; i < count; i++) rd_kafka_message_destroy(lane->in[i]);
    lane->messages += used;
}

static void *lane_run(void *argument)
{
    struct lane *lane = argument;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(lane->consumer);
    lane_assign(lane);
    while (lane->open_partitions) {
        const ssize_t count =
            rd_kafka_consume_batch_queue(queue, lane->options->follow ? 1 : 100, lane->in, batch_max(lane->options));
        if (count < 0) bench_die("consume: %s", rd_kafka_err2str(rd_kafka_last_error()));
        if (count > 0) batch_pass(lane, (size_t)count);
        rd_kafka_poll(lane->producer, 0);
    }
    const rd_kafka_resp_err_t code = rd_kafka_flush(lane->producer, 60000);
    if (code) bench_die("flush: %s", rd_kafka_err2str(code));
    rd_kafka_queue_destroy(queue);
    pthread_barrier_wait(lane->options->done);
    if (lane->index) pause(); /* a thread that has ended would be missing in the times by thread */
    return NULL;
}

static void lane_open(struct lane *lane, const struct options *options, int index)
{
    lane->options = options;
    lane->index = index;
    lane->consumer = bench_consumer_open(options->brokers, options->follow);
    lane->producer = bench_producer_open(options->brokers, options->linger_ms, on_delivery);
    lane->topic = rd_kafka_topic_new(lane->producer, options->out, NULL);
    for (size_t i = 0; i < SLOTS; i++) {
        lane->slot[i].bytes = malloc(batch_max(options) * OUT_RECORD_BYTES_MAX * options->repeat);
        lane->slot[i].message = calloc(BATCH_MAX, sizeof *lane->slot[i].message);
        if (!lane->slot[i].bytes || !lane->slot[i].message) bench_die("out of memory");
    }
}

static struct options options_read(int argc, char **argv)
{
    static const struct option known[] = {
        {"brokers", required_argument, NULL, 'b'}, {"in", required_argument, NULL, 'i'},
        {"out", required_argument, NULL, 'o'},     {"linger-ms", required_argument, NULL, 'l'},
        {"lanes", required_argument, NULL, 'n'},   {"records-per-message", required_argument, NULL, 'r'},
        {"follow", no_argument, NULL, 'f'},        {0},
    };
    struct options options = {.brokers = "localhost:9092", .linger_ms = "50", .lanes = 1, .repeat = 1};
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'b':
            options.brokers = optarg;
            break;
        case 'i':
            options.in = optarg;
            break;
        case 'o':
            options.out = optarg;
            break;
        case 'l':
            options.linger_ms = optarg;
            break;
        case 'n':
            options.lanes = atoi(optarg);
            break;
        case 'r':
            options.repeat = strtoul(optarg, NULL, 10);
            break;
        case 'f':
            options.follow = true;
            break;
        default:
            exit(64);
        }
    }
    if (!options.in || !options.out || options.lanes < 1 || options.lanes > LANES_MAX || options.repeat < 1) {
        bench_die("usage: bench_passthrough --brokers B --in TOPIC --out TOPIC [--lanes 1..%d] [--linger-ms N] "
                  "[--records-per-message N] [--follow]",
                  LANES_MAX);
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = options_read(argc, argv);
    pthread_barrier_t done;
    pthread_barrier_init(&done, NULL, (unsigned)options.lanes);
    options.done = &done;
    struct lane *lane = calloc((size_t)options.lanes, sizeof *lane);
    if (!lane) bench_die("out of memory");
    for (int i = 0; i < options.lanes; i++) lane_open(&lane[i], &options, i);
    for (int i = 1; i < options.lanes; i++) {
        if (pthread_create(&lane[i].thread, NULL, lane_run, &lane[i])) bench_die("create thread");
    }
    lane_run(&lane[0]);
    uint64_t messages = 0;
    for (int i = 0; i < options.lanes; i++) messages += lane[i].messages;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"messages\": %llu, \"rss_kb\": %ld, \"cpu_ns_by_thread\": ", (unsigned long long)messages,
           usage.ru_maxrss);
    bench_threads_print(stdout);
    puts("}");
    fflush(stdout);
    _Exit(0); /* everything is delivered; taking the clients apart is not the work that is measured */
}
