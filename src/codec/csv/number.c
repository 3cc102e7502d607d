/* Numbers in cells whose ends are known: up to 16 characters in two registers, without a loop. */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/number.h"
#include "codec/csv/csv.h"

#define FAST_BYTES 16
#define TEXT_MAX   512 /* longest number that is written differently than JSON writes it */

__extension__ typedef unsigned __int128 u128;

static const double tenths[FAST_BYTES + 1] = {1e0,  1e-1,  1e-2,  1e-3,  1e-4,  1e-5,  1e-6,  1e-7, 1e-8,
                                              1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16};

/* Value of 8 digits, the first one lowest: pairs, fours, eight. */
static inline uint64_t digits_value(uint64_t digits)
{
    const uint64_t mask = 0x000000ff000000ffu;
    digits = digits * 10 + (digits >> 8);
    return ((digits & mask) * 0x000f424000000064u + ((digits >> 16) & mask) * 0x0000271000000001u) >> 32 & 0xffffffffu;
}

static inline bool all_digits(uint64_t digits)
{
    return !(((digits + 0x7676767676767676u) | digits) & 0x8080808080808080u);
}

/*
 * Digits and at most one point, 1 to 16 bytes, of which 16 may be read. The bytes are moved to the end of a 16-byte
 * register, what stands before the point closes the gap that it leaves, and both halves are summed at once. False when
 * it is anything else.
 */
static inline bool fast_read(const char *text, size_t bytes, float *value_out)
{
    u128 digits;
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) return false;
    memcpy(&digits, text, sizeof digits);
    digits ^= (u128)0x3030303030303030u << 64 | 0x3030303030303030u;
    digits <<= (FAST_BYTES - bytes) * 8;
    uint64_t low = (uint64_t)digits, high = (uint64_t)(digits >> 64);

    /* The lowest byte that is a point ('.' ^ '0' = 0x1e) becomes zero here, and its top bit is set in the mask. */
    const uint64_t point_low = low ^ 0x1e1e1e1e1e1e1e1eu, point_high = high ^ 0x1e1e1e1e1e1e1e1eu;
    const uint64_t mask_low = (point_low - 0x0101010101010101u) & ~point_low & 0x8080808080808080u;
    const uint64_t mask_high = (point_high - 0x0101010101010101u) & ~point_high & 0x8080808080808080u;
    unsigned decimals = 0;
    if (mask_low | mask_high) {
        const unsigned at =
            mask_low ? (unsigned)__builtin_ctzll(mask_low) / 8 : 8 + (unsigned)__builtin_ctzll(mask_high) / 8;
        const u128 before = ((u128)1 << (at * 8)) - 1;
        decimals = FAST_BYTES - 1 - at;
        digits = (digits & before) << 8 | (digits & ~(before << 8 | 0xff));
        low = (uint64_t)digits;
        high = (uint64_t)(digits >> 64);
        if (bytes == 1) return false;
    }
    if (!all_digits(low) || !all_digits(high)) return false;
    const uint64_t whole = digits_value(low) * 100000000 + digits_value(high);

    /* At most two units in the last place off: fine unless it lies that near to the middle between two float32. */
    const double value = (double)(int64_t)whole * tenths[decimals];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (__builtin_expect(((bits & 0x1fffffff) - 0x0ffffffc) <= 8, 0)) return false;
    *value_out = (float)value;
    return true;
}

/* nan, inf and infinity, in any case, are numbers but none that a model can take. */
static bool is_not_finite(const char *text, size_t bytes)
{
    static const char *const names[] = {"nan", "inf", "infinity"};
    const size_t sign = bytes && (*text == '-' || *text == '+');
    for (size_t i = 0; i < 3; i++) {
        if (strlen(names[i]) == bytes - sign && !strncasecmp(text + sign, names[i], bytes - sign)) return true;
    }
    return false;
}

/*
 * Rewrites what JSON does not allow (+1, 007, .5, 5.) into what it does. Returns the bytes written, 0 when it is no
 * number for other reasons.
 */
static size_t json_write(const char *text, size_t bytes, char out[TEXT_MAX + 4])
{
    const char *at = text, *const end = text + bytes;
    size_t count = 0;
    if (bytes > TEXT_MAX) return 0;
    if (*at == '-') out[count++] = '-';
    if (*at == '-' || *at == '+') at++;
    const char *const digits = at;
    while (at < end && *at == '0') at++;
    const bool has_zeros = at > digits;
    const char *const whole = at;
    while (at < end && isdigit((unsigned char)*at)) out[count++] = *at++;
    const bool has_whole = at > whole;
    if (!has_whole) out[count++] = '0';
    bool has_fraction = false;
    if (at < end && *at == '.') {
        has_fraction = ++at < end && isdigit((unsigned char)*at);
        if (has_fraction) out[count++] = '.';
        while (at < end && isdigit((unsigned char)*at)) out[count++] = *at++;
    }
    if (!has_zeros && !has_whole && !has_fraction) return 0;
    if (at < end && *at != 'e' && *at != 'E') return 0;
    memcpy(out + count, at, (size_t)(end - at)); /* an exponent, if it is one: the parser says */
    return count + (size_t)(end - at);
}

static mr_reason slow_read_f32(const char *text, size_t bytes, float *value_out)
{
    char copy[TEXT_MAX + 4];
    if (mr_parse_f32(text, text + bytes, value_out) != text + bytes) {
        const size_t count = json_write(text, bytes, copy);
        if (!count || mr_parse_f32(copy, copy + count, value_out) != copy + count) {
            return is_not_finite(text, bytes) ? MR_REASON_RANGE : MR_REASON_TYPE;
        }
    }
    return isfinite(*value_out) ? MR_REASON_NONE : MR_REASON_RANGE;
}

mr_reason csv_read_f32(const char *text, size_t bytes, size_t readable, float *value_out)
{
    const size_t sign = *text == '-';
    const size_t digits = bytes - sign;
    if (digits - 1 < FAST_BYTES) {
        char copy[FAST_BYTES] = {0};
        const char *from = text + sign;
        if (__builtin_expect(readable - sign < FAST_BYTES, 0)) from = memcpy(copy, from, digits);
        float value;
        if (__builtin_expect(fast_read(from, digits, &value), 1)) {
            *value_out = sign ? -value : value;
            return MR_REASON_NONE;
        }
    }
    return slow_read_f32(text, bytes, value_out);
}

mr_reason csv_read_f64(const char *text, size_t bytes, double *value_out)
{
    char copy[TEXT_MAX + 4];
    if (mr_parse_f64(text, text + bytes, value_out) != text + bytes) {
        const size_t count = json_write(text, bytes, copy);
        if (!count || mr_parse_f64(copy, copy + count, value_out) != copy + count) {
            return is_not_finite(text, bytes) ? MR_REASON_RANGE : MR_REASON_TYPE;
        }
    }
    return isfinite(*value_out) ? MR_REASON_NONE : MR_REASON_RANGE;
}
