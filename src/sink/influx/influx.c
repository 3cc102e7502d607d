/*
 * The influx sink: points for InfluxDB by its line protocol, over /write of version 1 (which 2 has, too) or
 * /api/v2/write. The queue, waiting and sending again are the remote's (sink/remote/); here is what a request is, and
 * what an answer means.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/sink_stats.h"
#include "registry.h"
#include "sink/http/http.h"
#include "sink/influx/line.h"

#define WHAT             "influx sink"
#define ANSWER_BYTES_MAX (256u << 10)
#define URL_BYTES        2048

struct influx_options {
    struct mr_line_options line;
    char *url, *database, *retention_policy, *org, *bucket;
    struct mr_curl_options http;
    struct mr_remote_options remote;
};

struct mr_sink {
    const struct influx_options *options;
    struct mr_line *line;
    struct mr_curl *http;
    struct mr_remote *remote;
    struct mr_sink_stats *stats; /* may be NULL */
    uint64_t skipped, empty;     /* told to stats so far */
    char url[URL_BYTES];         /* of a write */
};

/* ---- options ---- */

static const char *const precisions[] = {"ns", "us", "ms", "s", NULL};
static const char *const same_times[] = {"spread", "overwrite", NULL};

#define AT(field)        offsetof(struct influx_options, field)
#define LINE_AT(field)   AT(line.field)
#define HTTP_AT(field)   AT(http.field)
#define REMOTE_AT(field) AT(remote.field)
static const struct mr_option influx_option_table[] = {
    {.key = "measurement", /* first: a follower's group is named for it */
     .type = MR_OPT_STRING,
     .offset = LINE_AT(measurement),
     .required = true,
     .doc = "Measurement that the points belong to.",
     .example = "\"temperature\""},
    {.key = "url",
     .type = MR_OPT_STRING,
     .offset = AT(url),
     .fallback = "http://localhost:8086",
     .doc = "The server. Proxies are taken from the environment; redirects are not followed.",
     .example = "\"http://localhost:8086\""},
    {.key = "database",
     .type = MR_OPT_STRING,
     .offset = AT(database),
     .doc = "Database of InfluxDB 1; with user and password where it asks for them. Expected: this, or org and bucket.",
     .example = "\"example\""},
    {.key = "retention_policy",
     .type = MR_OPT_STRING,
     .offset = AT(retention_policy),
     .doc = "Retention policy of that database; without it: its default."},
    {.key = "org", .type = MR_OPT_STRING, .offset = AT(org), .doc = "Organization of InfluxDB 2."},
    {.key = "bucket", .type = MR_OPT_STRING, .offset = AT(bucket), .doc = "Bucket of InfluxDB 2."},
    {.key = "token",
     .type = MR_OPT_STRING,
     .offset = AT(http.token),
     .secret = true,
     .doc = "Token of InfluxDB 2; better token_file, or ${env:NAME}."},
    {.key = "token_file",
     .type = MR_OPT_STRING,
     .offset = AT(http.token_file),
     .is_path = true,
     .is_shared = true,
     .doc = "File that holds the token, read at start; a line break at its end does not count."},
    {.key = "tags",
     .type = MR_OPT_STRINGS,
     .offset = LINE_AT(tags),
     .doc = "Emitted fields that become tags, which are indexed: few values each; nested ones as a.b. @partition and "
            "@topic: those of the record. null leaves the tag out.",
     .example = "[\"regime\"]"},
    {.key = "fields",
     .type = MR_OPT_STRINGS,
     .offset = LINE_AT(fields),
     .doc = "Emitted fields that become fields; without it all that are no tags. Nested ones are called a.b, elements "
            "of arrays a.0."},
    {.key = "integers",
     .type = MR_OPT_STRINGS,
     .offset = LINE_AT(integers),
     .doc = "Fields that are written as integers. All other numbers are floats, also 1: a field that is sometimes 1 "
            "and sometimes 1.5 would be of two types, and InfluxDB refuses the second. A value that is not whole is "
            "left out and counted."},
    {.key = "timestamp",
     .type = MR_OPT_STRING,
     .offset = LINE_AT(timestamp),
     .doc = "Emitted field (a number) that holds the time of the point; a record without it is refused. Without this "
            "option: the timestamp of the record. That is the input record's; with delivery exactly-once it is that "
            "of the output record, which is the input's with emit.timestamp."},
    {.key = "timestamp_unit",
     .type = MR_OPT_ENUM,
     .offset = LINE_AT(timestamp_unit),
     .choices = precisions,
     .fallback = "ms",
     .doc = "Unit of that field, since 1970."},
    {.key = "precision",
     .type = MR_OPT_ENUM,
     .offset = LINE_AT(precision),
     .choices = precisions,
     .fallback = "ns",
     .doc = "Precision of the times that are written."},
    {.key = "same_time",
     .type = MR_OPT_ENUM,
     .offset = LINE_AT(same_time),
     .choices = same_times,
     .fallback = "spread",
     .doc = "InfluxDB keeps one point for a series (measurement and tags) and a time: a later one overwrites it. "
            "spread adds less than a millisecond to the time (less than timestamp_unit, where that is finer), made of "
            "partition, offset and place in the message: so points stay apart, and one that is written again after a "
            "restart is the same. With several partitions add @partition to tags to be sure. overwrite: times as they "
            "are."},
    MR_CURL_ROWS(HTTP_AT),
    MR_REMOTE_ROWS(REMOTE_AT),
    {0},
};
#undef AT

