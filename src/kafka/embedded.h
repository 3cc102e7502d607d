/** The embedded broker: librdkafka's in-process mock cluster. It keeps little (5 MiB a partition, in memory) and
 * promises nothing. */
#ifndef MR_KAFKA_EMBEDDED_H
#define MR_KAFKA_EMBEDDED_H

#include <stdint.h>

#include "millrace/status.h"

/** Starts this process's embedded broker unless it runs; *servers_out is its address, valid to the end of the process.
 * Thread-safe. */
mr_status mr_kafka_embedded_start(const char **servers_out, struct mr_err *err);

/** Creates a topic on it. A topic that is only asked for appears with 4 partitions. MR_EKAFKA if it exists already. */
mr_status mr_kafka_embedded_topic(const char *topic, int32_t partition_count, struct mr_err *err);

/** The mock cluster (rd_kafka_mock_cluster_t of rdkafka_mock.h) once it is started: for tests, which make it fail. */
struct rd_kafka_mock_cluster_s *mr_kafka_embedded_cluster(void);

/** Ends it. Only when no client uses it any more. */
void mr_kafka_embedded_stop(void);

#endif
