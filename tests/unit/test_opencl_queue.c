/*
 * The queue of the opencl backend over a driver of which each call fails in turn: after an error nothing is on its way
 * any more. The fake keeps reads until clFinish, as a driver may, and then writes them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/opencl/opencl.h"
#include "kernels/linear_score/linear_score.h"
#include "kernels/linear_sum/linear_sum.h"

enum { ROWS = 64, COLS = 3 };

static struct {
    struct {
        void *to;
        size_t bytes;
    } read[8];
    size_t read_count;
    size_t calls, fails_at; /* the call that fails, counted from 1; 0: none */
    size_t finishes;
} fake;

static int result_of_call(void)
{
    return ++fake.calls == fake.fails_at ? -36 : MR_CL_SUCCESS;
}

static struct cl_queue *fake_create_queue(struct cl_context *context, struct cl_device *device, uint64_t flags,
                                          int *error_out)
{
    (void)context, (void)device, (void)flags;
    *error_out = MR_CL_SUCCESS;
    return (struct cl_queue *)&fake;
}

static int fake_release_queue(struct cl_queue *queue)
{
    (void)queue;
    return MR_CL_SUCCESS;
}

static struct cl_memory *fake_create_buffer(struct cl_context *context, uint64_t flags, size_t bytes, void *host,
                                            int *error_out)
{
    (void)context, (void)flags, (void)bytes, (void)host;
    *error_out = result_of_call();
    return *error_out ? NULL : malloc(1);
}

static int fake_release_memory(struct cl_memory *memory)
{
    free(memory);
    return MR_CL_SUCCESS;
}

static struct cl_kernel *fake_create_kernel(struct cl_program *program, const char *name, int *error_out)
{
    (void)program, (void)name;
    *error_out = result_of_call();
    return *error_out ? NULL : (struct cl_kernel *)&fake;
}

static int fake_release_kernel(struct cl_kernel *kernel)
{
    (void)kernel;
    return MR_CL_SUCCESS;
}

static int fake_set_argument(struct cl_kernel *kernel, unsigned index, size_t bytes, const void *value)
{
    (void)kernel, (void)index, (void)bytes, (void)value;
    return result_of_call();
}

static int fake_launch(struct cl_queue *queue, struct cl_kernel *kernel, unsigned dimensions, const size_t *offset,
                       const size_t *global, const size_t *local, unsigned wait_count, struct cl_event *const *wait,
                       struct cl_event **event_out)
{
    (void)queue, (void)kernel, (void)dimensions, (void)offset, (void)global, (void)local, (void)wait_count, (void)wait,
        (void)event_out;
    return result_of_call();
}

static int fake_write(struct cl_queue *queue, struct cl_memory *memory, unsigned is_blocking, size_t offset,
                      size_t bytes, const void *from, unsigned wait_count, struct cl_event *const *wait,
                      struct cl_event **event_out)
{
    (void)queue, (void)memory, (void)is_blocking, (void)offset, (void)bytes, (void)from, (void)wait_count, (void)wait,
        (void)event_out;
    return result_of_call();
}

static int fake_read(struct cl_queue *queue, struct cl_memory *memory, unsigned is_blocking, size_t offset,
                     size_t bytes, void *to, unsigned wait_count, struct cl_event *const *wait,
                     struct cl_event **event_out)
{
    (void)queue, (void)memory, (void)is_blocking, (void)offset, (void)wait_count, (void)wait, (void)event_out;
    const int result = result_of_call();
    if (!result) {
        fake.read[fake.read_count].to = to;
        fake.read[fake.read_count++].bytes = bytes;
    }
    return result;
}

static int fake_flush(struct cl_queue *queue)
{
    (void)queue;
    return result_of_call();
}

static int fake_finish(struct cl_queue *queue)
{
    (void)queue;
    fake.finishes++;
    for (; fake.read_count; fake.read_count--)
        memset(fake.read[fake.read_count - 1].to, 0x7b, fake.read[fake.read_count - 1].bytes);
    return MR_CL_SUCCESS;
}

