#include "kafka/group_offsets.h"

#include <time.h>

#include "base/clock.h"
#include "kafka/client.h"

#define STEP_MS  5000
#define PAUSE_NS 50000000

static mr_status reader_open(const struct mr_map *properties, const char *group, rd_kafka_t **client_out,
                             struct mr_err *err)
{
    const struct mr_kafka_default defaults[] = {
        {.key = "group.id", .value = group, .is_reserved = true},
        {.key = "enable.auto.commit", .value = "false"},
        {.key = "isolation.level", .value = "read_committed", .is_ours = true},
        {.key = "socket.nagle.disable", .value = "true"},
        {.key = "client.id", .value = "millrace-group"},
        {.key = "enable.metrics.push", .value = "false", .is_optional = true},
        {0},
    };
    rd_kafka_conf_t *conf;
    const mr_status status = mr_kafka_conf_create("reader", properties, defaults, &conf, err);
    return status ? status : mr_kafka_client_create("reader", RD_KAFKA_CONSUMER, conf, client_out, err);
}

mr_status mr_kafka_group_offsets(const struct mr_map *properties, const char *group,
                                 rd_kafka_topic_partition_list_t *list, int timeout_ms, struct mr_err *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    const int64_t deadline_ns = mr_clock_ns() + timeout_ms * 1000000LL;
    rd_kafka_t *client;
    const mr_status status = reader_open(properties, group, &client, err);
    rd_kafka_resp_err_t code;
    if (status) return status;
    for (;;) {
        for (int i = 0; i < list->cnt; i++) list->elems[i].offset = RD_KAFKA_OFFSET_INVALID;
        code = rd_kafka_committed(client, list, timeout_ms < STEP_MS ? timeout_ms : STEP_MS);
        for (int i = 0; i < list->cnt && !code; i++) code = list->elems[i].err;
        if (!code || code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED || mr_clock_ns() >= deadline_ns) break;
        nanosleep(&pause, NULL); /* a client that has just been made may not know who to ask */
    }
    rd_kafka_destroy(client);
    for (int i = 0; i < list->cnt; i++)
        if (code || list->elems[i].offset < 0) list->elems[i].offset = -1;
    return code && code != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
               ? mr_fail(err, MR_EKAFKA, "the offsets of group \"%s\": %s", group, rd_kafka_err2str(code))
               : MR_OK;
}
