#include "base/json_text.h"

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

size_t mr_json_escape(const char *text, size_t bytes, char *out)
{
    static const char hex[] = "0123456789abcdef";
    /* What stands behind the backslash; the other control bytes need \u00XX. */
    static const char shorts[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char *const start = out;
    for (size_t at = 0; at < bytes;) {
        const unsigned char byte = (unsigned char)text[at];
        if (byte >= 0x80) {
            const size_t count = mr_utf8_sequence(text + at, bytes - at);
            memcpy(out, count ? text + at : "\xef\xbf\xbd", count ? count : 3);
            out += count ? count : 3;
            at += count ? count : 1;
            continue;
        }
        at++;
        if (byte < 0x20 && !shorts[byte]) {
            memcpy(out, "\\u00", 4);
            out[4] = hex[byte >> 4];
            out[5] = hex[byte & 15];
            out += 6;
        } else if (byte < 0x20 || byte == '"' || byte == '\\') {
            *out++ = '\\';
            *out++ = byte < 0x20 ? shorts[byte] : (char)byte;
        } else {
            *out++ = (char)byte;
        }
    }
    return (size_t)(out - start);
}

size_t mr_json_quote(const char *text, size_t bytes, char *out)
{
    const size_t inside = mr_json_escape(text, bytes, out + 1);
    out[0] = out[inside + 1] = '"';
    return inside + MR_JSON_QUOTES;
}

/* Skips digits; false when there is none. */
static bool skip_digits(const char **at, const char *end)
{
    const char *const start = *at;
    while (*at < end && **at >= '0' && **at <= '9') ++*at;
    return *at > start;
}

bool mr_json_is_number(const char *text, size_t bytes)
{
    const char *at = text, *const end = text + bytes;
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') {
        at++;
    } else if (!skip_digits(&at, end)) {
        return false;
    }
    if (at < end && *at == '.') {
        at++;
        if (!skip_digits(&at, end)) return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (!skip_digits(&at, end)) return false;
    }
    return at == end;
}
