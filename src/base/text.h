/** Text that came from outside, made safe to print. */
#ifndef MR_BASE_TEXT_H
#define MR_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** Whether the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool mr_text_is_utf8(const char *text, size_t bytes);

/** Writes a JSON string with its quotes; text must be UTF-8. out needs 6 * bytes + 2. Returns the bytes written. */
size_t mr_text_json(const char *text, size_t bytes, char *out);

/** Writes base64 (RFC 4648, padded). out needs 4 * ((bytes + 2) / 3). Returns the bytes written. */
size_t mr_text_base64(const char *data, size_t bytes, char *out);

#endif
