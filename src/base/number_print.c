/*
 * Numbers to decimal text.
 *
 * Shortest float32: the method of Raffaele Giulietti, "The Schubfach way to render doubles" (2020), worked out here for
 * 24-bit significands: the value and both ends of its rounding interval are scaled by one power of ten in integer
 * arithmetic; then one multiple of ten and two neighbours are the only candidates. Digits are made eight at a time in
 * one 64-bit register.
 */
#include "base/number.h"
#include "base/number_digits.h"

#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 u128;

#define POWER_MIN (-31)
#define POWER_MAX 45

/* 10^e for e in POWER_MIN..POWER_MAX as 64 significant bits, rounded up: 10^e ~ table * 2^(floor(log2(10^e)) - 63).
 * A wrong one fails the sample and the exhaustive run of test_number_print.c. */
static const uint64_t power_of_ten[POWER_MAX - POWER_MIN + 1] = {
    0x81ceb32c4b43fcf5, 0xa2425ff75e14fc32, 0xcad2f7f5359a3b3f, 0xfd87b5f28300ca0e, 0x9e74d1b791e07e49,
    0xc612062576589ddb, 0xf79687aed3eec552, 0x9abe14cd44753b53, 0xc16d9a0095928a28, 0xf1c90080baf72cb2,
    0x971da05074da7bef, 0xbce5086492111aeb, 0xec1e4a7db69561a6, 0x9392ee8e921d5d08, 0xb877aa3236a4b44a,
    0xe69594bec44de15c, 0x901d7cf73ab0acda, 0xb424dc35095cd810, 0xe12e13424bb40e14, 0x8cbccc096f5088cc,
    0xafebff0bcb24aaff, 0xdbe6fecebdedd5bf, 0x89705f4136b4a598, 0xabcc77118461cefd, 0xd6bf94d5e57a42bd,
    0x8637bd05af6c69b6, 0xa7c5ac471b478424, 0xd1b71758e219652c, 0x83126e978d4fdf3c, 0xa3d70a3d70a3d70b,
    0xcccccccccccccccd, 0x8000000000000000, 0xa000000000000000, 0xc800000000000000, 0xfa00000000000000,
    0x9c40000000000000, 0xc350000000000000, 0xf424000000000000, 0x9896800000000000, 0xbebc200000000000,
    0xee6b280000000000, 0x9502f90000000000, 0xba43b74000000000, 0xe8d4a51000000000, 0x9184e72a00000000,
    0xb5e620f480000000, 0xe35fa931a0000000, 0x8e1bc9bf04000000, 0xb1a2bc2ec5000000, 0xde0b6b3a76400000,
    0x8ac7230489e80000, 0xad78ebc5ac620000, 0xd8d726b7177a8000, 0x878678326eac9000, 0xa968163f0a57b400,
    0xd3c21bcecceda100, 0x84595161401484a0, 0xa56fa5b99019a5c8, 0xcecb8f27f4200f3a, 0x813f3978f8940985,
    0xa18f07d736b90be6, 0xc9f2c9cd04674edf, 0xfc6f7c4045812297, 0x9dc5ada82b70b59e, 0xc5371912364ce306,
    0xf684df56c3e01bc7, 0x9a130b963a6c115d, 0xc097ce7bc90715b4, 0xf0bdc21abb48db21, 0x96769950b50d88f5,
    0xbc143fa4e250eb32, 0xeb194f8e1ae525fe, 0x92efd1b8d0cf37bf, 0xb7abc627050305ae, 0xe596b7b0c643c71a,
    0x8f7e32ce7bea5c70, 0xb35dbf821ae4f38c,
};

static const uint32_t small_power[10] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000};

static inline void put_16(char *out, u128 bytes)
{
    memcpy(out, &bytes, sizeof bytes);
}

/* Decimal digits of n; 0 has one. */
static inline unsigned digit_count(uint32_t n)
{
    const unsigned guess = (32u - (unsigned)__builtin_clz(n | 1)) * 1233 >> 12; /* log10(2) ~ 1233 / 4096 */
    return guess + (guess < 10 && n >= small_power[guess]) + (n == 0);
}

