/** Rows and scores into output records, by the template of the layout. */
#ifndef MR_PIPELINE_ENCODE_H
#define MR_PIPELINE_ENCODE_H

#include "millrace/sink.h"
#include "millrace/source.h"
#include "pipeline/layout.h"

struct mr_encoder; /* one a lane; not thread-safe; allocates nothing after create */

/** What one batch offers. All borrowed for the call. */
struct mr_encode_input {
    const struct mr_message *messages;
    const struct mr_scores *scores;         /* [model_count] */
    const struct mr_source_ops *source_ops; /* for headers, timestamps and topic names */
    struct mr_source *source;
    bool is_continued; /* the first rows may belong to the message that the rows before ended in */
};

/**
 * layout, job and info must outlive the encoder. Names and constant values of headers belong to the encoder: it must
 * outlive the outboxes that it filled.
 */
mr_status mr_encoder_create(const struct mr_job *job, const struct mr_layout *layout,
                            const struct mr_model_info *const *info, struct mr_encoder **encoder_out,
                            struct mr_err *err);

/**
 * Encodes rows [*row, rows->row_count) into box (records, arena) and moves *row on; stops early when the box is full,
 * never within an output record. A row whose record alone is larger than the whole arena goes to rows->reject as
 * MR_REASON_OUTPUT_SIZE (first 0, bytes those of its message); when rejects are full too it stops, and the caller
 * empties them. Joined records (emit.framing lines, array): the rows of one input message; also those of neighbouring
 * messages of the same partition as long as none of them has a key and neither headers nor timestamps go through; up to
 * emit.records_max rows and about MR_JOINED_BYTES a record. Their headers, timestamp and offset are those of the last
 * message in them. Captured JSON goes out byte for byte (in joined lines, a line break between its tokens becomes a
 * space). Captured plain text (CSV) goes out bare when it is a JSON number, else as a JSON string. What is absent, and
 * model outputs that are not finite, print null. Sets value, key, headers, timestamp, partition and provenance of every
 * record. Cannot fail.
 */
void mr_encode(struct mr_encoder *encoder, const struct mr_encode_input *input, struct mr_rows *rows, size_t *row,
               struct mr_outbox *box);

/** From now on rows are taken and no records made of them: for a job without sinks. */
void mr_encoder_mute(struct mr_encoder *encoder);

/** A joined record that has reached this many bytes takes no more rows: half of what brokers allow by default. */
#define MR_JOINED_BYTES (512u * 1024)

/** Model outputs printed as null so far because they were NaN or infinite. */
uint64_t mr_encoder_nonfinite_count(const struct mr_encoder *encoder);

/** Accepts NULL. */
void mr_encoder_destroy(struct mr_encoder *encoder);

#endif
