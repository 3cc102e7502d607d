/* A perceptron that learns: from nothing, on from a file, bit for bit the same again, and what diverges is undone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "learner_rig.h"
#include "model_save.h"

#define ROWS 512

static void mlp_open(struct learner *l, const char *const *options, const char *file)
{
    learner_open(l, "mlp", options, &(struct mr_model_open){.file = file, .feature_count = file ? 0 : 2}, ROWS, "base");
}

static struct mr_learn_report learn(struct learner *l, const float *x, const double *label)
{
    learner_score(l, x, ROWS);
    return learner_learn(l, x, label, ROWS);
}

/* Rows of two features from -1 to 1; the class is that of exclusive or, which no linear model has. */
static void rows_make(float *x, double *label, unsigned number)
{
    uint32_t seed = 12345 + number;
    for (size_t row = 0; row < ROWS; row++) {
        float value[2];
        for (size_t c = 0; c < 2; c++) {
            seed = seed * 1664525 + 1013904223;
            value[c] = (float)(int32_t)seed / 2147483648.0F;
            x[mr_tile_at(row, c, 2)] = value[c];
        }
        label[row] = value[0] * value[1] > 0;
    }
}

static const char *const learning[] = {"learn", "true", "hidden", "16-8", "classes", "2", "step", "0.01", NULL};

static void exclusive_or(void **state)
{
    static _Alignas(64) float x[ROWS * 2];
    static double label[ROWS];
    struct learner l;
    struct mr_learn_report report;
    double first = 0;
    (void)state;
    mlp_open(&l, learning, NULL);
    for (unsigned i = 0; i < 400; i++) {
        rows_make(x, label, i);
        report = learn(&l, x, label);
        assert_false(report.is_undone);
        assert_int_equal(report.rows, ROWS);
        if (!i) first = report.loss;
    }
    assert_true(first / ROWS > 0.5);
    assert_true(report.loss / ROWS < 0.1); /* ln 2 is what no model has to do better than */
    learner_close(&l);
}

/* Stopped after half of the batches, saved, and gone on: the scores are those of one that went through. */
static void saved_and_gone_on(void **state)
{
    static _Alignas(64) float x[ROWS * 2];
    static double label[ROWS];
    char path[] = "/tmp/millrace-mlp-XXXXXX";
    struct learner whole, half;
    struct mr_err err;
    (void)state;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    mlp_open(&whole, learning, NULL);
    mlp_open(&half, learning, NULL);
    for (unsigned i = 0; i < 20; i++) {
        rows_make(x, label, i);
        learn(&whole, x, label);
        if (i == 10) {
            assert_int_equal(model_save(half.ops, half.model, path, &err), MR_OK);
            learner_close(&half);
            mlp_open(&half, learning, path);
        }
        learn(&half, x, label);
    }
    assert_memory_equal(half.scores.y, whole.scores.y, ROWS * sizeof(float));
    learner_close(&whole);
    learner_close(&half);
    unlink(path);
}

/* A file whose inputs are standardised goes on learning in standardised units, and keeps the scaling. */
static void a_standardised_file_learns(void **state)
{
    static const char *const options[] = {"learn", "true", "step", "1e-9", NULL};
    static const char *const source = MR_SOURCE_DIR "/tests/golden/models/mlp_standardised.safetensors";
    char path[] = "/tmp/millrace-mlp-XXXXXX";
    struct learner l, again;
    struct mr_learn_report report;
    struct mr_err err;
    (void)state;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    mlp_open(&l, options, source);
    const size_t cols = l.ops->info(l.model)->feature_count, width = l.ops->info(l.model)->width;
    float *const x = aligned_alloc(MR_ALIGN, ROWS * cols * sizeof *x);
    double *const label = calloc(ROWS, sizeof *label);
    for (size_t i = 0; i < ROWS * cols; i++) x[i] = (float)(i % 97) / 10;
    report = learn(&l, x, label);
    assert_false(report.is_undone);
    assert_int_equal(model_save(l.ops, l.model, path, &err), MR_OK);
    mlp_open(&again, options, path);
    learner_score(&l, x, ROWS);
    learner_score(&again, x, ROWS);
    for (size_t i = 0; i < ROWS * width; i++) assert_float_equal(l.scores.y[i], again.scores.y[i], 2e-6);
    learner_close(&l);
    learner_close(&again);
    free(x);
    free(label);
    unlink(path);
}

