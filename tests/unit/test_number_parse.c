/* mr_parse_f32 and mr_parse_f64 against strtof and strtod, bit for bit, and against the grammar of RFC 8259. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/number.h"
#include "json_rig.h"

/* Parses a copy without a byte behind it, and compares with the C library. */
static void same_as_library(const char *text)
{
    const size_t bytes = strlen(text);
    struct mr_message copy = rig_message(text, bytes);
    float f32 = 0, want_f32 = strtof(text, NULL);
    double f64 = 0, want_f64 = strtod(text, NULL);
    const char *const behind_f32 = mr_parse_f32(copy.value, copy.value + bytes, &f32);
    const char *const behind_f64 = mr_parse_f64(copy.value, copy.value + bytes, &f64);
    if (behind_f32 != copy.value + bytes || memcmp(&f32, &want_f32, sizeof f32)) {
        fail_msg("f32 of %.200s: got %.9g, want %.9g, %td of %zu bytes read", text, (double)f32, (double)want_f32,
                 behind_f32 ? behind_f32 - copy.value : -1, bytes);
    }
    if (behind_f64 != copy.value + bytes || memcmp(&f64, &want_f64, sizeof f64)) {
        fail_msg("f64 of %.200s: got %.17g, want %.17g", text, f64, want_f64);
    }
    rig_message_free(&copy);
}

static void test_known(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "1",
        "-1",
        "21.53",
        "0.1",
        "1e1",
        "1E+1",
        "1e-1",
        "16777216",
        "16777217",
        "16777218",
        "16777219",
        "16777217.0",
        "16777217.00000000000000000000000000000000001",
        "16777216.99999999999999999999999",
        "33554433",
        "33554435",
        "9007199254740993",
        "9007199254740993.0",
        "9007199254740992.99999999999999999999999999999",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999",
        "3.4028234e38",
        "3.4028235e38",
        "3.4028235677973366e38",
        "3.4028235677973365e38",
        "3.4028235677973367e38",
        "340282356779733661637539395458142568447.9",
        "340282356779733661637539395458142568448",
        "3.5e38",
        "1e39",
        "1e400",
        "-1e400",
        "1e-400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0e99999999999999999999",
        "1.17549435e-38",
        "1.1754943e-38",
        "1.1754942e-38",
        "1.4e-45",
        "7.0064923216240853546186479164495e-46",
        "7.0064923216240853546186479164496e-46",
        "7.1e-46",
        "7.0e-46",
        "5e-324",
        "2.4703282292062327208e-324",
        "2.4703282292062328e-324",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "123456789012345678901234567890e-10",
        "0.00000000000000000000001",
        "1e22",
        "1e23",
        "123e-22",
        "8.5",
        "1.00000017881393432617187499",
        "1.00000017881393432617187500",
        "1.00000017881393432617187501",
        "1.000000059604644775390625",
        "1.0000000596046447753906250000000000000000000001",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) same_as_library(texts[i]);
}

static void digits_add(char **out, uint64_t *seed, size_t count)
{
    for (size_t i = 0; i < count; i++) *(*out)++ = (char)('0' + rig_random(seed) % 10);
}

/* A number with random lengths of its three parts. */
static void number_make(char *out, uint64_t *seed, size_t integer_max, size_t fraction_max, int exponent_max)
{
    if (rig_random(seed) & 1) *out++ = '-';
    const size_t integer = rig_random(seed) % (integer_max + 1);
    *out++ = (char)(integer ? '1' + rig_random(seed) % 9 : '0');
    if (integer > 1) digits_add(&out, seed, integer - 1);
    const size_t fraction = rig_random(seed) % (fraction_max + 1);
    if (fraction) {
        *out++ = '.';
        if (rig_random(seed) % 4 == 0) {
            for (size_t zeros = rig_random(seed) % (fraction_max + 1); zeros; zeros--) *out++ = '0';
        }
        digits_add(&out, seed, fraction);
    }
    if (exponent_max && rig_random(seed) & 1) {
        out += sprintf(
            out, "%c%s%d", "eE" [rig_random(seed) & 1], (const char *[]) { "", "+", "-" }[rig_random(seed) % 3],
            (int)(rig_random(seed) % (uint64_t)exponent_max));
    }
    *out = 0;
}

