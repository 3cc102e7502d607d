/** Standard input or a file cut into blocks of whole rows, read in large steps. For `millrace score`. */
#ifndef MR_CLI_SCORE_INPUT_H
#define MR_CLI_SCORE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace/batch.h"
#include "millrace/status.h"

typedef enum {
    SCORE_LINES,  /* blocks end behind a line break                             */
    SCORE_QUOTED, /* behind a line break outside double quotes (CSV)            */
    SCORE_PACKED, /* behind a multiple of row_bytes                             */
} score_cut;

/** Bytes of a block; a row that is longer is handed over cut short, and its rest is skipped. */
#define SCORE_BLOCK_BYTES (4u << 20)

struct score_input {
    int fd;
    const char *path;
    score_cut cut;
    size_t row_bytes; /* SCORE_PACKED */
    bool has_header;  /* the first line is put in front of every block */
    char *buffer;
    size_t header_bytes; /* at the start of buffer */
    size_t used;         /* bytes in buffer, header included */
    size_t block_end;    /* end of the block that was handed over */
    bool is_ended, skips_line;
    /* place of the block's first byte behind the header */
    uint64_t line; /* lines before it, the header's included */
    uint64_t row;  /* rows of row_bytes before it */
};

/** path NULL or "-": standard input. MR_EINPUT when it cannot be opened. */
mr_status score_input_open(struct score_input *input, const char *path, score_cut cut, size_t row_bytes,
                           bool has_header, struct mr_err *err);

/** The next block as one message, valid until the next call; MR_END when there is none. Blocks are as long as what is
 * there at once. */
mr_status score_input_next(struct score_input *input, struct mr_message *message, struct mr_err *err);

/** Number, from 1, of the line or row that lies at this offset of the block's message. */
uint64_t score_input_place(const struct score_input *input, size_t offset);

/** Accepts a zeroed input. */
void score_input_close(struct score_input *input);

#endif
