/* Tokens of JSON: strings, numbers, and the hash of keys. */
#include <string.h>

#include "base/json_text.h"
#include "base/utf8.h"
#include "codec/json/json.h"

static inline uint64_t load_8(const char *text)
{
    uint64_t bytes;
    memcpy(&bytes, text, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

static inline uint64_t load_4(const char *text)
{
    uint32_t bytes;
    memcpy(&bytes, text, 4);
    return bytes;
}

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

#define EACH(byte) (0x0101010101010101u * (byte))

/*
 * Nonzero when one of 8 bytes is a quote, a backslash, a control character or not ASCII. The lowest set bit is in the
 * first such byte (borrows only run upwards); bits above it may be wrong.
 */
static inline uint64_t special_8(uint64_t bytes)
{
    const uint64_t quote = bytes ^ EACH('"'), backslash = bytes ^ EACH('\\');
    return ((bytes - EACH(0x20)) | (quote - EACH(1)) | (backslash - EACH(1)) | bytes) & EACH(0x80);
}

/* text stands behind the backslash. A lone surrogate has no UTF-8 form: not the encoding that JSON asks for. */
static const char *escape_read(const char *text, const char *end, mr_reason *reason_out)
{
    *reason_out = MR_REASON_SYNTAX;
    if (text == end) return NULL;
    if (*text != 'u') return *text && strchr("\"\\/bfnrt", *text) ? text + 1 : NULL;
    const int first = mr_json_hex_4(text + 1, end);
    if (first < 0) return NULL;
    text += 5;
    if (first < 0xd800 || first > 0xdfff) return text;
    const bool is_escape = first < 0xdc00 && end - text >= 2 && text[0] == '\\' && text[1] == 'u';
    const int second = is_escape ? mr_json_hex_4(text + 2, end) : 0;
    if (second < 0) return NULL;
    if (second >= 0xdc00 && second <= 0xdfff) return text + 6;
    *reason_out = MR_REASON_ENCODING;
    return NULL;
}

const char *json_string_read(const char *text, const char *end, bool *is_escaped_out, mr_reason *reason_out)
{
    *is_escaped_out = false;
    for (;;) {
        uint64_t special = 0;
        while (end - text >= 8 && !(special = special_8(load_8(text)))) text += 8;
        if (special) text += __builtin_ctzll(special) / 8;
        if (text == end) break;
        const unsigned char c = (unsigned char)*text;
        if (c == '"') return text + 1;
        if (c < 0x20) break;
        if (c == '\\') {
            *is_escaped_out = true;
            text = escape_read(text + 1, end, reason_out);
            if (!text) return NULL;
        } else if (c < 0x80) {
            text++;
        } else {
            const size_t bytes = mr_utf8_sequence(text, (size_t)(end - text));
            if (!bytes) {
                *reason_out = MR_REASON_ENCODING;
                return NULL;
            }
            text += bytes;
        }
    }
    *reason_out = MR_REASON_SYNTAX;
    return NULL;
}

const char *json_number_skip(const char *text, const char *end)
{
    if (text < end && *text == '-') text++;
    if (text == end || !is_digit(*text)) return NULL;
    if (*text == '0') {
        text++;
        if (text < end && is_digit(*text)) return NULL;
    } else {
        while (text < end && is_digit(*text)) text++;
    }
    if (text < end && *text == '.') {
        text++;
        if (text == end || !is_digit(*text)) return NULL;
        while (text < end && is_digit(*text)) text++;
    }
    if (text < end && (*text == 'e' || *text == 'E')) {
        text++;
        if (text < end && (*text == '+' || *text == '-')) text++;
        if (text == end || !is_digit(*text)) return NULL;
        while (text < end && is_digit(*text)) text++;
    }
    return text;
}

/* Multiplies to 128 bits and folds: every input bit reaches every output bit. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t json_hash(const char *key, size_t bytes, uint64_t seed)
{
    const uint64_t odd = 0x9e3779b97f4a7c15u, other = 0xd1b54a32d192ed03u;
    uint64_t hash = seed ^ bytes * odd, low, high;
    const char *const end = key + bytes;
    for (; end - key > 16; key += 16) hash = fold(load_8(key) ^ hash, load_8(key + 8) ^ other);
    bytes = (size_t)(end - key);
    if (bytes >= 8) {
        low = load_8(key);
        high = load_8(end - 8);
    } else if (bytes >= 4) {
        low = load_4(key);
        high = load_4(end - 4);
    } else if (bytes) {
        low = (unsigned char)key[0] | (uint64_t)(unsigned char)key[bytes / 2] << 8;
        high = (unsigned char)end[-1];
    } else {
        low = high = 0;
    }
    return fold(fold(low ^ hash, high ^ seed ^ other), odd);
}
