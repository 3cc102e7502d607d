#include "base/base64.h"

#include <stdint.h>

size_t mr_base64_encode(const char *data, size_t bytes, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *to = out;
    for (size_t i = 0; i < bytes; i += 3) {
        const size_t left = bytes - i;
        const uint32_t three = (uint32_t)(unsigned char)data[i] << 16 |
                               (left > 1 ? (uint32_t)(unsigned char)data[i + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)(unsigned char)data[i + 2] : 0);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    return (size_t)(to - out);
}

static int value_of(char digit)
{
    if (digit >= 'A' && digit <= 'Z') return digit - 'A';
    if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9') return digit - '0' + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

bool mr_base64_decode(const char *text, size_t bytes, char *out, size_t *bytes_out)
{
    const size_t pads = bytes && text[bytes - 1] == '=' ? 1 + (bytes > 1 && text[bytes - 2] == '=') : 0;
    size_t used = 0;
    if (bytes % 4) return false;
    for (size_t i = 0; i < bytes; i += 4) {
        unsigned long bits = 0;
        const size_t digits = i + 4 == bytes ? 4 - pads : 4;
        for (size_t j = 0; j < 4; j++) {
            const int value = j < digits ? value_of(text[i + j]) : 0;
            if (value < 0) return false;
            bits = bits << 6 | (unsigned long)value;
        }
        for (size_t j = 0; j + 1 < digits; j++) out[used++] = (char)(bits >> (16 - 8 * j));
    }
    *bytes_out = used;
    return true;
}
