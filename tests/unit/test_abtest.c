/* The model abtest: what it reads of records, which batches count, what it refuses, and what it says. Whether its
 * numbers are right: parity/test_abtest.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "learner_rig.h"

#define ROWS 64

static const struct mr_model_open from_label = {.feature_count = 1}, from_features = {.feature_count = 2};

static double value_of(const struct learner *l, const char *name)
{
    const struct mr_model_info *const info = l->ops->info(l->model);
    char text[MR_FOUND_BYTES];
    double *const values = calloc(info->width, sizeof *values);
    l->ops->found(l->model, text, sizeof text, values);
    for (size_t i = 0; i < info->width; i++) {
        if (strcmp(info->output[i], name) != 0) continue;
        const double value = values[i];
        free(values);
        return value;
    }
    free(values);
    fail_msg("no output %s", name);
    return 0;
}

static void says(const struct learner *l, const char *words)
{
    char text[MR_FOUND_BYTES];
    l->ops->found(l->model, text, sizeof text, NULL);
    if (!strstr(text, words)) fail_msg("it does not say \"%s\": %s", words, text);
}

/* A batch of ROWS records: arms by turns, values of a mean and a spread that are the batch's own. */
static struct mr_learn_report batch_learn(struct learner *l, unsigned number, double lift)
{
    float x[ROWS] __attribute__((aligned(MR_ALIGN)));
    double label[ROWS];
    for (size_t row = 0; row < ROWS; row++) {
        x[row] = (float)(row % 2);
        label[row] = number + (row % 2 ? lift : 0) + (double)(row * 7 % 11);
    }
    learner_score(l, x, ROWS);
    return learner_learn(l, x, label, ROWS);
}

static void rows_get_the_state_before_them(void **state)
{
    const char *const options[] = {"learn", "true", NULL};
    struct learner l;
    (void)state;
    learner_open(&l, "abtest", options, &from_label, ROWS, NULL);
    const size_t width = l.ops->info(l.model)->width;
    batch_learn(&l, 1, 3);
    assert_true(isnan(l.scores.y[0])); /* nothing was known */
    const double difference = value_of(&l, "difference");
    batch_learn(&l, 1, 100);
    assert_true(l.scores.y[0] == (float)difference && difference > 0);
    assert_true(l.scores.y[mr_tile_at(ROWS - 1, 0, width)] == (float)difference);
    assert_true(value_of(&l, "difference") > difference + 40);
    learner_close(&l);
}

