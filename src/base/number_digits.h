/** Eight decimal digits at a time in one 64-bit register: what number_print.c and the encoder's inner loop share. */
#ifndef MR_BASE_NUMBER_DIGITS_H
#define MR_BASE_NUMBER_DIGITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MR_ASCII_ZEROS 0x3030303030303030u

/* Eight decimal digits of n < 10^8 as a register of digit values 0..9, the first digit in the lowest byte. */
static inline uint64_t mr_digits_of_8(uint32_t n)
{
    const uint64_t high = n / 10000, low = n % 10000;
    uint64_t x = high | low << 32;
    uint64_t top = (x * 10486 >> 20) & 0x0000007f0000007fu; /* / 100 in each half */
    x = top | (x - top * 100) << 16;
    top = (x * 103 >> 10) & 0x000f000f000f000fu; /* / 10 in each quarter */
    return top | (x - top * 10) << 8;
}

static inline void mr_put_8(char *out, uint64_t bytes)
{
    memcpy(out, &bytes, sizeof bytes);
}

/**
 * Writes whole < 10^8 with its last `decimals` (0..7) digits behind a point, at least one digit before it. May write 17
 * bytes; returns how many count.
 */
static inline size_t mr_fixed_put(uint32_t whole, unsigned decimals, char *out)
{
    const uint64_t digits = mr_digits_of_8(whole);
    const unsigned lead_max = 7 - decimals;
    const unsigned zeros = (unsigned)__builtin_ctzll(digits | 1ull << 63) / 8;
    const unsigned lead = zeros < lead_max ? zeros : lead_max;
    const unsigned before = 8 - decimals - lead;
    const uint64_t text = digits | MR_ASCII_ZEROS;
    mr_put_8(out, text >> (lead * 8));
    if (!decimals) return before;
    out[before] = '.';
    mr_put_8(out + before + 1, text >> ((8 - decimals) * 8));
    return before + 1 + decimals;
}

#endif
