/*
 * Compares an output topic, every record of it, with the reference classes, and says when its messages were appended.
 * bench_check --brokers B --out TOPIC --workload A|B|BL --records N --partitions P [--classes FILE [--near FILE]]
 *
 * An output carries "id", the offset of its input message, and "prediction", a class. Outputs of one id (they come from
 * several partitions, and from several records of a message) are compared as a multiset, so no partitioner is
 * prescribed. FILE of --classes: one byte a record. --near: 4-byte little-endian record numbers whose two best outputs
 * differ by less than 1e-6; a wrong class at their ids is counted apart. Without --classes only the number of outputs
 * of each id is compared. Prints one JSON line; exit code 0 when nothing is wrong, missing or extra, else 2.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "workload.h"

#define BATCH_MAX   10000
#define CLASSES_MAX 16
#define SPAN_MS_MAX 600000

struct check {
    const struct bench_workload *workload;
    uint64_t records;
    uint32_t partitions;
    const char *brokers, *out, *classes_file, *near_file;
    uint64_t ids;
    int32_t (*balance)[CLASSES_MAX]; /* [ids]: outputs minus what the reference wants, of each class */
    bool *is_near;                   /* [ids] */
    uint64_t outputs, messages, bytes, strange;
    int64_t base_ms, first_ms, last_ms;
    uint32_t *appended; /* [SPAN_MS_MAX]: records by millisecond since base_ms */
};

static uint8_t *file_read(const char *path, size_t *bytes_out)
{
    FILE *file = fopen(path, "rbe");
    if (!file) bench_die("%s: can not be opened", path);
    fseek(file, 0, SEEK_END);
    *bytes_out = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*bytes_out + 1);
    if (!bytes || fread(bytes, 1, *bytes_out, file) != *bytes_out) bench_die("%s: can not be read", path);
    fclose(file);
    return bytes;
}

static void expect(struct check *check)
{
    size_t class_bytes = 0, near_bytes = 0;
    uint8_t *class = check->classes_file ? file_read(check->classes_file, &class_bytes) : NULL;
    const uint64_t known = check->records < check->workload->records ? check->records : check->workload->records;
    if (class && class_bytes < known) bench_die("%s: fewer classes than records", check->classes_file);
    for (uint64_t k = 0; k < check->records; k++) {
        const uint64_t id = bench_place_of(check->workload, k, check->partitions).offset;
        check->balance[id][class ? class[k % check->workload->records] % CLASSES_MAX : 0]--;
    }
    uint8_t *near = check->near_file ? file_read(check->near_file, &near_bytes) : NULL;
    for (size_t i = 0; i + 4 <= near_bytes; i += 4) {
        uint32_t k;
        memcpy(&k, near + i, sizeof k);
        for (uint64_t at = k; at < check->records; at += check->workload->records) {
            check->is_near[bench_place_of(check->workload, at, check->partitions).offset] = true;
        }
    }
    free(class);
    free(near);
}

/* The integer behind `"key":` at or after *at; false when there is none. Writers may put blanks, and may write 3
 * as 3.0. */
static bool number_find(const char **at, const char *end, const char *key, uint64_t *value_out)
{
    const char *found = memmem(*at, (size_t)(end - *at), key, strlen(key));
    if (!found) return false;
    const char *digit = found + strlen(key);
    while (digit < end && (*digit == ' ' || *digit == ':')) digit++;
    if (digit == end || *digit < '0' || *digit > '9') return false;
    uint64_t value = 0;
    for (; digit < end && *digit >= '0' && *digit <= '9'; digit++) value = value * 10 + (uint64_t)(*digit - '0');
    *at = digit;
    *value_out = value;
    return true;
}

/* Counts the outputs in one message: one JSON object, several lines, or an array of them. */
static uint64_t message_count(struct check *check, const char *at, const char *end)
{
    uint64_t id, class, count = 0;
    while (number_find(&at, end, "\"id\"", &id)) {
        if (!number_find(&at, end, "\"prediction\"", &class) || id >= check->ids || class >= CLASSES_MAX) {
            check->strange++;
            continue;
        }
        check->balance[id][check->classes_file ? class : 0]++;
        count++;
    }
    if (!count) check->strange++;
    return count;
}

static void message_take(struct check *check, const rd_kafka_message_t *message)
{
    if (message->err) bench_die("read \"%s\": %s", check->out, rd_kafka_message_errstr(message));
    const char *text = message->payload;
    const uint64_t count = message_count(check, text, text + message->len);
    const int64_t stamp_ms = rd_kafka_message_timestamp(message, NULL);
    check->outputs += count;
    check->messages++;
    check->bytes += message->len;
    if (!check->first_ms) check->base_ms = stamp_ms - SPAN_MS_MAX / 2;
    if (!check->first_ms || stamp_ms < check->first_ms) check->first_ms = stamp_ms;
    if (stamp_ms > check->last_ms) check->last_ms = stamp_ms;
    const int64_t slot = stamp_ms - check->base_ms;
    if (slot >= 0 && slot < SPAN_MS_MAX) check->appended[slot] += (uint32_t)count;
}

