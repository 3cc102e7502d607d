/* millrace tap: look at a topic. */
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/json_text.h"
#include "base/options.h"
#include "base/utf8.h"
#include "cli/override.h"
#include "cli/shared_flags.h"
#include "kafka/client.h"

#define POLL_MS 100

struct tap_options {
    char *bootstrap, *offset;
    struct mr_map properties;
    int64_t count;
    bool exit_at_end, json;
};

struct tap {
    const struct tap_options *opt;
    rd_kafka_t *client;
    const char *topic;
    int32_t partition_count, ended_count;
    uint64_t seen;
    bool *is_ended; /* [partition_count] */
};

#define CLOSE_LIMIT_S 1

static volatile sig_atomic_t is_stopped, is_opening;

/* While a broker is asked for the topic nothing was printed yet: a broker that does not answer must not keep us. */
static void stop(int number)
{
    (void)number;
    if (is_opening || is_stopped) _exit(0);
    is_stopped = 1;
}

static volatile sig_atomic_t late_exit;

static void close_late(int number)
{
    (void)number;
    _exit(late_exit);
}

/* Nothing depends on how a reader leaves: a client that hangs is left alone. The text of an error is printed behind
 * this. */
static void tap_close(struct tap *tap, mr_status status)
{
    if (tap->client) {
        late_exit = mr_status_exit(ferror(stdout) ? MR_EIO : status);
        signal(SIGALRM, close_late);
        alarm(status ? 0 : CLOSE_LIMIT_S);
        rd_kafka_consumer_close(tap->client);
        rd_kafka_destroy(tap->client);
        alarm(0);
    }
    free(tap->is_ended);
}

/* beginning, end, or -N: the last N of each partition. */
static mr_status offset_parse(const char *text, int64_t *offset_out, struct mr_err *err)
{
    char *end;
    if (!strcmp(text, "beginning"))
        *offset_out = RD_KAFKA_OFFSET_BEGINNING;
    else if (!strcmp(text, "end"))
        *offset_out = RD_KAFKA_OFFSET_END;
    else {
        const long long number = strtoll(text, &end, 10);
        if (*end || end == text)
            return mr_fail(err, MR_EUSAGE,
                           "--offset \"%s\": give beginning, end, an offset, or -N for the last N of each partition",
                           text);
        *offset_out = number < 0 ? RD_KAFKA_OFFSET_TAIL(-number) : number;
    }
    return MR_OK;
}

/* bytes as the inside of a JSON string; nothing when memory is short. */
static void json_text(const void *bytes, size_t count, bool is_base64)
{
    char *text = malloc(count * MR_JSON_ESCAPE_MAX + 8);
    if (!text) return;
    fwrite(text, 1, is_base64 ? mr_base64_encode(bytes, count, text) : mr_json_escape(bytes, count, text), stdout);
    free(text);
}

/* "name":"value", "name_base64":"..." for bytes that are no text, "name":null for NULL. */
static void json_member(const char *name, const void *bytes, size_t count)
{
    const bool is_text = !bytes || mr_utf8_is_valid(bytes, count);
    putchar('"');
    json_text(name, strlen(name), false);
    fputs(is_text ? "\":" : "_base64\":", stdout);
    if (!bytes) {
        fputs("null", stdout);
        return;
    }
    putchar('"');
    json_text(bytes, count, !is_text);
    putchar('"');
}

static void headers_print(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t bytes;
    if (rd_kafka_message_headers(message, &headers)) return;
    fputs(",\"headers\":{", stdout);
    for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &bytes); i++) {
        if (i) putchar(',');
        json_member(name, value, bytes);
    }
    fputs("}", stdout);
}

static void message_print(const struct tap *tap, const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    if (!tap->opt->json) {
        fwrite(message->payload, 1, message->len, stdout);
        putchar('\n');
        return;
    }
    putchar('{');
    json_member("topic", tap->topic, strlen(tap->topic));
    printf(",\"partition\":%d,\"offset\":%lld,\"timestamp\":%lld,", message->partition, (long long)message->offset,
           (long long)rd_kafka_message_timestamp(message, &type));
    if (message->key) {
        json_member("key", message->key, message->key_len);
        putchar(',');
    }
    json_member("value", message->payload, message->len);
    headers_print(message);
    puts("}");
}

