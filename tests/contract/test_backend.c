/* Every backend: slabs, plans, what is asked and what is not, forced variants that really run, unknown ones that are
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "registry.h"

/* A model of two features and three classes whose logits are x0, x1 and 0. */
static const float w[] = {1, 0, 0, 1, 0, 0}, b[] = {0, 0, 0};
static const struct mr_linear_params params = {.cols = 2, .out = 3, .w = w, .b = b, .activation = MR_ACT_SOFTMAX};
static const struct mr_model_info info = {
    .type = "test", .version = "", .feature_count = 2, .width = 3, .is_classifier = true, .class_count = 3};

static const struct mr_model_info *test_info(const struct mr_model *model)
{
    (void)model;
    return &info;
}

static mr_op test_op(const struct mr_model *model, const void **params_out)
{
    (void)model;
    *params_out = &params;
    return MR_OP_LINEAR_SCORE;
}

static const struct mr_model_ops test_model = {.name = "test", .summary = "", .info = test_info, .op = test_op};

enum { ROWS = 200 };

static void score_and_check(const struct mr_backend_ops *ops, struct mr_backend *backend, unsigned want)
{
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct mr_err err;
    const size_t x_bytes = mr_tile_count(ROWS) * 2 * 64 * sizeof(float), y_bytes = x_bytes / 2 * 3,
                 class_bytes = 256 * sizeof(int32_t);
    assert_int_equal(mr_plan_model(ops, backend, &test_model, NULL, ROWS, want, &plan, &err), MR_OK);
    assert_int_equal(ops->queue_open(backend, &queue, &err), MR_OK);
    struct mr_rows rows = {
        .row_count = ROWS, .row_cap = ROWS, .feature_count = 2, .x = ops->slab_acquire(backend, x_bytes)};
    struct mr_scores scores = {.y = ops->slab_acquire(backend, y_bytes),
                               .class_index = ops->slab_acquire(backend, class_bytes),
                               .width = 3,
                               .row_cap = ROWS};
    assert_int_equal((uintptr_t)rows.x % MR_ALIGN | (uintptr_t)scores.y % MR_ALIGN, 0);
    for (size_t i = 0; i < x_bytes / sizeof(float); i++) assert_true(rows.x[i] == 0);
    for (size_t row = 0; row < ROWS; row++)
        rows.x[mr_tile_at(row, row % 3 % 2, 2)] = row % 3 == 2 ? -1.0f : 1.0f + (float)row;
    memset(scores.class_index, 0x7f, class_bytes);
    memset(scores.y, 0x7f, y_bytes);
    assert_int_equal(ops->score(queue, plan, rows.x, rows.row_count, &scores, &err), MR_OK);
    assert_int_equal(ops->wait(queue, &err), MR_OK);
    for (size_t row = 0; row < ROWS; row++) {
        /* x0 negative leaves x1 = 0 and 0: a tie, the lower index wins. */
        if (want & MR_WANT_CLASS) assert_int_equal(scores.class_index[row], row % 3 == 0 ? 0 : 1);
        const float sum =
            scores.y[mr_tile_at(row, 0, 3)] + scores.y[mr_tile_at(row, 1, 3)] + scores.y[mr_tile_at(row, 2, 3)];
        if (want & MR_WANT_Y) assert_true(sum > 0.999f && sum < 1.001f);
    }
    if (!(want & MR_WANT_CLASS)) assert_int_equal(scores.class_index[0], 0x7f7f7f7f);
    if (!(want & MR_WANT_Y)) assert_memory_equal(scores.y, "\x7f\x7f\x7f\x7f", 4);
    ops->slab_release(backend, rows.x, x_bytes);
    ops->slab_release(backend, scores.y, y_bytes);
    ops->slab_release(backend, scores.class_index, class_bytes);
    ops->queue_close(queue);
    ops->plan_destroy(plan);
}

