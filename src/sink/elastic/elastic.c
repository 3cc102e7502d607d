/*
 * The elastic sink: documents for Elasticsearch and OpenSearch by their bulk interface. The queue, waiting and sending
 * again are the remote's (sink/remote/); here is what a request is, and what an answer means.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "metrics/sink_stats.h"
#include "registry.h"
#include "sink/elastic/bulk.h"
#include "sink/elastic/template.h"
#include "sink/http/http.h"

#define WHAT             "elastic sink"
#define ANSWER_BYTES_MAX (32u << 20) /* of a hundred thousand items with their errors */
#define URL_BYTES        2048
#define INDEX_BYTES_MAX  255
#define BULK_PATH        "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
#define TEMPLATE_PREFIX  "/_index_template/millrace-"

struct elastic_options {
    char *index;
    struct mr_strings urls;
    bool is_data_stream;
    char *template;
    struct mr_curl_options http;
    struct mr_remote_options remote;
};

struct mr_sink {
    const struct elastic_options *options;
    struct mr_bulk_options bulk;
    struct mr_curl *http;
    struct mr_remote *remote;
    struct mr_sink_stats *stats; /* may be NULL */
    char *template;              /* NULL: none is brought */
    size_t at;                   /* the url that answered last */
};

/* ---- options ---- */

#define AT(field)        offsetof(struct elastic_options, field)
#define HTTP_AT(field)   AT(http.field)
#define REMOTE_AT(field) AT(remote.field)
static const struct mr_option elastic_option_table[] = {
    {.key = "index", /* first: a follower's group is named for it */
     .type = MR_OPT_STRING,
     .offset = AT(index),
     .required = true,
     .doc = "Index, or data stream, that the documents go to. The id of a document is TOPIC-PARTITION-OFFSET of the "
            "record that it answers (-ROW behind it for further rows of one message), so that one that is written "
            "again after a restart replaces itself. A source that cannot be read again (socket, stdin) counts from 0 "
            "in each run: there TOPIC is TOPIC@RUN, the time of its start, so that no run replaces what others wrote.",
     .example = "\"scores\""},
    {.key = "urls",
     .type = MR_OPT_STRINGS,
     .offset = AT(urls),
     .fallback = "http://localhost:9200",
     .doc = "Nodes of the cluster, tried in turn. Proxies are taken from the environment; redirects are not followed.",
     .example = "[\"http://localhost:9200\"]"},
    {.key = "api_key",
     .type = MR_OPT_STRING,
     .offset = AT(http.token),
     .secret = true,
     .doc = "API key, encoded as the server gives it; better api_key_file, or ${env:NAME}."},
    {.key = "api_key_file",
     .type = MR_OPT_STRING,
     .offset = AT(http.token_file),
     .is_path = true,
     .is_shared = true,
     .doc = "File that holds the API key, read at start; a line break at its end does not count."},
    {.key = "data_stream",
     .type = MR_OPT_BOOL,
     .offset = AT(is_data_stream),
     .fallback = "false",
     .doc = "index is a data stream: documents are created, never replaced; one that is there already counts as "
            "delivered, as long as the stream has not begun another index."},
    {.key = "template",
     .type = MR_OPT_STRING,
     .offset = AT(template),
     .fallback = "auto",
     .doc = "Index template that is put as millrace-INDEX before the first document, unless there is one of that name "
            "(another one stays, and is told of). auto: @timestamp is a date, numbers are doubles, texts keywords. "
            "none: none. Else the path of a file with one, as for PUT _index_template."},
    MR_CURL_ROWS(HTTP_AT),
    MR_REMOTE_ROWS(REMOTE_AT),
    {0},
};
#undef AT

static mr_status index_check(const char *index, struct mr_err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-+";
    const size_t bytes = index ? strlen(index) : 0;
    if (!index) return MR_OK; /* has a finding of its own */
    if (bytes && bytes <= INDEX_BYTES_MAX && strspn(index, letters) == bytes && !strchr("_-+", *index) &&
        strcmp(index, ".") != 0 && strcmp(index, "..") != 0)
        return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   WHAT ": index \"%.100s\": expected lower-case letters, digits and . _ - +, the first one no _ - +",
                   index);
}

static mr_status elastic_check(const void *options, struct mr_err *err)
{
    const struct elastic_options *const elastic = options;
    mr_status status = index_check(elastic->index, err);
    if (!status && !elastic->urls.count) status = mr_fail(err, MR_ECONFIG, WHAT ": urls: expected at least one");
    for (size_t i = 0; i < elastic->urls.count && !status; i++) {
        status = mr_curl_check(&elastic->http, WHAT, elastic->urls.item[i], err);
        if (!status && strlen(elastic->urls.item[i]) > URL_BYTES - 512)
            status = mr_fail(err, MR_ECONFIG, WHAT ": urls: one is too long");
    }
    if (!status && !*elastic->template)
        status = mr_fail(err, MR_ECONFIG, WHAT ": template: expected auto, none or the path of a file");
    return status ? status : mr_remote_check(&elastic->remote, WHAT, err);
}

