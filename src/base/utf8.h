/** Well-formed UTF-8 (RFC 3629), one character at a time: for texts that people wrote, not for records. */
#ifndef MR_BASE_UTF8_H
#define MR_BASE_UTF8_H

#include <stddef.h>

/** Bytes (1 to 4) of the character at text, of which `bytes` can be read; 0 when it is not well-formed. */
static inline size_t mr_utf8_bytes(const char *text, size_t bytes)
{
    const unsigned char *const c = (const unsigned char *)text;
    if (!bytes) return 0;
    if (c[0] < 0x80) return 1;
    const size_t need = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4 || bytes < need) return 0;
    for (size_t i = 1; i < need; i++) {
        if ((c[i] & 0xc0) != 0x80) return 0;
    }
    if (c[0] == 0xe0 && c[1] < 0xa0) return 0; /* longer than needed */
    if (c[0] == 0xed && c[1] > 0x9f) return 0; /* surrogates */
    if (c[0] == 0xf0 && c[1] < 0x90) return 0;
    if (c[0] == 0xf4 && c[1] > 0x8f) return 0; /* past U+10FFFF */
    return need;
}

#endif
