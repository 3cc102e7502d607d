/*
 * The cuda backend as a row of the kernel table: on the double of the driver, or with MILLRACE_TEST_GPU=1 (ctest -L
 * gpu) on the GPU of this machine.
 */
#include "device_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/driver.h"
#include "registry.h"

static const struct mr_backend_ops *ops;
static struct mr_backend *backend;
static struct mr_queue *queue;

static void check(mr_status status, const struct mr_err *err)
{
    if (status) fail_msg("%s", err->text);
}

/* Opened by the first test that needs it, for all. */
static void backend_need(void)
{
    struct mr_err err;
    mr_kernel_ran = "cuda";
    if (backend) return;
    if (!getenv("MILLRACE_TEST_GPU")) setenv(MR_CUDA_LIBRARY_VARIABLE, MR_FAKE_CUDA, 1);
    ops = mr_backend_find("cuda");
    assert_non_null(ops);
    if (ops->open(NULL, &backend, &err)) {
        printf("SKIP: cuda: %s\n", err.text);
        skip();
    }
    printf("cuda runs on: %s\n", ops->describe(backend));
    check(ops->queue_open(backend, &queue, &err), &err);
}

/* As long as is needed and not longer: the double sees what runs past it. */
static void *slab_of(const void *from, size_t bytes)
{
    void *const slab = ops->slab_acquire(backend, bytes ? bytes : 4);
    assert_non_null(slab);
    if (from) memcpy(slab, from, bytes);
    return slab;
}

static struct mr_plan *plan_of(const struct mr_packed *model, unsigned want, size_t rows)
{
    struct mr_plan *plan;
    struct mr_err err;
    check(ops->plan_create(backend, model->op, model->params, rows, want, &plan, &err), &err);
    return plan;
}

void mr_cuda_parity_score(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, size_t rows)
{
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS;
    const size_t width = model->op == MR_OP_KMEANS_ASSIGN ? 1 : model->out;
    const size_t x_bytes = tile_rows * model->in * sizeof *x, y_bytes = tile_rows * width * sizeof *y;
    const bool is_topn = model->op == MR_OP_MF_TOPN;
    const size_t class_bytes = tile_rows * (is_topn ? width : 1) * sizeof *class_index;
    const unsigned class_want = is_topn ? MR_WANT_ITEMS : MR_WANT_CLASS;
    struct mr_err err;
    backend_need();
    struct mr_plan *const plan = plan_of(model, (y ? MR_WANT_Y : 0) | (class_index ? class_want : 0), rows ? rows : 1);
    float *const x_pin = slab_of(x, x_bytes);
    struct mr_scores scores = {
        .y = slab_of(NULL, y_bytes), .class_index = slab_of(NULL, class_bytes), .width = width, .row_cap = rows};
    scores.item = scores.class_index;
    check(ops->score(queue, plan, x_pin, rows, &scores, &err), &err);
    check(ops->wait(queue, &err), &err);
    if (y) memcpy(y, scores.y, y_bytes);
    if (class_index) memcpy(class_index, scores.class_index, class_bytes);
    ops->slab_release(backend, x_pin, x_bytes);
    ops->slab_release(backend, scores.y, y_bytes);
    ops->slab_release(backend, scores.class_index, class_bytes);
    ops->plan_destroy(plan);
}

void mr_cuda_parity_sum(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                        size_t rows)
{
    struct mr_err err;
    backend_need();
    struct mr_plan *const plan = plan_of(model, 0, rows ? rows : 1);
    check(ops->sum(queue, plan, x, rows, target, sums, &err), &err); /* from memory that is not pinned */
    check(ops->wait(queue, &err), &err);
    ops->plan_destroy(plan);
}
