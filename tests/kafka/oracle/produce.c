/* oracle produce: numbered records, bad ones among them when asked for. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "oracle.h"

#define TRANSACTION_RECORDS 500
#define FLUSH_MS            180000

static volatile sig_atomic_t is_stopped;

static void stop(int number)
{
    (void)number;
    is_stopped = 1;
}

struct sending {
    const struct options *opt;
    rd_kafka_t *client;
    int32_t partitions;
    uint64_t failed;
    long bad_count;
    char *text;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void delivered(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct sending *sending = opaque;
    (void)client;
    if (!message->err) return;
    if (message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
    if (!sending->failed++) fprintf(stderr, "oracle: delivery: %s\n", rd_kafka_err2str(message->err));
}

/* The middle of regime N mod 6, moved a little. */
static double temperature_of(long id)
{
    static const double middle[CLASS_COUNT] = {32.9, 55.4, 70.2, 83.7, 91.0, 98.9};
    return middle[id % CLASS_COUNT] + (double)(id / CLASS_COUNT % 7 - 3) * 0.1;
}

static size_t good_text(struct sending *sending, long id, long pad_bytes)
{
    int used = sprintf(sending->text, "{\"id\":%ld,\"Temperature\":%.2f", id, temperature_of(id));
    if (pad_bytes) {
        used += sprintf(sending->text + used, ",\"pad\":\"");
        memset(sending->text + used, 'x', (size_t)pad_bytes);
        used += (int)pad_bytes;
        sending->text[used++] = '"';
    }
    sending->text[used++] = '}';
    return (size_t)used;
}

static size_t deep_text(char *text, long id, int depth)
{
    size_t used = (size_t)sprintf(text, "{\"id\":%ld,\"Temperature\":", id);
    memset(text + used, '[', (size_t)depth);
    used += (size_t)depth;
    text[used++] = '1';
    memset(text + used, ']', (size_t)depth);
    used += (size_t)depth;
    text[used++] = '}';
    return used;
}

/* Kinds of bad records, named by --kinds; without it the small ones take turns. */
static size_t bad_text(struct sending *sending, long id, const char *kind)
{
    char *text = sending->text;
    if (!strcmp(kind, "empty")) return 0;
    if (!strcmp(kind, "truncated")) return (size_t)sprintf(text, "{\"id\":%ld,\"Temperature\":55.", id);
    if (!strcmp(kind, "missing")) return (size_t)sprintf(text, "{\"id\":%ld,\"temperature\":55.4}", id);
    if (!strcmp(kind, "null")) return (size_t)sprintf(text, "{\"id\":%ld,\"Temperature\":null}", id);
    if (!strcmp(kind, "type")) return (size_t)sprintf(text, "{\"id\":%ld,\"Temperature\":\"55.4\"}", id);
    if (!strcmp(kind, "range")) return (size_t)sprintf(text, "{\"id\":%ld,\"Temperature\":1e999}", id);
    if (!strcmp(kind, "twice")) return (size_t)sprintf(text, "{\"id\":%ld,\"Temperature\":55.4,\"Temperature\":1}", id);
    if (!strcmp(kind, "utf8"))
        return (size_t)sprintf(text, "{\"id\":%ld,\"note\":\"\xff\xfe\",\"Temperature\":55.4}", id);
    if (!strcmp(kind, "binary")) {
        for (size_t i = 0; i < 256; i++) text[i] = (char)i;
        return 256;
    }
    if (!strcmp(kind, "deep")) return deep_text(text, id, 10000);
    if (!strcmp(kind, "long")) return good_text(sending, id, 900000) - 1; /* its last brace is missing */
    if (!strcmp(kind, "huge")) return good_text(sending, id, 10000000);   /* more than record.bytes_max */
    die("unknown kind of bad record \"%s\"", kind);
}

static const char *kind_next(struct sending *sending, char *out, size_t out_bytes)
{
    const char *kinds =
        sending->opt->kinds ? sending->opt->kinds : "truncated,missing,null,type,range,twice,utf8,empty,binary";
    long count = 1, turn;
    for (const char *c = kinds; *c; c++) count += *c == ',';
    turn = sending->bad_count++ % count;
    for (; turn; turn--) kinds = strchr(kinds, ',') + 1;
    snprintf(out, out_bytes, "%.*s", (int)strcspn(kinds, ","), kinds);
    return out;
}

static bool is_turn(long id, long every)
{
    return every && id % every == every - 1;
}

