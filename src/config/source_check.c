/* What a job may not ask of a source that is not Kafka: what is cut out of a stream, and what has no broker. */
#include <string.h>

#include "base/options.h"
#include "config/load.h"

static const void *source_option(const struct mr_job *job, const char *key, mr_option_type type)
{
    return mr_option_value(job->source->options, job->source_options, key, type);
}

const struct mr_strings *mr_job_topics(const struct mr_job *job)
{
    if (!job->source) return NULL;
    return mr_option_value(job->source->options, job->source_options, "topics", MR_OPT_STRINGS);
}

const struct mr_map *mr_job_properties(const struct mr_job *job)
{
    const struct mr_map *properties = source_option(job, "properties", MR_OPT_MAP);
    for (size_t i = 0; !properties && i < job->sink_count; i++) {
        const struct mr_map *const own =
            job->sink[i].ops
                ? mr_option_value(job->sink[i].ops->options, job->sink[i].options, "properties", MR_OPT_MAP)
                : NULL;
        if (own && own->count) properties = own;
    }
    return properties;
}

/* Which choice of an enum option is set; -1: there is no such option. */
static int choice_of(const struct mr_option *table, const void *options, const char *key)
{
    const int *const value = options ? mr_option_value(table, options, key, MR_OPT_ENUM) : NULL;
    return value ? *value : -1;
}

static const char *choice_name(const struct mr_option *table, const void *options, const char *key)
{
    const struct mr_option *const row = mr_option_find(table, key);
    const int choice = choice_of(table, options, key);
    return row && row->choices && choice >= 0 ? row->choices[choice] : "";
}

/* The header line stands where there are messages, or once a file. */
static void check_header(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    if (!job->codec || !job->codec_options) return;
    const char *const header = choice_name(job->codec->options, job->codec_options, "header");
    const uint32_t node = mr_load_find(load, "record", "header");
    if (job->source->cuts && !strcmp(header, "message")) {
        mr_load_error(load, node, "a source of type %s makes a message of each record: the header stands once a file",
                      job->source->name);
        mr_report_hint(&load->report, "say \"header\": \"file\"");
    } else if (!job->source->cuts && !strcmp(header, "file")) {
        mr_load_error(load, node, "a source of type %s has messages, not files", job->source->name);
        mr_report_hint(&load->report, "say \"header\": \"message\" where each message begins with a header line");
    }
}

/* A source that makes its records makes them in one format. */
static void check_format(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const char *const format = choice_name(job->source->options, job->source_options, "format");
    if (!*format || !job->codec || !strcmp(format, job->codec->name)) return;
    mr_load_error(load, mr_load_find(load, "record", "format"), "source.format is %s, and records are read as %s",
                  format, job->codec->name);
    mr_report_hint(&load->report, "name the same format in both");
}

/* Topics need a broker, and the source names none. */
static void check_brokers(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    if (source_option(job, "properties", MR_OPT_MAP)) return;
    if (job->labels.topics.count)
        mr_load_error(load, mr_load_find(load, "labels", NULL),
                      "labels come from topics on the source's cluster, and a source of type %s has none",
                      job->source->name);
    if (mr_job_properties(job)) return;
    for (size_t i = 0; i < job->sink_count; i++) {
        if (!job->sink[i].ops || strcmp(job->sink[i].ops->name, "kafka") != 0) continue;
        mr_load_error(load, mr_load_find_item(load, "sinks", NULL, i),
                      "a source of type %s names no broker, so that the sink has to", job->source->name);
        mr_report_hint(&load->report, "add \"properties\": { \"bootstrap.servers\": \"...\" }");
        return;
    }
    if (!job->bad_records.topic) return;
    mr_load_error(load, mr_load_find(load, "bad_records", "topic"),
                  "a source of type %s names no broker, and neither does a Kafka sink: expected \"file\" or \"drop\"",
                  job->source->name);
}

/* What is learned goes on at its own offset, which may be before the one that is committed. */
static void check_state(struct mr_load *load)
{
    const struct mr_job *const job = load->job;
    const bool by_offsets = job->batch.by == MR_BATCH_OFFSETS;
    const uint32_t node = mr_load_find(load, "state", "file");
    if (!job->state.file) return;
    if (!job->source->repeats && by_offsets) {
        mr_load_error(
            load, node,
            "records that wait for the rest of their block must be read again by the next run, and a source of "
            "type %s cannot: expected batch.by \"arrival\"",
            job->source->name);
    } else if (job->source->cuts && by_offsets && job->record.framing != MR_FRAMING_SINGLE) {
        mr_load_error(load, node,
                      "with batch.by \"offsets\" reading goes on at a record, which must be a message of its own: "
                      "expected record.framing \"single\"");
    }
    const char *const done = choice_name(job->source->options, job->source_options, "done");
    if (!*done || !strcmp(done, "keep")) return;
    mr_load_error(
        load, node,
        "what is learned may have to be learned again from a file that is done: expected source.done \"keep\", "
        "found \"%s\"",
        done);
}

void mr_load_check_source(struct mr_load *load)
{
    if (!load->job->source || !load->job->source_options) return;
    check_header(load);
    check_format(load);
    check_brokers(load);
    check_state(load);
}
