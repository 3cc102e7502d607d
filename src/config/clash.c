#include "config/clash.h"

#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/options.h"

static const struct mr_strings *strings_option(const struct mr_option *table, const void *options, const char *key)
{
    return mr_option_value(table, options, key, MR_OPT_STRINGS);
}

static const char *string_option(const struct mr_option *table, const void *options, const char *key)
{
    char *const *const text = mr_option_value(table, options, key, MR_OPT_STRING);
    return text ? *text : NULL;
}

static const char *servers_of(const struct mr_option *table, const void *options)
{
    const struct mr_map *const properties = mr_option_value(table, options, "properties", MR_OPT_MAP);
    return properties ? mr_map_get(properties, "bootstrap.servers") : NULL;
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

/* The option of a sink that names the file that it writes to, and that name; NULL: none. */
static const char *sink_path(const struct mr_job_sink *sink, const char **key_out)
{
    for (const struct mr_option *row = sink->ops ? sink->ops->options : NULL; row && row->key; row++) {
        if (!row->is_path || row->is_shared) continue;
        *key_out = row->key;
        return string_option(sink->ops->options, sink->options, row->key);
    }
    return NULL;
}

/* Where a path leads: links and dots resolved as far as it is there. False when that is not known. */
static bool path_resolve(const char *path, char out[PATH_MAX])
{
    char folder[PATH_MAX], resolved[PATH_MAX];
    if (realpath(path, out)) return true;
    const char *const slash = strrchr(path, '/');
    const int bytes = slash ? (int)(slash - path) : 0;
    snprintf(folder, sizeof folder, "%.*s", slash ? (bytes ? bytes : 1) : 1, slash ? path : ".");
    if (!realpath(folder, resolved)) return false;
    return snprintf(out, PATH_MAX, "%s/%s", resolved, slash ? slash + 1 : path) < PATH_MAX;
}

/* Do two paths lead to one file? Devices and pipes may be written to by all. */
static bool is_same_file(const char *a, const char *b)
{
    char a_resolved[PATH_MAX], b_resolved[PATH_MAX];
    struct stat info;
    if (!a || !b || !*a || !*b || (!stat(a, &info) && !S_ISREG(info.st_mode))) return false;
    if (!strcmp(a, b)) return true;
    return path_resolve(a, a_resolved) && path_resolve(b, b_resolved) && !strcmp(a_resolved, b_resolved);
}

/* The file or folder that the source reads; NULL: none. */
static const char *source_path(const struct mr_job *job)
{
    return job->source && job->source->cuts ? string_option(job->source->options, job->source_options, "path") : NULL;
}

static void visit_files(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                        void *context)
{
    const char *const dead = job->bad_records.file, *const input = source_path(job);
    if (is_same_file(dead, input))
        visit(context, &(struct mr_clash){MR_CLASH_BAD_RECORDS, "file", dead, MR_CLASH_INPUT, NULL, 0, 0});
    for (size_t i = 0; i < job->sink_count; i++) {
        const char *key, *other_key;
        const char *const path = sink_path(&job->sink[i], &key);
        if (!path) continue;
        if (is_same_file(path, input)) visit(context, &(struct mr_clash){i, key, path, MR_CLASH_INPUT, NULL, 0, 0});
        for (size_t j = 0; j < i; j++) {
            if (!is_same_file(path, sink_path(&job->sink[j], &other_key))) continue;
            visit(context, &(struct mr_clash){i, key, path, j, other_key, 0, 0});
            break;
        }
        if (is_same_file(path, dead))
            visit(context, &(struct mr_clash){MR_CLASH_BAD_RECORDS, "file", dead, i, key, 0, 0});
    }
}

/* Where models are saved: not where another one is, nor where answers or dead letters go. */
static void visit_saves(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                        void *context)
{
    for (size_t i = 0; i < job->model_count; i++) {
        const char *const save = job->model[i].save, *key = NULL;
        struct mr_clash clash = {.sink = MR_CLASH_SAVE, .key = "save", .name = save, .model = i};
        bool is_any = false;
        for (size_t j = 0; j < i && !is_any; j++) {
            if (!(is_any = is_same_file(save, job->model[j].save))) continue;
            clash.with = MR_CLASH_SAVE;
            clash.with_model = j;
        }
        for (size_t j = 0; j < job->sink_count && !is_any; j++) {
            if (!(is_any = is_same_file(save, sink_path(&job->sink[j], &key)))) continue;
            clash.with = j;
            clash.with_key = key;
        }
        if (!is_any && (is_any = is_same_file(save, job->bad_records.file))) clash.with = MR_CLASH_BAD_RECORDS;
        if (is_any) visit(context, &clash);
    }
}

/* Do two sinks write to one topic of one cluster? Those without properties have the source's. */
static bool is_same_topic(const struct mr_job_sink *a, const struct mr_job_sink *b, const char *input_servers)
{
    if (!a->ops || !b->ops || strcmp(a->ops->name, "kafka") != 0 || strcmp(b->ops->name, "kafka") != 0) return false;
    const char *const a_topic = string_option(a->ops->options, a->options, "topic");
    const char *const b_topic = string_option(b->ops->options, b->options, "topic");
    const char *a_servers = servers_of(a->ops->options, a->options);
    const char *b_servers = servers_of(b->ops->options, b->options);
    if (!a_servers) a_servers = input_servers;
    if (!b_servers) b_servers = input_servers;
    return a_topic && b_topic && *a_topic && !strcmp(a_topic, b_topic) &&
           (!a_servers || !b_servers || !strcmp(a_servers, b_servers));
}

static void visit_topics(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                         void *context)
{
    const bool has_input = job->source && !strcmp(job->source->name, "kafka");
    const char *const servers = has_input ? servers_of(job->source->options, job->source_options) : NULL;
    for (size_t i = 0; i < job->sink_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!is_same_topic(&job->sink[i], &job->sink[j], servers)) continue;
            const char *const topic = string_option(job->sink[i].ops->options, job->sink[i].options, "topic");
            visit(context, &(struct mr_clash){i, "topic", topic, j, "topic", 0, 0});
            break;
        }
    }
}

