/* What several keys of a job mean together. Every check says nothing about values that have a finding of their own. */
#include <stdlib.h>
#include <string.h>

#include "base/near.h"
#include "base/options.h"
#include "config/clash.h"
#include "config/followed.h"
#include "config/load.h"
#include "config/path.h"
#include "config/reserved.h"
#include "config/roles.h"
#include "http/server.h"
#include "kafka/client.h"
#include "kafka/timeouts.h"
#include "kafka/trial.h"

#define INTERVAL_LEAST_US 10000
#define INTERVAL_SHORT_US 100000
#define INTERVAL_LONG_US  10000000

static bool is_name(const char *text, const char *also)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (!*text || strlen(text) > 100) return false;
    for (; *text; text++) {
        if (!strchr(letters, *text) && !strchr(also, *text)) return false;
    }
    return true;
}

static void check_job_name(struct mr_load *load)
{
    if (load->job->name && !is_name(load->job->name, ".")) {
        mr_load_error(load, mr_load_find(load, "job", NULL),
                      "expected 1 to 100 letters, digits, \".\", \"_\" or \"-\"");
    }
}

static void check_features(struct mr_load *load)
{
    const struct mr_record_options *const record = &load->job->record;
    for (size_t i = 0; i < record->features.count; i++) {
        const char *const feature = record->features.item[i];
        const char *const problem = mr_path_problem(feature);
        const uint32_t node = mr_load_find_item(load, "record", "features", i);
        if (problem) mr_load_error(load, node, "%s", problem);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(record->features.item[j], feature) != 0) continue;
            mr_load_error(load, node, "the same feature twice");
            break;
        }
    }
    if (record->label && mr_path_problem(record->label)) {
        mr_load_error(load, mr_load_find(load, "record", "label"), "%s", mr_path_problem(record->label));
    }
}

static void labels_key_check(struct mr_load *load, const char *option, const char *key)
{
    const uint32_t node = mr_load_find(load, "labels", option);
    const struct mr_codec_ops *const codec = load->job->codec;
    if (!key || !strcmp(key, "@key")) return;
    if (*key == '@')
        mr_load_error(load, node, "expected a field, or @key");
    else if (mr_path_problem(key))
        mr_load_error(load, node, "%s", mr_path_problem(key));
    else if (codec && !codec->captures)
        mr_load_error(load, node, "records of format %s hold numbers alone: expected @key", codec->name);
}

static void check_labels(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const struct mr_labels_options *const labels = &job->labels;
    const struct mr_strings *const inputs = mr_job_topics(job);
    if (mr_node_child(&load->document, 0, "labels") == MR_NODE_NONE) return;
    labels_key_check(load, "key", labels->key);
    labels_key_check(load, "record_key", labels->record_key);
    if (labels->label && (*labels->label == '@' || mr_path_problem(labels->label)))
        mr_load_error(load, mr_load_find(load, "labels", "label"), "%s",
                      *labels->label == '@' ? "expected a field" : mr_path_problem(labels->label));
    for (size_t i = 0; i < labels->topics.count; i++) {
        const char *const topic = labels->topics.item[i];
        const uint32_t node = mr_load_find_item(load, "labels", "topics", i);
        bool is_input = false;
        for (size_t k = 0; inputs && k < inputs->count; k++) is_input |= !strcmp(inputs->item[k], topic);
        if (!*topic || *topic == '^') mr_load_error(load, node, "expected the name of a topic");
        if (is_input)
            mr_load_error(load, node, "is a topic of the source, too: name the labels' field in record.label");
    }
    if (job->record.label)
        mr_load_error(load, mr_load_find(load, "record", "label"),
                      "labels come in the records or on topics of their own (labels), not both");
    if (job->batch.by == MR_BATCH_OFFSETS)
        mr_load_error(load, mr_load_find(load, "batch", "by"),
                      "\"offsets\" does not go with labels: which pairs are there depends on how two topics arrive");
}

static bool is_feature(const struct mr_record_options *record, const char *path)
{
    for (size_t i = 0; i < record->features.count; i++) {
        if (mr_path_covers(record->features.item[i], path)) return true;
    }
    return record->label && !strcmp(record->label, path);
}

