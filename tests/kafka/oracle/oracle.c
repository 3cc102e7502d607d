/* oracle: arguments, clients, and the few administrative calls that the tests need. */
#include "oracle.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ADMIN_MS 30000
#define OPEN_MS  60000 /* a broker ends a transaction that is open for 30 s, and looks every 10 s */

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("oracle: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

rd_kafka_t *client_open(const struct options *opt, rd_kafka_type_t type, const char *const *extra)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256];
    rd_kafka_conf_set(conf, "bootstrap.servers", opt->servers, NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "2", NULL, 0);
    rd_kafka_conf_set(conf, "client.id", "oracle", NULL, 0);
    for (; extra[0]; extra += 2) {
        if (rd_kafka_conf_set(conf, extra[0], extra[1], reason, sizeof reason)) die("%s", reason);
    }
    rd_kafka_t *client = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!client) die("%s", reason);
    return client;
}

int32_t partition_count(rd_kafka_t *client, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    const rd_kafka_resp_err_t code = rd_kafka_metadata(client, 0, handle, &metadata, ADMIN_MS);
    if (code) die("topic %s: %s", topic, rd_kafka_err2str(code));
    const int32_t count = metadata->topics[0].partition_cnt;
    if (!count) die("topic %s: %s", topic, rd_kafka_err2str(metadata->topics[0].err));
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return count;
}

/* Where the partitions end, records of open transactions included. */
static int64_t *ends_ask(rd_kafka_t *client, const char *topic, int32_t count)
{
    int64_t *const end = calloc((size_t)count + 1, sizeof *end), low;
    if (!end) die("out of memory");
    for (int32_t i = 0; i < count; i++) {
        const rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(client, topic, i, &low, &end[i], ADMIN_MS);
        if (code) die("end of %s[%d]: %s", topic, i, rd_kafka_err2str(code));
    }
    return end;
}

void topic_read(const struct options *opt, const char *topic, record_fn *take, void *context)
{
    const char *const extra[] = {"group.id",
                                 "oracle",
                                 "enable.partition.eof",
                                 "true",
                                 "isolation.level",
                                 "read_committed",
                                 "enable.auto.commit",
                                 "false",
                                 "fetch.message.max.bytes",
                                 "12000000",
                                 "fetch.max.bytes",
                                 "50000000",
                                 "fetch.wait.max.ms",
                                 "20",
                                 NULL};
    rd_kafka_t *client = client_open(opt, RD_KAFKA_CONSUMER, extra);
    rd_kafka_poll_set_consumer(client);
    const int32_t count = partition_count(client, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    bool *const is_read = calloc((size_t)count + 1, sizeof *is_read);
    int32_t left = count;

    if (!is_read) die("out of memory");
    /* Of a consumer that reads committed records alone, the client asks for the end of these. */
    const char *const all[] = {"isolation.level", "read_uncommitted", NULL};
    rd_kafka_t *const looker = client_open(opt, RD_KAFKA_CONSUMER, all);
    int64_t *const end = ends_ask(looker, topic, count);
    for (int32_t i = 0; i < count && opt->is_partial; i++) end[i] = 0; /* what is committed by now is enough */
    rd_kafka_destroy(looker);
    for (int32_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(client, list);
    while (left > 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, OPEN_MS);
        if (!message)
            die("topic %s: no end reached within %d s: a transaction is open, and what is behind it is not read", topic,
                OPEN_MS / 1000);
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) { /* ends once more when an open transaction has ended */
            const bool is_end = message->offset >= end[message->partition];
            left -= is_end && !is_read[message->partition];
            is_read[message->partition] |= is_end;
        } else if (message->err)
            die("topic %s: %s", topic, rd_kafka_message_errstr(message));
        else
            take(context, message);
        rd_kafka_message_destroy(message);
    }
    free(is_read);
    free(end);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(client);
    rd_kafka_destroy(client);
}

static void topic_results(const rd_kafka_topic_result_t **results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code) die("%s: %s", rd_kafka_topic_result_name(results[i]), rd_kafka_topic_result_error_string(results[i]));
    }
}

static rd_kafka_event_t *event_wait(rd_kafka_queue_t *queue, const char *what)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ADMIN_MS);
    if (!event) die("%s: no answer", what);
    if (rd_kafka_event_error(event)) die("%s: %s", what, rd_kafka_event_error_string(event));
    return event;
}