static void record_send(struct sending *sending, long id)
{
    const struct options *opt = sending->opt;
    char header[32], key[32], kind_name[16], kind = 'g';
    size_t bytes;
    int key_bytes = 0;

    if (is_turn(id, opt->null_every))
        kind = 'n', bytes = 0;
    else if (is_turn(id, opt->bad_every))
        kind = 'b', bytes = bad_text(sending, id, kind_next(sending, kind_name, sizeof kind_name));
    else if (is_turn(id, opt->large_every))
        kind = 'l', bytes = good_text(sending, id, opt->large_bytes);
    else
        bytes = good_text(sending, id, 0);
    const int header_bytes = snprintf(header, sizeof header, "%c:%ld", kind, id);
    if (opt->keys) key_bytes = snprintf(key, sizeof key, "machine-%ld", id % 1000);
    char *value = kind == 'n' ? NULL : sending->text, *key_or_none = opt->keys ? key : NULL;
    for (;;) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
        rd_kafka_header_add(headers, HEADER_NAME, -1, header, header_bytes);
        const rd_kafka_resp_err_t code = rd_kafka_producev(
            sending->client, RD_KAFKA_V_TOPIC(opt->topic),
            RD_KAFKA_V_PARTITION(opt->keys ? RD_KAFKA_PARTITION_UA : (int32_t)(id % sending->partitions)),
            RD_KAFKA_V_VALUE(value, bytes), RD_KAFKA_V_KEY(key_or_none, (size_t)key_bytes),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (!code) break;
        rd_kafka_headers_destroy(headers);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("topic %s: %s", opt->topic, rd_kafka_err2str(code));
        rd_kafka_poll(sending->client, 10);
    }
    if (id % 64 == 0) rd_kafka_poll(sending->client, 0);
}

static void pace(struct sending *sending, double started_s, long sent)
{
    if (sending->opt->rate <= 0) return;
    for (double left_s; (left_s = started_s + (double)sent / sending->opt->rate - now_s()) > 0.001;) {
        rd_kafka_poll(sending->client, left_s > 0.05 ? 50 : (int)(left_s * 1000));
    }
}

static void transaction_call(rd_kafka_error_t *error, const char *what)
{
    if (error) die("%s: %s", what, rd_kafka_error_string(error));
}

static void transaction_begin(struct sending *sending)
{
    transaction_call(rd_kafka_begin_transaction(sending->client), "begin");
}

/* Transactions of 500 records, or as many as is asked for; behind each that is committed comes one of strangers that is
 * aborted, and one of nothing. How many were committed. */
static long send_in_transactions(struct sending *sending)
{
    const struct options *opt = sending->opt;
    const long records = opt->transaction_records ? opt->transaction_records : TRANSACTION_RECORDS;
    const long aborted = opt->aborted_records ? opt->aborted_records : TRANSACTION_RECORDS / 5;
    long stranger = STRANGER_ID, id = opt->first;
    transaction_call(rd_kafka_init_transactions(sending->client, 30000), "init_transactions");
    while (id < opt->first + opt->count && !is_stopped) {
        transaction_begin(sending);
        for (long i = 0; i < records && id < opt->first + opt->count; i++) record_send(sending, id++);
        transaction_call(rd_kafka_commit_transaction(sending->client, -1), "commit");
        transaction_begin(sending);
        for (long i = 0; i < aborted; i++) record_send(sending, stranger++);
        rd_kafka_flush(sending->client, FLUSH_MS); /* else they would be dropped here, and never reach the topic */
        transaction_call(rd_kafka_abort_transaction(sending->client, -1), "abort");
        transaction_begin(sending);
        transaction_call(rd_kafka_commit_transaction(sending->client, -1), "commit of nothing");
    }
    return id - opt->first;
}

int produce(const struct options *opt)
{
    struct sending sending = {.opt = opt};
    /* One request at a time: where a broker is killed while more are on their way the client (2.0.2) may send them
     * again in another order, and the broker refuses them. */
    /* clang-format off */
    const char *const extra[] = {
        "enable.idempotence", "true", "max.in.flight.requests.per.connection", "1", "linger.ms", "2", "reconnect.backoff.max.ms", "500", "message.max.bytes", "11000000",
        "queue.buffering.max.messages", "200000", "transaction.timeout.ms", "60000",
        opt->transaction ? "transactional.id" : NULL, opt->transaction, NULL};
    /* clang-format on */
    sending.text = malloc(MESSAGE_BYTES);
    if (!sending.text) die("out of memory");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[256];
    rd_kafka_conf_set(conf, "bootstrap.servers", opt->servers, NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "2", NULL, 0);
    rd_kafka_conf_set(conf, "client.id", "oracle", NULL, 0);
    rd_kafka_conf_set(conf, "partitioner", "murmur2_random", NULL, 0);
    for (const char *const *pair = extra; pair[0]; pair += 2) {
        if (rd_kafka_conf_set(conf, pair[0], pair[1], reason, sizeof reason)) die("%s", reason);
    }
    rd_kafka_conf_set_opaque(conf, &sending);
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    sending.client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (!sending.client) die("%s", reason);
    sending.partitions = opt->partitions ? (int32_t)opt->partitions : partition_count(sending.client, opt->topic);

    const double started_s = now_s();
    long sent = 0;
    signal(SIGTERM, stop);
    if (opt->transaction) sent = send_in_transactions(&sending);
    for (; !opt->transaction && sent < opt->count && !is_stopped; sent++) {
        pace(&sending, started_s, sent);
        record_send(&sending, opt->first + sent);
    }
    if (is_stopped) printf("%ld\n", sent);
    const bool is_flushed = !rd_kafka_flush(sending.client, FLUSH_MS);
    if (!is_flushed) fprintf(stderr, "oracle: %d records were not acknowledged\n", rd_kafka_outq_len(sending.client));
    rd_kafka_destroy(sending.client);
    free(sending.text);
    return is_flushed && !sending.failed ? 0 : 1;
}
