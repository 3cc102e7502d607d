#include "base/json_text.h"

#include <stdint.h>
#include <string.h>

#include "base/utf8.h"

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
