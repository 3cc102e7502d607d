/* Which partition of a Kafka topic a record goes to, where the input's partitions are kept. */
#include "base/log.h"
#include "kafka/client.h"
#include "sink/kafka/sink.h"

#define ASK_TIMEOUT_MS 1000

/*
 * Whether records go to the partitions that they name. A topic with more partitions than its input can keep each
 * record's: that is done where it is asked for by name, not by default, which would leave partitions empty.
 */
mr_status mr_kafka_sink_place(struct mr_sink *sink, struct mr_err *err)
{
    const struct mr_sink_open *open = &sink->open;
    const char *topic = sink->opt->topic;
    const int32_t least = open->source_partitions_min, most = open->source_partitions_max, own = sink->partition_count;

    if (open->partition_rule == MR_PARTITION_ALWAYS && most > own) {
        return mr_fail(err, MR_ECONFIG,
                       "emit.partition \"same\": topic \"%s\" has %d partitions, the input has %d: give it as many "
                       "(kafka-topics --bootstrap-server %s --alter --topic %s --partitions %d), or set emit.partition "
                       "to \"key\" or \"sticky\"",
                       topic, own, most, sink->servers, topic, most);
    }
    sink->same_may_grow = open->partition_rule == MR_PARTITION_ALWAYS || (least == own && most == own);
    sink->same_count = sink->same_may_grow ? own : 0;
    if (!sink->same_may_grow && most && !open->lane) {
        mr_log(MR_LOG_WARN, "kafka",
               "topic \"%s\" has %d partitions, the input has %d: all records go by key, or by batch where they have "
               "none, and the order of an input partition is not kept; give it as many, or set emit.partition",
               topic, own, least == own ? most : least);
    }
    return MR_OK;
}

/*
 * A record comes from a partition that this topic did not have: the input has grown. If the topic has too, nothing
 * changes; if not, records of the partitions that it lacks go by key from now on, also when it grows later, so that
 * they do not change their place twice. False: no broker said.
 */
bool mr_kafka_sink_place_again(struct mr_sink *sink, int32_t wanted)
{
    const char *topic = sink->opt->topic;
    struct mr_err err;
    int32_t count;
    const mr_status status =
        mr_kafka_partition_count(mr_kafka_sink_client(sink), sink->servers, topic, ASK_TIMEOUT_MS, &count, &err);

    if (status == MR_EINPUT) sink->failure = err; /* it is gone */
    if (status) return false;
    if (count > sink->partition_count)
        mr_log(MR_LOG_INFO, "kafka", "topic \"%s\" has grown: %d partitions, now %d", topic, sink->partition_count,
               count);
    if (count < sink->partition_count) count = sink->partition_count; /* topics do not shrink */
    sink->partition_count = sink->same_count = count;
    if (wanted < count) return true;
    sink->same_may_grow = false;
    mr_log(MR_LOG_WARN, "kafka",
           "the input has grown, topic \"%s\" has %d partitions: records of input partitions 0 to %d stay in theirs, "
           "those of the new ones go by key, or by batch; give it as many and start again, or set emit.partition",
           topic, count, count - 1);
    return true;
}
