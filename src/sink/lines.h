/** What the sinks that write lines share: records gathered into one buffer, written whole, settled once they are safe.
 */
#ifndef MR_SINK_LINES_H
#define MR_SINK_LINES_H

#include <stdbool.h>

#include "sink/csv.h"
#include "sink/pending.h"

/** Bytes gathered for one write; a longer record makes the buffer grow. */
#define MR_LINES_BYTES (256u * 1024)

struct mr_lines {
    char *buffer;
    size_t used, cap;
    struct mr_pending pending;
    struct mr_csv *csv; /* rows instead of lines; NULL: as they are */
};

mr_status mr_lines_init(struct mr_lines *lines, struct mr_err *err);
void mr_lines_deinit(struct mr_lines *lines);

/**
 * Gathers records [from, box->count) into the buffer, one line each, as many as fit; *count_out of them. A line break
 * inside a single record can only stand between JSON tokens and becomes a space; records joined as lines keep theirs.
 * With csv, rows instead. MR_ENOMEM when one record alone does not fit and the buffer cannot grow; MR_EDATA: a record
 * that is to be a row is no object.
 */
mr_status mr_lines_gather(struct mr_lines *lines, const struct mr_outbox *box, size_t from, size_t *count_out,
                          struct mr_err *err);

/**
 * Writes the buffer to fd: all of it, resuming after short writes and signals. Returns 0 or errno; *written_out says
 * how far it came.
 */
int mr_lines_write(const struct mr_lines *lines, int fd, size_t *written_out);

#endif
