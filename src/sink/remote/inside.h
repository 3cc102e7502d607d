/** Inside the remote: what its files share. */
#ifndef MR_SINK_REMOTE_INSIDE_H
#define MR_SINK_REMOTE_INSIDE_H

#include <pthread.h>

#include "base/intern.h"
#include "metrics/sink_stats.h"
#include "sink/remote/entry.h"
#include "sink/remote/remote.h"
#include "sink/remote/spill.h"

#define MR_REMOTE_PENDING_MAX 64

/** Settled when poll() is called next; of a remote that does not acknowledge. */
struct mr_remote_pending {
    struct mr_outbox *box;
    size_t count;
};

struct mr_remote {
    const struct mr_remote_protocol *protocol;
    void *context;
    const struct mr_remote_options *options;
    const char *(*topic_name)(const void *context, uint32_t topic);
    int64_t (*event_ms)(const void *context, const struct mr_message *message);
    const void *origin_context;
    const char *followed;
    char run[24];                           /* behind the names of topics; "": nothing */
    struct mr_sink_stats *stats, own_stats; /* own: where nobody gives any */
    char *destination;
    bool acknowledges, is_required;
    unsigned lane;
    pthread_t thread;
    bool has_thread, has_locks, has_conds;

    /* The queue: entries one behind the other in a ring. Positions only grow; freed <= sent <= tail <= freed + cap. */
    char *ring;
    size_t cap;
    uint64_t freed;      /* the lane's: what is before it may be written over */
    uint64_t tail_lane;  /* the lane's: tail, as it grows during a call */
    uint64_t sent_known; /* the lane's: sent, as it was last seen */

    pthread_mutex_t lock;
    pthread_cond_t work, progress; /* for the sender; for the lane */
    uint64_t sent;                 /* under the lock: the sender has done with what is before it */
    uint64_t tail;                 /* under the lock: written up to here */
    uint64_t tail_records;         /* under the lock: written so far */
    struct mr_intern topics;       /* under the lock: names by the lane's index */
    uint32_t *topic_number;        /* the lane's: [topic_cap] of its index, in topics; MR_INTERN_NONE: not seen yet */
    size_t topic_cap;
    bool is_wanted;        /* under the lock: the lane waits for acknowledgements, or has no room */
    bool is_closing;       /* under the lock */
    struct mr_err failure; /* under the lock: nothing is taken any more */
    _Atomic int64_t stop_ns;

    struct mr_remote_pending pending[MR_REMOTE_PENDING_MAX];
    size_t pending_count;

    /* the sender's */
    uint64_t sent_records;       /* before sent */
    uint64_t head, head_records; /* what is before it, and not before sent, is in the batch */
    struct mr_remote_item *item; /* [item_count]: those that wait come first after each request */
    size_t item_count, item_cap;
    bool is_from_spill; /* the batch is */
    struct mr_remote_text body;
    char *topic_text; /* [MR_REMOTE_TOPIC_BYTES]: a name, copied */
    bool is_prepared;
    unsigned failures, denials;        /* in a row */
    int64_t failing_since_ns, told_ns; /* 0: it is well */
    char told[sizeof(((struct mr_remote_outcome *)0)->text)];
    uint64_t random;

    struct mr_spill *spill;      /* NULL: none */
    pthread_mutex_t spill_lock;  /* taken before `lock`, where both are */
    _Atomic uint64_t spill_left; /* bytes in it, for who holds `lock` */
};

#define MR_REMOTE_TOPIC_BYTES 256

static inline struct mr_remote_entry *mr_remote_entry_at(const struct mr_remote *remote, uint64_t position)
{
    return (struct mr_remote_entry *)(void *)(remote->ring + position % remote->cap);
}

/** Where the entry stands that comes at a position before the tail: at the ring's end there may be no room for it. */
static inline uint64_t mr_remote_position(const struct mr_remote *remote, uint64_t position)
{
    const uint64_t to_end = remote->cap - position % remote->cap;
    if (to_end < sizeof(struct mr_remote_entry)) return position + to_end;
    const struct mr_remote_entry *const entry = mr_remote_entry_at(remote, position);
    return entry->is_jump ? position + entry->bytes : position;
}

/** remote.c: bytes that are spilled and not delivered; what was read of them is delivered. */
uint64_t mr_remote_spill_bytes(struct mr_remote *remote);
void mr_remote_spill_done(struct mr_remote *remote);

/** sender.c: the thread. */
void *mr_remote_main(void *argument);

/** batch.c: the name of an entry's topic, copied, for the lane may add others meanwhile; until the next call. */
const char *mr_remote_topic(struct mr_remote *remote, uint32_t number);

/** Fills the batch from the spill, else from the queue up to `tail`; items of which nothing can be made are
 * refused on the way. */
void mr_remote_batch_fill(struct mr_remote *remote, uint64_t tail);

/** Sends what waits in the batch. The outcome is that of the request that ended it. */
void mr_remote_batch_send(struct mr_remote *remote, struct mr_remote_outcome *outcome);

/** Takes items that are done out of the batch. */
void mr_remote_batch_pack(struct mr_remote *remote);

#endif
