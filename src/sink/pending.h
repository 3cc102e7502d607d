/** What sinks share that are done with a record once they have taken it: it is settled with the next poll(). */
#ifndef MR_SINK_PENDING_H
#define MR_SINK_PENDING_H

#include <stdbool.h>

#include "millrace/sink.h"

/** Outboxes that may wait for poll() at a time. */
#define MR_PENDING_MAX 64

/** Zeroed: none. */
struct mr_pending {
    struct {
        struct mr_outbox *box;
        size_t count;
    } item[MR_PENDING_MAX];
    size_t count;
};

/** Whether records of the box can be noted; when too many boxes wait, poll first. */
bool mr_pending_has_room(const struct mr_pending *pending, const struct mr_outbox *box);

/** Notes that `count` more records of box were taken. */
void mr_pending_took(struct mr_pending *pending, struct mr_outbox *box, size_t count);

/** Settles all that was noted, in order. */
void mr_pending_settle(struct mr_pending *pending);

#endif
