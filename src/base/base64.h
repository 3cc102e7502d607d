/** Bytes that are no text, made into text. */
#ifndef MR_BASE_BASE64_H
#define MR_BASE_BASE64_H

#include <stddef.h>

/** Writes base64 (RFC 4648, padded). out needs 4 * ((bytes + 2) / 3). Returns the bytes written; no terminator. Pure.
 */
size_t mr_base64_encode(const char *data, size_t bytes, char *out);

#endif