/* An empty name would be asked of the server, which refuses each record then. */
static mr_status names_check(const struct influx_options *influx, struct mr_err *err)
{
    const struct {
        const char *key, *name;
    } all[] = {{"database", influx->database},
               {"retention_policy", influx->retention_policy},
               {"org", influx->org},
               {"bucket", influx->bucket}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].name && !*all[i].name)
            return mr_fail(err, MR_ECONFIG, WHAT ": %s: must not be empty: name one, or leave it out", all[i].key);
    return MR_OK;
}

static mr_status influx_check(const void *options, struct mr_err *err)
{
    const struct influx_options *const influx = options;
    mr_status status = mr_curl_check(&influx->http, WHAT, influx->url, err);
    if (!status) status = mr_remote_check(&influx->remote, WHAT, err);
    if (!status) status = mr_line_check(&influx->line, err);
    if (!status) status = names_check(influx, err);
    if (status) return status;
    if (!influx->database == !influx->bucket)
        return mr_fail(err, MR_ECONFIG, WHAT ": expected database (InfluxDB 1), or org and bucket (InfluxDB 2)");
    if (influx->bucket && !influx->org) return mr_fail(err, MR_ECONFIG, WHAT ": bucket without org");
    if (influx->org && !influx->bucket) return mr_fail(err, MR_ECONFIG, WHAT ": org without bucket");
    if (influx->retention_policy && !influx->database)
        return mr_fail(err, MR_ECONFIG, WHAT ": retention_policy without database: a bucket has its own");
    return MR_OK;
}

/* ---- requests ---- */

static bool url_put(char **at, const char *end, const char *text, const char *value)
{
    const size_t bytes = strlen(text);
    if ((size_t)(end - *at) < bytes + 3 * strlen(value) + 1) return false;
    memcpy(*at, text, bytes);
    *at = mr_curl_escape(value, *at + bytes);
    return true;
}

/* The url of a write. False: it is too long. */
static bool url_make(struct mr_sink *sink)
{
    const struct influx_options *const options = sink->options;
    const bool is_v1 = options->database;
    size_t bytes = strlen(options->url);
    char *at = sink->url, *const end = sink->url + sizeof sink->url;
    while (bytes && options->url[bytes - 1] == '/') bytes--;
    if (bytes + 1 > sizeof sink->url) return false;
    memcpy(at, options->url, bytes);
    at += bytes;
    bool fits =
        is_v1 ? url_put(&at, end, "/write?db=", options->database)
              : url_put(&at, end, "/api/v2/write?org=", options->org) && url_put(&at, end, "&bucket=", options->bucket);
    if (options->retention_policy) fits = fits && url_put(&at, end, "&rp=", options->retention_policy);
    const char *const precision = precisions[options->line.precision];
    const bool is_short = is_v1 && options->line.precision <= MR_PRECISION_US; /* version 1 says n and u */
    return fits && url_put(&at, end, "&precision=", is_short ? (*precision == 'n' ? "n" : "u") : precision);
}

