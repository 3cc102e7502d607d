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

#include "kernels/pack.h"
#include "model_save.h"
#include "registry.h"

#define ROWS 512

/* A model on the CPU's base kernels. */
struct learner {
    struct mr_model *model;
    const struct mr_model_ops *ops;
    const struct mr_backend_ops *cpu;
    struct mr_backend *backend;
    struct mr_queue *queue;
    struct mr_plan *plan, *sum_plan;
    struct mr_scores scores;
    double *sums;
    void *options;
};

static mr_status learner_open(struct learner *l, const char *const *options, const char *file, size_t cols,
                              struct mr_err *err)
{
    const void *params;
    *l = (struct learner){.ops = mr_model_find("mlp"), .cpu = mr_backend_find("cpu")};
    l->options = calloc(1, l->ops->options_size);
    assert_int_equal(mr_options_init(l->ops->options, l->options, err), MR_OK);
    for (; *options; options += 2) {
        if (mr_options_set(l->ops->options, l->options, options[0], options[1], err)) fail_msg("%s", err->text);
    }
    const mr_status status = l->ops->open(
        &(struct mr_model_open){.options = l->options, .file = file, .feature_count = cols}, &l->model, err);
    if (status) {
        mr_options_deinit(l->ops->options, l->options);
        free(l->options);
        return status;
    }
    const struct mr_model_info *const info = l->ops->info(l->model);
    assert_int_equal(l->cpu->open("base", &l->backend, err), MR_OK);
    assert_int_equal(l->cpu->queue_open(l->backend, &l->queue, err), MR_OK);
    assert_int_equal(mr_plan_model(l->cpu, l->backend, l->ops, l->model, ROWS, MR_WANT_Y, &l->plan, err), MR_OK);
    const mr_op op = l->ops->learn(l->model)->sum(l->model, &params);
    assert_int_equal(l->cpu->plan_create(l->backend, op, params, ROWS, 0, &l->sum_plan, err), MR_OK);
    l->sums = calloc(mr_sum_count(op, params), sizeof *l->sums);
    l->scores = (struct mr_scores){
        .y = aligned_alloc(MR_ALIGN, ROWS * info->width * sizeof(float)), .width = info->width, .row_cap = ROWS};
    return MR_OK;
}

static void learner_close(struct learner *l)
{
    l->cpu->plan_destroy(l->sum_plan);
    l->cpu->plan_destroy(l->plan);
    l->cpu->queue_close(l->queue);
    l->cpu->close(l->backend);
    l->ops->close(l->model);
    mr_options_deinit(l->ops->options, l->options);
    free(l->options);
    free(l->sums);
    free(l->scores.y);
}

static void learn(struct learner *l, const float *x, const double *label, struct mr_learn_report *report)
{
    const struct mr_sum_target target = {.label = label, .y = l->scores.y};
    const struct mr_learn_batch batch = {.x = x, .label = label, .scores = &l->scores, .rows = ROWS, .sums = l->sums};
    struct mr_err err;
    assert_int_equal(l->cpu->score(l->queue, l->plan, x, ROWS, &l->scores, &err), MR_OK);
    assert_int_equal(l->cpu->sum(l->queue, l->sum_plan, x, ROWS, &target, l->sums, &err), MR_OK);
    l->ops->learn(l->model)->update(l->model, &batch, report);
    assert_int_equal(l->cpu->plan_update(l->plan, &err), MR_OK);
    assert_int_equal(l->cpu->plan_update(l->sum_plan, &err), MR_OK);
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
    struct mr_err err;
    double first = 0;
    (void)state;
    assert_int_equal(learner_open(&l, learning, NULL, 2, &err), MR_OK);
    for (unsigned i = 0; i < 400; i++) {
        rows_make(x, label, i);
        learn(&l, x, label, &report);
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
    struct mr_learn_report report;
    struct mr_err err;
    (void)state;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    assert_int_equal(learner_open(&whole, learning, NULL, 2, &err), MR_OK);
    assert_int_equal(learner_open(&half, learning, NULL, 2, &err), MR_OK);
    for (unsigned i = 0; i < 20; i++) {
        rows_make(x, label, i);
        learn(&whole, x, label, &report);
        if (i == 10) {
            assert_int_equal(model_save(half.ops, half.model, path, &err), MR_OK);
            learner_close(&half);
            if (learner_open(&half, learning, path, 2, &err)) fail_msg("%s", err.text);
        }
        learn(&half, x, label, &report);
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
    if (learner_open(&l, options, source, 0, &err)) fail_msg("%s", err.text);
    const size_t cols = l.ops->info(l.model)->feature_count, width = l.ops->info(l.model)->width;
    float *const x = aligned_alloc(MR_ALIGN, ROWS * cols * sizeof *x);
    double *const label = calloc(ROWS, sizeof *label);
    for (size_t i = 0; i < ROWS * cols; i++) x[i] = (float)(i % 97) / 10;
    learn(&l, x, label, &report);
    assert_false(report.is_undone);
    assert_int_equal(model_save(l.ops, l.model, path, &err), MR_OK);
    if (learner_open(&again, options, path, 0, &err)) fail_msg("%s", err.text);
    assert_int_equal(l.cpu->score(l.queue, l.plan, x, ROWS, &l.scores, &err), MR_OK);
    assert_int_equal(again.cpu->score(again.queue, again.plan, x, ROWS, &again.scores, &err), MR_OK);
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
    struct mr_err err;
    (void)state;
    assert_int_equal(learner_open(&l, options, NULL, 2, &err), MR_OK);
    rows_make(x, label, 0);
    for (size_t row = 0; row < ROWS; row++) label[row] = 3 * (double)x[mr_tile_at(row, 0, 2)];
    learn(&l, x, label, &report);
    assert_true(report.is_undone);
    assert_true(report.step_stable > 0 && report.step_stable < 100000);
    const double before = report.loss;
    learn(&l, x, label, &report); /* the weights are as they were */
    assert_true(report.loss == before);
    learner_close(&l);
    char step[32];
    snprintf(step, sizeof step, "%.17g", report.step_stable);
    const char *const proposed[] = {"learn",    "true",     "hidden", "8",  "activation", "identity",
                                    "schedule", "constant", "step",   step, NULL};
    assert_int_equal(learner_open(&l, proposed, NULL, 2, &err), MR_OK);
    learn(&l, x, label, &report);
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
    struct mr_err err;
    double worst = 0;
    uint64_t undone = 0;
    (void)state;
    assert_int_equal(learner_open(&l, options, NULL, 2, &err), MR_OK);
    for (unsigned i = 0; i < 500; i++) {
        rows_make(x, label, i);
        for (size_t row = 0; row < ROWS; row++) label[row] = 3 * (double)x[mr_tile_at(row, 0, 2)] + 1;
        learn(&l, x, label, &report);
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
        assert_int_equal(learner_open(&l, cases[i].options, NULL, 2, &err), MR_ECONFIG);
        if (!strstr(err.text, cases[i].says)) fail_msg("case %zu: %s", i, err.text);
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
