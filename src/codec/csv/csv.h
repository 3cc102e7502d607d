/** The CSV codec from the inside: finding cells, reading numbers. RFC 4180. */
#ifndef MR_CODEC_CSV_CSV_H
#define MR_CODEC_CSV_CSV_H

#include <string.h>

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

/**
 * The short way: [-] and 1 to 8 digits with at most one point among them, when 8 bytes may be read behind the sign.
 * False when it is anything else: csv_read_f32 decides. Eight digits are exact in a double and the product is off by
 * one unit in the last place at most, so unless it lies that near to the middle of two float32 the conversion rounds as
 * strtof does.
 */
static inline bool csv_read_short(const char *text, size_t bytes, size_t readable, float *value_out)
{
    static const double tenths[8] = {1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7};
    const size_t sign = *text == '-', count = bytes - sign;
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ || count - 1 >= 8 || readable < 9) return false;
    uint64_t digits;
    memcpy(&digits, text + sign, sizeof digits);
    digits = (digits ^ 0x3030303030303030u) << ((8 - count) * 8); /* right-aligned digit values, zeros before them */
    const uint64_t others = digits ^ 0x1e1e1e1e1e1e1e1eu;         /* zero where there is a point */
    const uint64_t point = (others - 0x0101010101010101u) & ~others & 0x8080808080808080u;
    unsigned decimals = 0;
    if (point) {                                      /* the digits before it close the gap */
        const uint64_t before = (point & -point) - 1; /* bits of the bytes before the point, and seven of its own */
        const uint64_t kept = before >> 7;
        decimals = 7 - (unsigned)__builtin_ctzll(point) / 8;
        digits = (digits & kept) << 8 | (digits & ~(before << 1 | 1));
        if (count == 1) return false;
    }
    if (((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u) return false;
    digits = digits * 10 + (digits >> 8);
    const uint64_t mask = 0x000000ff000000ffu;
    const uint32_t whole =
        (uint32_t)(((digits & mask) * 0x000f424000000064u + ((digits >> 16) & mask) * 0x0000271000000001u) >> 32);
    const double value = (double)(int32_t)whole * tenths[decimals];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (__builtin_expect(((bits & 0x1fffffff) - 0x0ffffffe) <= 4, 0)) return false;
    const float magnitude = (float)value;
    uint32_t out;
    memcpy(&out, &magnitude, sizeof out);
    out |= (uint32_t)sign << 31;
    memcpy(value_out, &out, sizeof out);
    return true;
}

/** As csv_read_f32, nearest float64. */
mr_reason csv_read_f64(const char *text, size_t bytes, double *value_out);

#endif
