/*
 * Decimal text to the nearest float32 or float64, without big tables:
 *   1. the first 19 significant digits as a whole number and a power of ten;
 *   2. one double operation, whose error is known in units of the last place;
 *   3. where that error could change the rounding (about once in 2^24 random texts, and for subnormal results), the C
 * library decides on a copy of the digits, in the "C" locale.
 */
#include "base/number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(FLT_MANT_DIG == 24 && DBL_MANT_DIG == 53, "IEEE 754 single and double precision");
_Static_assert(FLT_EVAL_METHOD == 0, "operations in the precision of their operands");

#define DIGITS_MAX 19 /* decimal digits that always fit 64 bits */
/*
 * Digits that decide any rounding: a midpoint of two float64 has at most 768 significant digits, so behind that many
 * only "all zeros or not" matters, and one more digit 1 says so.
 */
#define DIGITS_DECISIVE 800
#define EXPONENT_LIMIT  100000000000 /* of the written exponent; more changes nothing for texts that fit in memory */

/* A number as written: digits * 10^exponent, plus less than one unit of digits when is_cut. */
struct decimal {
    uint64_t digits;
    int64_t exponent;
    const char *first;         /* first digit that is not a leading zero */
    const char *last;          /* behind the last digit of the mantissa */
    int64_t significant_count; /* digits in [first, last) */
    int64_t written_exponent;
    int64_t fraction_count;
    bool is_negative;
    bool is_cut; /* more than 19 digits: the rest may or may not be zero */
};