static mr_status tap_open(struct tap *tap, struct mr_map *properties, struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {{.key = "group.id", .value = "millrace-tap"},
                                                {.key = "enable.auto.commit", .value = "false"},
                                                {.key = "enable.partition.eof", .value = "true"},
                                                {.key = "client.id", .value = "millrace-tap"},
                                                {.key = "fetch.wait.max.ms", .value = "50"},
                                                {.key = "allow.auto.create.topics", .value = "false"},
                                                {0}};
    rd_kafka_conf_t *conf;
    int64_t offset = 0;
    mr_status status = offset_parse(tap->opt->offset, &offset, err);

    if (!status) status = mr_kafka_conf_create("tap", properties, defaults, &conf, err);
    if (!status) status = mr_kafka_client_create("tap", RD_KAFKA_CONSUMER, conf, &tap->client, err);
    if (status) return status;
    rd_kafka_poll_set_consumer(tap->client);
    status = mr_kafka_partition_count(tap->client, tap->opt->bootstrap, tap->topic, 10000, &tap->partition_count, err);
    if (status) return status;
    tap->is_ended = calloc((size_t)tap->partition_count + 1, sizeof *tap->is_ended);
    if (!tap->is_ended) return mr_fail(err, MR_ENOMEM, "out of memory");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(tap->partition_count);
    for (int32_t i = 0; i < tap->partition_count; i++)
        rd_kafka_topic_partition_list_add(list, tap->topic, i)->offset = offset;
    const rd_kafka_resp_err_t code = rd_kafka_assign(tap->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code ? mr_fail(err, MR_EKAFKA, "topic \"%s\": %s", tap->topic, rd_kafka_err2str(code)) : MR_OK;
}

static void tap_loop(struct tap *tap)
{
    while (!is_stopped && !ferror(stdout) && (!tap->opt->count || tap->seen < (uint64_t)tap->opt->count) &&
           !(tap->opt->exit_at_end && tap->ended_count == tap->partition_count)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(tap->client, POLL_MS);
        if (!message) {
            fflush(stdout);
            continue;
        }
        if (!message->err) {
            message_print(tap, message);
            tap->seen++;
        } else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && !tap->is_ended[message->partition]) {
            tap->is_ended[message->partition] = true;
            tap->ended_count++;
        } else if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            fprintf(stderr, "%s\n", rd_kafka_message_errstr(message));
        }
        rd_kafka_message_destroy(message);
    }
    fflush(stdout);
}

static mr_status tap_run(const void *options, const struct mr_words *words, struct mr_err *err)
{
    struct tap_options *opt = (struct tap_options *)(uintptr_t)options;
    struct tap tap = {.opt = opt, .topic = words->item[0]};
    mr_status status = mr_override_bootstrap(&opt->properties, opt->bootstrap, err);

    signal(SIGINT, stop);
    signal(SIGTERM, stop);
    is_opening = 1;
    if (!status) status = tap_open(&tap, &opt->properties, err);
    is_opening = 0;
    if (!status) tap_loop(&tap);
    tap_close(&tap, status);
    return status;
}

#define AT(field) offsetof(struct tap_options, field)
static const struct mr_flag tap_flags[] = {
    MR_FLAG_BOOTSTRAP(AT(bootstrap)),
    {.letter = 'o',
     .argument = "WHERE",
     .row = {.key = "offset",
             .type = MR_OPT_STRING,
             .offset = AT(offset),
             .fallback = "beginning",
             .doc = "beginning, end, an offset, or -N for the last N of each partition."}},
    {.letter = 'c',
     .argument = "N",
     .row = {.key = "count",
             .type = MR_OPT_INT,
             .offset = AT(count),
             .min = 0,
             .max = 1e15,
             .doc = "Leave after so many messages; 0: no limit."}},
    {.letter = 'e',
     .row = {.key = "exit", .type = MR_OPT_BOOL, .offset = AT(exit_at_end), .doc = "Leave at the end of the topic."}},
    {.letter = 'J',
     .row = {.key = "json",
             .type = MR_OPT_BOOL,
             .offset = AT(json),
             .doc = "One JSON object a message: topic, partition, offset, timestamp, key, value, headers."}},
    MR_FLAG_PROPERTY(AT(properties)),
    {0},
};
#undef AT

const struct mr_command mr_command_tap = {
    .name = "tap",
    .summary = "Look at a topic: print its messages",
    .usage = "TOPIC [flags]",
    .examples = "millrace tap example_2 -c 5                 # the first five\n"
                "millrace tap example_1.dead -J -e           # all dead letters, with their reasons, then leave\n"
                "millrace tap example_2 -o end -b kafka:9092 # what comes from now on",
    .flags = tap_flags,
    .options_size = sizeof(struct tap_options),
    .word_min = 1,
    .word_max = 1,
    .run = tap_run,
};
