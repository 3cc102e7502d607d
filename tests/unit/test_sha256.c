/* SHA-256 against the examples of FIPS 180-4 and the lengths around a block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"

/* Digests by Python's hashlib: "a" repeated count times. */
static void known_digests(void **state)
{
    static const struct {
        size_t count;
        const char *digest;
    } known[] = {
        {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {1, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
        {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
        {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
        {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
        {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
        {65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
        {119, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"},
        {120, "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c"},
        {1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    };
    char text[MR_SHA256_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < 2 * (sizeof known / sizeof *known); i++) {
        const size_t k = i / 2;
        mr_sha256_plain(i % 2);
        char *const bytes = malloc(known[k].count + 1);
        memset(bytes, 'a', known[k].count);
        mr_sha256_text(bytes, known[k].count, text);
        assert_string_equal(text, known[k].digest);
        free(bytes);
    }
    mr_sha256_plain(false);
    mr_sha256_text("abc", 3, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* The same bytes in parts of any length give the digest of the whole. */
static void parts_are_the_whole(void **state)
{
    char bytes[1000], whole[MR_SHA256_TEXT_BYTES], parts[MR_SHA256_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 7);
    mr_sha256_text(bytes, sizeof bytes, whole);
    for (size_t step = 1; step < 200; step++) {
        struct mr_sha256 sha;
        mr_sha256_init(&sha);
        for (size_t at = 0; at < sizeof bytes; at += step)
            mr_sha256_add(&sha, bytes + at, step < sizeof bytes - at ? step : sizeof bytes - at);
        mr_sha256_end(&sha, parts);
        assert_string_equal(parts, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_digests), cmocka_unit_test(parts_are_the_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
