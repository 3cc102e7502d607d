#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

size_t mr_utf8_sequence(const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    /* By the first byte: length, and what the second byte must lie in (RFC 3629, section 4). */
    unsigned char low = 0x80, high = 0xbf;
    size_t count;
    if (!bytes) return 0;
    if (at[0] < 0x80) return 1;
    if (at[0] < 0xc2) return 0;
    if (at[0] < 0xe0) {
        count = 2;
    } else if (at[0] < 0xf0) {
        count = 3;
        if (at[0] == 0xe0) low = 0xa0;
        if (at[0] == 0xed) high = 0x9f;
    } else if (at[0] < 0xf5) {
        count = 4;
        if (at[0] == 0xf0) low = 0x90;
        if (at[0] == 0xf4) high = 0x8f;
    } else {
        return 0;
    }
    if (bytes < count || at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < count; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    return count;
}

bool mr_utf8_is_valid(const char *text, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        uint64_t eight;
        while (at + 8 <= bytes && (memcpy(&eight, text + at, 8), !(eight & 0x8080808080808080u))) at += 8;
        if (at == bytes) break;
        const size_t count = mr_utf8_sequence(text + at, bytes - at);
        if (!count) return false;
        at += count;
    }
    return true;
}
