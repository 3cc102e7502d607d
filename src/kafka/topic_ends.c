#include "kafka/topic_ends.h"

#include <stdlib.h>

#include "base/options.h"
#include "kafka/client.h"

struct mr_topic_ends {
    rd_kafka_t *client;
    const char *topic;
};

mr_status mr_topic_ends_open(const struct mr_map *properties, const char *topic, struct mr_topic_ends **ends_out,
                             struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {
        {.key = "reconnect.backoff.max.ms", .value = "1000"},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "client.id", .value = "millrace"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    struct mr_topic_ends *const ends = calloc(1, sizeof *ends);
    struct mr_map copy = {0};
    rd_kafka_conf_t *conf;
    *ends_out = NULL;
    if (!ends) return mr_fail(err, MR_ENOMEM, "out of memory");
    ends->topic = topic;
    /* A copy of the user's properties, with the one thing that must not be theirs. */
    mr_status status = mr_map_copy(&copy, properties) && mr_map_put(&copy, "isolation.level", "read_uncommitted")
                           ? MR_OK
                           : mr_fail(err, MR_ENOMEM, "out of memory");
    if (!status) status = mr_kafka_conf_create("source", &copy, defaults, &conf, err);
    if (!status) status = mr_kafka_client_create("source", RD_KAFKA_CONSUMER, conf, &ends->client, err);
    mr_map_deinit(&copy);
    if (status)
        free(ends);
    else
        *ends_out = ends;
    return status;
}

/* which: RD_KAFKA_OFFSET_BEGINNING or RD_KAFKA_OFFSET_END, in the place of a time. */
static mr_status offsets_ask(struct mr_topic_ends *ends, int64_t which, const int32_t *partition, size_t count,
                             int64_t *offset_out, int timeout_ms, struct mr_err *err)
{
    rd_kafka_topic_partition_list_t *const list = rd_kafka_topic_partition_list_new((int)count + 1);
    for (size_t i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(list, ends->topic, partition[i])->offset = which;
    rd_kafka_resp_err_t code =
        count ? rd_kafka_offsets_for_times(ends->client, list, timeout_ms) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < count && !code; i++) {
        const rd_kafka_topic_partition_t *const entry =
            rd_kafka_topic_partition_list_find(list, ends->topic, partition[i]);
        code = !entry ? RD_KAFKA_RESP_ERR__BAD_MSG : entry->err;
        if (!code && entry->offset < 0) code = RD_KAFKA_RESP_ERR__BAD_MSG;
        if (!code) offset_out[i] = entry->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code ? mr_fail(err, MR_AGAIN, "where topic \"%s\" %s: %s", ends->topic,
                          which == RD_KAFKA_OFFSET_END ? "ends" : "begins", rd_kafka_err2str(code))
                : MR_OK;
}

mr_status mr_topic_ends_ask(struct mr_topic_ends *ends, const int32_t *partition, size_t count, int64_t *end_out,
                            int timeout_ms, struct mr_err *err)
{
    return offsets_ask(ends, RD_KAFKA_OFFSET_END, partition, count, end_out, timeout_ms, err);
}

mr_status mr_topic_bounds_ask(struct mr_topic_ends *ends, int32_t partition, int64_t *low_out, int64_t *end_out,
                              int timeout_ms, struct mr_err *err)
{
    const mr_status status = offsets_ask(ends, RD_KAFKA_OFFSET_BEGINNING, &partition, 1, low_out, timeout_ms, err);
    return status ? status : offsets_ask(ends, RD_KAFKA_OFFSET_END, &partition, 1, end_out, timeout_ms, err);
}

void mr_topic_ends_close(struct mr_topic_ends *ends)
{
    if (!ends) return;
    rd_kafka_destroy(ends->client);
    free(ends);
}
