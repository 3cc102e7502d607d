#include "source/kafka/options.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kafka/client.h"

#define COOPERATIVE_VERSION 0x02010000
#define TOPIC_BYTES_MAX     249 /* Kafka's limit */

static const char *const memberships[] = {"static", "dynamic", "none", NULL};
static const char *const lost_offsets[] = {"stop", "earliest", "latest", NULL};

#define AT(field) offsetof(struct mr_kafka_source_options, field)
const struct mr_option mr_kafka_source_options[] = {
    {.key = "properties",
     .type = MR_OPT_MAP,
     .offset = AT(properties),
     .required = true,
     .check_pair = mr_kafka_property_check,
     .doc = "Any librdkafka property; bootstrap.servers is needed, \"embedded\" starts a broker inside this process.",
     .example = "{ \"bootstrap.servers\": \"localhost:9092\" }"},
    {.key = "topics",
     .type = MR_OPT_STRINGS,
     .offset = AT(topics),
     .required = true,
     .doc = "Topics to read; one that begins with ^ is a regular expression.",
     .example = "[\"example_1\"]"},
    {.key = "group",
     .type = MR_OPT_STRING,
     .offset = AT(group),
     .doc = "Consumer group that offsets are committed to; by default millrace-<job>."},
    {.key = "start",
     .type = MR_OPT_STRING,
     .offset = AT(start),
     .fallback = "earliest",
     .doc = "Where a partition without a committed offset starts: earliest, latest, a time such as "
            "2026-01-31T12:00:00Z, or "
            "offsets such as topic/0=12,topic/1=99."},
    {.key = "membership",
     .type = MR_OPT_ENUM,
     .offset = AT(membership),
     .fallback = "static",
     .choices = memberships,
     .doc = "static: a restart, also after a crash, takes its partitions up at once; a member that does not come back "
            "under "
            "its name keeps them until its session ends (45 s), so where names change with each start (containers) "
            "name an "
            "instance or say dynamic; dynamic: a fresh member each time, which leaves the group at its end and blocks "
            "it for "
            "a session after a crash; none: takes all partitions, no group protocol."},
    {.key = "instance",
     .type = MR_OPT_STRING,
     .offset = AT(instance),
     .doc = "Name of this process in its group, for static membership; by default the host's name. Each lane adds its "
            "number. Two processes need two names."},
    {.key = "lost_offsets",
     .type = MR_OPT_ENUM,
     .offset = AT(lost_offsets),
     .fallback = "stop",
     .choices = lost_offsets,
     .doc = "What to do when the committed offset is no longer in the topic: stop, or go on at the earliest or latest "
            "record."},
    {.key = "connect_timeout",
     .type = MR_OPT_DURATION,
     .offset = AT(connect_timeout),
     .fallback = "10s",
     .min = 1e5,
     .max = 6e8,
     .doc = "How long to wait at start for a broker to answer."},
    {.key = "fetch_wait_max",
     .type = MR_OPT_DURATION,
     .offset = AT(fetch_wait_max),
     .fallback = "100ms",
     .min = 1e3,
     .max = 3e7,
     .doc = "How long the broker may hold a fetch while nothing is there. A real broker answers at once when something "
            "comes; the embedded one "
            "does not, so 5ms is the most there."},
    {.key = "allow_old_brokers",
     .type = MR_OPT_BOOL,
     .offset = AT(allow_old_brokers),
     .fallback = "false",
     .doc = "Lets delivery \"exactly-once\" run on brokers older than 3.7, which do not refuse late requests of a "
            "transaction that is over: what is promised then holds only while the network behaves."},
    {0},
};
#undef AT

/* One entry of explicit offsets. */
struct start_entry {
    char topic[TOPIC_BYTES_MAX + 1];
    int64_t partition, offset;
};

/* Reads digits that must end at `stop`; false for anything else, or a number over the limit. */
static bool digits_read(const char **at, const char *stop, int64_t max, int64_t *value_out)
{
    char *end;
    if (!isdigit((unsigned char)**at)) return false;
    errno = 0;
    *value_out = strtoll(*at, &end, 10);
    *at = end;
    return !errno && *value_out <= max && end == stop;
}

