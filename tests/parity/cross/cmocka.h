/* The little of cmocka that the parity tests use, for a machine whose cmocka is not there: see test_neon.sh. */
#ifndef MR_TESTS_CROSS_CMOCKA_H
#define MR_TESTS_CROSS_CMOCKA_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    void *initial_state;
};

#define fail_msg(...) (printf("FAILED: " __VA_ARGS__), puts(""), exit(1))
#define assert_true(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) fail_msg("%s:%d: %s", __FILE__, __LINE__, #condition);                                       \
    } while (0)
#define assert_non_null(pointer)         assert_true((pointer) != NULL)
#define assert_int_equal(a, b)           assert_true((a) == (b))
#define assert_string_equal(a, b)        assert_true(!strcmp((a), (b)))
#define assert_memory_equal(a, b, bytes) assert_true(!memcmp((a), (b), (bytes)))
#define assert_in_range(value, low, high)                                                                              \
    assert_true((unsigned long long)(value) >= (low) && (unsigned long long)(value) <= (high))
#define skip() return

static inline int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count, void *setup,
                                          void *teardown)
{
    (void)name;
    (void)setup;
    (void)teardown;
    for (size_t i = 0; i < count; i++) {
        void *state = tests[i].initial_state;
        tests[i].test_func(&state);
    }
    return 0;
}

#endif
