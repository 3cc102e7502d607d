#include "config/reserved.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/options.h"

#define SOURCE 1u /* properties of the source; sinks without their own have them, too */
#define SINK   2u

#define ACKNOWLEDGED "offsets are committed when what was made of their records is acknowledged"

static const struct row {
    const char *key, *allowed, *why;
    unsigned places;
    bool is_exact; /* with delivery "exactly-once" alone */
} rows[] = {
    {"enable.auto.commit", "false", ACKNOWLEDGED, SOURCE, false},
    {"enable.auto.offset.store", "false", ACKNOWLEDGED, SOURCE, false},
    {"enable.partition.eof", NULL, "it is set where an end is waited for", SOURCE, false},
    {"auto.offset.reset", NULL, "source.start and source.lost_offsets say where to begin", SOURCE, false},
    {"delivery.report.only.error", "false", "every output is waited for", SOURCE | SINK, false},
    {"transactional.id", NULL,
     "producers are called after job, source.instance and lane, and only delivery \"exactly-once\" has transactions",
     SOURCE | SINK, false},
    {"enable.idempotence", "true", "transactions are idempotent", SOURCE | SINK, true},
    {"isolation.level", "read_committed", "inputs are read read_committed, or what was aborted would be answered",
     SOURCE, true},
};

static void properties_visit(const struct mr_job *job, size_t sink, const struct mr_map *properties,
                             void (*visit)(void *context, const struct mr_reserved *found), void *context)
{
    for (size_t i = 0; properties && i < sizeof rows / sizeof *rows; i++) {
        const char *const value = mr_map_get(properties, rows[i].key);
        if (!value || !(rows[i].places & (sink == SIZE_MAX ? SOURCE : SINK))) continue;
        if (rows[i].is_exact && job->delivery != MR_DELIVERY_EXACTLY_ONCE) continue;
        if (rows[i].allowed && !strcasecmp(value, rows[i].allowed)) continue;
        visit(context, &(struct mr_reserved){sink, rows[i].key, rows[i].why, rows[i].allowed});
    }
}

void mr_reserved_visit(const struct mr_job *job, void (*visit)(void *context, const struct mr_reserved *found),
                       void *context)
{
    if (!job->source) return;
    properties_visit(job, SIZE_MAX,
                     mr_option_value(job->source->options, job->source_options, "properties", MR_OPT_MAP), visit,
                     context);
    for (size_t i = 0; i < job->sink_count; i++) {
        const struct mr_job_sink *const sink = &job->sink[i];
        if (!sink->ops || strcmp(sink->ops->name, "kafka") != 0) continue;
        properties_visit(job, i, mr_option_value(sink->ops->options, sink->options, "properties", MR_OPT_MAP), visit,
                         context);
    }
}

/* Keeps the first one as an error. */
static void reserved_fail(void *context, const struct mr_reserved *found)
{
    struct mr_err *const err = context;
    char place[32] = "source";
    if (err->status) return;
    if (found->sink != SIZE_MAX) snprintf(place, sizeof place, "sinks[%zu]", found->sink);
    mr_fail(err, MR_ECONFIG, "%s.properties: \"%s\" is set by millrace: %s: remove it", place, found->key, found->why);
}

mr_status mr_job_check_properties(const struct mr_job *job, struct mr_err *err)
{
    struct mr_err first = {0};
    mr_reserved_visit(job, reserved_fail, &first);
    if (first.status && err) *err = first;
    return first.status;
}