/* Whether a broker can serve the topic: it answers before it can. */
static bool topic_is_there(rd_kafka_t *client, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *const handle = rd_kafka_topic_new(client, name, NULL);
    bool is_there = false;
    if (!rd_kafka_metadata(client, 0, handle, &metadata, ADMIN_MS)) {
        is_there = metadata->topics[0].partition_cnt > 0;
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_destroy(handle);
    return is_there;
}

/* Each of the brokers has topics of its own accord, the one later than the other. */
static void topics_await(const struct options *opt, char **names, int count)
{
    char *const servers = strdup(opt->servers), *rest = servers;
    if (!servers) die("out of memory");
    for (char *server; (server = strsep(&rest, ","));) {
        struct options one = *opt;
        one.servers = server; /* a client asks the broker that it has begun with */
        rd_kafka_t *const client = client_open(&one, RD_KAFKA_PRODUCER, (const char *const[]){NULL});
        for (int i = 0, tries = 0; i < count; i++) {
            while (!topic_is_there(client, names[i])) {
                if (++tries > ADMIN_MS / 50)
                    die("%s: %s does not know it after %d s", names[i], server, ADMIN_MS / 1000);
                rd_kafka_poll(client, 50);
            }
        }
        rd_kafka_destroy(client);
    }
    free(servers);
}

/* oracle topic NAME:PARTITIONS[:KEY=VALUE]...: creates topics, and waits until all brokers know them. */
static int topics_create(const struct options *opt, char **names, int count)
{
    rd_kafka_t *client = client_open(opt, RD_KAFKA_PRODUCER, (const char *const[]){NULL});
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    char reason[256];
    for (int i = 0; i < count; i++) {
        char *rest = names[i], *name = strsep(&rest, ":"), *partitions = strsep(&rest, ":");
        rd_kafka_NewTopic_t *topic =
            rd_kafka_NewTopic_new(name, partitions ? atoi(partitions) : 4, -1, reason, sizeof reason);
        if (!topic) die("%s", reason);
        for (char *pair; (pair = strsep(&rest, ":"));) {
            char *value = strchr(pair, '=');
            if (!value) die("\"%s\" is no KEY=VALUE", pair);
            *value = '\0';
            rd_kafka_NewTopic_set_config(topic, pair, value + 1);
        }
        rd_kafka_CreateTopics(client, &topic, 1, NULL, queue);
        rd_kafka_event_t *event = event_wait(queue, name);
        size_t results;
        const rd_kafka_topic_result_t **list =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &results);
        topic_results(list, results);
        rd_kafka_event_destroy(event);
        rd_kafka_NewTopic_destroy(topic);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    topics_await(opt, names, count);
    return 0;
}

/* oracle grow TOPIC PARTITIONS */
static int topic_grow(const struct options *opt, const char *name, int partitions)
{
    rd_kafka_t *client = client_open(opt, RD_KAFKA_PRODUCER, (const char *const[]){NULL});
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    char reason[256];
    size_t results;
    rd_kafka_NewPartitions_t *grown = rd_kafka_NewPartitions_new(name, (size_t)partitions, reason, sizeof reason);
    if (!grown) die("%s", reason);
    rd_kafka_CreatePartitions(client, &grown, 1, NULL, queue);
    rd_kafka_event_t *event = event_wait(queue, name);
    const rd_kafka_topic_result_t **list =
        rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &results);
    topic_results(list, results);
    rd_kafka_event_destroy(event);
    rd_kafka_NewPartitions_destroy(grown);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    return 0;
}

/* oracle delete TOPIC: it is gone, as far as this client sees, when this ends. */
static int topic_delete(const struct options *opt, const char *name)
{
    rd_kafka_t *client = client_open(opt, RD_KAFKA_PRODUCER, (const char *const[]){NULL});
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteTopic_t *gone = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(client, &gone, 1, NULL, queue);
    rd_kafka_event_t *event = event_wait(queue, name);
    size_t results;
    const rd_kafka_topic_result_t **list =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &results);
    topic_results(list, results);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(gone);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    return 0;
}

