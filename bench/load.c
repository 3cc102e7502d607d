/*
 * Topics for the benchmarks.
 *   bench_load [--brokers B] create TOPIC PARTITIONS | delete TOPIC | size TOPIC | fill TOPIC WORKLOAD [RECORDS]
 *   bench_load show WORKLOAD COUNT
 * fill makes the topic's records at full speed and ends when all are acknowledged; the topic must be new and empty.
 */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "workload.h"

#define BATCH 10000

static uint64_t failures;

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    (void)client, (void)opaque;
    failures += message->err != 0;
}

/* Message m of the workload at out; returns its bytes. */
static size_t message_write(const struct bench_workload *workload, uint64_t m, uint64_t records, char *out)
{
    const uint64_t first = m * workload->records_per_message;
    size_t at = 0;
    for (uint64_t k = first; k < first + workload->records_per_message && k < records; k++) {
        if (k > first) out[at++] = '\n';
        at += workload->write(k % workload->records, out + at); /* a longer topic repeats the records */
    }
    return at;
}

/* Messages of one partition, first, first + partitions, ...: one call of the client, which copies them. */
static void batch_send(rd_kafka_t *producer, rd_kafka_topic_t *topic, int partition, rd_kafka_message_t *message,
                       int count)
{
    int sent = 0;
    while (sent < count) {
        sent += rd_kafka_produce_batch(topic, partition, RD_KAFKA_MSG_F_COPY, message + sent, count - sent);
        rd_kafka_poll(producer, sent < count ? 100 : 0); /* a full queue drains */
    }
}

static void fill(const char *brokers, const char *name, const struct bench_workload *workload, uint64_t records)
{
    rd_kafka_t *producer = bench_producer_open(brokers, "50", on_delivery);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    const int partitions = bench_partition_count(producer, name);
    const size_t message_bytes = (BENCH_RECORD_BYTES_MAX + 1) * workload->records_per_message;
    const int batch = (int)(BATCH / workload->records_per_message);
    char *bytes = malloc((size_t)batch * message_bytes);
    rd_kafka_message_t *message = calloc((size_t)batch, sizeof *message);
    if (!bytes || !message) bench_die("out of memory");
    const uint64_t messages = (records + workload->records_per_message - 1) / workload->records_per_message;
    for (uint64_t block = 0; block < messages; block += (uint64_t)(batch * partitions)) {
        for (int p = 0; p < partitions; p++) {
            int count = 0;
            for (uint64_t m = block + (uint64_t)p; m < messages && count < batch; m += (uint64_t)partitions, count++) {
                message[count] = (rd_kafka_message_t){.payload = bytes + (size_t)count * message_bytes};
                message[count].len = message_write(workload, m, records, message[count].payload);
            }
            batch_send(producer, topic, p, message, count);
        }
    }
    const rd_kafka_resp_err_t code = rd_kafka_flush(producer, 120000);
    if (code) bench_die("flush: %s", rd_kafka_err2str(code));
    if (failures) bench_die("%llu messages were not taken by the broker", (unsigned long long)failures);
    free(bytes);
    free(message);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    printf("%llu records in %llu messages\n", (unsigned long long)records, (unsigned long long)messages);
}

static const struct bench_workload *workload_of(const char *name)
{
    const struct bench_workload *workload = bench_workload_find(name);
    if (!workload) bench_die("workload \"%s\": not one of A, B, BL", name);
    return workload;
}

/* Messages in a topic that is there. */
static void size(const char *brokers, const char *topic)
{
    rd_kafka_t *consumer = bench_consumer_open(brokers, 0);
    int64_t total = 0;
    for (int p = bench_partition_count(consumer, topic); p-- > 0;) {
        int64_t low, high;
        bench_watermarks(consumer, topic, p, &low, &high);
        total += high - low;
    }
    rd_kafka_destroy(consumer);
    printf("%lld\n", (long long)total);
}

static void show(const struct bench_workload *workload, uint64_t records)
{
    char record[BENCH_RECORD_BYTES_MAX + 1];
    for (uint64_t k = 0; k < records; k++) {
        const size_t bytes = workload->write(k, record);
        record[bytes] = '\n';
        fwrite(record, 1, bytes + 1, stdout);
    }
}

int main(int argc, char **argv)
{
    const char *brokers = "localhost:9092";
    if (argc > 2 && !strcmp(argv[1], "--brokers")) {
        brokers = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc == 4 && !strcmp(argv[1], "create")) {
        bench_topic_create(brokers, argv[2], atoi(argv[3]));
    } else if (argc == 3 && !strcmp(argv[1], "delete")) {
        bench_topic_delete(brokers, argv[2]);
    } else if (argc >= 4 && !strcmp(argv[1], "fill")) {
        const struct bench_workload *workload = workload_of(argv[3]);
        fill(brokers, argv[2], workload, argc > 4 ? strtoull(argv[4], NULL, 10) : workload->records);
    } else if (argc == 3 && !strcmp(argv[1], "size")) {
        size(brokers, argv[2]);
    } else if (argc == 4 && !strcmp(argv[1], "show")) {
        show(workload_of(argv[2]), strtoull(argv[3], NULL, 10));
    } else {
        bench_die("usage: bench_load [--brokers B] create TOPIC PARTITIONS | delete TOPIC | size TOPIC | fill TOPIC "
                  "A|B|BL [RECORDS] | "
                  "show A|B COUNT");
    }
    return 0;
}