/* ---- requests ---- */

static bool is_2xx(long status)
{
    return status >= 200 && status < 300;
}

/* Another node may answer where this one does not. */
static bool is_away(long status)
{
    return !status || status == 502 || status == 503 || status == 504;
}

/* Sends to the node that answered last, then to the others in turn, until one answers. */
static void nodes_send(struct mr_sink *sink, const char *method, const char *path, const char *name, const char *body,
                       size_t bytes, struct mr_curl_answer *answer)
{
    const struct mr_strings *const urls = &sink->options->urls;
    char url[URL_BYTES];
    *answer = (struct mr_curl_answer){.body = ""};
    for (size_t tries = 0; tries < urls->count; tries++) {
        const char *const base = urls->item[sink->at];
        size_t base_bytes = strlen(base);
        while (base_bytes && base[base_bytes - 1] == '/') base_bytes--;
        snprintf(url, sizeof url, "%.*s%s%s", (int)base_bytes, base, path, name);
        const struct mr_curl_request request = {.method = method,
                                                .url = url,
                                                .type = strcmp(path, BULK_PATH) ? "application/json"
                                                                                : "application/x-ndjson",
                                                .body = body,
                                                .bytes = bytes};
        mr_curl_send(sink->http, &request, answer);
        if (sink->stats && answer->status) atomic_fetch_add(&sink->stats->bytes_sent, answer->sent_bytes);
        if (!is_away(answer->status)) return;
        if (tries + 1 < urls->count) sink->at = (sink->at + 1) % urls->count;
    }
}

static void outcome_set(const struct mr_sink *sink, mr_answer kind, const struct mr_curl_answer *answer,
                        const char *remedy, struct mr_remote_outcome *outcome)
{
    char words[200];
    mr_curl_words(answer->body, answer->bytes, words, sizeof words);
    outcome->answer = kind;
    outcome->retry_after_ms = answer->retry_after_ms;
    if (answer->status)
        snprintf(outcome->text, sizeof outcome->text, "%.100s: %ld: %s%s%s", sink->options->urls.item[sink->at],
                 answer->status, words, *remedy ? "; " : "", remedy);
    else
        snprintf(outcome->text, sizeof outcome->text, "%.100s: %s", sink->options->urls.item[sink->at], answer->error);
}

/* Answers that mean the same for all requests. */
static void failure_judge(const struct mr_sink *sink, const struct mr_curl_answer *answer,
                          struct mr_remote_outcome *outcome)
{
    const long status = answer->status;
    if (status == 401)
        outcome_set(sink, MR_ANSWER_DENIED, answer, "see user and password_file, or api_key_file", outcome);
    else if (status == 403)
        outcome_set(sink, MR_ANSWER_DENIED, answer, "give the user the right to write to the index", outcome);
    else if (status == 404)
        outcome_set(sink, MR_ANSWER_ABSENT, answer, "this is no Elasticsearch or OpenSearch, or urls has a wrong path",
                    outcome);
    else if (status >= 300 && status < 400)
        outcome_set(sink, MR_ANSWER_DENIED, answer, "redirects are not followed: give the url that it leads to",
                    outcome);
    else if (status >= 400 && status < 500 && status != 429 && status != 408)
        outcome_set(sink, MR_ANSWER_DENIED, answer, "", outcome);
    else
        outcome_set(sink, MR_ANSWER_LATER, answer, "", outcome);
}

static void elastic_send(void *context, struct mr_remote *remote, struct mr_remote_item *items, size_t count,
                         const char *body, size_t bytes, struct mr_remote_outcome *outcome)
{
    struct mr_sink *const sink = context;
    struct mr_curl_answer answer;
    nodes_send(sink, "POST", BULK_PATH, "", body, bytes, &answer);
    if (answer.status == 400 && mr_curl_is_stranger(&answer)) {
        outcome_set(sink, MR_ANSWER_DENIED, &answer, MR_CURL_STRANGER, outcome);
        return;
    }
    if (answer.status == 400 || answer.status == 413) { /* not a request as it should be: which part of it */
        outcome_set(sink, MR_ANSWER_BAD, &answer, "", outcome);
        return;
    }
    if (!is_2xx(answer.status)) {
        failure_judge(sink, &answer, outcome);
        return;
    }
    if (mr_bulk_judge(remote, items, count, answer.body, answer.bytes, outcome)) return;
    outcome_set(sink, MR_ANSWER_LATER, &answer, "that is not what a bulk request is answered", outcome);
}

static mr_status elastic_add(void *context, const struct mr_remote_record *record, struct mr_remote_text *text,
                             uint32_t *units_out, mr_reason *reason_out, char why[128])
{
    const struct mr_sink *const sink = context;
    return mr_bulk_add(&sink->bulk, record, text, units_out, reason_out, why);
}

/* ---- the index template ---- */