/* n as decimal digits, no sign. */
static size_t print_u64(uint64_t n, char *out)
{
    if (n < 100000000) {
        const uint64_t digits = mr_digits_of_8((uint32_t)n);
        const unsigned lead = n ? (unsigned)__builtin_ctzll(digits) / 8 : 7;
        mr_put_8(out, (digits | MR_ASCII_ZEROS) >> (lead * 8));
        return 8 - lead;
    }
    const uint64_t rest = n / 100000000;
    const size_t count = print_u64(rest, out); /* at most twice deep: 20 digits */
    mr_put_8(out + count, mr_digits_of_8((uint32_t)(n % 100000000)) | MR_ASCII_ZEROS);
    return count + 8;
}

size_t mr_print_i64(long long value, char *out)
{
    *out = '-';
    const size_t sign = value < 0;
    return sign + print_u64(sign ? 0 - (uint64_t)value : (uint64_t)value, out + sign);
}

/* What is left of a float32 value once it is decimal: digits * 10^exponent. */
struct decimal {
    uint32_t digits;
    int32_t exponent;
};

/* floor(power * factor / 2^64) with its lowest bit set when anything was cut off ("round to odd"): comparisons stay
 * exact. */
static inline uint32_t scale_to_odd(uint64_t power, uint32_t factor)
{
    const u128 product = (u128)power * factor;
    /* The table is rounded up by less than one unit, which moves the product by less than 2^32: below that it is exact.
     */
    return (uint32_t)(product >> 64) | ((uint64_t)product >> 32 != 0);
}

/* The shortest decimal that rounds to significand * 2^exponent; of several, the nearest. Not zero, finite. */
static inline struct decimal shortest_decimal(uint32_t fraction, uint32_t biased)
{
    const bool is_normal = biased != 0;
    const uint32_t significand = is_normal ? fraction | 1u << 23 : fraction;
    const int32_t exponent = (is_normal ? (int32_t)biased : 1) - 150;
    const uint32_t is_odd = significand & 1; /* then the ends of the interval round elsewhere */
    const uint32_t is_edge =
        is_normal && fraction == 0 && biased > 1; /* a power of two: the lower neighbour is nearer */

    /* k = floor(log10(width of the interval)); values in quarters of the last binary place */
    const int32_t k = (exponent * 1262611 - (is_edge ? 524031 : 0)) >> 22;
    const int32_t shift = exponent + ((-k * 1741647) >> 19) + 1;
    const uint64_t power = power_of_ten[-k - POWER_MIN];
    const uint32_t middle = significand * 4;
    const uint32_t low = scale_to_odd(power, (middle - 2 + is_edge) << shift) + is_odd;
    const uint32_t value = scale_to_odd(power, middle << shift);
    const uint32_t high = scale_to_odd(power, (middle + 2) << shift) - is_odd;

    const uint32_t whole = value / 4;
    if (whole >= 10) {
        const uint32_t tens = whole / 10;
        const bool is_below_in = low <= tens * 40, is_above_in = tens * 40 + 40 <= high;
        if (is_below_in != is_above_in) return (struct decimal){tens + is_above_in, k + 1};
    }
    const bool is_below_in = low <= whole * 4, is_above_in = whole * 4 + 4 <= high;
    if (is_below_in != is_above_in) return (struct decimal){whole + is_above_in, k};
    const uint32_t half = whole * 4 + 2;
    return (struct decimal){whole + (value > half || (value == half && (whole & 1))), k};
}

/* d.ddde-7: `count` digits in the register, the point behind the first. */
static size_t print_scientific(u128 text, unsigned count, int32_t exponent, char *out)
{
    out[0] = (char)text;
    out[1] = '.';
    mr_put_8(out + 2, (uint64_t)(text >> 8));
    size_t at = count > 1 ? count + 1 : 1;
    out[at++] = 'e';
    if (exponent < 0) out[at++] = '-';
    return at + print_u64((uint64_t)(exponent < 0 ? -exponent : exponent), out + at);
}