static void check_defaults(struct mr_load *load)
{
    static const struct mr_option number = {.key = "", .type = MR_OPT_DOUBLE, .min = -3.4e38, .max = 3.4e38};
    const struct mr_record_options *const record = &load->job->record;
    const uint32_t node = mr_load_find(load, "record", "defaults");
    for (size_t i = 0; i < record->defaults.count; i++) {
        const struct mr_pair *const pair = &record->defaults.item[i];
        const uint32_t child = mr_node_child(&load->document, node, pair->key);
        double value;
        char found[MR_QUOTED_BYTES];
        if (child == MR_NODE_NONE) continue;
        if (!mr_option_scan(&number, pair->value, &value)) {
            mr_load_error(load, child, "expected a number, found %s", mr_load_found(load, child, false, found));
        } else if (!is_feature(record, pair->key)) {
            struct mr_near near;
            mr_near_start(&near, pair->key);
            for (size_t j = 0; j < record->features.count; j++) mr_near_offer(&near, record->features.item[j]);
            mr_load_error(load, child, "no feature of that name in record.features");
            mr_load_suggest(load, mr_near_best(&near));
        }
    }
    if (record->missing == MR_MISSING_DEFAULT && !record->defaults.count) {
        mr_load_error(load, mr_load_find(load, "record", "missing"), "\"default\" needs record.defaults");
        mr_report_hint(&load->report, "add \"defaults\": {\"%s\": 0}",
                       record->features.count ? record->features.item[0] : "...");
    } else if (record->missing != MR_MISSING_DEFAULT && record->defaults.count) {
        mr_load_error(load, node, "has no effect while record.missing is \"dead\"");
        mr_report_hint(&load->report, "add \"missing\": \"default\"");
    }
}

static void check_framing(struct mr_load *load)
{
    static const char *const names[] = {"single", "lines", "array", "packed"};
    const struct mr_job *const job = load->job;
    char readable[64] = "";
    if (!job->codec || job->codec->framings & (1u << job->record.framing)) return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t used = strlen(readable);
        if (job->codec->framings & (1u << i))
            snprintf(readable + used, sizeof readable - used, "%s\"%s\"", used ? ", " : "", names[i]);
    }
    mr_load_error(load, mr_load_find(load, "record", "framing"), "format %s cannot be framed as \"%s\"",
                  job->codec->name, names[job->record.framing]);
    mr_report_hint(&load->report, "framings of %s: %s", job->codec->name, readable);
}

static void check_models(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    for (size_t i = 0; i < job->model_count; i++) {
        const char *const name = job->model[i].name;
        const uint32_t entry = mr_load_find_item(load, "models", NULL, i);
        const uint32_t key = mr_node_child(&load->document, entry, "name");
        const uint32_t node = key == MR_NODE_NONE ? entry : key;
        if (!name) continue;
        if (!is_name(name, "") || strchr("0123456789-", name[0])) {
            mr_load_error(load, node,
                          "expected letters, digits, \"_\" and \"-\", a letter first: emit.fields names it");
        }
        for (size_t j = 0; j < i; j++) {
            if (!job->model[j].name || strcmp(job->model[j].name, name) != 0) continue;
            mr_load_error(load, node, "two models are called \"%s\"", name);
            mr_report_hint(&load->report, "give each its own \"name\"");
            break;
        }
    }
}

static void check_emit(struct mr_load *load)
{
    static const char digits[] = "0123456789";
    const char *const floats = load->job->emit.floats;
    const bool is_fixed =
        floats && !strncmp(floats, "fixed:", 6) && floats[6] && strchr(digits, floats[6]) && !floats[7];
    if (floats && !is_fixed && strcmp(floats, "shortest") != 0) {
        char found[MR_QUOTED_BYTES];
        const uint32_t node = mr_load_find(load, "emit", "floats");
        mr_load_error(load, node, "expected \"shortest\" or \"fixed:0\" to \"fixed:9\", found %s",
                      mr_load_found(load, node, false, found));
    }
    const uint32_t fields = mr_load_find(load, "emit", "fields");
    for (size_t i = 0; i < load->job->emit.fields.count; i++) {
        const struct mr_pair *const pair = &load->job->emit.fields.item[i];
        const uint32_t child = mr_node_child(&load->document, fields, pair->key);
        if (child == MR_NODE_NONE) continue;
        if (load->document.node[child].kind != MR_NODE_STRING) {
            mr_load_error(load, child,
                          "expected what stands there as a string: a model's output, a field or a message part");
        } else if (mr_path_problem(pair->value)) {
            mr_load_error(load, child, "%s", mr_path_problem(pair->value));
        }
    }
}

