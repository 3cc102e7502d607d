/** Standard input, a file or the records of a topic, cut into blocks of whole rows, read in large steps: what offline
 * commands read. */
#ifndef MR_TABLE_INPUT_H
#define MR_TABLE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sha256.h"
#include "millrace/batch.h"
#include "millrace/status.h"
#include "table/topic_input.h"

/** Bytes of a block; a row that is longer is handed over cut short, and its rest is skipped. */
#define MR_INPUT_BLOCK_BYTES (4u << 20)

struct mr_input {
    int fd;
    struct mr_topic_input *topic; /* in the place of fd; NULL: there is none */
    const char *path;             /* for messages */
    mr_cut_kind cut;
    size_t row_bytes; /* MR_CUT_PACKED */
    bool has_header;  /* the first line is put in front of every block */
    char *buffer;
    size_t header_bytes; /* at the start of buffer */
    size_t used;         /* bytes in buffer, header included */
    size_t block_end;    /* end of the block that was handed over */
    bool is_ended, skips_line, is_begun;
    struct mr_sha256 *sha; /* takes all bytes that are read; NULL: nobody wants their digest */
    /* place of the block's first byte behind the header */
    uint64_t line; /* lines before it, the header's included */
    uint64_t row;  /* rows of row_bytes before it */
};

/** path NULL or "-": standard input. MR_EINPUT when it cannot be opened. */
mr_status mr_input_open(struct mr_input *input, const char *path, mr_cut_kind cut, size_t row_bytes, bool has_header,
                        struct mr_err *err);

/** The same of a topic, which is the input's from now on, also on an error: it is closed with it. path: for messages.
 */
mr_status mr_input_open_topic(struct mr_input *input, struct mr_topic_input *topic, const char *path, mr_cut_kind cut,
                              size_t row_bytes, struct mr_err *err);

/** The first line (of MR_CUT_LINES: that is not blank), without its line break and without taking it, before the first
 * call of next; MR_END when there is none or it is blank. A byte order mark (UTF-8) before it is dropped, here and by
 * next. */
mr_status mr_input_first(struct mr_input *input, struct mr_span *line_out, struct mr_err *err);

/** Begins anew, at the first row. MR_EUSAGE: it is a pipe. */
mr_status mr_input_rewind(struct mr_input *input, struct mr_err *err);

/** The next block as one message, valid until the next call; MR_END when there is none. Blocks are as long as what is
 * there at once. */
mr_status mr_input_next(struct mr_input *input, struct mr_message *message, struct mr_err *err);

/** Number, from 1, of the line or row that lies at this offset of the block's message. */
uint64_t mr_input_place(const struct mr_input *input, size_t offset);

/** The same for a message: "line 3", "row 3", "partition 0, offset 17". */
void mr_input_place_text(const struct mr_input *input, size_t offset, char *text, size_t bytes);

/** Accepts a zeroed input. */
void mr_input_close(struct mr_input *input);

#endif
