/* Timeouts of transactions: chosen to fit each other, refused where the user's contradict each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kafka/timeouts.h"

static struct mr_timeouts chosen;
static struct mr_err err;

/* Property texts, NULL: not given. */
static mr_status choose(const char *transaction, const char *socket, const char *message, int64_t interval_us)
{
    const char *const texts[][2] = {
        {"transaction.timeout.ms", transaction}, {"socket.timeout.ms", socket}, {"message.timeout.ms", message}};
    char key[3][32], value[3][32];
    struct mr_pair pair[3];
    struct mr_map map = {.item = pair};
    for (size_t i = 0; i < 3; i++) {
        if (!texts[i][1]) continue;
        strcpy(key[map.count], texts[i][0]);
        strcpy(value[map.count], texts[i][1]);
        pair[map.count] = (struct mr_pair){key[map.count], value[map.count]};
        map.count++;
    }
    err = (struct mr_err){0};
    return mr_timeouts_choose(&map, interval_us, &chosen, &err);
}

#define SECOND 1000000

static void test_chosen(void **state)
{
    (void)state;
    assert_int_equal(choose(NULL, NULL, NULL, SECOND), MR_OK);
    assert_int_equal(chosen.transaction_ms, 30000);
    assert_int_equal(chosen.socket_ms, 10000);
    /* What is not given follows what is. */
    assert_int_equal(choose("5000", NULL, NULL, SECOND), MR_OK);
    assert_int_equal(chosen.transaction_ms, 5000);
    assert_int_equal(chosen.socket_ms, 5000);
    assert_int_equal(choose(NULL, "60000", NULL, SECOND), MR_OK);
    assert_int_equal(chosen.transaction_ms, 60000);
    assert_int_equal(chosen.socket_ms, 60000);
    assert_int_equal(choose(NULL, NULL, "120000", SECOND), MR_OK);
    assert_int_equal(chosen.transaction_ms, 120000);
    assert_int_equal(choose(NULL, NULL, NULL, 60 * SECOND), MR_OK);
    assert_int_equal(chosen.transaction_ms, 180000);
    assert_int_equal(choose(NULL, NULL, NULL, 400 * (int64_t)SECOND), MR_OK);
    assert_int_equal(chosen.transaction_ms, 900000);
    /* Just so. */
    assert_int_equal(choose("10000", "10100", "10000", 5 * SECOND), MR_OK);
}

static void refused(const char *transaction, const char *socket, const char *message, int64_t interval_us,
                    const char *first, const char *second)
{
    assert_int_equal(choose(transaction, socket, message, interval_us), MR_ECONFIG);
    if (!strstr(err.text, first) || !strstr(err.text, second)) fail_msg("%s", err.text);
}

static void test_refused(void **state)
{
    (void)state;
    refused("10000", "10101", NULL, SECOND, "socket.timeout.ms of 10101", "transaction.timeout.ms of 10000");
    refused("10000", NULL, "10001", SECOND, "message.timeout.ms of 10001", "transaction.timeout.ms of 10000");
    refused(NULL, NULL, "0", SECOND, "message.timeout.ms of 0 (no limit)", "transaction.timeout.ms of 30000");
    refused("10000", NULL, NULL, 5 * SECOND + 1000, "commit_interval", "raise transaction.timeout.ms");
    refused(NULL, NULL, NULL, 3600 * (int64_t)SECOND, "commit_interval of 3600 s", "at most 450 s");
    refused(NULL, "1000000", NULL, SECOND, "socket.timeout.ms of 1000000", "900000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chosen), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