static void check_bad_records(struct mr_load *load)
{
    const struct mr_bad_records_options *const bad = &load->job->bad_records;
    const uint32_t node = mr_node_child(&load->document, 0, "bad_records");
    if (node == MR_NODE_NONE || load->document.node[node].kind != MR_NODE_OBJECT) return;
    const int count = (bad->topic != NULL) + (bad->file != NULL) + bad->drop;
    if (count == 1) {
        if (bad->topic && !*bad->topic)
            mr_load_error(load, mr_load_find(load, "bad_records", "topic"), "must not be empty");
        if (bad->file && !*bad->file)
            mr_load_error(load, mr_load_find(load, "bad_records", "file"), "must not be empty");
        return;
    }
    /* A value of the wrong type has its finding: say nothing more. */
    if (!count && (mr_node_child(&load->document, node, "topic") != MR_NODE_NONE ||
                   mr_node_child(&load->document, node, "file") != MR_NODE_NONE)) {
        return;
    }
    if (count) {
        mr_load_error(load, node, "expected one of topic, file and drop, found %d of them", count);
        mr_report_hint(&load->report, "keep one");
    } else {
        mr_load_error(load, node, "where do bad records go? expected topic, file or \"drop\": true");
        mr_report_hint(&load->report, "add \"topic\": \"...\"");
    }
}

/* A clash as a finding at the value that should be another. */
static void clash_report(void *context, const struct mr_clash *clash)
{
    struct mr_load *const load = context;
    const uint32_t entry = clash->sink == MR_CLASH_SAVE          ? mr_load_find_item(load, "models", NULL, clash->model)
                           : clash->sink == MR_CLASH_BAD_RECORDS ? mr_load_find(load, "bad_records", NULL)
                                                                 : mr_load_find_item(load, "sinks", NULL, clash->sink);
    const uint32_t key = mr_node_child(&load->document, entry, clash->key);
    const uint32_t node = key == MR_NODE_NONE ? entry : key;
    char quoted[MR_QUOTED_BYTES], text[MR_CLASH_BYTES];
    mr_load_error(load, node, "%s", mr_clash_text(clash, mr_load_found(load, node, false, quoted), text));
    mr_report_hint(&load->report, "%s", mr_clash_remedy(clash));
}

/* The node of a property; sink SIZE_MAX: of the source. */
static uint32_t find_property(const struct mr_load *load, size_t sink, const char *key)
{
    const uint32_t entry =
        sink == SIZE_MAX ? mr_load_find(load, "source", NULL) : mr_load_find_item(load, "sinks", NULL, sink);
    const uint32_t section = mr_node_child(&load->document, entry, "properties");
    const uint32_t node = section != MR_NODE_NONE ? mr_node_child(&load->document, section, key) : MR_NODE_NONE;
    return node != MR_NODE_NONE ? node : section != MR_NODE_NONE ? section : entry;
}

/* A property that is not for the job to set, as a finding. */
static void reserved_report(void *context, const struct mr_reserved *found)
{
    struct mr_load *const load = context;
    mr_load_error(load, find_property(load, found->sink, found->key), "is set by millrace: %s", found->why);
    mr_report_hint(&load->report, "remove it");
}

/* The clients that the run will make of these properties; what one of them alone is worth was said before. */
static void trial_report(struct mr_load *load, size_t sink, mr_trial kind, const struct mr_map *properties,
                         const struct mr_timeouts *timeouts)
{
    struct mr_err err;
    const mr_status status = mr_kafka_trial(kind, properties, timeouts, &err);
    if (status) mr_load_error(load, find_property(load, sink, ""), "%s", err.text);
}

