/** How long a transaction, a request and a message of it may take: what the user gives of it must fit together; and
 * how long a member of a group may be silent. */
#ifndef MR_KAFKA_TIMEOUTS_H
#define MR_KAFKA_TIMEOUTS_H

#include <stdint.h>

#include "millrace/option.h"
#include "millrace/status.h"

struct mr_timeouts {
    int64_t transaction_ms; /* transaction.timeout.ms: after it the broker aborts what is open */
    int64_t socket_ms;      /* socket.timeout.ms of the producer: after it a request counts as lost */
};

/**
 * The user's where properties have them; the others are chosen to fit those and the interval of commits. A message may
 * wait as long as its transaction (librdkafka sees to that where message.timeout.ms is not given). MR_ECONFIG: what was
 * given contradicts itself; the text names both, and a value that would do.
 */
mr_status mr_timeouts_choose(const struct mr_map *properties, int64_t commit_interval_us, struct mr_timeouts *out,
                             struct mr_err *err);

/** session.timeout.ms: after it the group forgets a member that says nothing. The user's, or librdkafka's default. */
int64_t mr_timeouts_session_ms(const struct mr_map *properties);

#endif
