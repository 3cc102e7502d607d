#include "sink/pending.h"

bool mr_pending_has_room(const struct mr_pending *pending, const struct mr_outbox *box)
{
    return pending->count < MR_PENDING_MAX || pending->item[pending->count - 1].box == box;
}

void mr_pending_took(struct mr_pending *pending, struct mr_outbox *box, size_t count)
{
    if (!count) return;
    if (pending->count && pending->item[pending->count - 1].box == box) {
        pending->item[pending->count - 1].count += count;
        return;
    }
    pending->item[pending->count].box = box;
    pending->item[pending->count++].count = count;
}

void mr_pending_settle(struct mr_pending *pending)
{
    /* A settled box may come back with new records at once: nothing of it is touched after the call. */
    const size_t count = pending->count;
    pending->count = 0;
    for (size_t i = 0; i < count; i++) pending->item[i].box->settled_ok(pending->item[i].box, pending->item[i].count);
}
