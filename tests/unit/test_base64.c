/* Base64 against the vectors of its RFC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

/* RFC 4648, section 10. */
static void test_base64(void **state)
{
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    char out[16];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t bytes = mr_base64_encode(cases[i][0], strlen(cases[i][0]), out);
        assert_int_equal(bytes, strlen(cases[i][1]));
        assert_memory_equal(out, cases[i][1], bytes);
        size_t back;
        assert_true(mr_base64_decode(cases[i][1], bytes, out, &back));
        assert_int_equal(back, strlen(cases[i][0]));
        assert_memory_equal(out, cases[i][0], back);
    }
}

static void test_no_base64(void **state)
{
    static const char *const wrong[] = {"Z", "Zg", "Zg=", "Zm9vY", "Zm 9", "=Zg=", "Z===", "Zg==Zg==", "Zm9\xff"};
    char out[16];
    size_t bytes;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(mr_base64_decode(wrong[i], strlen(wrong[i]), out, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_base64), cmocka_unit_test(test_no_base64)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