size_t mr_print_f32(float value, char *out)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    *out = '-';
    const size_t sign = bits >> 31;
    out += sign;
    bits &= 0x7fffffffu;
    if (bits < 0x4b800000u) { /* below 2^24: whole numbers print as they are */
        float positive;
        memcpy(&positive, &bits, sizeof positive);
        const uint32_t whole = (uint32_t)positive;
        if ((float)whole == positive) return sign + print_u64(whole, out);
    }

    const struct decimal decimal = shortest_decimal(bits & 0x7fffffu, bits >> 23);
    /* Left-aligned digits in a register, zeros behind them; nine at most. */
    const unsigned made = digit_count(decimal.digits);
    u128 text;
    unsigned count;
    if (made <= 8) {
        const uint64_t digits = mr_digits_of_8(decimal.digits * small_power[8 - made]);
        count = 8 - (unsigned)__builtin_clzll(digits) / 8;
        text = (u128)MR_ASCII_ZEROS << 64 | digits | MR_ASCII_ZEROS;
    } else {
        const uint64_t digits = mr_digits_of_8(decimal.digits % 100000000);
        count = 1 + (digits ? 8 - (unsigned)__builtin_clzll(digits) / 8 : 0);
        text = (u128)(digits | MR_ASCII_ZEROS) << 8 | (decimal.digits / 100000000 + '0') | (u128)MR_ASCII_ZEROS << 72;
    }
    const int32_t exponent = decimal.exponent + (int32_t)made - 1; /* of d.ddd */

    if (exponent < -5 || exponent > 8) return sign + print_scientific(text, count, exponent, out);
    if (exponent < 0) { /* 0.000ddd */
        mr_put_8(out, 0x30303030302e30u);
        put_16(out + 1 - exponent, text);
        return sign + (size_t)(1 - exponent) + count;
    }
    const unsigned whole_count = (unsigned)exponent + 1; /* ddd.ddd, or ddd000 */
    put_16(out, text);
    if (count <= whole_count) return sign + whole_count;
    out[whole_count] = '.';
    put_16(out + whole_count + 1, text >> (whole_count * 8));
    return sign + count + 1;
}

/* magnitude * 10^decimals >= 10^15: magnitude is at least 10^6, so it has at most four bits behind the point and all
 * digits are exact. */
static size_t print_fixed_large(float magnitude, unsigned decimals, char *out)
{
    char reversed[48];
    size_t count = 0, at = 0;
    u128 whole = (u128)magnitude;
    const float fraction = magnitude < 0x1p24f ? magnitude - (float)whole : 0;
    do reversed[count++] = (char)('0' + (unsigned)(whole % 10));
    while (whole /= 10);
    while (count) out[at++] = reversed[--count];
    if (!decimals) return at;
    out[at++] = '.';
    const uint64_t behind = (uint64_t)((double)fraction * small_power[decimals]);
    for (unsigned i = decimals; i-- > 0;) out[at++] = (char)('0' + behind / small_power[i] % 10);
    return at;
}

size_t mr_print_fixed(float value, unsigned decimals, char *out)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    *out = '-';
    const size_t sign = bits >> 31;
    out += sign;
    bits &= 0x7fffffffu;
    float magnitude;
    memcpy(&magnitude, &bits, sizeof magnitude);

    /* 24 bits times 10^9 (21 bits and a power of two) is exact in a double; adding 2^52 rounds it to a whole number,
     * ties to even. */
    const double scaled = (double)magnitude * small_power[decimals];
    if (scaled >= 1e15) return sign + print_fixed_large(magnitude, decimals, out);
    const double rounded = scaled + 0x1p52;
    uint64_t whole;
    memcpy(&whole, &rounded, sizeof whole);
    whole &= (1ull << 52) - 1;
    if (whole < 100000000 && decimals < 8) return sign + mr_fixed_put((uint32_t)whole, decimals, out);
    const uint64_t before = whole / small_power[decimals], behind = whole % small_power[decimals];
    size_t at = print_u64(before, out);
    if (!decimals) return sign + at;
    out[at++] = '.';
    const uint32_t nine = (uint32_t)behind * small_power[9 - decimals]; /* nine digits, zeros behind those wanted */
    out[at] = (char)('0' + nine / 100000000);
    mr_put_8(out + at + 1, mr_digits_of_8(nine % 100000000) | MR_ASCII_ZEROS);
    return sign + at + decimals;
}
