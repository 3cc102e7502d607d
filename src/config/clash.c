#include "config/clash.h"

#include <regex.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"

static const struct mr_strings *strings_option(const struct mr_option *table, const void *options, const char *key)
{
    const struct mr_option *const row = options ? mr_option_find(table, key) : NULL;
    return row && row->type == MR_OPT_STRINGS ? (const void *)((const char *)options + row->offset) : NULL;
}

static const char *string_option(const struct mr_option *table, const void *options, const char *key)
{
    const struct mr_option *const row = options ? mr_option_find(table, key) : NULL;
    if (!row || row->type != MR_OPT_STRING) return NULL;
    char *text;
    memcpy(&text, (const char *)options + row->offset, sizeof text);
    return text;
}

static const char *servers_of(const struct mr_option *table, const void *options)
{
    const struct mr_option *const row = options ? mr_option_find(table, "properties") : NULL;
    if (!row || row->type != MR_OPT_MAP) return NULL;
    return mr_map_get((const void *)((const char *)options + row->offset), "bootstrap.servers");
}

/* True when a topic is among those that the source reads: by name, or by pattern ("^..."). */
static bool is_input(const struct mr_strings *topics, const char *topic)
{
    for (size_t i = 0; topics && i < topics->count; i++) {
        regex_t pattern;
        if (!strcmp(topics->item[i], topic)) return true;
        if (topics->item[i][0] != '^' || regcomp(&pattern, topics->item[i], REG_EXTENDED | REG_NOSUB)) continue;
        const bool is_match = !regexec(&pattern, topic, 0, NULL, 0);
        regfree(&pattern);
        if (is_match) return true;
    }
    return false;
}

/* The topic that a sink writes to, on the source's cluster; NULL: it writes elsewhere. */
static const char *sink_topic(const struct mr_job_sink *sink, const char *input_servers)
{
    if (!sink->ops || strcmp(sink->ops->name, "kafka") != 0) return NULL;
    const char *const servers = servers_of(sink->ops->options, sink->options);
    const char *const topic = string_option(sink->ops->options, sink->options, "topic");
    const bool is_elsewhere = servers && input_servers && strcmp(servers, input_servers) != 0;
    return topic && *topic && !is_elsewhere ? topic : NULL;
}

void mr_clashes_visit(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                      void *context)
{
    const char *const dead = job->bad_records.topic && *job->bad_records.topic ? job->bad_records.topic : NULL;
    if (!job->source || strcmp(job->source->name, "kafka") != 0) return;
    const struct mr_strings *const inputs = strings_option(job->source->options, job->source_options, "topics");
    const char *const servers = servers_of(job->source->options, job->source_options);
    if (dead && is_input(inputs, dead)) {
        visit(context, &(struct mr_clash){MR_CLASH_BAD_RECORDS, "topic", dead, MR_CLASH_INPUT, NULL});
    }
    for (size_t i = 0; i < job->sink_count; i++) {
        const char *const topic = sink_topic(&job->sink[i], servers);
        if (!topic) continue;
        if (is_input(inputs, topic)) visit(context, &(struct mr_clash){i, "topic", topic, MR_CLASH_INPUT, NULL});
        if (dead && !strcmp(topic, dead))
            visit(context, &(struct mr_clash){MR_CLASH_BAD_RECORDS, "topic", dead, i, "topic"});
    }
}

const char *mr_clash_text(const struct mr_clash *clash, const char *quoted, char out[MR_CLASH_BYTES])
{
    if (clash->with == MR_CLASH_INPUT)
        snprintf(out, MR_CLASH_BYTES, "%s is a topic that the source reads: the job would feed on itself", quoted);
    else
        snprintf(out, MR_CLASH_BYTES, "the same %s as sinks[%zu].%s", strcmp(clash->key, "topic") ? "file" : "topic",
                 clash->with, clash->with_key);
    return out;
}

const char *mr_clash_remedy(const struct mr_clash *clash)
{
    const bool is_topic = !strcmp(clash->key, "topic");
    if (clash->with == MR_CLASH_INPUT) return "write to another topic";
    if (clash->sink != MR_CLASH_BAD_RECORDS) return is_topic ? "write to another topic" : "write to another file";
    return is_topic ? "dead letters need a topic of their own" : "dead letters need a file of their own";
}

/* Keeps the first clash as an error. */
static void clash_fail(void *context, const struct mr_clash *clash)
{
    struct mr_err *const err = context;
    char quoted[300], text[MR_CLASH_BYTES], place[32] = "bad_records";
    if (err->status) return;
    if (clash->sink != MR_CLASH_BAD_RECORDS) snprintf(place, sizeof place, "sinks[%zu]", clash->sink);
    snprintf(quoted, sizeof quoted, "\"%.250s\"", clash->name);
    mr_fail(err, MR_ECONFIG, "%s.%s: %s; %s", place, clash->key, mr_clash_text(clash, quoted, text),
            mr_clash_remedy(clash));
}

mr_status mr_job_check_outputs(const struct mr_job *job, struct mr_err *err)
{
    struct mr_err first = {0};
    mr_clashes_visit(job, clash_fail, &first);
    if (first.status && err) *err = first;
    return first.status;
}