/* Reads topic/0=12 at *at, up to a comma or the end, and moves *at there. */
static bool entry_read(const char **at, struct start_entry *entry)
{
    const char *slash = *at + strcspn(*at, "/,"), *const end = *at + strcspn(*at, ",");
    const char *equals = slash + strcspn(slash, "=,"), *number = slash + 1;
    const size_t bytes = (size_t)(slash - *at);

    if (!bytes || bytes > TOPIC_BYTES_MAX || *slash != '/' || *equals != '=') return false;
    memcpy(entry->topic, *at, bytes);
    entry->topic[bytes] = '\0';
    if (!digits_read(&number, equals, INT32_MAX, &entry->partition)) return false;
    number = equals + 1;
    if (!digits_read(&number, end, INT64_MAX, &entry->offset)) return false;
    *at = end;
    return true;
}

static mr_status offsets_check(const char *text, struct mr_err *err)
{
    for (const char *at = text;; at++) {
        const char *entry_text = at;
        struct start_entry entry;
        if (!entry_read(&at, &entry)) {
            return mr_fail(err, MR_ECONFIG,
                           "source.start: entry \"%.*s\" is not TOPIC/PARTITION=OFFSET, such as topic/0=12",
                           (int)strcspn(entry_text, ","), entry_text);
        }
        if (!*at) return MR_OK;
    }
}

mr_status mr_kafka_start_parse(const char *text, struct mr_kafka_start *start_out, struct mr_err *err)
{
    struct tm time = {0};
    *start_out = (struct mr_kafka_start){0};
    if (!strcmp(text, "earliest")) {
        start_out->kind = MR_START_EARLIEST;
        return MR_OK;
    }
    if (!strcmp(text, "latest")) {
        start_out->kind = MR_START_LATEST;
        return MR_OK;
    }
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &time);
    if (rest && (!*rest || !strcmp(rest, "Z"))) {
        start_out->kind = MR_START_TIME;
        start_out->time_ms = (int64_t)timegm(&time) * 1000;
        return MR_OK;
    }
    if (strchr(text, '/') && strchr(text, '=')) {
        const mr_status status = offsets_check(text, err);
        if (status) return status;
        start_out->kind = MR_START_OFFSETS;
        start_out->offsets = text;
        return MR_OK;
    }
    return mr_fail(
        err, MR_ECONFIG,
        "source.start: \"%s\" is none of: earliest, latest, a time such as 2026-01-31T12:00:00Z (UTC), offsets such as "
        "topic/0=12,topic/1=99",
        text);
}

int64_t mr_kafka_start_offset(const struct mr_kafka_start *start, const char *topic, int32_t partition)
{
    struct start_entry entry;
    for (const char *at = start->offsets; at && entry_read(&at, &entry); at++) {
        if (entry.partition == partition && !strcmp(entry.topic, topic)) return entry.offset;
        if (!*at) break;
    }
    return -1;
}

/* A strategy that this librdkafka cannot do without losing records. */
static mr_status strategy_check(const struct mr_map *properties, struct mr_err *err)
{
    const char *strategy = mr_kafka_property(properties, "partition.assignment.strategy");
    if (!strategy || !strstr(strategy, "cooperative") || rd_kafka_version() >= COOPERATIVE_VERSION) return MR_OK;
    return mr_fail(err, MR_ECONFIG,
                   "source.properties: partition.assignment.strategy \"%s\" loses records with librdkafka %s, which "
                   "pauses partitions in "
                   "a cooperative rebalance and goes on behind records that were not handed over (its issue 4208): "
                   "remove the property, "
                   "or use librdkafka 2.1 or later",
                   strategy, rd_kafka_version_str());
}

