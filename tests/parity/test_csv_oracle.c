/* The CSV codec against the plain reference of tests/csv_reference.h, on millions of made-up records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "csv_compare.h"

static uint64_t random_state = 20240501;

static uint32_t random_below(uint32_t count)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 32) * count >> 32);
}

/* Both framings, in a buffer that ends where the text ends. */
static void check(const char *text, size_t bytes)
{
    static struct compare lines, single;
    if (!lines.decoder) assert_true(compare_init(&lines, true) && compare_init(&single, false));
    char *copy = malloc(bytes ? bytes : 1);
    memcpy(copy, text, bytes);
    const char *why = compare_message(&lines, copy, bytes);
    if (!why) why = compare_single(&single, copy, bytes);
    if (why) fail_msg("%s in <<<%.*s>>>", why, (int)bytes, text);
    free(copy);
}

/* Few different bytes, all of which matter to the grammar. */
static void test_grammar(void **state)
{
    (void)state;
    static const char *const tokens[] = {",",   ",",    ",", "\"",       "\"",   "\n", "\r\n",  "\r",   "1",
                                         "2.5", "\"\"", "a", "\xc3\xa9", "\xff", "-",  "\"x\"", "\n1,", ",3\n"};
    for (int i = 0; i < 400000; i++) {
        char text[400];
        size_t bytes = 0;
        const uint32_t count = random_below(i % 10 ? 14 : 100);
        for (uint32_t k = 0; k < count; k++) {
            const char *token = tokens[random_below(sizeof tokens / sizeof *tokens)];
            memcpy(text + bytes, token, strlen(token));
            bytes += strlen(token);
        }
        check(text, bytes);
    }
}

/* Good records with line ends and quotes at every place within a block. */
static void test_block_edges(void **state)
{
    (void)state;
    static const char *const tails[] = {"\n", "\r\n", "", "\r", "\n\n", "\r\n7,\"q\"\"q\",8\r\n", "\"", ",\n"};
    for (size_t padding = 0; padding < 150; padding++) {
        for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
            for (int quoted = 0; quoted < 3; quoted++) {
                char text[600], pad[160];
                memset(pad, 'p', sizeof pad);
                const int bytes =
                    snprintf(text, sizeof text, "1,%s%.*s%s,3.25%s4,%.*s,5.5%s", quoted ? "\"" : "", (int)padding, pad,
                             quoted == 2 ? "\n,\"\"\""
                             : quoted    ? "\""
                                         : "",
                             tails[i], (int)padding, pad, tails[i]);
                check(text, (size_t)bytes);
            }
        }
    }
}

static void check_number(uint32_t kind, int digits, double value)
{
    char number[80], text[200];
    switch (kind) {
    case 0:
        snprintf(number, sizeof number, "%+.*f", digits, value);
        break;
    case 1:
        snprintf(number, sizeof number, "%012.*f", digits, value);
        break;
    case 2:
        snprintf(number, sizeof number, "%.*g", digits, value);
        break;
    case 3:
        snprintf(number, sizeof number, "%.*e", digits, value);
        break;
    case 4:
        snprintf(number, sizeof number, "%#.*f", digits, value);
        break; /* "5." */
    default:
        snprintf(number, sizeof number, "%.*f", digits, value);
    }
    const int bytes = snprintf(text, sizeof text, "%s,x,%s\n", number, number);
    check(text, (size_t)bytes);
}

/* Bit for bit strtof, for short and long digits, exponents and whatever else people write. */
static void test_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        const uint32_t bits = (uint32_t)(random_below(1u << 16) << 16 | random_below(1u << 16));
        float any;
        memcpy(&any, &bits, sizeof any);
        const int digits = (int)random_below(18);
        if (isfinite(any) && fabsf(any) < 1e30f) check_number(random_below(10), digits, (double)any);
        check_number(random_below(10), digits, ((double)bits - 2e9) / (double)(1u << random_below(30)));
    }
    static const char *const texts[] = {
        ".5",
        "5.",
        ".",
        "-",
        "+",
        "-.",
        "--1",
        "+-1",
        "1.2.3",
        "..",
        "1e5",
        "1E+5",
        "1e",
        "1e+",
        "e5",
        ".e5",
        "12345678..9043521",
        "12345678901234567.-5",
        "5.e3",
        "007",
        "-0",
        "+0.0",
        "nan",
        "-NaN",
        "inf",
        "-Infinity",
        "infinit",
        "NA",
        " 1",
        "1 ",
        "0x10",
        "1_0",
        "3.4028235e38",
        "3.4028236e38",
        "1e39",
        "-1e999",
        "1e-999",
        "1e-45",
        "0.000000000000001",
        "16777217",
        "16777219",
        "9007199254740993",
        "8388608.5",
        "0.1000000015",
        "9999999999999999",
        "0000000000000001",
        "000000000000000001",
        "1234567890.12345",
        "123456789012345.6",
        ".000000000000001",
        "\"5\"",
        "\"\"",
        "\"1\"\"2\"",
        "5\x01",
        "١",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (int place = 0; place < 3; place++) {
            char text[200];
            const int bytes = snprintf(text, sizeof text,
                                       place == 0   ? "%s,x,1"
                                       : place == 1 ? "1,x,%s"
                                                    : "1,%s,2\n",
                                       texts[i]);
            check(text, (size_t)bytes);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_grammar), cmocka_unit_test(test_block_edges),
                                       cmocka_unit_test(test_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