static void topic_read(struct check *check)
{
    static rd_kafka_message_t *batch[BATCH_MAX];
    rd_kafka_t *consumer = bench_consumer_open(check->brokers, 0);
    const int partitions = bench_partition_count(consumer, check->out);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    int64_t left = 0;
    for (int p = 0; p < partitions; p++) {
        int64_t low, high;
        bench_watermarks(consumer, check->out, p, &low, &high);
        left += high - low;
        rd_kafka_topic_partition_list_add(list, check->out, p)->offset = low;
    }
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);
    int64_t deadline = bench_now_ns() + INT64_C(30000000000);
    while (left > 0) {
        const ssize_t count = rd_kafka_consume_batch_queue(queue, 1000, batch, BATCH_MAX);
        for (ssize_t i = 0; i < count; i++) {
            message_take(check, batch[i]);
            rd_kafka_message_destroy(batch[i]);
        }
        left -= count > 0 ? count : 0;
        if (count > 0) deadline = bench_now_ns() + INT64_C(30000000000);
        if (bench_now_ns() > deadline)
            bench_die("read \"%s\": nothing for 30 s, %lld to go", check->out, (long long)left);
    }
    rd_kafka_queue_destroy(queue);
}

/* Milliseconds at which `share` of the records were there. */
static int64_t share_ms(const struct check *check, double share)
{
    uint64_t seen = 0;
    for (int64_t slot = 0; slot < SPAN_MS_MAX; slot++) {
        seen += check->appended[slot];
        if ((double)seen >= share * (double)check->outputs) return check->base_ms + slot;
    }
    return check->last_ms;
}

static int report(const struct check *check)
{
    uint64_t wrong = 0, near = 0, missing = 0, extra = 0;
    for (uint64_t id = 0; id < check->ids; id++) {
        int64_t sum = 0, more = 0;
        for (size_t class = 0; class < CLASSES_MAX; class ++) {
            sum += check->balance[id][class];
            if (check->balance[id][class] > 0) more += check->balance[id][class];
        }
        if (sum > 0) extra += (uint64_t)sum;
        if (sum < 0) missing += (uint64_t)-sum;
        *(check->is_near[id] ? &near : &wrong) += (uint64_t)(sum > 0 ? more - sum : more);
    }
    printf("{\"outputs\": %llu, \"messages\": %llu, \"bytes\": %llu, \"wrong\": %llu, \"near_ties\": %llu, "
           "\"missing\": %llu, "
           "\"extra\": %llu, \"strange\": %llu, \"first_ms\": %lld, \"p10_ms\": %lld, \"p90_ms\": %lld, \"last_ms\": "
           "%lld}\n",
           (unsigned long long)check->outputs, (unsigned long long)check->messages, (unsigned long long)check->bytes,
           (unsigned long long)wrong, (unsigned long long)near, (unsigned long long)missing, (unsigned long long)extra,
           (unsigned long long)check->strange, (long long)check->first_ms, (long long)share_ms(check, 0.1),
           (long long)share_ms(check, 0.9), (long long)check->last_ms);
    return wrong || missing || extra || check->strange ? 2 : 0;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"brokers", required_argument, NULL, 'b'},    {"out", required_argument, NULL, 'o'},
        {"workload", required_argument, NULL, 'w'},   {"records", required_argument, NULL, 'r'},
        {"partitions", required_argument, NULL, 'p'}, {"classes", required_argument, NULL, 'c'},
        {"near", required_argument, NULL, 'n'},       {0},
    };
    static struct check check = {.brokers = "localhost:9092", .partitions = 4};
    for (int letter; (letter = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (letter) {
        case 'b':
            check.brokers = optarg;
            break;
        case 'o':
            check.out = optarg;
            break;
        case 'w':
            check.workload = bench_workload_find(optarg);
            break;
        case 'r':
            check.records = strtoull(optarg, NULL, 10);
            break;
        case 'p':
            check.partitions = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            check.classes_file = optarg;
            break;
        case 'n':
            check.near_file = optarg;
            break;
        default:
            return 64;
        }
    }
    if (!check.out || !check.workload || !check.records || !check.partitions) {
        bench_die(
            "usage: bench_check --brokers B --out TOPIC --workload A|B|BL --records N [--partitions P] [--classes FILE "
            "[--near FILE]]");
    }
    check.ids = bench_place_of(check.workload, check.records - 1, check.partitions).offset + 1;
    check.balance = calloc(check.ids, sizeof *check.balance);
    check.is_near = calloc(check.ids, sizeof *check.is_near);
    check.appended = calloc(SPAN_MS_MAX, sizeof *check.appended);
    if (!check.balance || !check.is_near || !check.appended) bench_die("out of memory");
    expect(&check);
    topic_read(&check);
    fflush(stdout);
    const int code = report(&check);
    fflush(stdout);
    _Exit(code);
}