static void every_backend_scores(void **state)
{
    (void)state;
    for (size_t i = 0; mr_backends[i]; i++) {
        const struct mr_backend_ops *const ops = mr_backends[i];
        struct mr_backend *backend;
        struct mr_err err;
        if (ops->open(NULL, &backend, &err)) {
            printf("SKIP: backend %s: %s\n", ops->name, err.text);
            continue;
        }
        assert_non_null(strstr(ops->describe(backend), ops->name));
        score_and_check(ops, backend, MR_WANT_CLASS);
        score_and_check(ops, backend, MR_WANT_Y);
        score_and_check(ops, backend, MR_WANT_CLASS | MR_WANT_Y);
        void *const large = ops->slab_acquire(backend, (size_t)5 << 20);
        assert_non_null(large);
        assert_int_equal((uintptr_t)large % MR_ALIGN, 0);
        assert_int_equal(((char *)large)[(5 << 20) - 1], 0);
        ops->slab_release(backend, large, (size_t)5 << 20);
        ops->close(backend);
        ops->close(NULL);
    }
}

static void unknown_variant_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; mr_backends[i]; i++) {
        struct mr_backend *backend = (struct mr_backend *)(uintptr_t)&info;
        struct mr_err err = {0};
        assert_int_equal(mr_backends[i]->open("nosuch", &backend, &err), MR_EBACKEND);
        assert_null(backend);
        assert_non_null(strstr(err.text, "nosuch"));
        if (!strcmp(mr_backends[i]->name, "cpu")) assert_non_null(strstr(err.text, "base"));
    }
}

/* cpu:NAME runs that variant (the kernel itself notes its name), or is refused with the reason. */
static void forced_variant_runs(void **state)
{
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    (void)state;
    for (size_t i = 0; i < mr_kernel_count; i++) {
        const struct mr_kernel *const kernel = &mr_kernels[i];
        struct mr_backend *backend;
        struct mr_err err = {0};
        const char *reason;
        if (mr_op_is_special(kernel->op)) continue;
        const mr_status status = cpu->open(kernel->variant, &backend, &err);
        if (!mr_kernel_is_available(kernel, &reason)) {
            assert_int_equal(status, MR_EBACKEND);
            assert_non_null(strstr(err.text, reason));
            continue;
        }
        assert_int_equal(status, MR_OK);
        mr_kernel_ran = "";
        score_and_check(cpu, backend, MR_WANT_Y);
        assert_string_equal(mr_kernel_last_ran(), kernel->variant);
        assert_non_null(strstr(cpu->describe(backend), kernel->variant));
        char kind[64];
        snprintf(kind, sizeof kind, "cpu:%s", kernel->variant);
        assert_string_equal(cpu->kind(backend), kind); /* whatever the number of cores */
        cpu->close(backend);
    }
}

/* An operation that only some CPUs have is refused by the others with the reason, when a plan is made of it. */
static void special_operations_run_or_are_refused(void **state)
{
    static const float weights[64 * 32] = {1}, biases[32] = {0};
    const struct mr_mlp_layer layer = {.in = 64, .out = 32, .w = weights, .b = biases, .activation = MR_ACT_IDENTITY};
    const struct mr_mlp_params wide = {.layer = &layer, .layer_count = 1};
    const struct mr_backend_ops *const cpu = mr_backend_find("cpu");
    (void)state;
    for (mr_op op = MR_OP_MLP_BF16; op <= MR_OP_MLP_INT8; op++) {
        struct mr_backend *backend;
        struct mr_plan *plan;
        struct mr_err err = {0};
        assert_int_equal(cpu->open(NULL, &backend, &err), MR_OK);
        mr_status status = cpu->plan_create(backend, op, &wide, 64, MR_WANT_Y, &plan, &err);
        assert_int_equal(status, mr_kernel_select(op, "avx512") ? MR_OK : MR_EBACKEND);
        if (status) assert_non_null(strstr(err.text, "cannot run here"));
        cpu->plan_destroy(plan);
        cpu->close(backend);
        assert_int_equal(cpu->open("base", &backend, &err), MR_OK);
        status = cpu->plan_create(backend, op, &wide, 64, MR_WANT_Y, &plan, &err);
        assert_int_equal(status, MR_EBACKEND);
        assert_null(plan);
        assert_non_null(strstr(err.text, "\"precision\" to \"fp32\""));
        cpu->close(backend);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_backend_scores),
        cmocka_unit_test(unknown_variant_is_refused),
        cmocka_unit_test(forced_variant_runs),
        cmocka_unit_test(special_operations_run_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
