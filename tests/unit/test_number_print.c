/* Printed numbers against printf and strtof of the C library, which are exact. MILLRACE_EXHAUSTIVE=1 walks all 2^32
 * float32. */
#include "base/number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* xorshift: the same values in every run */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Prints into a buffer with guards behind the promised scratch. */
static const char *shortest(float value)
{
    static char out[MR_NUMBER_BYTES + 9];
    memset(out, '#', sizeof out);
    const size_t bytes = mr_print_f32(value, out);
    assert_in_range(bytes, 1, 16);
    for (size_t i = MR_NUMBER_BYTES; i < sizeof out; i++) assert_int_equal(out[i], '#');
    out[bytes] = 0;
    return out;
}

/* Significant digits of a decimal text: without sign, point, exponent, leading and trailing zeros. */
static unsigned significant(const char *text)
{
    unsigned count = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9') continue;
        if (*text == '0') {
            zeros += count > 0;
        } else {
            count += zeros + 1;
            zeros = 0;
        }
    }
    return count;
}

static bool is_json_number(const char *text)
{
    text += *text == '-';
    if (*text == '0')
        text++;
    else if (*text >= '1' && *text <= '9')
        text += strspn(text, "0123456789");
    else
        return false;
    if (*text == '.') {
        const size_t digits = strspn(text + 1, "0123456789");
        if (!digits) return false;
        text += 1 + digits;
    }
    if (*text == 'e') {
        text += 1 + (text[1] == '-' || text[1] == '+');
        const size_t digits = strspn(text, "0123456789");
        if (!digits) return false;
        text += digits;
    }
    return !*text;
}

/* Reads back bit-equal, is a JSON number, and no %.{1..9}g with fewer digits reads back. */
static void check_shortest(uint32_t bits)
{
    const float value = from_bits(bits);
    const char *text = shortest(value);
    if (to_bits(strtof(text, NULL)) != bits || !is_json_number(text))
        fail_msg("0x%08x %.9g printed as %s", bits, (double)value, text);
    if (value == 0) return;
    for (int digits = 1; digits <= 9; digits++) {
        char brute[40];
        snprintf(brute, sizeof brute, "%.*e", digits - 1, (double)value);
        if (to_bits(strtof(brute, NULL)) != bits) continue;
        /* Whole numbers below 2^24 keep all their digits: nothing to compare but that there are not more. */
        if (significant(text) > significant(brute)) fail_msg("0x%08x: %s is not shortest, %s is", bits, text, brute);
        /* Of the shortest, the nearest: printf's digits are the nearest of that length. */
        if (significant(text) == (unsigned)digits && (value != truncf(value) || fabsf(value) >= 0x1p24f))
            assert_true(strtod(text, NULL) == strtod(brute, NULL));
        return;
    }
    fail_msg("nine digits do not read back?");
}

