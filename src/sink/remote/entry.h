/** A record in the queue of a remote, and in its spill: this, then the value. */
#ifndef MR_SINK_REMOTE_ENTRY_H
#define MR_SINK_REMOTE_ENTRY_H

#include "millrace/sink.h"

#define MR_ENTRY_ALIGN 16

struct mr_remote_entry {
    uint64_t bytes;        /* of all, rounded up to MR_ENTRY_ALIGN; of a jump, up to the end of the ring */
    struct mr_outbox *box; /* whom it is to be settled with; NULL: nobody waits */
    struct mr_record *record;
    int64_t offset, event_ms;
    char *why;              /* of a refused one; owned, NULL: no memory for it */
    const char *topic_name; /* of one from the spill; else NULL */
    uint32_t topic;         /* number of its name */
    uint32_t row, value_bytes;
    int32_t partition;
    mr_reason reason;      /* MR_REASON_NONE: delivered */
    bool is_null, is_jump; /* jump: no record, the next one is at the ring's begin */
    char value[];
};

static inline uint64_t mr_entry_bytes(size_t value_bytes)
{
    const uint64_t bytes = sizeof(struct mr_remote_entry) + value_bytes;
    return (bytes + MR_ENTRY_ALIGN - 1) / MR_ENTRY_ALIGN * MR_ENTRY_ALIGN;
}

#endif
