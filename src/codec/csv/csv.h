/** The CSV codec from the inside: finding cells, reading numbers. RFC 4180. */
#ifndef MR_CODEC_CSV_CSV_H
#define MR_CODEC_CSV_CSV_H

#include "millrace/codec.h"

/** Cells of one record; the index writes up to CSV_BLOCK of them at a time. */
#define CSV_CELLS_MAX 16384u
#define CSV_BLOCK     64u

/** Where the cells of one record lie. Cell c is text[cell_begin(c) .. end[c]), quotes included. */
struct csv_index {
    uint32_t *end; /* [CSV_CELLS_MAX + CSV_BLOCK] */
    size_t count;
    size_t bytes;     /* of the record, without its line end */
    size_t next;      /* where the next record begins */
    mr_reason reason; /* NONE, SYNTAX, or LENGTH: more cells than CSV_CELLS_MAX */
    bool has_quotes, is_ascii;
};

/**
 * Finds the cells of the record at text, which ends at the first line break outside quotes or at `bytes`. A quote in an
 * unquoted cell, text behind a closing quote, a lone carriage return and a quote that is never closed are SYNTAX; the
 * record then ends at the first line break of all. Never reads past text + bytes. bytes > 0.
 */
void csv_index_record(struct csv_index *index, const char *text, size_t bytes, char delimiter);

/** Offset of a cell's first byte. */
static inline size_t csv_cell_begin(const struct csv_index *index, size_t cell)
{
    return cell ? (size_t)index->end[cell - 1] + 1 : 0;
}

/**
 * Reads all of text as a number: digits with at most one point anywhere and an optional exponent, an optional + or -,
 * leading zeros allowed. The result is the nearest float32. readable: bytes that may be read from text on. NONE, TYPE,
 * or RANGE (not finite, also when it says nan or inf). text is not empty.
 */
mr_reason csv_read_f32(const char *text, size_t bytes, size_t readable, float *value_out);

/** As csv_read_f32, nearest float64. */
mr_reason csv_read_f64(const char *text, size_t bytes, double *value_out);

#endif