static void test_shortest_known(void **state)
{
    (void)state;
    static const struct {
        float value;
        const char *text;
    } known[] = {
        {0.0f, "0"},
        {-0.0f, "-0"},
        {1, "1"},
        {-3, "-3"},
        {0.1f, "0.1"},
        {0.5f, "0.5"},
        {1e-5f, "0.00001"},
        {1e-6f, "1e-6"},
        {1e-7f, "1e-7"},
        {123.456f, "123.456"},
        {1e8f, "100000000"},
        {1e9f, "1e9"},
        {16777216, "16777216"},
        {3.4028235e38f, "3.4028235e38"},
        {1e-45f, "1e-45"},
        {1.17549435e-38f, "1.1754944e-38"},
        {0.99999994f, "0.99999994"},
        {21.53f, "21.53"},
        {-0.000123456789f, "-0.00012345679"},
        {33554432, "33554432"},
        {8388608.5f, "8388608"},
        {4294967296.0f, "4.2949673e9"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_string_equal(shortest(known[i].value), known[i].text);
}

static void test_shortest_sample(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    for (uint32_t exponent = 0; exponent < 255; exponent++) { /* every power of two and its neighbours */
        for (int32_t step = -4; step <= 4; step++) {
            const int64_t bits = ((int64_t)exponent << 23) + step;
            if (bits >= 0 && bits < 0x7f800000) check_shortest((uint32_t)bits);
        }
    }
    for (int decimal = -45; decimal <= 38; decimal++) { /* every power of ten, and what is next to it */
        for (int32_t step = -4; step <= 4; step++) {
            char text[16];
            snprintf(text, sizeof text, "1e%d", decimal);
            const int64_t bits = (int64_t)to_bits(strtof(text, NULL)) + step;
            if (bits >= 0 && bits < 0x7f800000) check_shortest((uint32_t)bits);
        }
    }
    for (int i = 0; i < 300000; i++) {
        const uint32_t bits = (uint32_t)random_next(&random);
        if (isfinite(from_bits(bits))) check_shortest(bits);
        check_shortest(to_bits((float)(bits >> 8) * 0x1p-24f));  /* probabilities */
        check_shortest(to_bits((float)(bits % 1000000) / 1000)); /* readings */
    }
}

/* All of them read back; one in 997 is also compared with the brute force. About four minutes. */
static void test_shortest_exhaustive(void **state)
{
    (void)state;
    if (!getenv("MILLRACE_EXHAUSTIVE")) {
        print_message("SKIP: all float32 values: set MILLRACE_EXHAUSTIVE=1\n");
        skip();
    }
    for (uint32_t bits = 0; bits < 0x7f800000u; bits++) {
        char out[MR_NUMBER_BYTES + 1];
        const float value = from_bits(bits);
        const size_t bytes = mr_print_f32(value, out);
        out[bytes] = 0;
        if (to_bits(strtof(out, NULL)) != bits) fail_msg("0x%08x printed as %s", bits, out);
        if (bits % 997 == 0) check_shortest(bits);
    }
}

static void check_fixed(float value, unsigned decimals)
{
    char want[80], out[MR_NUMBER_BYTES + 9];
    memset(out, '#', sizeof out);
    const size_t bytes = mr_print_fixed(value, decimals, out);
    snprintf(want, sizeof want, "%.*f", (int)decimals, (double)value);
    for (size_t i = MR_NUMBER_BYTES; i < sizeof out; i++) assert_int_equal(out[i], '#');
    if (bytes != strlen(want) || memcmp(out, want, bytes))
        fail_msg("%.9g with %u decimals: got %.*s, want %s", (double)value, decimals, (int)bytes, out, want);
}

static void test_fixed(void **state)
{
    (void)state;
    static const float edges[] = {
        0,          0.5f,         1.5f,          2.5f,       0.125f,      0.375f,        0.25f,
        0.75f,      999999.9375f, 1000000.0625f, 9.9999999f, 0.99999994f, 0.0009765625f, 8388607.5f,
        8388608.5f, 4194303.25f,  16777215,      16777216,   1e9f,        1e10f,         3.4028235e38f,
        1e-45f,     99.995f,      0.05f,         0.95f,      1e15f,       123456.789f};
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        for (unsigned decimals = 0; decimals <= 9; decimals++) {
            check_fixed(edges[i], decimals);
            check_fixed(-edges[i], decimals);
        }
    }
    uint64_t random = 424242;
    for (int i = 0; i < 200000; i++) {
        const uint32_t bits = (uint32_t)random_next(&random);
        if (isfinite(from_bits(bits))) check_fixed(from_bits(bits), (unsigned)i % 10);
        check_fixed((float)(bits >> 8) * 0x1p-24f, (unsigned)i % 10);
        check_fixed((float)(bits % 4096) / 64, (unsigned)i % 10); /* many exact ties */
        check_fixed((float)(bits >> 8) * 0x1p-3f, (unsigned)i % 10);
    }
}

static void test_i64(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int i = 0; i < 200000; i++) {
        char want[32], out[MR_NUMBER_BYTES];
        const uint64_t bits = random_next(&random);
        const long long value = i == 0     ? INT64_MIN
                                : i == 1   ? INT64_MAX
                                : i < 1000 ? i - 500
                                           : (long long)(bits >> bits % 64) * (i % 2 ? 1 : -1);
        snprintf(want, sizeof want, "%lld", value);
        const size_t bytes = mr_print_i64(value, out);
        if (bytes != strlen(want) || memcmp(out, want, bytes)) fail_msg("%lld printed as %.*s", value, (int)bytes, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shortest_known),
        cmocka_unit_test(test_shortest_sample),
        cmocka_unit_test(test_shortest_exhaustive),
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_i64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
