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
