/** Bytes that are no text, made into text. */
#ifndef MR_BASE_BASE64_H
#define MR_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

/** Writes base64 (RFC 4648, padded). out needs 4 * ((bytes + 2) / 3). Returns the bytes written; no terminator. Pure.
 */
size_t mr_base64_encode(const char *data, size_t bytes, char *out);

/** The bytes of base64, padded, without blanks, into out, which needs 3 * (bytes / 4). False: it is none. Pure. */
bool mr_base64_decode(const char *text, size_t bytes, char *out, size_t *bytes_out);

#endif
