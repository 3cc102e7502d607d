/** Messages to rows: by the job's codec, then what the layout takes from message parts. */
#ifndef MR_PIPELINE_DECODE_H
#define MR_PIPELINE_DECODE_H

#include "pipeline/slot.h"

struct mr_decode_input {
    const struct mr_run *run;
    struct mr_decoder *decoder;
    struct mr_source *source; /* for names, timestamps and headers */
    const struct mr_message *messages;
};

/**
 * Decodes messages [cursor->message, limit) until they are used up or the slot is full, appending to its rows and
 * rejects; messages without a value never reach the codec. Returns how many of these were filtered. Allocates nothing.
 */
size_t mr_decode(const struct mr_decode_input *input, struct mr_slot *slot, struct mr_cursor *cursor, size_t limit);

/** Fills the message parts of all rows of a slot, once: rows may become rejects. */
void mr_decode_parts(const struct mr_decode_input *input, struct mr_slot *slot);

#endif
