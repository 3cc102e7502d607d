/* Properties of librdkafka are checked before anything is started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/client.h"

static void test_good(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"bootstrap.servers", "embedded"},
        {"linger.ms", "0.5"},
        {"enable.idempotence", "true"},
        {"compression.type", "lz4"},
        {"acks", "all"},
        {"sasl.password", "x"},
        {"plugin.library.paths", "/no/such/library"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct mr_err err = {0};
        assert_int_equal(mr_kafka_property_check(pairs[i][0], pairs[i][1], &err), MR_OK);
    }
}

static void test_bad(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"linger.mss", "1", "did you mean \"linger.ms\"?"},
        {"linger_ms", "1", "did you mean \"linger.ms\"?"},
        {"fetch.min.bites", "1", "did you mean \"fetch.min.bytes\"?"},
        {"completely.else", "1", "has no such property"},
        {"compression.type", "brotli", "brotli"},
        {"fetch.min.bytes", "-1", "fetch.min.bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mr_err err = {0};
        assert_int_equal(mr_kafka_property_check(cases[i][0], cases[i][1], &err), MR_ECONFIG);
        if (!strstr(err.text, cases[i][2])) print_message("%s: %s\n", cases[i][0], err.text);
        assert_non_null(strstr(err.text, cases[i][2]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
