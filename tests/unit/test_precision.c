/*
 * Models in numbers of fewer bits: the first rows are compared with float32, and past the tolerance float32 goes on,
 * also for a batch that was started before.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "registry.h"
#include "scoring/cross_check.h"
#include "scoring/precision.h"

enum { ROWS = 700, IN = 40, HIDDEN = 64, OUT = 3 };

static unsigned long long seed;

static float uniform(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)((double)(long long)seed / 9223372036854775808.0);
}

/* ---- a model without a file ---- */

static float weights[IN * HIDDEN + HIDDEN * OUT], biases[HIDDEN + OUT];
static const struct mr_mlp_layer layers[] = {{IN, HIDDEN, weights, biases, MR_ACT_RELU},
                                             {HIDDEN, OUT, weights + IN *HIDDEN, biases + HIDDEN, MR_ACT_SOFTMAX}};
static const struct mr_mlp_params params = {.layer = layers, .layer_count = 2};
static const struct mr_model_info model_info = {
    .type = "test", .feature_count = IN, .width = OUT, .is_classifier = true, .class_count = OUT};

static mr_op model_op(const struct mr_model *model, const void **params_out)
{
    (void)model;
    *params_out = &params;
    return MR_OP_MLP_FORWARD;
}

static void model_close(struct mr_model *model)
{
    (void)model;
}

static const struct mr_model_ops model_ops = {.name = "test", .op = model_op, .close = model_close};

struct rig {
    struct mr_job_model job;
    struct mr_models models;
    struct mr_units units;
    struct mr_queues queues[2];
    struct mr_rows rows;
    struct mr_scores scores[2];
    struct mr_precision precision;
    struct mr_err err;
};

static void *floats(size_t count)
{
    float *const all = aligned_alloc(MR_ALIGN, (count * sizeof(float) / MR_ALIGN + 1) * MR_ALIGN);
    assert_non_null(all);
    return memset(all, 0, count * sizeof(float));
}

/* precision NULL: float32. */
static mr_status rig_open(struct rig *rig, const char *backend, const char *precision, double tolerance)
{
    static char name[] = "m";
    const unsigned want = MR_WANT_CLASS;
    memset(rig, 0, sizeof *rig);
    seed = 1;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) weights[i] = uniform() * 0.3F;
    for (size_t i = 0; i < sizeof biases / sizeof *biases; i++) biases[i] = uniform() * 0.3F;
    rig->job = (struct mr_job_model){.name = name, .ops = &model_ops};
    rig->models.item = calloc(1, sizeof *rig->models.item);
    rig->models.info = calloc(1, sizeof *rig->models.info);
    rig->models.count = 1;
    rig->models.info[0] = &model_info;
    rig->models.item[0].job = &rig->job;
    rig->models.item[0].info = &model_info;
    rig->models.item[0].input = MR_NO_MODEL;
    if (precision)
        rig->models.item[0].reduced =
            (struct mr_reduced){precision, !strcmp(precision, "bf16") ? MR_OP_MLP_BF16 : MR_OP_MLP_INT8, tolerance};
    assert_int_equal(mr_units_open(&rig->units, backend, ROWS, true, &rig->err), MR_OK);
    const mr_status status = mr_models_plan(&rig->models, &rig->units, &want, &rig->err);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(mr_queues_open(&rig->queues[i], &rig->units, &rig->err), MR_OK);
        rig->scores[i] = (struct mr_scores){
            .y = floats((size_t)704 * OUT), .class_index = floats(704), .width = OUT, .row_cap = ROWS};
    }
    assert_int_equal(mr_precision_init(&rig->precision, &rig->models, &rig->err), MR_OK);
    rig->rows =
        (struct mr_rows){.x = floats((size_t)704 * IN), .feature_count = IN, .row_cap = ROWS, .row_count = ROWS};
    for (size_t row = 0; row < ROWS; row++) {
        for (size_t c = 0; c < IN; c++) rig->rows.x[mr_tile_at(row, c, IN)] = uniform();
    }
    return status;
}

