#include "cli/override.h"

#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "config/reserved.h"
#include "kafka/client.h"

mr_status mr_override_string(char **member, const char *text, struct mr_err *err)
{
    char *copy = strdup(text);
    if (!copy) return mr_fail(err, MR_ENOMEM, "out of memory");
    free(*member);
    *member = copy;
    return MR_OK;
}

mr_status mr_override_bootstrap(struct mr_map *properties, const char *bootstrap, struct mr_err *err)
{
    if (mr_kafka_property(properties, "bootstrap.servers")) return MR_OK;
    return mr_map_put(properties, "bootstrap.servers", bootstrap) ? MR_OK : mr_fail(err, MR_ENOMEM, "out of memory");
}

/* The "properties" of a plug-in's options, or NULL when it has none. */
static struct mr_map *properties_of(const struct mr_option *table, void *options)
{
    for (const struct mr_option *row = table; row && row->key; row++) {
        if (row->type == MR_OPT_MAP && !strcmp(row->key, "properties"))
            return (struct mr_map *)((char *)options + row->offset);
    }
    return NULL;
}

static mr_status map_put_all(struct mr_map *map, const struct mr_map *properties, struct mr_err *err)
{
    for (size_t i = 0; i < properties->count; i++) {
        if (!mr_map_put(map, properties->item[i].key, properties->item[i].value))
            return mr_fail(err, MR_ENOMEM, "out of memory");
    }
    return MR_OK;
}

mr_status mr_override_properties(struct mr_job *job, const struct mr_map *properties, struct mr_err *err)
{
    struct mr_map *source = properties_of(job->source->options, job->source_options);
    mr_status status = MR_OK;

    if (!properties->count) return MR_OK;
    if (!source && !mr_job_properties(job))
        return mr_fail(err, MR_EUSAGE, "-X: neither the source \"%s\" nor a sink has client properties",
                       job->source->name);
    if (source) status = map_put_all(source, properties, err);
    for (size_t i = 0; i < job->sink_count && !status; i++) {
        struct mr_map *sink = properties_of(job->sink[i].ops->options, job->sink[i].options);
        if (sink && sink->count) status = map_put_all(sink, properties, err);
    }
    /* Two clusters may have become one. */
    if (!status) status = mr_job_check_outputs(job, err);
    return status ? status : mr_job_check_properties(job, err);
}