static void template_put(struct mr_sink *sink, struct mr_remote_outcome *outcome)
{
    struct mr_curl_answer answer;
    nodes_send(sink, "PUT", TEMPLATE_PREFIX, sink->options->index, sink->template, strlen(sink->template), &answer);
    if (is_2xx(answer.status)) {
        mr_log(MR_LOG_INFO, "sink", WHAT ": index template millrace-%s is put", sink->options->index);
        outcome->answer = MR_ANSWER_GOOD;
        return;
    }
    failure_judge(sink, &answer, outcome);
    if (outcome->answer == MR_ANSWER_DENIED || outcome->answer == MR_ANSWER_ABSENT)
        outcome_set(sink, MR_ANSWER_DENIED, &answer,
                    "that is about its index template: allow it (manage_index_templates), or set template to \"none\"",
                    outcome);
}

static void elastic_prepare(void *context, struct mr_remote_outcome *outcome)
{
    struct mr_sink *const sink = context;
    struct mr_curl_answer answer;
    outcome->answer = MR_ANSWER_GOOD;
    if (!sink->template) return;
    nodes_send(sink, "GET", TEMPLATE_PREFIX, sink->options->index, NULL, 0, &answer);
    if (answer.status == 404) {
        template_put(sink, outcome);
    } else if (!is_2xx(answer.status)) {
        failure_judge(sink, &answer, outcome);
    } else if (!mr_template_is_same(sink->template, answer.body, answer.bytes)) {
        mr_log(MR_LOG_WARN, "sink",
               WHAT
               ": index template millrace-%s is there, and another one than the job would put: it stays; delete it, "
               "or set template to \"none\"",
               sink->options->index);
    }
}

static mr_status template_take(struct mr_sink *sink, struct mr_err *err)
{
    const struct elastic_options *const options = sink->options;
    if (!strcmp(options->template, "none")) return MR_OK;
    if (strcmp(options->template, "auto") != 0) return mr_template_file(options->template, &sink->template, err);
    sink->template = mr_template_default(options->index, options->is_data_stream);
    return sink->template ? MR_OK : mr_fail(err, MR_ENOMEM, WHAT ": out of memory");
}

static const struct mr_remote_protocol elastic_protocol = {
    .what = WHAT, .needs_names = true, .add = elastic_add, .prepare = elastic_prepare, .send = elastic_send};

/* ---- the sink ---- */

static void elastic_close(struct mr_sink *sink)
{
    if (!sink) return;
    mr_remote_close(sink->remote); /* its thread uses the others */
    mr_curl_close(sink->http);
    free(sink->template);
    free(sink);
}

static mr_status parts_open(struct mr_sink *sink, const struct mr_sink_open *open, struct mr_err *err)
{
    const struct elastic_options *const options = sink->options;
    char destination[URL_BYTES + 300];
    snprintf(destination, sizeof destination, "%s (%s)", options->urls.item[0], options->index);
    const struct mr_remote_open remote = {.protocol = &elastic_protocol,
                                          .context = sink,
                                          .options = &options->remote,
                                          .sink = open,
                                          .destination = destination};
    mr_status status = template_take(sink, err);
    if (!status) status = mr_remote_open(&remote, &sink->remote, err);
    if (status) return status;
    const struct mr_curl_open http = {.options = &options->http,
                                      .what = WHAT,
                                      .token_scheme = "ApiKey",
                                      .body_bytes_max = mr_remote_body_bytes(&options->remote, open),
                                      .answer_bytes_max = ANSWER_BYTES_MAX,
                                      .stop_ns = mr_remote_stop_ns(sink->remote)};
    status = mr_curl_open(&http, &sink->http, err);
    return status ? status : mr_remote_start(sink->remote, err);
}

static mr_status elastic_open(const struct mr_sink_open *open, struct mr_sink **sink_out, struct mr_err *err)
{
    struct mr_sink *const sink = calloc(1, sizeof *sink);
    *sink_out = NULL;
    if (!sink) return mr_fail(err, MR_ENOMEM, WHAT ": out of memory");
    sink->options = open->options;
    sink->stats = open->stats;
    sink->bulk = (struct mr_bulk_options){sink->options->index, sink->options->is_data_stream};
    const mr_status status = parts_open(sink, open, err);
    if (status) {
        elastic_close(sink);
        return status;
    }
    *sink_out = sink;
    return MR_OK;
}

static mr_status elastic_emit(struct mr_sink *sink, struct mr_outbox *box, size_t from, size_t *taken_out,
                              struct mr_err *err)
{
    return mr_remote_emit(sink->remote, box, from, taken_out, err);
}

static mr_status elastic_poll(struct mr_sink *sink, int64_t wait_us, struct mr_err *err)
{
    return mr_remote_poll(sink->remote, wait_us, err);
}

static void elastic_finish(struct mr_sink *sink)
{
    mr_remote_finish(sink->remote);
}

const struct mr_sink_ops mr_sink_elastic = {
    .name = "elastic",
    .summary = "documents in Elasticsearch or OpenSearch, by their bulk interface",
    .options = elastic_option_table,
    .options_size = sizeof(struct elastic_options),
    .reads_origin = true,
    .check = elastic_check,
    .open = elastic_open,
    .emit = elastic_emit,
    .poll = elastic_poll,
    .finish = elastic_finish,
    .close = elastic_close,
};
