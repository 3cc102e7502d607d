/** Numbers from and to decimal text: exact, locale-free, without allocation. */
#ifndef MR_BASE_NUMBER_H
#define MR_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

/**
 * Reads one JSON number (RFC 8259 grammar) at [text, end). Returns the first byte behind it, or NULL when there is no
 * number there. *value_out is the float32 nearest to the decimal text (ties to even), bit for bit what strtof gives, at
 * any length; overflow gives infinity, which the caller refuses. Never reads at or past end. Pure, thread-safe.
 */
const char *mr_parse_f32(const char *text, const char *end, float *value_out);

/** As mr_parse_f32, nearest float64, bit for bit what strtod gives. */
const char *mr_parse_f64(const char *text, const char *end, double *value_out);

/** Enough for any number printed by the functions below. */
#define MR_NUMBER_BYTES 64

/**
 * Writes the shortest decimal text that reads back as the same float32, as a JSON number ("0.1", "1e-7", "-3"). value
 * must be finite. Returns the bytes written (at most 16); may use all MR_NUMBER_BYTES at out as scratch. No terminator.
 */
size_t mr_print_f32(float value, char *out);

/** Writes value with exactly `decimals` (0..9) digits after the point, correctly rounded as printf("%.*f") rounds.
 * Finite only. */
size_t mr_print_fixed(float value, unsigned decimals, char *out);

/** Decimal integers; at most 20 bytes. */
size_t mr_print_i64(long long value, char *out);

#endif