static void visit_inputs(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                         void *context)
{
    const char *const dead = job->bad_records.topic && *job->bad_records.topic ? job->bad_records.topic : NULL;
    if (!job->source) return;
    const struct mr_strings *const inputs = strings_option(job->source->options, job->source_options, "topics");
    const char *const servers = servers_of(job->source->options, job->source_options);
    if (dead && (is_input(inputs, dead) || is_input(&job->labels.topics, dead))) {
        visit(context, &(struct mr_clash){MR_CLASH_BAD_RECORDS, "topic", dead, MR_CLASH_INPUT, NULL, 0, 0});
    }
    for (size_t i = 0; i < job->sink_count; i++) {
        const char *const topic = sink_topic(&job->sink[i], servers);
        if (!topic) continue;
        if (is_input(inputs, topic) || is_input(&job->labels.topics, topic))
            visit(context, &(struct mr_clash){i, "topic", topic, MR_CLASH_INPUT, NULL, 0, 0});
        if (dead && !strcmp(topic, dead))
            visit(context, &(struct mr_clash){MR_CLASH_BAD_RECORDS, "topic", dead, i, "topic", 0, 0});
    }
}

void mr_clashes_visit(const struct mr_job *job, void (*visit)(void *context, const struct mr_clash *clash),
                      void *context)
{
    visit_inputs(job, visit, context);
    visit_topics(job, visit, context);
    visit_files(job, visit, context);
    visit_saves(job, visit, context);
}

const char *mr_clash_text(const struct mr_clash *clash, const char *quoted, char out[MR_CLASH_BYTES])
{
    if (clash->sink == MR_CLASH_SAVE && clash->with == MR_CLASH_SAVE)
        snprintf(out, MR_CLASH_BYTES, "the same file as models[%zu].save", clash->with_model);
    else if (clash->sink == MR_CLASH_SAVE && clash->with == MR_CLASH_BAD_RECORDS)
        snprintf(out, MR_CLASH_BYTES, "the same file as bad_records.file");
    else if (clash->with == MR_CLASH_INPUT)
        snprintf(out, MR_CLASH_BYTES, "%s is a %s that the job reads: it would feed on itself", quoted,
                 strcmp(clash->key, "topic") ? "file" : "topic");
    else
        snprintf(out, MR_CLASH_BYTES, "the same %s as sinks[%zu].%s", strcmp(clash->key, "topic") ? "file" : "topic",
                 clash->with, clash->with_key);
    return out;
}

const char *mr_clash_remedy(const struct mr_clash *clash)
{
    const bool is_topic = !strcmp(clash->key, "topic");
    if (clash->sink == MR_CLASH_SAVE) return "save the model to a file of its own";
    if (clash->with == MR_CLASH_INPUT) return is_topic ? "write to another topic" : "write to another file";
    if (clash->sink != MR_CLASH_BAD_RECORDS) return is_topic ? "write to another topic" : "write to another file";
    return is_topic ? "dead letters need a topic of their own" : "dead letters need a file of their own";
}

/* Keeps the first clash as an error. */
static void clash_fail(void *context, const struct mr_clash *clash)
{
    struct mr_err *const err = context;
    char quoted[300], text[MR_CLASH_BYTES], place[32] = "bad_records";
    if (err->status) return;
    if (clash->sink == MR_CLASH_SAVE)
        snprintf(place, sizeof place, "models[%zu]", clash->model);
    else if (clash->sink != MR_CLASH_BAD_RECORDS)
        snprintf(place, sizeof place, "sinks[%zu]", clash->sink);
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
