/** Whether brokers answer the clients of this process: for probes, so that traffic goes elsewhere while they do not. */
#ifndef MR_KAFKA_HEALTH_H
#define MR_KAFKA_HEALTH_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

/** Watches the client that will be made from conf, until it is destroyed. */
void mr_kafka_health_add(rd_kafka_conf_t *conf);

/** For the client's error callback: no broker can be reached. */
void mr_kafka_health_down(const rd_kafka_t *client);

/**
 * False: a client can reach none of its brokers, and none has answered it since it said so; its name is written at
 * name. A broker that hangs counts once its connection has timed out (socket.timeout.ms, a minute). Any thread.
 */
bool mr_kafka_health_is_good(char *name, size_t bytes);

#endif