void mr_load_check_clients(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const bool is_exact = job->delivery == MR_DELIVERY_EXACTLY_ONCE;
    struct mr_timeouts timeouts;
    struct mr_err err;
    bool writes = false; /* with the source's properties */
    if (load->report.error_count) return;
    const struct mr_map *const properties =
        mr_option_value(job->source->options, job->source_options, "properties", MR_OPT_MAP);
    if (properties) trial_report(load, SIZE_MAX, MR_TRIAL_CONSUMER, properties, NULL);
    for (size_t i = 0; i < job->sink_count; i++) {
        if (strcmp(job->sink[i].ops->name, "kafka") != 0) continue;
        const struct mr_map *const own =
            mr_option_value(job->sink[i].ops->options, job->sink[i].options, "properties", MR_OPT_MAP);
        writes |= !own->count;
        if (own->count) trial_report(load, i, MR_TRIAL_PRODUCER, own, NULL);
    }
    if (!properties) return;
    if (is_exact && mr_timeouts_choose(properties, job->commit_interval, &timeouts, &err))
        mr_load_error(load, find_property(load, SIZE_MAX, ""), "%s", err.text);
    else if (writes || job->bad_records.topic || is_exact)
        trial_report(load, SIZE_MAX, is_exact ? MR_TRIAL_TRANSACTIONS : MR_TRIAL_PRODUCER, properties, &timeouts);
}

static void check_backend(struct mr_load *load)
{
    const char *const backend = load->job->backend;
    char found[MR_QUOTED_BYTES], names[256] = "auto";
    struct mr_near near;
    struct mr_plug plug;
    if (!backend || !strcmp(backend, "auto")) return;
    char *const base = strndup(backend, strcspn(backend, ":"));
    if (!base) {
        load->is_out_of_memory = true;
        return;
    }
    const bool is_known = mr_plug_find(MR_PLUG_BACKEND, base, &plug);
    if (!is_known) {
        const uint32_t node = mr_load_find(load, "backend", NULL);
        const bool is_planned = mr_is_planned("backend", base);
        mr_near_start(&near, base);
        mr_near_offer(&near, "auto");
        for (size_t i = 0; mr_plug_at(MR_PLUG_BACKEND, i, &plug); i++) {
            const size_t used = strlen(names);
            mr_near_offer(&near, plug.name);
            snprintf(names + used, sizeof names - used, ", %s", plug.name);
        }
        mr_load_found(load, node, false, found);
        mr_load_error(load, node, is_planned ? "%s is not in this build yet" : "unknown backend %s",
                      mr_load_found(load, node, false, found));
        if (!is_planned) mr_load_suggest(load, mr_near_best(&near));
        mr_report_note(&load->report, "backends of this build: %s", names);
    }
    free(base);
}

static void check_state(struct mr_load *load)
{
    if (load->job->state.file && load->job->labels.topics.count)
        mr_load_error(load, mr_load_find(load, "state", "file"),
                      "labels do not go with a state file: what waits for its label is in memory alone, and the file "
                      "would say that it was learned from; expected models[].save alone");
}

static void check_http(struct mr_load *load)
{
    const struct mr_http_options *const http = &load->job->http;
    struct mr_err err;
    if (http->listen && mr_http_check(http->listen, http->token_file, &err))
        mr_load_error(load, mr_load_find(load, "http", "listen"), "%s", err.text);
    mr_load_check_truth(load);
}

static size_t first_followed(const struct mr_job *job)
{
    size_t first = 0;
    while (first < job->sink_count && !mr_job_sink_is_followed(job, first)) first++;
    return first;
}

/* What an interval between two transactions is good for. */
static void check_interval(struct mr_load *load)
{
    const uint32_t node = mr_load_find(load, "commit_interval", NULL);
    const int64_t interval_us = load->job->commit_interval;
    if (mr_load_has_finding(load, "commit_interval")) return;
    if (interval_us < INTERVAL_LEAST_US) {
        mr_load_error(load, node,
                      "delivery \"exactly-once\": each transaction writes a marker to every partition it touched, "
                      "whatever is in it: expected "
                      "at least 10ms");
        mr_report_hint(&load->report, "100ms to 1s is usual");
    } else if (interval_us < INTERVAL_SHORT_US || interval_us > INTERVAL_LONG_US) {
        mr_load_error(load, node,
                      interval_us < INTERVAL_SHORT_US
                          ? "delivery \"exactly-once\": so many transactions cost a good part of the rate"
                          : "delivery \"exactly-once\": readers see nothing before a transaction ends, and a failure "
                            "does all of it again");
        mr_report_hint(&load->report, "100ms to 1s is usual");
        mr_report_as_warning(&load->report);
    }
}

