/* What a model takes from its first batch is taken back when that batch is undone, and the next one begins. */
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
#include "modelfile/safetensors.h"

#define ROWS 64
#define COLS 2

static mr_status model_open(struct learner *l, const char *type, const char *const *options, const char *file,
                            struct mr_err *err)
{
    learner_options(l, type, options);
    return learner_model(l, &(struct mr_model_open){.file = file, .feature_count = COLS}, err);
}

static void from_nothing(struct learner *l, const char *type, const char *const *options)
{
    learner_open(l, type, options, &(struct mr_model_open){.feature_count = COLS}, ROWS, "base");
}

static struct mr_learn_report batch_learn(struct learner *l, const float *x, const double *label)
{
    learner_score(l, x, ROWS);
    return learner_learn(l, x, label, ROWS);
}

static void rows_make(float *x, double *label, unsigned number)
{
    uint32_t seed = 777 + number;
    for (size_t row = 0; row < ROWS; row++) {
        label[row] = 5;
        for (size_t c = 0; c < COLS; c++) {
            seed = seed * 1664525 + 1013904223;
            const float value = (float)(int32_t)seed / 2147483648.0F;
            x[mr_tile_at(row, c, COLS)] = value;
            label[row] += (double)value * (c ? -2 : 3);
        }
    }
}

/* One learner sees 1e38 first and in the middle, the other never: both end alike. */
static void test_poison(void **state)
{
    static const struct {
        const char *type, *options[9];
    } cases[] = {
        {"kmeans", {"learn", "true", "k", "3", "decay", "0.9", NULL}},
        {"kmeans", {"learn", "true", "k", "3", "decay", "0.9", "compat", "spark", NULL}},
        {"scaler", {"learn", "true", NULL}},
        {"linear", {"learn", "true", "step", "0.5", "standardise", "true", NULL}},
        {"linear", {"learn", "true", "step", "0.5", NULL}},
    };
    static _Alignas(64) float x[ROWS * COLS];
    static double label[ROWS];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct learner poisoned, clean;
        from_nothing(&poisoned, cases[i].type, cases[i].options);
        from_nothing(&clean, cases[i].type, cases[i].options);
        for (unsigned batch = 0; batch < 20; batch++) {
            rows_make(x, label, batch);
            if (batch == 0 || batch == 10) {
                x[mr_tile_at(batch ? 5 : 0, 0, COLS)] = 1e38F;
                if (!batch_learn(&poisoned, x, label).is_undone)
                    fail_msg("%s %zu: batch %u was learned", cases[i].type, i, batch);
                continue;
            }
            assert_false(batch_learn(&poisoned, x, label).is_undone);
            assert_false(batch_learn(&clean, x, label).is_undone);
        }
        const size_t count = ROWS * clean.scores.width;
        for (size_t k = 0; k < count; k++) assert_true(isfinite(clean.scores.y[k]));
        assert_memory_equal(poisoned.scores.y, clean.scores.y, count * sizeof(float));
        learner_close(&poisoned);
        learner_close(&clean);
    }
}

/* A scaler that learns scales its first batch by that batch, and counts its rows once. */
static void test_scaler_begins(void **state)
{
    static const char *const options[] = {"learn", "true", NULL};
    static _Alignas(64) float x[ROWS * COLS];
    static double label[ROWS];
    struct learner l;
    double sum = 0, square = 0;
    (void)state;
    from_nothing(&l, "scaler", options);
    rows_make(x, label, 1);
    for (size_t row = 0; row < ROWS; row++) x[mr_tile_at(row, 0, COLS)] = 1000 + 50 * x[mr_tile_at(row, 0, COLS)];
    batch_learn(&l, x, label);
    for (size_t row = 0; row < ROWS; row++) {
        const double y = (double)l.scores.y[mr_tile_at(row, 0, COLS)];
        sum += y;
        square += y * y;
    }
    assert_true(fabs(sum / ROWS) < 1e-4 && fabs(square / ROWS - 1) < 1e-4);
    learner_close(&l);
}

