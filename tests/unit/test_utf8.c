/* Well-formed and ill-formed UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        size_t bytes;
        bool is_valid;
    } cases[] = {
        {"", 0, true},
        {"plain ascii, longer than eight bytes", 36, true},
        {"\x00", 1, true},
        {"gr\xc3\xbc\xc3\x9f", 6, true},
        {"\xe2\x82\xac", 3, true},      /* U+20AC */
        {"\xf0\x9f\x98\x80", 4, true},  /* U+1F600 */
        {"\xf4\x8f\xbf\xbf", 4, true},  /* U+10FFFF */
        {"\xf4\x90\x80\x80", 4, false}, /* beyond it */
        {"\xed\xa0\x80", 3, false},     /* a surrogate */
        {"\xc0\x80", 2, false},         /* overlong */
        {"\xe0\x80\x80", 3, false},
        {"\xf0\x80\x80\x80", 4, false},
        {"\x80", 1, false},
        {"\xff", 1, false},
        {"abcdefg\xe2\x82", 9, false}, /* cut at the end */
        {"\xc3", 1, false},
        {"12345678\xc3\x28", 10, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(mr_utf8_is_valid(cases[i].text, cases[i].bytes), cases[i].is_valid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_utf8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