static mr_status influx_add(void *context, const struct mr_remote_record *record, struct mr_remote_text *text,
                            uint32_t *units_out, mr_reason *reason_out, char why[128])
{
    struct mr_sink *const sink = context;
    const mr_status status = mr_line_add(sink->line, record, text, units_out, reason_out, why);
    if (sink->stats) {
        atomic_fetch_add(&sink->stats->fields_skipped, mr_line_skipped(sink->line) - sink->skipped);
        atomic_fetch_add(&sink->stats->refused, mr_line_empty(sink->line) - sink->empty);
    }
    sink->skipped = mr_line_skipped(sink->line);
    sink->empty = mr_line_empty(sink->line);
    return status;
}

/* The server's own words, of {"error": ...} (1) or {"message": ...} (2); else the body. */
static void words_take(const struct mr_curl_answer *answer, char words[256])
{
    cJSON *const root = cJSON_ParseWithLength(answer->body, answer->bytes);
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "error");
    if (!cJSON_IsString(text)) text = cJSON_GetObjectItemCaseSensitive(root, "message");
    if (cJSON_IsString(text))
        mr_curl_words(text->valuestring, strlen(text->valuestring), words, 256);
    else
        mr_curl_words(answer->body, answer->bytes, words, 256);
    cJSON_Delete(root);
}

/* Points of a partial write that the server says it has dropped; 0: it says nothing. */
static unsigned long long dropped_count(const char *words)
{
    const char *const at = strstr(words, "dropped=");
    return at ? strtoull(at + strlen("dropped="), NULL, 10) : 0;
}

static void outcome_set(struct mr_sink *sink, mr_answer kind, const struct mr_curl_answer *answer, const char *remedy,
                        struct mr_remote_outcome *outcome)
{
    char words[256];
    words_take(answer, words);
    outcome->answer = kind;
    outcome->retry_after_ms = answer->retry_after_ms;
    snprintf(outcome->text, sizeof outcome->text, "%.100s: %ld%s%.200s%s%s", sink->options->url, answer->status,
             *words ? ": " : "", words, *remedy ? "; " : "", remedy);
}

static bool is_2xx(long status)
{
    return status >= 200 && status < 300;
}

/* A partial write, or a body that is no line protocol: which points, smaller parts will tell. */
static void bad_judge(struct mr_sink *sink, size_t points, const struct mr_curl_answer *answer,
                      struct mr_remote_outcome *outcome)
{
    char words[256];
    words_take(answer, words);
    outcome->answer = dropped_count(words) >= points ? MR_ANSWER_ALL_BAD : MR_ANSWER_BAD;
    snprintf(outcome->text, sizeof outcome->text, "%.100s: %ld: %.250s", sink->options->url, answer->status, words);
}

static void answer_judge(struct mr_sink *sink, size_t points, const struct mr_curl_answer *answer,
                         struct mr_remote_outcome *outcome)
{
    const long status = answer->status;
    if (!status) {
        outcome->answer = MR_ANSWER_LATER;
        snprintf(outcome->text, sizeof outcome->text, "%.100s: %s", sink->options->url, answer->error);
    } else if ((is_2xx(status) || status == 400) && mr_curl_is_stranger(answer)) {
        outcome_set(sink, MR_ANSWER_DENIED, answer, MR_CURL_STRANGER, outcome);
    } else if (is_2xx(status)) {
        outcome->answer = MR_ANSWER_GOOD;
    } else if (status == 400 || status == 413 || status == 422) {
        bad_judge(sink, points, answer, outcome);
    } else if (status == 401 || status == 403) {
        outcome_set(sink, MR_ANSWER_DENIED, answer,
                    sink->options->database ? "see user and password_file"
                                            : "see token_file: it needs to write to the bucket",
                    outcome);
    } else if (status == 404) {
        outcome_set(sink, MR_ANSWER_ABSENT, answer,
                    sink->options->database ? "create the database, or correct database"
                                            : "create the bucket, or correct org and bucket",
                    outcome);
    } else if (status >= 300 && status < 400) {
        outcome_set(sink, MR_ANSWER_DENIED, answer, "redirects are not followed: give the url that it leads to",
                    outcome);
    } else {
        outcome_set(sink, MR_ANSWER_LATER, answer, "", outcome);
    }
}

