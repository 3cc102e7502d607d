/** How far each partition of a lane is read: the lane tells it now and then, whoever watches reads it. */
#ifndef MR_METRICS_LAGS_H
#define MR_METRICS_LAGS_H

#include <pthread.h>

#include "millrace/source.h"

#define MR_LAG_TOPIC_BYTES 250 /* Kafka's names have at most 249 */

/** A partition by its topic's name, which outlives the source. */
struct mr_lag_line {
    char topic[MR_LAG_TOPIC_BYTES];
    struct mr_lag lag;
};

struct mr_lags {
    pthread_mutex_t lock;
    struct mr_lag_line *line; /* [count], under the lock */
    size_t count, cap;
    struct mr_lag *part; /* [cap], of the lane's thread */
};

void mr_lags_init(struct mr_lags *lags);
void mr_lags_deinit(struct mr_lags *lags);

/** On the lane's thread: asks the source, which must be able to tell, and keeps its answer. Returns the sum, -1: not
 * known. Without memory for all partitions the sum is right and those without room are left out. */
int64_t mr_lags_take(struct mr_lags *lags, const struct mr_source_ops *ops, struct mr_source *source);

/** The partitions as of the last answer, up to cap of them, copied; returns how many there are. Any thread. */
size_t mr_lags_copy(struct mr_lags *lags, struct mr_lag_line *out, size_t cap);

#endif