static void test_kmeans_weights(void **state)
{
    static const char *const options[] = {"learn", "true", NULL};
    static const double centers[4] = {1, 2, 3, 4}, weights[2] = {1, -1};
    char path[] = "/tmp/millrace-first-XXXXXX";
    const struct mr_tensor_out tensors[] = {{.name = "centers", .rank = 2, .shape = {2, 2}, .f64 = centers},
                                            {.name = "weights", .rank = 1, .shape = {2}, .f64 = weights}};
    const struct mr_metadata_out metadata[] = {{"millrace.type", "kmeans"}};
    struct learner l;
    struct mr_err err;
    (void)state;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    assert_int_equal(mr_safetensors_write(path, tensors, 2, metadata, 1, &err), MR_OK);
    assert_int_equal(model_open(&l, "kmeans", options, path, &err), MR_EDATA);
    if (!strstr(err.text, "tensor \"weights\": value 1 is negative")) fail_msg("%s", err.text);
    learner_options_free(&l);
    unlink(path);
}

/* Writes a linear model that has learned, with this optimizer. */
static void linear_write(const char *path, const double *updates, const double *kind)
{
    static const double weight[COLS] = {1, 2}, bias[1] = {3}, state[COLS + 1] = {7, 7, 7};
    const struct mr_tensor_out tensors[] = {{.name = "weight", .rank = 2, .shape = {1, COLS}, .f64 = weight},
                                            {.name = "bias", .rank = 1, .shape = {1}, .f64 = bias},
                                            {.name = "optimizer.z", .rank = 1, .shape = {COLS + 1}, .f64 = state},
                                            {.name = "optimizer.n", .rank = 1, .shape = {COLS + 1}, .f64 = state},
                                            {.name = "optimizer.updates", .rank = 1, .shape = {1}, .f64 = updates},
                                            {.name = "optimizer.kind", .rank = 1, .shape = {1}, .f64 = kind}};
    const struct mr_metadata_out metadata[] = {{"millrace.type", "linear"}};
    struct mr_err err;
    assert_int_equal(mr_safetensors_write(path, tensors, 6, metadata, 1, &err), MR_OK);
}

static void model_close(struct learner *l)
{
    l->ops->close(l->model);
    learner_options_free(l);
}

/* State of the same schedule is gone on from, of another dropped; a count of updates that is none is refused. */
static void test_optimizer_state(void **state)
{
    static const char *const options[] = {"learn", "true", "schedule", "ftrl", NULL};
    static const double adagrad = 2, ftrl = 3, updates[] = {5, -1, 1e300};
    char path[] = "/tmp/millrace-first-XXXXXX";
    struct learner l;
    struct mr_err err;
    (void)state;
    const int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    close(descriptor);
    for (int i = 0; i < 2; i++) {
        struct mr_safetensors *file;
        linear_write(path, &updates[0], i ? &ftrl : &adagrad);
        if (model_open(&l, "linear", options, path, &err)) fail_msg("%s", err.text);
        assert_int_equal(model_save(l.ops, l.model, path, &err), MR_OK);
        assert_int_equal(mr_safetensors_open(path, &file, &err), MR_OK);
        assert_true(mr_tensor_value(mr_safetensors_find(file, "optimizer.z"), 1) == (i ? 7 : 0));
        assert_true(mr_tensor_value(mr_safetensors_find(file, "optimizer.updates"), 0) == (i ? 5 : 0));
        assert_true(mr_tensor_value(mr_safetensors_find(file, "optimizer.kind"), 0) == ftrl);
        mr_safetensors_close(file);
        model_close(&l);
    }
    for (int i = 1; i < 3; i++) {
        linear_write(path, &updates[i], &ftrl);
        assert_int_equal(model_open(&l, "linear", options, path, &err), MR_EDATA);
        if (!strstr(err.text, "optimizer.updates")) fail_msg("%s", err.text);
        learner_options_free(&l);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_poison), cmocka_unit_test(test_scaler_begins),
                                       cmocka_unit_test(test_kmeans_weights), cmocka_unit_test(test_optimizer_state)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
