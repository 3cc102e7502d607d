#include "config/followed.h"

#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "kafka/client.h"

#define LABEL_BYTES 100

static bool is_kafka(const struct mr_job *job, size_t sink)
{
    return job->sink[sink].ops && !strcmp(job->sink[sink].ops->name, "kafka");
}

bool mr_job_sink_is_followed(const struct mr_job *job, size_t sink)
{
    return job->delivery == MR_DELIVERY_EXACTLY_ONCE && job->sink[sink].ops && !is_kafka(job, sink);
}

size_t mr_job_direct_count(const struct mr_job *job)
{
    size_t count = 0;
    for (size_t i = 0; i < job->sink_count; i++) count += !mr_job_sink_is_followed(job, i);
    return count;
}

bool mr_job_reads_origin(const struct mr_job *job)
{
    for (size_t i = 0; i < job->sink_count; i++)
        if (job->sink[i].ops && job->sink[i].ops->reads_origin && !mr_job_sink_is_followed(job, i)) return true;
    return false;
}

const char *mr_job_followed_topic(const struct mr_job *job)
{
    for (size_t i = 0; i < job->sink_count; i++) {
        char *const *const topic =
            is_kafka(job, i) ? mr_option_value(job->sink[i].ops->options, job->sink[i].options, "topic", MR_OPT_STRING)
                             : NULL;
        if (topic) return *topic;
    }
    return NULL;
}

/* Type and end of the first text option, in letters that a group may have in any tool. */
static void label_of(const struct mr_job_sink *sink, char out[LABEL_BYTES])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const struct mr_option *row = sink->ops->options;
    while (row && row->key && row->type != MR_OPT_STRING) row++;
    char *const *const text =
        row && row->key ? (char *const *)(const void *)((const char *)sink->options + row->offset) : NULL;
    const char *const slash = text && *text ? strrchr(*text, '/') : NULL;
    const char *const tail = slash ? slash + 1 : text && *text ? *text : "";
    snprintf(out, LABEL_BYTES, "%s%s%s", sink->ops->name, *tail ? "." : "", tail);
    for (char *at = out; *at; at++)
        if (!strchr(letters, *at)) *at = '-';
}

void mr_job_followed_group(const struct mr_job *job, size_t sink, char out[MR_GROUP_BYTES])
{
    char *const *const given = mr_option_value(job->source->options, job->source_options, "group", MR_OPT_STRING);
    char label[LABEL_BYTES], other[LABEL_BYTES], group[MR_GROUP_BYTES];
    size_t turn = 1;
    mr_kafka_group(given ? *given : NULL, job->name, group, sizeof group);
    label_of(&job->sink[sink], label);
    for (size_t i = 0; i < sink; i++) {
        if (!mr_job_sink_is_followed(job, i)) continue;
        label_of(&job->sink[i], other);
        turn += !strcmp(other, label);
    }
    const int bytes = snprintf(out, MR_GROUP_BYTES, "%.140s.%s", group, label);
    if (turn > 1) snprintf(out + bytes, MR_GROUP_BYTES - (size_t)bytes, "-%zu", turn);
}
