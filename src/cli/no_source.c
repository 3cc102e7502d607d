#include "cli/no_source.h"

static const char *no_topic(const struct mr_source *source, uint32_t topic)
{
    (void)source;
    (void)topic;
    return "stdin";
}

static int64_t no_timestamp(const struct mr_source *source, const struct mr_message *message)
{
    (void)source;
    (void)message;
    return -1;
}

static bool no_header(const struct mr_source *source, const struct mr_message *message, const char *name,
                      struct mr_span *value_out)
{
    (void)source;
    (void)message;
    (void)name;
    (void)value_out;
    return false;
}

const struct mr_source_ops mr_no_source = {
    .name = "stdin", .topic_name = no_topic, .timestamp_ms = no_timestamp, .header = no_header};
