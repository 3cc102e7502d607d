/** Well-formed UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing past U+10FFFF. */
#ifndef MR_BASE_UTF8_H
#define MR_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/** Bytes (1 to 4) of the sequence at text, of which `bytes` can be read; 0 when it is not well-formed or cut off. Pure.
 */
size_t mr_utf8_sequence(const char *text, size_t bytes);

/** True when all of it is UTF-8. Fast over ASCII. Pure. */
bool mr_utf8_is_valid(const char *text, size_t bytes);

#endif