/* Everything that a transaction cannot hold. */
static void check_delivery(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const struct mr_map *properties;
    if (job->delivery != MR_DELIVERY_EXACTLY_ONCE || !job->source) return;
    if (!job->source->offsets_send)
        mr_load_error(load, mr_load_find(load, "source", "type"),
                      "delivery \"exactly-once\" needs a source whose offsets go into transactions: kafka");
    if (!job->source->offsets_send)
        mr_report_hint(&load->report,
                       "set delivery to \"at-least-once\", or put the records into a topic first: `millrace "
                       "replay FILE --topic T`");
    properties = mr_option_value(job->source->options, job->source_options, "properties", MR_OPT_MAP);
    if (properties && mr_kafka_is_embedded(properties))
        mr_load_error(load, mr_load_find(load, "delivery", NULL),
                      "the embedded broker keeps no transactions: expected a real one, or \"at-least-once\"");
    check_interval(load);
    for (size_t i = 0; i < job->sink_count; i++) {
        const uint32_t node = mr_load_find_item(load, "sinks", NULL, i);
        if (!job->sink[i].ops) continue;
        if (mr_job_sink_is_followed(job, i)) {
            if (mr_job_followed_topic(job) || i != first_followed(job)) continue;
            mr_load_error(load, node,
                          "delivery \"exactly-once\" writes outputs to a topic, from which a sink of type %s is fed: "
                          "expected a Kafka sink, too",
                          job->sink[i].ops->name);
            mr_report_hint(&load->report, "add { \"type\": \"kafka\", \"topic\": \"...\" }");
            continue;
        }
        properties = mr_option_value(job->sink[i].ops->options, job->sink[i].options, "properties", MR_OPT_MAP);
        if (properties && properties->count)
            mr_load_error(load, node,
                          "with delivery \"exactly-once\" all topics are on the source's cluster, "
                          "written by one producer: expected no properties");
    }
    if (job->bad_records.file)
        mr_load_error(load, mr_load_find(load, "bad_records", "file"),
                      "delivery \"exactly-once\" needs bad_records.topic: a file is in no transaction");
    if (job->state.file)
        mr_load_error(load, mr_load_find(load, "state", "file"),
                      "delivery \"exactly-once\" keeps what is learned in topics (models[].topic): a file is in no "
                      "transaction");
    if (job->labels.topics.count)
        mr_load_error(load, mr_load_find(load, "labels", NULL),
                      "delivery \"exactly-once\" does not go with labels yet: what waits is in memory alone");
}

/* A trainer and scorers need topics between them, and transactions on both sides. */
static void check_scorers(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const uint32_t node = mr_load_find(load, "scorers", NULL);
    bool is_any = false;
    if (!job->scorers) return;
    if (job->delivery != MR_DELIVERY_EXACTLY_ONCE) {
        mr_load_error(load, node, "needs delivery \"exactly-once\": a trainer and scorers share committed versions");
        mr_report_hint(&load->report, "add \"delivery\": \"exactly-once\"");
    }
    for (size_t i = 0; i < job->model_count; i++) {
        if (!job->model[i].ops) return;
        if (!mr_job_model_learns(&job->model[i])) continue;
        is_any = true;
        if (job->model[i].topic) continue;
        mr_load_error(load, mr_load_find_item(load, "models", NULL, i),
                      "learns, and has no topic from which the scorers could take it");
        mr_report_hint(&load->report, "add \"topic\": \"...\"");
    }
    if (!is_any) {
        mr_load_error(load, node, "no model of the job learns: there is nothing for a trainer to do");
        mr_report_hint(&load->report, "add \"learn\": true to a model, or say \"lanes\"");
    }
    if (job->lanes)
        mr_load_error(load, mr_load_find(load, "lanes", NULL),
                      "has no effect with scorers, which says how many lanes score; the trainer has one");
}

void mr_load_cross_check(struct mr_load *load)
{
    if (load->document.node[0].kind != MR_NODE_OBJECT) return;
    check_job_name(load);
    check_features(load);
    check_labels(load);
    mr_load_check_learn_topics(load);
    check_defaults(load);
    check_framing(load);
    check_models(load);
    check_emit(load);
    check_bad_records(load);
    mr_clashes_visit(load->job, clash_report, load);
    mr_reserved_visit(load->job, reserved_report, load);
    check_backend(load);
    check_delivery(load);
    check_state(load);
    check_http(load);
    check_scorers(load);
    mr_load_check_source(load);
}
