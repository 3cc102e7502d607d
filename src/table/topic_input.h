/** The records of a topic as bytes, one line (or packed row) a record: what an input (input.h) reads in place of a
 * file. */
#ifndef MR_TABLE_TOPIC_INPUT_H
#define MR_TABLE_TOPIC_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "millrace/option.h"

struct mr_topic_input; /* one thread at a time */

/**
 * Asks the broker for the partitions of the topic and where they begin and end now: what comes later is not read.
 * Committed records only. properties: of the client, with bootstrap.servers. row_bytes: of packed rows, a record is one
 * or more; 0: a record is a line, line breaks within it become blanks. MR_EKAFKA, MR_EINPUT (no such topic),
 * MR_ECONFIG, MR_ENOMEM.
 */
mr_status mr_topic_input_open(const char *topic, const struct mr_map *properties, size_t row_bytes,
                              struct mr_topic_input **input_out, struct mr_err *err);

/** Up to cap bytes of what comes next: partition by partition, in the order of offsets; 0: all was read. Records
 * without a value are left out. MR_EKAFKA, MR_EINPUT: as mr_range_read; MR_EDATA: a record that is no whole rows. */
mr_status mr_topic_input_read(struct mr_topic_input *input, char *to, size_t cap, size_t *bytes_out,
                              struct mr_err *err);

/** Where the line or row with this number, from 1, is from: "partition 0, offset 17". */
void mr_topic_input_place(const struct mr_topic_input *input, uint64_t number, char *text, size_t bytes);

/** Lines or rows up to this number are not asked for any more. */
void mr_topic_input_forget(struct mr_topic_input *input, uint64_t number);

/** Begins anew, with the same ends. */
void mr_topic_input_rewind(struct mr_topic_input *input);

/** Accepts NULL. */
void mr_topic_input_close(struct mr_topic_input *input);

#endif