static void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < 2; i++) {
        free(rig->scores[i].y);
        free(rig->scores[i].class_index);
        mr_queues_close(&rig->queues[i], &rig->units);
    }
    free(rig->rows.x);
    mr_precision_deinit(&rig->precision);
    mr_models_close(&rig->models);
    mr_units_close(&rig->units);
}

static void batch_start(struct rig *rig, size_t slot)
{
    assert_int_equal(mr_models_score(&rig->models, &rig->queues[slot], &rig->rows, &rig->scores[slot], &rig->err),
                     MR_OK);
}

static void batch_take(struct rig *rig, size_t slot)
{
    assert_int_equal(mr_models_wait(&rig->models, &rig->queues[slot], &rig->rows, &rig->scores[slot], &rig->err),
                     MR_OK);
    assert_int_equal(mr_precision_batch(&rig->precision, &rig->queues[slot], &rig->rows, &rig->scores[slot], &rig->err),
                     MR_OK);
}

static float exact[704 * OUT];

static void exact_make(void)
{
    struct rig rig;
    assert_int_equal(rig_open(&rig, "cpu", NULL, 0), MR_OK);
    batch_start(&rig, 0);
    batch_take(&rig, 0);
    memcpy(exact, rig.scores[0].y, sizeof exact);
    rig_close(&rig);
}

/* The rows of a batch that are exactly float32's. */
static size_t exact_count(const struct rig *rig, size_t slot)
{
    size_t count = 0;
    for (size_t row = 0; row < ROWS; row++) {
        bool is_same = true;
        for (size_t o = 0; o < OUT; o++)
            is_same &= rig->scores[slot].y[mr_tile_at(row, o, OUT)] == exact[mr_tile_at(row, o, OUT)];
        count += is_same;
    }
    return count;
}

/* ---- tests ---- */

static const char *const kinds[] = {"bf16", "int8"};

static void need(const char *kind)
{
    if (mr_kernel_select(!strcmp(kind, "bf16") ? MR_OP_MLP_BF16 : MR_OP_MLP_INT8, NULL)) return;
    printf("SKIP: this CPU has no kernel for %s\n", kind);
    skip();
}

static void the_first_rows_are_compared(void **state)
{
    const char *const kind = *state;
    struct rig rig;
    need(kind);
    exact_make();
    assert_int_equal(rig_open(&rig, "cpu", kind, 0.05), MR_OK);
    const struct mr_precision_stats *const stats = &rig.models.item[0].precision;
    for (size_t batch = 1; batch <= 4; batch++) {
        batch_start(&rig, 0);
        batch_take(&rig, 0);
        assert_int_equal(stats->rows, batch == 1 ? ROWS : 2 * ROWS); /* until there were MR_PRECISION_ROWS */
    }
    assert_false(stats->is_refused);
    assert_true(stats->error_max > 1e-6 && stats->error_max < 0.05);
    assert_true(exact_count(&rig, 0) < ROWS / 10); /* it is fewer bits that go out */
    rig_close(&rig);
}

static void past_the_tolerance_float32_goes_on(void **state)
{
    const char *const kind = *state;
    struct rig rig;
    need(kind);
    exact_make();
    assert_int_equal(rig_open(&rig, "cpu", kind, 1e-7), MR_OK);
    batch_start(&rig, 0);
    batch_start(&rig, 1);
    assert_true(exact_count(&rig, 1) < ROWS);
    batch_take(&rig, 0);
    assert_true(rig.models.item[0].precision.is_refused);
    assert_int_equal(exact_count(&rig, 0), ROWS);
    batch_take(&rig, 1); /* started before */
    assert_int_equal(exact_count(&rig, 1), ROWS);
    batch_start(&rig, 0);
    batch_take(&rig, 0);
    assert_int_equal(exact_count(&rig, 0), ROWS);
    assert_int_equal(rig.models.item[0].precision.rows, ROWS); /* once refused, nothing is compared */
    assert_false(rig.units.unit[0].is_left);
    rig_close(&rig);
}

