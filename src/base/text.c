#include "base/text.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the well-formed sequence at text, 0 when there is none (Unicode 15, table 3-7). */
static size_t sequence_bytes(const unsigned char *text, size_t bytes)
{
    const unsigned char lead = text[0];
    unsigned char low = 0x80, high = 0xbf;
    size_t length;

    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) length = 2;
    else if (lead >= 0xe0 && lead <= 0xef) length = 3;
    else if (lead >= 0xf0 && lead <= 0xf4) length = 4;
    else return 0;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
    if (bytes < length || text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) return 0;
    }
    return length;
}

bool mr_text_is_utf8(const char *text, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + bytes;
    while (at < end) {
        uint64_t eight;
        if (end - at >= 8 && (memcpy(&eight, at, 8), !(eight & 0x8080808080808080u))) {
            at += 8;
            continue;
        }
        const size_t length = sequence_bytes(at, (size_t)(end - at));
        if (!length) return false;
        at += length;
    }
    return true;
}

size_t mr_text_json(const char *text, size_t bytes, char *out)
{
    static const char hex[] = "0123456789abcdef";
    char *to = out;
    *to++ = '"';
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = hex[c >> 4];
            to[5] = hex[c & 15];
            to += 6;
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    return (size_t)(to - out);
}

size_t mr_text_base64(const char *data, size_t bytes, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = out;
    for (size_t i = 0; i < bytes; i += 3) {
        const size_t left = bytes - i;
        const uint32_t three = (uint32_t)(unsigned char)data[i] << 16 | (left > 1 ? (uint32_t)(unsigned char)data[i + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)(unsigned char)data[i + 2] : 0);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    return (size_t)(to - out);
}