#define POWER_MAX 60
/* 10^(i - POWER_MAX), each the nearest float64. */
static const double powers[2 * POWER_MAX + 1] = {
    1e-60, 1e-59, 1e-58, 1e-57, 1e-56, 1e-55, 1e-54, 1e-53, 1e-52, 1e-51, 1e-50, 1e-49, 1e-48, 1e-47, 1e-46, 1e-45,
    1e-44, 1e-43, 1e-42, 1e-41, 1e-40, 1e-39, 1e-38, 1e-37, 1e-36, 1e-35, 1e-34, 1e-33, 1e-32, 1e-31, 1e-30, 1e-29,
    1e-28, 1e-27, 1e-26, 1e-25, 1e-24, 1e-23, 1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13,
    1e-12, 1e-11, 1e-10, 1e-9,  1e-8,  1e-7,  1e-6,  1e-5,  1e-4,  1e-3,  1e-2,  1e-1,  1e0,   1e1,   1e2,   1e3,
    1e4,   1e5,   1e6,   1e7,   1e8,   1e9,   1e10,  1e11,  1e12,  1e13,  1e14,  1e15,  1e16,  1e17,  1e18,  1e19,
    1e20,  1e21,  1e22,  1e23,  1e24,  1e25,  1e26,  1e27,  1e28,  1e29,  1e30,  1e31,  1e32,  1e33,  1e34,  1e35,
    1e36,  1e37,  1e38,  1e39,  1e40,  1e41,  1e42,  1e43,  1e44,  1e45,  1e46,  1e47,  1e48,  1e49,  1e50,  1e51,
    1e52,  1e53,  1e54,  1e55,  1e56,  1e57,  1e58,  1e59,  1e60,
};
static inline double power_of(int64_t exponent)
{
    return powers[exponent + POWER_MAX];
}
#define POWER_EXACT_MAX 22 /* 10^22 = 2^22 * 5^22 and 5^22 < 2^53 */

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* The 8 bytes at text, the first one lowest. */
static inline uint64_t load_8(const char *text)
{
    uint64_t bytes;
    memcpy(&bytes, text, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    return bytes;
}

/* The top bit of each of 8 bytes that is no digit. */
static inline uint64_t others_8(uint64_t bytes)
{
    const uint64_t text = bytes ^ 0x3030303030303030u;
    return (((text & 0x7f7f7f7f7f7f7f7fu) + 0x7676767676767676u) | text) & 0x8080808080808080u;
}

/* Value of 8 digits, from 0 to 9 each: pairs, then fours, then all eight, each step one multiplication. */
static inline uint64_t digits_value(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    const uint64_t mask = 0x000000ff000000ffu;
    return (uint32_t)(((digits & mask) * 0x000f424000000064u + ((digits >> 16) & mask) * 0x0000271000000001u) >> 32);
}

/*
 * Takes a run of digits; value wraps around when there are too many, which the caller notices by their count. How long
 * the run is decides no branch but the one for each 8 digits: lengths are random.
 */
static inline const char *digits_read(const char *text, const char *end, uint64_t *value)
{
    static const uint32_t shifts[8] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    while (end - text >= 8) {
        const uint64_t bytes = load_8(text), others = others_8(bytes);
        if (others) {
            const unsigned count = (unsigned)__builtin_ctzll(others) / 8;
            if (!count) return text;
            *value = *value * shifts[count] + digits_value((bytes ^ 0x3030303030303030u) << (64 - 8 * count));
            return text + count;
        }
        *value = *value * 100000000 + digits_value(bytes ^ 0x3030303030303030u);
        text += 8;
    }
    while (text < end && is_digit(*text)) *value = *value * 10 + (uint64_t)(*text++ - '0');
    return text;
}

/* Reads "e+12"; NULL when it is broken. */
static const char *exponent_read(const char *text, const char *end, int64_t *exponent_out)
{
    bool is_negative = false;
    int64_t value = 0;
    text++;
    if (text < end && (*text == '+' || *text == '-')) is_negative = *text++ == '-';
    if (text == end || !is_digit(*text)) return NULL;
    for (; text < end && is_digit(*text); text++) {
        if (value < EXPONENT_LIMIT) value = value * 10 + (*text - '0');
    }
    *exponent_out = is_negative ? -value : value;
    return text;
}

/* More than 19 digits: keeps the first 19 significant ones and moves the exponent. */
static void decimal_cut(struct decimal *number)
{
    const char *text = number->first;
    int64_t taken = 0;
    number->digits = 0;
    for (; taken < DIGITS_MAX; text++) {
        if (*text == '.') continue;
        number->digits = number->digits * 10 + (uint64_t)(*text - '0');
        taken++;
    }
    number->exponent += number->significant_count - DIGITS_MAX;
    number->is_cut = true;
}

/* Grammar and digits. Returns behind the number, or NULL. */
static inline const char *decimal_read(const char *text, const char *end, struct decimal *number)
{
    number->is_negative = text < end && *text == '-';
    text += number->is_negative;
    const char *const integer = text;
    number->digits = 0;
    text = digits_read(text, end, &number->digits);
    int64_t digit_count = text - integer;
    if (!digit_count || (*integer == '0' && digit_count > 1)) return NULL;
    number->exponent = 0;
    if (text < end && *text == '.') {
        const char *const fraction = ++text;
        text = digits_read(text, end, &number->digits);
        if (text == fraction) return NULL;
        number->exponent = fraction - text;
        digit_count += text - fraction;
    }
    number->first = integer;
    number->last = text;
    number->fraction_count = -number->exponent;
    number->written_exponent = 0;
    number->is_cut = false;
    number->significant_count = digit_count;
    if (text < end && (*text == 'e' || *text == 'E')) {
        text = exponent_read(text, end, &number->written_exponent);
        if (!text) return NULL;
        number->exponent += number->written_exponent;
    }
    if (digit_count > DIGITS_MAX) {
        while (number->first < number->last && (*number->first == '0' || *number->first == '.')) {
            number->significant_count -= *number->first++ == '0';
        }
        if (number->significant_count > DIGITS_MAX) decimal_cut(number);
    }
    return text;
}

/* Writes the number as "-ddd...e+n" with at most DIGITS_DECISIVE + 1 digits: what strtod reads in bounded time and
 * space. */
#define COPY_BYTES (DIGITS_DECISIVE + 32)
static void decimal_copy(const struct decimal *number, char *copy)
{
    int64_t exponent = number->written_exponent - number->fraction_count;
    int64_t taken = 0, dropped = 0;
    bool is_tail_zero = true;
    if (number->is_negative) *copy++ = '-';
    for (const char *text = number->first; text < number->last; text++) {
        if (*text == '.' || (*text == '0' && !taken)) continue;
        if (taken < DIGITS_DECISIVE) {
            *copy++ = *text;
            taken++;
        } else {
            is_tail_zero &= *text == '0';
            dropped++;
        }
    }
    if (!is_tail_zero) {
        *copy++ = '1';
        dropped--;
    }
    exponent += dropped;
    *copy++ = 'e';
    if (exponent < 0) *copy++ = '-';
    uint64_t left = exponent < 0 ? -(uint64_t)exponent : (uint64_t)exponent;
    if (left > 99999) left = 99999; /* already zero or infinity */
    for (uint64_t unit = 10000; unit; unit /= 10) *copy++ = (char)('0' + left / unit % 10);
    *copy = 0;
}

/* glibc answers with a static object: no allocation, and the same one each time. */
static locale_t c_locale(void)
{
    static _Atomic(locale_t) known;
    if (!known) known = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return known;
}

static __attribute__((noinline, cold)) float decide_f32(const struct decimal *number)
{
    char copy[COPY_BYTES];
    decimal_copy(number, copy);
    return strtof_l(copy, NULL, c_locale());
}

static __attribute__((noinline, cold)) double decide_f64(const struct decimal *number)
{
    char copy[COPY_BYTES];
    decimal_copy(number, copy);
    return strtod_l(copy, NULL, c_locale());
}

/*
 * The double that decimal_f32 rounds from carries at most four relative errors of 2^-53 (digits, power, operation) and
 * 10^-18 (cut digits): less than 6 units in its last place. Unless it is that close to the middle between two float32,
 * rounding it again is right.
 */
#define DOUBT 8
static inline bool is_near_middle(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return ((bits + DOUBT - 0x10000000u) & 0x1fffffffu) <= 2 * DOUBT;
}

static inline float decimal_f32(const struct decimal *number)
{
    const int64_t exponent = number->exponent;
    double value;
    float result;
    if (!number->digits) {
        result = 0;
    } else if (exponent == 0 && !number->is_cut) {
        result = (float)number->digits; /* one rounding */
    } else if (exponent > POWER_MAX) {
        result = INFINITY;
    } else if (exponent < -POWER_MAX) {
        return decide_f32(number);
    } else {
        value = (double)number->digits * power_of(exponent); /* a product is ready sooner than a quotient */
        if (value < (double)FLT_MIN || is_near_middle(value)) return decide_f32(number);
        result = (float)value;
    }
    return __builtin_copysignf(result, 1.0f - 2.0f * (float)number->is_negative); /* no branch: signs are random */
}

static inline double decimal_f64(const struct decimal *number)
{
    const int64_t exponent = number->exponent;
    double value = (double)number->digits;
    if (!number->digits) {
        value = 0;
    } else if (number->is_cut || number->digits > (uint64_t)1 << 53 || exponent > POWER_EXACT_MAX ||
               exponent < -POWER_EXACT_MAX) {
        return decide_f64(number);
    } else {
        value =
            exponent < 0 ? value / power_of(-exponent) : value * power_of(exponent); /* exact operands: one rounding */
    }
    return __builtin_copysign(value, 1.0 - 2.0 * (double)number->is_negative);
}

const char *mr_parse_f32(const char *text, const char *end, float *value_out)
{
    struct decimal number;
    const char *const behind = decimal_read(text, end, &number);
    if (behind) *value_out = decimal_f32(&number);
    return behind;
}

const char *mr_parse_f64(const char *text, const char *end, double *value_out)
{
    struct decimal number;
    const char *const behind = decimal_read(text, end, &number);
    if (behind) *value_out = decimal_f64(&number);
    return behind;
}
