/* What the rate source says is true of its streams, and that a record depends on seed and number alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registry.h"
#include "source/rate/rate.h"

static void *options_of(const char *const (*pairs)[2], size_t count)
{
    const struct mr_source_ops *const ops = mr_source_find("rate");
    struct mr_err err;
    void *const options = calloc(1, ops->options_size);
    assert_int_equal(mr_options_init(ops->options, options, &err), MR_OK);
    for (size_t i = 0; i < count; i++)
        if (mr_options_set(ops->options, options, pairs[i][0], pairs[i][1], &err)) fail_msg("%s", err.text);
    if (ops->check(options, &err)) fail_msg("%s", err.text);
    return options;
}

static void options_free(void *options)
{
    mr_options_deinit(mr_source_find("rate")->options, options);
    free(options);
}

static void truth_is(const void *options, int64_t offset, size_t which, const char *name, double value)
{
    struct mr_truth truth[16];
    const size_t count = mr_source_find("rate")->truth(options, offset, truth, 16);
    assert_in_range(which, 0, count - 1);
    assert_string_equal(truth[which].name, name);
    if (truth[which].value < value - 1e-9 || truth[which].value > value + 1e-9)
        fail_msg("%s at %lld: %g, not %g", name, (long long)offset, truth[which].value, value);
}

static void test_truth(void **state)
{
    (void)state;
    static const char *const plane[][2] = {{"drift", "0.1,-0.05"}, {"jump_at", "5000"}, {"jump_to", "1,2"}};
    static const char *const clusters[][2] = {{"stream", "clusters"}};
    static const char *const arms[][2] = {{"stream", "ab"}, {"lift", "0,1.5,-2"}};
    void *options = options_of(plane, 3);
    truth_is(options, 0, 0, "x1", 3.2);
    truth_is(options, 0, 1, "x2", 0.6);
    truth_is(options, 4000, 0, "x1", 3.6);
    truth_is(options, 5000, 0, "x1", 1);
    truth_is(options, 7000, 1, "x2", 1.9);
    struct mr_truth none;
    assert_int_equal(mr_source_find("rate")->truth(options, 0, &none, 0), 2); /* how many there are */
    options_free(options);
    options = options_of(clusters, 1);
    truth_is(options, 0, 0, "centre[0].x", -10);
    truth_is(options, 0, 1, "centre[0].y", 0);
    truth_is(options, 10000, 1, "centre[0].y", 4);
    truth_is(options, 20000, 1, "centre[0].y", 8);
    truth_is(options, 30000, 1, "centre[0].y", 4); /* on its way back */
    truth_is(options, 20000, 7, "centre[3].y", -10);
    options_free(options);
    options = options_of(arms, 2);
    truth_is(options, 7, 1, "arm[1]", 11.5);
    truth_is(options, 7, 2, "arm[2]", 8);
    options_free(options);
}

/* A record is the same whenever it is made, and another one in another stream and of another seed. */
static void test_number_alone(void **state)
{
    (void)state;
    static const struct {
        const char *stream, *seed;
    } rows[] = {
        {"plane", "0"}, {"plane", "1"}, {"clusters", "0"}, {"ratings", "0"}, {"ab", "0"},
    };
    char first[5][MR_RATE_RECORD_BYTES], again[MR_RATE_RECORD_BYTES];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const pairs[][2] = {{"stream", rows[i].stream}, {"seed", rows[i].seed}};
        struct rate_options *const options = options_of(pairs, 2);
        struct mr_rate_stream stream;
        struct mr_err err;
        assert_int_equal(mr_rate_stream_init(&stream, options, &err), MR_OK);
        first[i][mr_rate_record(&stream, 1000000007, first[i])] = '\0';
        mr_rate_record(&stream, 5, again); /* nothing is kept between them */
        again[mr_rate_record(&stream, 1000000007, again)] = '\0';
        assert_string_equal(again, first[i]);
        for (size_t j = 0; j < i; j++) assert_string_not_equal(first[i], first[j]);
        options_free(options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_truth), cmocka_unit_test(test_number_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