mr_status mr_kafka_pattern_check(const struct mr_kafka_source_options *opt, bool has_group, struct mr_err *err)
{
    for (size_t i = 0; i < opt->topics.count && !has_group; i++) {
        if (opt->topics.item[i][0] != '^') continue;
        return mr_fail(err, MR_ECONFIG,
                       "source.topics: a regular expression needs a group: with membership \"%s\"%s each lane takes "
                       "its share of the "
                       "named topics itself: name the topics instead of \"%s\", or set membership to \"%s\"",
                       memberships[opt->membership], opt->membership == MR_MEMBER_NONE ? "" : " on the embedded broker",
                       opt->topics.item[i],
                       mr_kafka_is_embedded(&opt->properties) || opt->membership != MR_MEMBER_NONE ? "dynamic"
                                                                                                   : "auto");
    }
    return MR_OK;
}

bool mr_kafka_is_read(const struct mr_strings *topics, const char *topic)
{
    for (size_t i = 0; i < topics->count; i++) {
        regex_t pattern;
        if (!strcmp(topics->item[i], topic)) return true;
        if (topics->item[i][0] != '^') continue;
        if (regcomp(&pattern, topics->item[i], REG_EXTENDED | REG_NOSUB)) return true;
        const bool is_match = !regexec(&pattern, topic, 0, NULL, 0);
        regfree(&pattern);
        if (is_match) return true;
    }
    return false;
}

mr_status mr_kafka_start_check(const struct mr_kafka_start *start, const char *topic, int32_t partition_count,
                               struct mr_err *err)
{
    struct start_entry entry;
    for (const char *at = start->offsets; at && entry_read(&at, &entry); at++) {
        if (!strcmp(entry.topic, topic) && entry.partition >= partition_count) {
            return mr_fail(err, MR_ECONFIG, "source.start: %s/%lld=%lld: topic \"%s\" has %d partitions (0 to %d)",
                           topic, (long long)entry.partition, (long long)entry.offset, topic, (int)partition_count,
                           (int)partition_count - 1);
        }
        if (!*at) break;
    }
    return MR_OK;
}

static mr_status start_topics_check(const struct mr_kafka_start *start, const struct mr_strings *topics,
                                    struct mr_err *err)
{
    struct start_entry entry;
    for (const char *at = start->offsets; at && entry_read(&at, &entry); at++) {
        if (!mr_kafka_is_read(topics, entry.topic)) {
            return mr_fail(err, MR_ECONFIG, "source.start: topic \"%s\" is not in source.topics", entry.topic);
        }
        if (!*at) break;
    }
    return MR_OK;
}

mr_status mr_kafka_properties_check(const struct mr_map *properties, struct mr_err *err)
{
    if (mr_kafka_property(properties, "group.id"))
        return mr_fail(err, MR_ECONFIG, "source.properties: group.id stands in source.group");
    if (mr_kafka_property(properties, "group.instance.id")) {
        return mr_fail(
            err, MR_ECONFIG,
            "source.properties: group.instance.id stands in source.instance; each lane adds its number to it");
    }
    return strategy_check(properties, err);
}

static mr_status twice_check(const struct mr_strings *topics, struct mr_err *err)
{
    for (size_t i = 0; i < topics->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!strcmp(topics->item[i], topics->item[j]))
                return mr_fail(err, MR_ECONFIG, "source.topics: \"%s\" stands there twice", topics->item[i]);
        }
    }
    return MR_OK;
}

mr_status mr_kafka_source_check(const void *options, struct mr_err *err)
{
    const struct mr_kafka_source_options *opt = options;
    struct mr_kafka_start start;
    if (!mr_kafka_property(&opt->properties, "bootstrap.servers")) {
        return mr_fail(err, MR_ECONFIG,
                       "source.properties: bootstrap.servers is missing: give host:port, or \"embedded\"");
    }
    const bool is_shared = opt->membership == MR_MEMBER_NONE ||
                           (opt->membership != MR_MEMBER_DYNAMIC && mr_kafka_is_embedded(&opt->properties));
    mr_status status = mr_kafka_properties_check(&opt->properties, err);
    if (!status) status = twice_check(&opt->topics, err);
    if (!status) status = mr_kafka_pattern_check(opt, !is_shared, err);
    if (!status) status = mr_kafka_start_parse(opt->start, &start, err);
    return status ? status : start_topics_check(&start, &opt->topics, err);
}
