/* Properties of librdkafka as a job file gives them: is there one of that name, and does it take that value? */
#include <string.h>

#include "base/near.h"
#include "kafka/client.h"

/* The property whose name is nearest to a mistyped one, copied to out; "" when none is near. */
static void find_nearest(rd_kafka_conf_t *conf, const char *key, char *out, size_t out_bytes)
{
    struct mr_near near;
    /* What the dump leaves out: second names, and settings of topics. */
    static const char *const others[] = {"bootstrap.servers",
                                         "linger.ms",
                                         "acks",
                                         "retries",
                                         "compression.type",
                                         "partitioner",
                                         "delivery.timeout.ms",
                                         "message.timeout.ms",
                                         "auto.offset.reset"};
    size_t count = 0;
    const char **const pairs =
        rd_kafka_conf_dump(conf, &count); /* name, value, name, value ... of those that are set or have a default */
    mr_near_start(&near, key);
    for (size_t i = 0; pairs && i < count; i += 2) mr_near_offer(&near, pairs[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) mr_near_offer(&near, others[i]);
    const char *const best = mr_near_best(&near);
    snprintf(out, out_bytes, "%s", best ? best : "");
    if (pairs) rd_kafka_conf_dump_free(pairs, count);
}

mr_status mr_kafka_property_check(const char *key, const char *value, struct mr_err *err)
{
    char reason[256], near[MR_NEAR_BYTES + 1];
    /* Setting this one loads libraries: that is for a run. */
    if (!strcmp(key, "plugin.library.paths")) return MR_OK;
    rd_kafka_conf_t *const conf = rd_kafka_conf_new();
    const rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, key, value, reason, sizeof reason);
    find_nearest(conf, key, near, sizeof near);
    rd_kafka_conf_destroy(conf);
    if (result == RD_KAFKA_CONF_OK) return MR_OK;
    if (result == RD_KAFKA_CONF_UNKNOWN && *near) {
        return mr_fail(err, MR_ECONFIG, "librdkafka %s has no such property; did you mean \"%s\"?",
                       rd_kafka_version_str(), near);
    }
    if (result == RD_KAFKA_CONF_UNKNOWN)
        return mr_fail(err, MR_ECONFIG, "librdkafka %s has no such property", rd_kafka_version_str());
    return mr_fail(err, MR_ECONFIG, "%s", mr_kafka_is_secret(key) ? "value not accepted" : reason);
}
