/**
 * The mark of a file that a follower writes: `PATH.offsets`, which says how long the file was when the mark was made,
 * and which records of which topic it held then. Text, one fact a line, a checksum behind it; always whole, for it is
 * replaced by a rename:
 *
 *     millrace-offsets 1
 *     topic NAME
 *     file 16 HEX DIGITS              by which the group's notes (holders.h) know it; drawn when the mark is made
 *     bytes LENGTH
 *     range PARTITION FIRST NEXT      records with FIRST <= offset < NEXT; of a partition, the last range goes on
 *     checksum 16 hex digits          XXH3 of everything before this line
 */
#ifndef MR_SINK_FILE_MARK_H
#define MR_SINK_FILE_MARK_H

#include <stdbool.h>

#include "base/part_index.h"
#include "millrace/status.h"

#define MR_FILE_TOPIC_BYTES 256

struct mr_file_range {
    int32_t partition;
    int64_t first, next;
};

/** Zeroed: empty, of no topic. */
struct mr_file_mark {
    char topic[MR_FILE_TOPIC_BYTES];
    uint64_t file;
    int64_t bytes;
    struct mr_file_range *range; /* [count] */
    size_t count, cap;
    struct mr_part_index last; /* by partition (of topic 0): its last range */
};

void mr_file_mark_deinit(struct mr_file_mark *mark);

/**
 * Reads the mark of the file `path`. MR_EINPUT: there is none; MR_EDATA: it is not whole, with the remedy; MR_EIO;
 * MR_ENOMEM. After an error mark_out is empty.
 */
mr_status mr_file_mark_read(const char *path, struct mr_file_mark *mark_out, struct mr_err *err);

/** Replaces the mark of `path`, durably. MR_EIO: as mr_durable_write. */
mr_status mr_file_mark_write(const char *path, const struct mr_file_mark *mark, struct mr_err *err);

/** Where the records of a partition end; -1: it has none. */
int64_t mr_file_mark_next(const struct mr_file_mark *mark, int32_t partition);

/** Records of a partition follow, from `first` on: unless its last range ends there, another begins. False: no memory.
 */
bool mr_file_mark_begin(struct mr_file_mark *mark, int32_t partition, int64_t first);

/** The last range of a partition, which must be there, ends at `next` now. */
void mr_file_mark_advance(struct mr_file_mark *mark, int32_t partition, int64_t next);

/** The file begins anew: empty, with what comes next of each partition. */
void mr_file_mark_restart(struct mr_file_mark *mark);

#endif
