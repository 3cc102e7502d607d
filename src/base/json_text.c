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

int mr_json_hex_4(const char *text, const char *end)
{
    int value = 0;
    if (end - text < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char c = text[i], lower = (char)(c | 0x20);
        const int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static char *utf8_write(char *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

size_t mr_json_decode(const char *text, const char *end, char *out)
{
    char *const first = out;
    while (text < end) {
        if (*text != '\\') {
            *out++ = *text++;
            continue;
        }
        const char kind = text[1];
        text += 2;
        if (kind == 'u') {
            unsigned code = (unsigned)mr_json_hex_4(text, end);
            text += 4;
            if (code >= 0xd800 && code <= 0xdfff) {
                code = 0x10000 + ((code - 0xd800) << 10) + ((unsigned)mr_json_hex_4(text + 2, end) - 0xdc00);
                text += 6;
            }
            out = utf8_write(out, code);
        } else {
            static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
            *out++ = to[strchr(from, kind) - from];
        }
    }
    return (size_t)(out - first);
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

const char *mr_json_value_end(const char *text, const char *end)
{
    size_t depth = 0;
    for (; text < end; text++) {
        if (*text == '"') {
            for (text++; text < end && *text != '"'; text++) text += *text == '\\';
            if (text >= end) return end;
        } else if (*text == '{' || *text == '[') {
            depth++;
        } else if (*text == '}' || *text == ']') {
            if (!depth) return text;
            depth--;
        } else if (*text == ',' && !depth) {
            return text;
        }
    }
    return end;
}
