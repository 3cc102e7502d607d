/**
 * A job's work done again without lanes: messages are decoded, scored and encoded as a lane does it, and what must
 * have been written is handed to a receiver. Nothing is sent. One thread at a time.
 */
#ifndef MR_VERIFY_OFFLINE_H
#define MR_VERIFY_OFFLINE_H

#include "kafka/range_reader.h"
#include "metrics/stats.h"
#include "millrace/sink.h"
#include "pipeline/encode.h"
#include "pipeline/slot.h"

/** A record that must be a dead letter. Bytes are valid during the call. */
struct mr_offline_dead {
    const struct mr_message *message;
    const char *value; /* NULL: a tombstone */
    size_t value_bytes;
    mr_reason reason;
    bool is_output;    /* the output, not the record, was too large */
    const char *field; /* path, or NULL */
};

/** Who is told. Both are called in the order of the messages, each kind for itself. */
struct mr_offline_to {
    void *context;
    mr_status (*output)(void *context, const struct mr_record *record, size_t row,
                        struct mr_err *err); /* of the slot */
    mr_status (*dead)(void *context, const struct mr_offline_dead *dead, struct mr_err *err);
};

struct mr_offline {
    struct mr_run *run;
    struct mr_job *job;
    struct mr_slot slot;
    struct mr_decoder *decoder;
    struct mr_encoder *encoder;
    struct mr_outbox box;
    struct mr_source_ops source_ops; /* for the encoder: names of topics are those of `source` */
    struct mr_source *source;
    struct mr_offline_to to;
    struct mr_counts count; /* records so far */
    const char *cut;        /* the caller's: where the value of a message was cut between two records; NULL: nowhere */
};

/**
 * Opens the job's models and units. Outputs that the job joins come out one by one (framing lines and array: an array
 * has its brackets), which changes `job`, as does that nothing is cross-checked. topics: [topic_count] names by
 * mr_message.topic, which must outlive it. Errors as mr_run_create.
 */
mr_status mr_offline_create(struct mr_job *job, char *const *topics, size_t topic_count, const struct mr_offline_to *to,
                            struct mr_offline **offline_out, struct mr_err *err);
void mr_offline_destroy(struct mr_offline *offline); /* accepts NULL */

/** Decodes messages [cursor->message, limit) into the slot, behind the rows that are in it, as far as they fit. What is
 * rejected is told and counted, and is no longer in the slot. */
mr_status mr_offline_decode(struct mr_offline *offline, const struct mr_message *messages, struct mr_cursor *cursor,
                            size_t limit, struct mr_err *err);

/** Empties the slot, before rows of another list of messages. */
void mr_offline_clear(struct mr_offline *offline);

/** When all that goes into the slot is in it: fills what rows take from message parts, which may reject some. */
mr_status mr_offline_parts(struct mr_offline *offline, const struct mr_message *messages, struct mr_err *err);

/** Scores the rows of the slot and waits. */
mr_status mr_offline_score(struct mr_offline *offline, struct mr_err *err);

/** Encodes the rows of the slot whose scores are there. */
mr_status mr_offline_encode(struct mr_offline *offline, const struct mr_message *messages, struct mr_err *err);

#endif