static void test_random(void **state)
{
    (void)state;
    static const struct {
        size_t integer_max, fraction_max;
        int exponent_max, rounds;
    } shapes[] = {{4, 4, 0, 100000}, {8, 8, 0, 100000},    {10, 10, 30, 100000}, {20, 20, 60, 100000},
                  {1, 17, 0, 50000}, {30, 30, 350, 50000}, {800, 900, 400, 300}, {3000, 3000, 5000, 60}};
    char text[16384];
    uint64_t seed = 20260101;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (int round = 0; round < shapes[i].rounds; round++) {
            number_make(text, &seed, shapes[i].integer_max, shapes[i].fraction_max, shapes[i].exponent_max);
            same_as_library(text);
        }
    }
}

/* The exact decimal text of the middle between two neighbours, and texts one digit beside it: the hardest roundings. */
static void test_middles(void **state)
{
    (void)state;
    char text[2048];
    uint64_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        uint32_t bits = (uint32_t)rig_random(&seed) & 0x7fffffffu;
        if (round % 4 == 0) bits &= 0x00ffffffu; /* subnormal and just above */
        float low;
        if ((bits & 0x7f800000u) == 0x7f800000u) continue;
        memcpy(&low, &bits, sizeof low);
        bits++;
        float high;
        memcpy(&high, &bits, sizeof high);
        const double middle = (bits & 0x7f800000u) == 0x7f800000u ? 0x1.ffffffp127 : ((double)low + (double)high) / 2;
        const int bytes = snprintf(text, sizeof text - 8, "%.400f", middle);
        same_as_library(text);
        memcpy(text + bytes, "0001", 5);
        same_as_library(text);
        char *digit = text + bytes - 1; /* one unit down in the last digit that is not zero */
        while (*digit == '0' || *digit == '.') digit--;
        (*digit)--;
        same_as_library(text);
    }
}

static void test_long(void **state)
{
    (void)state;
    const size_t bytes = 200000;
    char *const text = malloc(bytes + 16);
    memset(text, '0', bytes + 16);
    text[1] = '.';
    strcpy(text + bytes, "1e200000");
    same_as_library(text); /* 0.000...01e200000 is 1.0-ish: no digit may be lost on the way */
    memset(text, '9', bytes);
    text[bytes] = 0;
    same_as_library(text);
    text[1] = '.';
    same_as_library(text);
    free(text);
}

static void test_grammar(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "-",         "+1",  ".5",  "-.5", "01",  "-01", "00",
                                      "1.",       "1.e5",      "1e",  "1e+", "1e-", "e5",  "NaN", "nan",
                                      "Infinity", "-Infinity", "inf", " 1",  "a",   "--1", "-a"};
    static const struct {
        const char *text;
        size_t bytes;
    } partial[] = {{"1,2", 1},   {"1.5}", 3}, {"0x10", 1},          {"1e5e5", 3},
                   {"1.5.5", 3}, {"-0-", 2},  {"12345678901a", 11}, {"1 ", 1}};
    float f32 = 4;
    double f64 = 4;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const end = bad[i] + strlen(bad[i]);
        if (mr_parse_f32(bad[i], end, &f32) || mr_parse_f64(bad[i], end, &f64)) fail_msg("took \"%s\"", bad[i]);
    }
    for (size_t i = 0; i < sizeof partial / sizeof *partial; i++) {
        const char *const text = partial[i].text, *const end = text + strlen(text);
        assert_ptr_equal(mr_parse_f32(text, end, &f32), text + partial[i].bytes);
        assert_ptr_equal(mr_parse_f64(text, end, &f64), text + partial[i].bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known), cmocka_unit_test(test_random),  cmocka_unit_test(test_middles),
        cmocka_unit_test(test_long),  cmocka_unit_test(test_grammar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