static const struct mr_cl_api api = {.CreateCommandQueue = fake_create_queue,
                                     .ReleaseCommandQueue = fake_release_queue,
                                     .CreateBuffer = fake_create_buffer,
                                     .ReleaseMemObject = fake_release_memory,
                                     .CreateKernel = fake_create_kernel,
                                     .ReleaseKernel = fake_release_kernel,
                                     .SetKernelArg = fake_set_argument,
                                     .EnqueueNDRangeKernel = fake_launch,
                                     .EnqueueWriteBuffer = fake_write,
                                     .EnqueueReadBuffer = fake_read,
                                     .Flush = fake_flush,
                                     .Finish = fake_finish};

static const float w[2 * COLS] = {1, 2, 3, 4, 5, 6}, b[2] = {1, 2};
static _Alignas(64) float x[ROWS * COLS], y[ROWS * 2];
static int32_t class_index[ROWS];
static double label[ROWS], sums[64];

/* Scores or sums with the call `fails_at` failing. False: there was no such call. */
static bool fails_cleanly(struct mr_backend *backend, struct mr_plan *plan, size_t fails_at, bool is_sum)
{
    struct mr_queue *queue;
    struct mr_scores scores = {.y = y, .class_index = class_index, .width = 2, .row_cap = ROWS};
    const struct mr_sum_target target = {.label = label, .y = y, .class_index = class_index};
    struct mr_err err = {0};
    memset(&fake, 0, sizeof fake);
    assert_int_equal(mr_cl_queue_open(backend, &queue, &err), MR_OK);
    fake.fails_at = fails_at;
    const mr_status status = is_sum ? mr_cl_sum(queue, plan, x, ROWS, &target, sums, &err)
                                    : mr_cl_score(queue, plan, x, ROWS, &scores, &err);
    const bool has_failed = fake.calls >= fails_at;
    assert_int_equal(status, has_failed ? MR_EBACKEND : MR_OK);
    if (has_failed) {
        if (fake.read_count || !fake.finishes)
            fail_msg("call %zu of %s fails: not drained", fails_at, is_sum ? "sum" : "score");
        sums[0] = -1;
        y[0] = -1; /* the CPU scores the batch now */
        assert_int_equal(mr_cl_wait(queue, &err), MR_OK);
        assert_true(y[0] == -1 && sums[0] == -1);
    } else {
        assert_int_equal(mr_cl_wait(queue, &err), MR_OK);
    }
    mr_cl_queue_close(queue);
    return has_failed;
}

static void check(mr_op op, const void *params, bool is_sum)
{
    struct mr_backend backend = {.api = api, .kind = {.lanes = 1, .shared_bytes = 32768, .units = 4}, .name = "fake"};
    struct mr_plan plan = {.backend = &backend};
    struct mr_err err = {0};
    size_t call = 1;
    if (mr_device_program_create(&backend.kind, op, params, ROWS, is_sum ? 0 : MR_WANT_Y | MR_WANT_CLASS, &plan.program,
                                 &err))
        fail_msg("%s", err.text);
    plan.kernel = calloc(plan.program->step_count, 1);
    while (fails_cleanly(&backend, &plan, call, is_sum)) call++;
    assert_true(call > 10);
    free(plan.kernel);
    mr_device_program_destroy(plan.program);
}

static void a_score_that_fails_leaves_nothing_on_its_way(void **state)
{
    const struct mr_linear_params params = {.cols = COLS, .out = 2, .w = w, .b = b, .activation = MR_ACT_SOFTMAX};
    (void)state;
    check(MR_OP_LINEAR_SCORE, &params, false);
}

static void a_sum_that_fails_leaves_nothing_on_its_way(void **state)
{
    const struct mr_linear_sum_params params = {.cols = COLS, .out = 1, .loss = MR_LOSS_SQUARED, .delta = 1};
    (void)state;
    check(MR_OP_LINEAR_SUM, &params, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_score_that_fails_leaves_nothing_on_its_way),
                                       cmocka_unit_test(a_sum_that_fails_leaves_nothing_on_its_way)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
