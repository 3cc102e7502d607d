/**
 * Reads given ranges of offsets of any partitions again, committed records only: what was learned from, in the order in
 * which it was. One thread at a time.
 */
#ifndef MR_KAFKA_RANGE_READER_H
#define MR_KAFKA_RANGE_READER_H

#include "millrace/batch.h"
#include "millrace/option.h"

struct mr_range_reader;

/** properties: the user's, of the source. MR_ECONFIG, MR_ENOMEM; no network. */
mr_status mr_range_reader_create(const struct mr_map *properties, struct mr_range_reader **reader_out,
                                 struct mr_err *err);
/** Accepts NULL. All messages must have been released. */
void mr_range_reader_destroy(struct mr_range_reader *reader);

/** A growing list of messages; their handles are librdkafka's. Zeroed: empty. */
struct mr_message_list {
    struct mr_message *message;
    size_t count, cap;
};

/**
 * Appends the messages with offsets in [first, end). Ranges that follow each other in a partition are read without a
 * break. MR_EINPUT: the partition does not hold them any more (retention); MR_EKAFKA: no broker answered for 30 s, or
 * one refused; MR_ENOMEM.
 */
mr_status mr_range_read(struct mr_range_reader *reader, const char *topic, int32_t partition, int64_t first,
                        int64_t end, struct mr_message_list *list, struct mr_err *err);

/** Gives the messages back; the list is empty then. */
void mr_message_list_clear(struct mr_message_list *list);
void mr_message_list_deinit(struct mr_message_list *list);

#endif
