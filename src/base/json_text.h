/** JSON strings and numbers as text: what encoders write, and what escapes stand for. */
#ifndef MR_BASE_JSON_TEXT_H
#define MR_BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** Most bytes that one byte becomes, and the two quotes. */
#define MR_JSON_ESCAPE_MAX 6
#define MR_JSON_QUOTES     2

/**
 * Writes bytes as the inside of a JSON string at out, which has room for MR_JSON_ESCAPE_MAX * bytes. What is not UTF-8
 * becomes U+FFFD, one for each byte. Returns the bytes written. No terminator. Pure.
 */
size_t mr_json_escape(const char *text, size_t bytes, char *out);

/** The same with quotes around it; room for MR_JSON_ESCAPE_MAX * bytes + MR_JSON_QUOTES. */
size_t mr_json_quote(const char *text, size_t bytes, char *out);

/** The value of four hexadecimal digits; -1 when they are not, or not all before `end`. Pure. */
int mr_json_hex_4(const char *text, const char *end);

/** Decodes the inside of a JSON string, which was checked to be one, into out (no longer than the text); escapes of two
 * surrogates become one character. Returns the bytes written. No terminator. Pure. */
size_t mr_json_decode(const char *text, const char *end, char *out);

/** The end of a JSON value within an object or array, by quotes and brackets alone: the comma or bracket behind it; end
 * when there is none. Pure. */
const char *mr_json_value_end(const char *text, const char *end);

/** True when the whole text is one JSON number (RFC 8259): no sign but -, no leading zeros, digits on both sides of a
 * point. */
bool mr_json_is_number(const char *text, size_t bytes);

#endif