/* oracle trim TOPIC OFFSET: deletes the records before OFFSET of every partition. */
static int topic_trim(const struct options *opt, const char *name, int64_t offset)
{
    rd_kafka_t *client = client_open(opt, RD_KAFKA_PRODUCER, (const char *const[]){NULL});
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    const int32_t count = partition_count(client, name);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int32_t i = 0; i < count; i++) rd_kafka_topic_partition_list_add(list, name, i)->offset = offset;
    rd_kafka_DeleteRecords_t *gone = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(client, &gone, 1, NULL, queue);
    rd_kafka_event_t *event = event_wait(queue, name);
    const rd_kafka_topic_partition_list_t *results =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    for (int i = 0; i < results->cnt; i++) {
        if (results->elems[i].err)
            die("%s[%d]: %s", name, results->elems[i].partition, rd_kafka_err2str(results->elems[i].err));
    }
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(gone);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    return 0;
}

static void usage(void)
{
    die("oracle COMMAND --servers HOST:PORT ...\n"
        "  topic NAME:PARTITIONS[:KEY=VALUE]...   grow TOPIC PARTITIONS   trim TOPIC OFFSET   delete TOPIC\n"
        "  produce --topic T --count N [--first N] [--rate R] [--keys] [--partitions N] [--transaction ID]\n"
        "          [--transaction-records N] [--aborted-records N]\n"
        "          [--bad-every N [--kinds A,B]] [--null-every N] [--large-every N --large-bytes N]\n"
        "          (ends early at SIGTERM, and says how many it has sent)\n"
        "  check --in T --out T --dead T [--count N] [--ordered] [--once] [--duplicates-max N] [--tombstones]\n"
        "          [--partitions N]        (only records of partitions 0 to N - 1 must be ordered)\n"
        "          [--recent N]            (only records from number N on must be there)\n"
        "          [--partial --group G]   (only records before the group's committed offsets must be there)");
}

static bool text_option(struct options *opt, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **to;
    } rows[] = {{"--servers", &opt->servers},
                {"--topic", &opt->topic},
                {"--in", &opt->in},
                {"--out", &opt->out},
                {"--dead", &opt->dead},
                {"--group", &opt->group},
                {"--transaction", &opt->transaction},
                {"--kinds", &opt->kinds}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!strcmp(rows[i].name, name)) return *rows[i].to = value, true;
    }
    return false;
}

static bool number_option(struct options *opt, const char *name, const char *value)
{
    const struct {
        const char *name;
        long *to;
    } rows[] = {{"--count", &opt->count},
                {"--first", &opt->first},
                {"--bad-every", &opt->bad_every},
                {"--large-every", &opt->large_every},
                {"--large-bytes", &opt->large_bytes},
                {"--null-every", &opt->null_every},
                {"--partitions", &opt->partitions},
                {"--duplicates-max", &opt->duplicates_max},
                {"--recent", &opt->recent},
                {"--transaction-records", &opt->transaction_records},
                {"--aborted-records", &opt->aborted_records}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!strcmp(rows[i].name, name)) return *rows[i].to = atol(value), true;
    }
    if (strcmp(name, "--rate")) return false;
    opt->rate = atof(value);
    return true;
}

static bool flag_option(struct options *opt, const char *name)
{
    const struct {
        const char *name;
        bool *to;
    } rows[] = {{"--keys", &opt->keys},
                {"--ordered", &opt->is_ordered},
                {"--once", &opt->is_once},
                {"--partial", &opt->is_partial},
                {"--tombstones", &opt->has_tombstones}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!strcmp(rows[i].name, name)) return *rows[i].to = true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct options opt = {.duplicates_max = -1};
    char *word[64];
    int words = 0;

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--", 2)) {
            if (words < 64) word[words++] = argv[i];
        } else if (!flag_option(&opt, argv[i])) {
            if (i + 1 == argc ||
                !(text_option(&opt, argv[i], argv[i + 1]) || number_option(&opt, argv[i], argv[i + 1])))
                usage();
            i++;
        }
    }
    if (!words || !opt.servers) usage();
    if (!strcmp(word[0], "topic") && words > 1) return topics_create(&opt, word + 1, words - 1);
    if (!strcmp(word[0], "grow") && words == 3) return topic_grow(&opt, word[1], atoi(word[2]));
    if (!strcmp(word[0], "delete") && words == 2) return topic_delete(&opt, word[1]);
    if (!strcmp(word[0], "trim") && words == 3) return topic_trim(&opt, word[1], atoll(word[2]));
    if (!strcmp(word[0], "produce") && opt.topic) return produce(&opt);
    if (!strcmp(word[0], "check") && opt.in && opt.out) return check(&opt);
    usage();
}
