/* Who may ask a job's page: names in Host, tokens in Authorization. */
#include "http/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_hosts(void **state)
{
    char name[] = "scorer.example.org", *names[] = {name};
    const struct mr_strings list = {names, 1};
    static const char *const ours[] = {"127.0.0.1",    "127.0.0.1:8420", "[::1]",      "[::1]:8420",
                                       "localhost:80", "LOCALHOST",      "10.1.2.3:1", "scorer.example.org:443"};
    static const char *const foreign[] = {
        "",    "evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::1", "[::1]x", "127.0.0.1:80x",
        "::1", "localhost@",   "scorer.example.org.",    ":8420",          "a b"};
    (void)state;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) assert_true(mr_http_host_is_ours(ours[i], &list));
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) assert_false(mr_http_host_is_ours(foreign[i], &list));
    assert_false(mr_http_host_is_ours("scorer.example.org", NULL));
    assert_false(mr_http_host_is_ours(NULL, &list));
}

static void test_tokens(void **state)
{
    char longer[2048] = "Basic ";
    (void)state;
    memset(longer + 6, 'A', sizeof longer - 7);
    assert_true(mr_http_token_is_right("Bearer correct-horse", "correct-horse"));
    assert_true(mr_http_token_is_right("bearer correct-horse", "correct-horse"));
    assert_true(mr_http_token_is_right("Basic eDpjb3JyZWN0LWhvcnNl", "correct-horse"));      /* x:correct-horse */
    assert_true(mr_http_token_is_right("Basic OmNvcnJlY3QtaG9yc2U=", "correct-horse"));      /* :correct-horse */
    assert_false(mr_http_token_is_right("Basic Y29ycmVjdC1ob3JzZQ==", "correct-horse"));     /* no colon */
    assert_false(mr_http_token_is_right("Basic eDpjb3JyZWN0LWhvcnNlIQ==", "correct-horse")); /* x:correct-horse! */
    static const char *const wrong[] = {"Bearer correct-hors",
                                        "Bearer correct-horsecorrect-horse",
                                        "Bearer ",
                                        "correct-horse",
                                        "Basic !",
                                        "Digest correct-horse",
                                        ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(mr_http_token_is_right(wrong[i], "correct-horse"));
    assert_false(mr_http_token_is_right(longer, "correct-horse"));
    assert_false(mr_http_token_is_right(NULL, "correct-horse"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hosts), cmocka_unit_test(test_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