static void influx_send(void *context, struct mr_remote *remote, struct mr_remote_item *items, size_t count,
                        const char *body, size_t bytes, struct mr_remote_outcome *outcome)
{
    struct mr_sink *const sink = context;
    const struct mr_curl_request request = {
        .method = "POST", .url = sink->url, .type = "text/plain; charset=utf-8", .body = body, .bytes = bytes};
    struct mr_curl_answer answer;
    size_t points = 0;
    (void)remote;
    for (size_t i = 0; i < count; i++) points += items[i].units;
    mr_curl_send(sink->http, &request, &answer);
    if (sink->stats && answer.status) atomic_fetch_add(&sink->stats->bytes_sent, answer.sent_bytes);
    answer_judge(sink, points, &answer, outcome);
}

static const struct mr_remote_protocol influx_protocol = {.what = WHAT, .add = influx_add, .send = influx_send};

/* ---- the sink ---- */

static void influx_close(struct mr_sink *sink)
{
    if (!sink) return;
    mr_remote_close(sink->remote); /* its thread uses the others */
    mr_curl_close(sink->http);
    mr_line_destroy(sink->line);
    free(sink);
}

static mr_status parts_open(struct mr_sink *sink, const struct mr_sink_open *open, struct mr_err *err)
{
    const struct influx_options *const options = sink->options;
    const size_t body_bytes = mr_remote_body_bytes(&options->remote, open);
    char destination[URL_BYTES + 256];
    if (!url_make(sink)) return mr_fail(err, MR_ECONFIG, WHAT ": url, database, org and bucket are too long");
    snprintf(destination, sizeof destination, "%s (%s)", options->url,
             options->database ? options->database : options->bucket);
    const struct mr_remote_open remote = {.protocol = &influx_protocol,
                                          .context = sink,
                                          .options = &options->remote,
                                          .sink = open,
                                          .destination = destination};
    mr_status status = mr_remote_open(&remote, &sink->remote, err);
    if (status) return status;
    const struct mr_curl_open http = {.options = &options->http,
                                      .what = WHAT,
                                      .token_scheme = "Token",
                                      .body_bytes_max = body_bytes,
                                      .answer_bytes_max = ANSWER_BYTES_MAX,
                                      .stop_ns = mr_remote_stop_ns(sink->remote)};
    status = mr_curl_open(&http, &sink->http, err);
    if (!status) status = mr_line_create(&options->line, body_bytes, &sink->line, err);
    return status ? status : mr_remote_start(sink->remote, err);
}

static mr_status influx_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    struct mr_sink *const sink = calloc(1, sizeof *sink);
    *sink_out = NULL;
    if (!sink) return mr_fail(err, MR_ENOMEM, WHAT ": out of memory");
    sink->options = open->options;
    sink->stats = open->stats;
    const mr_status status = parts_open(sink, open, err);
    if (status) {
        influx_close(sink);
        return status;
    }
    *sink_out = sink;
    return MR_OK;
}

static mr_status influx_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                             struct mr_err *err)
{
    return mr_remote_emit(sink->remote, box, from, taken_out, err);
}

static mr_status influx_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    return mr_remote_poll(sink->remote, wait_us, err);
}

static void influx_finish(struct mr_sink *sink)
{
    mr_remote_finish(sink->remote);
}

const struct mr_sink_ops mr_sink_influx = {
    .name = "influx",
    .summary = "points in InfluxDB, 1 or 2, by its line protocol",
    .options = influx_option_table,
    .options_size = sizeof(struct influx_options),
    .reads_origin = true,
    .check = influx_check,
    .open = influx_open,
    .emit = influx_emit,
    .poll = influx_poll,
    .finish = influx_finish,
    .close = influx_close,
};