/* A cross-check holds fewer bits to their own tolerance, and refuses them, not the unit. */
static void a_cross_check_refuses_the_precision(void **state)
{
    const char *const kind = *state;
    struct mr_cross_check check;
    struct mr_check_stats stats = {0};
    struct rig rig;
    need(kind);
    exact_make();
    assert_int_equal(rig_open(&rig, "cpu", kind, 0.05), MR_OK);
    assert_int_equal(mr_cross_check_init(&check, &rig.models, &stats, 1, 1e-4, ROWS, &rig.err), MR_OK);
    for (size_t batch = 0; batch < 2; batch++) {
        if (batch) rig.models.item[0].reduced.tolerance = 1e-7; /* as if other data came */
        rig.models.item[0].precision.rows = MR_PRECISION_ROWS;
        batch_start(&rig, 0);
        batch_take(&rig, 0);
        assert_int_equal(mr_cross_check_batch(&check, &rig.queues[0], &rig.rows, &rig.scores[0], &rig.err), MR_OK);
        assert_true(stats.error_max > 1e-6);
        assert_int_equal(rig.models.item[0].precision.is_refused, batch);
        assert_false(rig.units.unit[0].is_left);
    }
    batch_start(&rig, 0);
    batch_take(&rig, 0);
    assert_int_equal(exact_count(&rig, 0), ROWS);
    mr_cross_check_deinit(&check);
    rig_close(&rig);
}

static void a_unit_without_the_precision_is_refused(void **state)
{
    const char *const kind = *state;
    struct rig rig;
    assert_int_equal(rig_open(&rig, "cpu:base", kind, 0.05), MR_ECONFIG);
    assert_non_null(strstr(rig.err.text, "models[0].precision"));
    assert_non_null(strstr(rig.err.text, "\"precision\" to \"fp32\""));
    rig_close(&rig);
}

static void errors_are_measured(void **state)
{
    static const struct mr_model_info number = {.width = 1};
    float y[2][MR_TILE_ROWS] = {{100, 50, 0}, {100, 51, 0}};
    int32_t classes[2][MR_TILE_ROWS] = {{0, 1, 1}, {0, 1, 0}};
    const struct mr_scores a = {.y = y[0], .class_index = classes[0], .width = 1};
    const struct mr_scores b = {.y = y[1], .class_index = classes[1], .width = 1};
    const struct mr_model_info binary = {.width = 1, .is_classifier = true, .class_count = 2};
    size_t differ;
    (void)state;
    assert_float_equal(mr_precision_error(&number, &a, &b, 3, &differ), 0.01, 1e-9); /* 1 of at most 100 */
    assert_int_equal(differ, 0);
    assert_float_equal(mr_precision_error(&binary, &a, &b, 3, &differ), 1, 1e-9);
    assert_int_equal(differ, 1);
    assert_true(mr_precision_error(&binary, &a, &b, 1, &differ) == 0);
    y[0][2] = (float)NAN;
    assert_true(mr_precision_error(&binary, &a, &b, 3, &differ) > 1e300);
}

int main(void)
{
#define EACH(test)                                                                                                     \
    {#test " bf16", test, NULL, NULL, (void *)(uintptr_t)kinds[0]},                                                    \
    {                                                                                                                  \
#test " int8", test, NULL, NULL, (void *)(uintptr_t)kinds[1]                                                   \
    }
    const struct CMUnitTest tests[] = {
        EACH(the_first_rows_are_compared),         EACH(past_the_tolerance_float32_goes_on),
        EACH(a_cross_check_refuses_the_precision), EACH(a_unit_without_the_precision_is_refused),
        cmocka_unit_test(errors_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