static void a_window_is_a_test_of_its_own(void **state)
{
    const char *const of_three[] = {"learn", "true", "window", "3", NULL}, *const of_all[] = {"learn", "true", NULL};
    struct learner window, all, last;
    (void)state;
    learner_open(&window, "abtest", of_three, &from_label, ROWS, NULL);
    learner_open(&all, "abtest", of_all, &from_label, ROWS, NULL);
    learner_open(&last, "abtest", of_all, &from_label, ROWS, NULL);
    for (unsigned i = 0; i < 8; i++) {
        batch_learn(&window, i * i, i);
        batch_learn(&all, i * i, i);
        if (i >= 5) batch_learn(&last, i * i, i);
    }
    static const char *const fixed[] = {"difference", "low", "high", "statistic", "df", "p", "count.0", "mean.1"};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        assert_true(value_of(&window, fixed[i]) == value_of(&last, fixed[i])); /* the same sums, the same bits */
    static const char *const always[] = {"always_low", "always_high", "always_p", "mismatch_p"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        assert_true(value_of(&window, always[i]) == value_of(&all, always[i]));
    assert_true(value_of(&window, "difference") != value_of(&all, "difference"));
    learner_close(&window);
    learner_close(&all);
    learner_close(&last);
}

static void a_file_keeps_the_newest_of_a_shorter_window(void **state)
{
    const char *const of_five[] = {"learn", "true", "window", "5", NULL};
    const char *const of_two[] = {"learn", "true", "window", "2", NULL};
    struct learner five, two, cut;
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
    learner_open(&five, "abtest", of_five, &from_label, ROWS, NULL);
    learner_open(&two, "abtest", of_two, &from_label, ROWS, NULL);
    for (unsigned i = 0; i < 7; i++) batch_learn(&five, i * i, i), batch_learn(&two, i * i, i);
    assert_int_equal(five.ops->learn(five.model)->store(five.model, &blob, &err), MR_OK);
    const struct mr_model_open from = {.file = "memory", .bytes = blob.data, .byte_count = blob.bytes};
    learner_open(&cut, "abtest", of_two, &from, ROWS, NULL);
    batch_learn(&two, 3, 4), batch_learn(&cut, 3, 4);
    assert_true(value_of(&cut, "difference") == value_of(&two, "difference"));
    assert_true(value_of(&cut, "always_p") == value_of(&two, "always_p"));
    learner_close(&five);
    learner_close(&two);
    learner_close(&cut);
    mr_blob_deinit(&blob);
}

static void peace_leaves_out_the_first_batches(void **state)
{
    const char *const options[] = {"learn", "true", "peace_period", "2", NULL}, *const none[] = {"learn", "true", NULL};
    struct learner l, later;
    (void)state;
    learner_open(&l, "abtest", options, &from_label, ROWS, NULL);
    learner_open(&later, "abtest", none, &from_label, ROWS, NULL);
    assert_int_equal(batch_learn(&l, 50, 9).rows, 0);
    assert_int_equal(batch_learn(&l, 50, 9).rows, 0);
    assert_true(isnan(value_of(&l, "difference")));
    assert_int_equal(batch_learn(&l, 1, 2).rows, ROWS);
    batch_learn(&later, 1, 2);
    assert_true(value_of(&l, "p") == value_of(&later, "p"));
    assert_true(value_of(&l, "always_p") == value_of(&later, "always_p"));
    says(&l, "128 records of the first 2 batches are left out");
    learner_close(&l);
    learner_close(&later);
}

static void what_is_no_record_of_the_test_does_not_count(void **state)
{
    const char *const options[] = {"learn", "true", NULL};
    float x[2 * ROWS] __attribute__((aligned(MR_ALIGN))) = {0, 1, 2, -1, 0.5f, 1, 0};
    double label[7] = {1, 2, 3, 4, 5, NAN, 1e308};
    struct learner l;
    (void)state;
    learner_open(&l, "abtest", options, &from_label, ROWS, NULL);
    learner_score(&l, x, 6);
    assert_int_equal(learner_learn(&l, x, label, 6).rows, 2);
    assert_true(value_of(&l, "count.0") == 1 && value_of(&l, "count.1") == 1 && value_of(&l, "difference") == 1);
    says(&l, "4 records without an arm of the test or a value do not count");
    x[0] = 0, x[1] = 0; /* squares beyond double: the batch is not taken, and the rest stays */
    label[0] = 1e300, label[1] = -1e300;
    learner_score(&l, x, 2);
    assert_true(learner_learn(&l, x, label, 2).is_undone);
    assert_true(value_of(&l, "count.0") == 1 && value_of(&l, "difference") == 1);
    learner_close(&l);
}

static void values_are_a_feature_or_the_label(void **state)
{
    const char *const options[] = {"learn", "true", NULL};
    float x[2 * ROWS] __attribute__((aligned(MR_ALIGN))) = {0};
    struct learner l;
    (void)state;
    for (size_t row = 0; row < 6; row++) {
        x[mr_tile_at(row, 0, 2)] = (float)(row % 2);
        x[mr_tile_at(row, 1, 2)] = (float)(row * row);
    }
    learner_open(&l, "abtest", options, &from_features, ROWS, NULL);
    assert_false(l.ops->learn(l.model)->needs_label);
    learner_score(&l, x, 6);
    learner_learn(&l, x, NULL, 6);
    assert_true(fabs(value_of(&l, "difference") - (35.0 / 3 - 20.0 / 3)) < 1e-12);
    learner_close(&l);
    learner_open(&l, "abtest", options, &from_label, ROWS, NULL);
    assert_true(l.ops->learn(l.model)->needs_label);
    learner_close(&l);
}

static mr_reason arm_read(const struct learner *l, const char *arm, const char *value, float *x, size_t *feature_out)
{
    char scratch[8192];
    const struct mr_text text[2] = {{arm, arm ? strlen(arm) : 0, true}, {value, value ? strlen(value) : 0, true}};
    assert_true(l->ops->info(l->model)->read_scratch_bytes <= sizeof scratch);
    return l->ops->read(l->model, text, x, scratch, feature_out);
}

static void arms_have_names(void **state)
{
    const char *const options[] = {"learn", "true", "arms", "control,new,7", NULL};
    float x[2 * MR_TILE_ROWS] = {0};
    struct learner l;
    size_t feature;
    (void)state;
    learner_open(&l, "abtest", options, &from_features, ROWS, NULL);
    assert_int_equal(l.ops->info(l.model)->column_count, 2);
    assert_string_equal(l.ops->info(l.model)->reading, "[\"control\",\"new\",\"7\"]");
    assert_int_equal(arm_read(&l, "\"new\"", "2.5", x, &feature), MR_REASON_NONE);
    assert_true(x[0] == 1 && x[MR_TILE_ROWS] == 2.5f);
    assert_int_equal(arm_read(&l, "7", "-1e3", x, &feature), MR_REASON_NONE);
    assert_true(x[0] == 2 && x[MR_TILE_ROWS] == -1000);
    static const struct {
        const char *arm, *value;
        mr_reason reason;
        size_t feature;
    } wrong[] = {{"\"gnu\"", "1", MR_REASON_RANGE, 0},    {NULL, "1", MR_REASON_MISSING, 0},
                 {"true", "1", MR_REASON_TYPE, 0},        {"\"new\"", NULL, MR_REASON_MISSING, 1},
                 {"\"new\"", "\"1\"", MR_REASON_TYPE, 1}, {"\"new\"", "1 2", MR_REASON_TYPE, 1},
                 {"\"new\"", "1e39", MR_REASON_RANGE, 1}, {"\"control \"", "1", MR_REASON_RANGE, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(arm_read(&l, wrong[i].arm, wrong[i].value, x, &feature), wrong[i].reason);
        assert_int_equal(feature, wrong[i].feature);
    }
    assert_string_equal(l.ops->info(l.model)->output[0], "difference.new");
    assert_true(isnan(value_of(&l, "always_p.7")));
    learner_close(&l);
}

static void a_mismatch_is_said(void **state)
{
    const char *const even[] = {"learn", "true", NULL}, *const as_it_is[] = {"learn", "true", "ratio", "1:9", NULL};
    float x[MR_TILE_ROWS] __attribute__((aligned(MR_ALIGN)));
    double label[ROWS];
    struct learner l, other;
    (void)state;
    learner_open(&l, "abtest", even, &from_label, ROWS, NULL);
    learner_open(&other, "abtest", as_it_is, &from_label, ROWS, NULL);
    for (size_t row = 0; row < 60; row++) x[row] = (float)(row % 10 != 0), label[row] = (double)row;
    learner_score(&l, x, 60), learner_score(&other, x, 60);
    learner_learn(&l, x, label, 60), learner_learn(&other, x, label, 60);
    says(&l, "SAMPLE RATIO MISMATCH: 6:54 instead of 1:1");
    assert_true(value_of(&other, "mismatch_p") == 1);
    learner_close(&l);
    learner_close(&other);
}

static void open_fails(const char *const *options, const struct mr_model_open *from, mr_status status,
                       const char *reason)
{
    struct learner l;
    struct mr_err err = {0};
    learner_options(&l, "abtest", options);
    assert_int_equal(learner_model(&l, from, &err), status);
    assert_null(l.model);
    if (!strstr(err.text, reason)) fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
    learner_options_free(&l);
}

static void what_does_not_fit_is_refused(void **state)
{
    static const char *const ten[] = {"learn", "true", "arms", "a,b", "arm_count", "3", NULL},
                             *const twice[] = {"learn", "true", "arms", "a,b,a", NULL},
                             *const alone[] = {"learn", "true", "arms", "a", NULL},
                             *const short_ratio[] = {"learn", "true", "ratio", "1", NULL},
                             *const long_ratio[] = {"learn", "true", "ratio", "1:2:3", NULL},
                             *const no_share[] = {"learn", "true", "ratio", "1:0", NULL},
                             *const still[] = {"window", "3", NULL}, *const plain[] = {"learn", "true", NULL},
                             *const others[] = {"learn", "true", "arms", "c,d", NULL},
                             *const three[] = {"learn", "true", "arm_count", "3", NULL};
    const struct mr_model_open many = {.feature_count = 3};
    struct learner l;
    struct mr_blob blob = {0};
    struct mr_err err;
    (void)state;
    open_fails(ten, &from_label, MR_ECONFIG, "arm_count: 3, but arms names 2");
    open_fails(twice, &from_label, MR_ECONFIG, "\"a\" is there twice");
    open_fails(alone, &from_label, MR_ECONFIG, "2 to 16");
    open_fails(short_ratio, &from_label, MR_ECONFIG, "expected 2 shares");
    open_fails(long_ratio, &from_label, MR_ECONFIG, "expected 2 shares");
    open_fails(no_share, &from_label, MR_ECONFIG, "expected 2 shares");
    open_fails(still, &from_label, MR_ECONFIG, "needs a file, or \"learn\": true");
    open_fails(plain, &many, MR_ECONFIG, "record.features names 3");
    learner_open(&l, "abtest", plain, &from_label, ROWS, NULL);
    assert_int_equal(l.ops->learn(l.model)->store(l.model, &blob, &err), MR_OK);
    const struct mr_model_open file = {.file = "memory", .bytes = blob.data, .byte_count = blob.bytes};
    open_fails(others, &file, MR_ECONFIG, "is of a test of 2 arms");
    open_fails(three, &file, MR_ECONFIG, "is of a test of 2 arms");
    char *const method = memmem(blob.data, blob.bytes, "welch", 5);
    assert_non_null(method);
    memcpy(method, "wilch", 5);
    struct mr_model *model;
    assert_int_equal(l.ops->open(&file, &model, &err), MR_EDATA); /* nobody says by a job what else it should be */
    assert_non_null(strstr(err.text, "\"method\""));
    learner_close(&l);
    mr_blob_deinit(&blob);
}

/* A file says by itself what its test was: for `millrace inspect`. */
static void a_file_speaks_for_itself(void **state)
{
    const char *const options[] = {"learn", "true", "arms", "control,new", "method", "student", "alpha", "0.01", NULL};
    struct learner l;
    struct mr_blob blob = {0};
    struct mr_model *model;
    struct mr_err err;
    char here[MR_FOUND_BYTES], there[MR_FOUND_BYTES];
    (void)state;
    learner_open(&l, "abtest", options, &from_label, ROWS, NULL);
    for (unsigned i = 0; i < 20; i++) batch_learn(&l, 1, 3);
    assert_int_equal(l.ops->learn(l.model)->store(l.model, &blob, &err), MR_OK);
    const struct mr_model_open file = {.file = "memory", .bytes = blob.data, .byte_count = blob.bytes};
    if (l.ops->open(&file, &model, &err)) fail_msg("%s", err.text);
    l.ops->found(l.model, here, sizeof here, NULL);
    l.ops->found(model, there, sizeof there, NULL);
    assert_string_equal(here, there);
    says(&l, "new against control: +");
    says(&l, "99 % whenever one looks: ");
    says(&l, "(Student ");
    says(&l, "new is higher");
    l.ops->found(model, there, 40, NULL); /* no room for a line: none */
    assert_string_equal(there, "");
    l.ops->close(model);
    learner_close(&l);
    mr_blob_deinit(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_get_the_state_before_them),
                                       cmocka_unit_test(a_window_is_a_test_of_its_own),
                                       cmocka_unit_test(a_file_keeps_the_newest_of_a_shorter_window),
                                       cmocka_unit_test(peace_leaves_out_the_first_batches),
                                       cmocka_unit_test(what_is_no_record_of_the_test_does_not_count),
                                       cmocka_unit_test(values_are_a_feature_or_the_label),
                                       cmocka_unit_test(arms_have_names),
                                       cmocka_unit_test(a_mismatch_is_said),
                                       cmocka_unit_test(what_does_not_fit_is_refused),
                                       cmocka_unit_test(a_file_speaks_for_itself)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