static void a_diverging_update_is_undone(void **state)
{
    static const char *const options[] = {"learn",    "true",     "hidden", "8",      "activation", "identity",
                                          "schedule", "constant", "step",   "100000", NULL};
    static _Alignas(64) float x[ROWS * 2];
    static double label[ROWS];
    struct learner l;
    struct mr_learn_report report;
    (void)state;
    mlp_open(&l, options, NULL);
    rows_make(x, label, 0);
    for (size_t row = 0; row < ROWS; row++) label[row] = 3 * (double)x[mr_tile_at(row, 0, 2)];
    report = learn(&l, x, label);
    assert_true(report.is_undone);
    assert_true(report.step_stable > 0 && report.step_stable < 100000);
    const double before = report.loss;
    report = learn(&l, x, label); /* the weights are as they were */
    assert_true(report.loss == before);
    learner_close(&l);
    char step[32];
    snprintf(step, sizeof step, "%.17g", report.step_stable);
    const char *const proposed[] = {"learn",    "true",     "hidden", "8",  "activation", "identity",
                                    "schedule", "constant", "step",   step, NULL};
    mlp_open(&l, proposed, NULL);
    report = learn(&l, x, label);
    assert_false(report.is_undone);
    learner_close(&l);
}

/* A step just past the limit makes each batch a little worse than the one before: that ends, too. */
static void a_slow_divergence_ends(void **state)
{
    static const char *const options[] = {"learn",    "true",     "hidden", "none", "activation", "identity",
                                          "schedule", "constant", "step",   "2.4",  NULL};
    static _Alignas(64) float x[ROWS * 2];
    static double label[ROWS];
    struct learner l;
    struct mr_learn_report report;
    double worst = 0;
    uint64_t undone = 0;
    (void)state;
    mlp_open(&l, options, NULL);
    for (unsigned i = 0; i < 500; i++) {
        rows_make(x, label, i);
        for (size_t row = 0; row < ROWS; row++) label[row] = 3 * (double)x[mr_tile_at(row, 0, 2)] + 1;
        report = learn(&l, x, label);
        worst = fmax(worst, report.loss / ROWS);
        undone += report.is_undone;
        if (report.is_undone) assert_true(report.step_stable > 0.1 && report.step_stable < 2.4);
    }
    assert_true(undone > 0);
    assert_true(worst < 1e3);
    learner_close(&l);
}

static void wrong_options(void **state)
{
    static const struct {
        const char *const options[7];
        const char *says;
    } cases[] = {
        {{NULL}, "needs a file, or \"learn\": true"},
        {{"learn", "true", "hidden", "8-", NULL}, "hidden: \"8-\": expected widths"},
        {{"learn", "true", "hidden", "", NULL}, "hidden: \"\""},
        {{"learn", "true", "hidden", "0", NULL}, "hidden: \"0\""},
        {{"learn", "true", "classes", "1", NULL}, "1 class leaves nothing to learn"},
        {{"learn", "true", "hidden", "65536-65536-65536", NULL}, "more than 67108864 weights"},
        {{"learn", "true", "hidden", "65536", "classes", "65536", NULL}, "2 features and 65536 outputs"},
        {{"learn", "true", "hidden", "8192-8192", NULL}, "hidden: \"8192-8192\""}, /* biases too much */
    };
    struct learner l;
    struct mr_err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        learner_options(&l, "mlp", cases[i].options);
        assert_int_equal(learner_model(&l, &(struct mr_model_open){.feature_count = 2}, &err), MR_ECONFIG);
        if (!strstr(err.text, cases[i].says)) fail_msg("case %zu: %s", i, err.text);
        learner_options_free(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exclusive_or),
        cmocka_unit_test(saved_and_gone_on),
        cmocka_unit_test(a_standardised_file_learns),
        cmocka_unit_test(a_diverging_update_is_undone),
        cmocka_unit_test(a_slow_divergence_ends),
        cmocka_unit_test(wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
