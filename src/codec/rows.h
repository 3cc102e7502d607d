/** What is done to decoded rows, whoever reads them. */
#ifndef MR_CODEC_ROWS_H
#define MR_CODEC_ROWS_H

#include "millrace/batch.h"

/** Copies a row over an earlier one: features, captures, label and message, as far as there are such. */
void mr_rows_move(struct mr_rows *rows, size_t from, size_t to);

/** Zeroes the rows of the last tile past row_count: backends read whole tiles (backend.h), decoders leave them as they
 * were. */
void mr_rows_tail_zero(struct mr_rows *rows);

#endif
