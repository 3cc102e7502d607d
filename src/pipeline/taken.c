#include "pipeline/taken.h"

#include <stdlib.h>
#include <string.h>

/* Makes room for one more element. */
static void *grow(void *list, size_t count, size_t *cap, size_t bytes)
{
    if (count < *cap) return list;
    const size_t grown_cap = *cap ? 2 * *cap : 256;
    void *const grown = realloc(list, grown_cap * bytes);
    if (grown) *cap = grown_cap;
    return grown;
}

static mr_status range_add(struct mr_taken *taken, const struct mr_taken_range *range, struct mr_err *err)
{
    struct mr_taken_range *const list = grow(taken->range, taken->range_count, &taken->range_cap, sizeof *list);
    if (!list) return mr_fail(err, MR_ENOMEM, "no memory for the ranges of a commit");
    taken->range = list;
    /* Goes on where the last one of the same batch ended. */
    if (taken->range_count > taken->learned) {
        struct mr_taken_range *const last = &list[taken->range_count - 1];
        if (last->partition == range->partition && last->topic == range->topic && last->end_byte == range->first_byte &&
            last->end_offset == range->first_offset) {
            last->end_offset = range->end_offset;
            last->end_byte = range->end_byte;
            return MR_OK;
        }
    }
    list[taken->range_count++] = *range;
    return MR_OK;
}

mr_status mr_taken_add(struct mr_taken *taken, const struct mr_message *messages, struct mr_cursor from,
                       struct mr_cursor to, struct mr_err *err)
{
    const size_t end = to.byte ? to.message + 1 : to.message; /* the last one may be taken in part */
    mr_status status = MR_OK;
    for (size_t first = from.message, next; first < end && !status; first = next) {
        const struct mr_message *const message = &messages[first];
        for (next = first + 1; next < end; next++) {
            if (messages[next].partition != message->partition || messages[next].topic != message->topic) break;
        }
        const bool is_cut = next == end && to.byte;
        const struct mr_taken_range range = {.topic = message->topic,
                                             .partition = message->partition,
                                             .first_offset = message->offset,
                                             .first_byte = first == from.message ? (uint32_t)from.byte : 0,
                                             .end_offset =
                                                 is_cut ? messages[next - 1].offset : messages[next - 1].offset + 1,
                                             .end_byte = is_cut ? (uint32_t)to.byte : 0};
        status = range_add(taken, &range, err);
    }
    return status;
}

mr_status mr_taken_learn(struct mr_taken *taken, size_t rows, struct mr_err *err)
{
    const size_t range_count = taken->range_count - taken->learned;
    if (!rows) {
        taken->range_count = taken->learned;
        return MR_OK;
    }
    struct mr_taken_update *const list = grow(taken->update, taken->update_count, &taken->update_cap, sizeof *list);
    if (!list) return mr_fail(err, MR_ENOMEM, "no memory for the updates of a commit");
    taken->update = list;
    list[taken->update_count++] = (struct mr_taken_update){(uint32_t)range_count, (uint32_t)rows};
    taken->learned = taken->range_count;
    return MR_OK;
}

mr_status mr_taken_restore(struct mr_taken *taken, const struct mr_taken_range *range, struct mr_err *err)
{
    return range_add(taken, range, err);
}

void mr_taken_commit(struct mr_taken *taken)
{
    const size_t rest = taken->range_count - taken->learned;
    if (rest) memmove(taken->range, taken->range + taken->learned, rest * sizeof *taken->range);
    taken->range_count = rest;
    taken->learned = taken->update_count = 0;
}

void mr_taken_reset(struct mr_taken *taken)
{
    taken->range_count = taken->learned = taken->update_count = 0;
}

void mr_taken_deinit(struct mr_taken *taken)
{
    free(taken->range);
    free(taken->update);
    *taken = (struct mr_taken){0};
}
