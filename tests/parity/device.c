/*
 * Kernels of devices as rows of the kernel table: the same tests run them. Emulated: the programs of
 * src/backend/device/ with their launches on the host, buffers to the byte, so that the sanitizers see every access.
 * opencl: the backend itself, on the first device; opencl_gpu: the same device used as a GPU is, with a row a thread,
 * and copies of all buffers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/device/program.h"
#include "device_cuda.h"
#include "emulation/emulate.h"
#include "kernels/kernels.h"
#include "millrace/backend.h"
#include "registry.h"

static const struct mr_device_kind kinds[] = {
    {.lanes = 1, .shared_bytes = 48 << 10, .units = 4},
    {.lanes = 8, .shared_bytes = 32 << 10, .units = 1},
    {.lanes = 16, .shared_bytes = 1 << 20, .units = 2},
};

/* To the byte; NaN in whatever nobody has written. */
static void *exact(size_t bytes)
{
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, 64, bytes ? bytes : 64), 0);
    return memset(memory, 0xff, bytes ? bytes : 64);
}

static struct mr_device_program *program_make(const struct mr_device_kind *kind, const struct mr_packed *model,
                                              unsigned want, size_t rows)
{
    struct mr_device_program *program;
    struct mr_err err;
    if (mr_device_program_create(kind, model->op, model->params, rows, want, &program, &err)) fail_msg("%s", err.text);
    return program;
}

static void program_run(const struct mr_device_program *program, const struct mr_emulated_args *args)
{
    struct mr_emulated_args here = *args;
    here.model = program->model;
    for (size_t i = 0; args->rows && i < program->step_count; i++) {
        const struct mr_device_step *const step = &program->step[i];
        here.step = step->step;
        if (!mr_emulate_launch(step->kernel, program->kind.lanes, (uint32_t)mr_device_groups(step, args->rows),
                               step->threads, step->shared_bytes, &here))
            fail_msg("%s: no such kernel for vectors of %u rows", step->kernel, program->kind.lanes);
    }
}

static unsigned want_of(const struct mr_packed *model, const float *y, const int32_t *class_index)
{
    const unsigned whats = model->op == MR_OP_MF_TOPN ? MR_WANT_ITEMS : MR_WANT_CLASS;
    return (y ? MR_WANT_Y : 0) | (class_index ? whats : 0);
}

static void emulated_score(const struct mr_device_kind *kind, const float *x, const struct mr_packed *model, float *y,
                           int32_t *class_index, size_t rows)
{
    struct mr_device_program *const program = program_make(kind, model, want_of(model, y, class_index), rows);
    float *const scratch = exact(program->scratch_bytes);
    program_run(program, &(struct mr_emulated_args){
                             .x = x, .y = y, .class_index = class_index, .scratch = scratch, .rows = (uint32_t)rows});
    free(scratch);
    mr_device_program_destroy(program);
}

static void emulated_sum(const struct mr_device_kind *kind, const float *x, const struct mr_packed *model,
                         const struct mr_sum_target *target, double *sums, size_t rows)
{
    struct mr_device_program *const program = program_make(kind, model, 0, rows);
    float *const scratch = exact(program->scratch_bytes), *const label = exact(mr_device_label_bytes(program, rows));
    if (mr_device_label_bytes(program, rows)) mr_device_labels_split(target->label, rows, label);
    struct mr_emulated_args args = {.x = x, .label = label, .scratch = scratch, .rows = (uint32_t)rows};
    if (mr_device_y_bytes(program, rows)) args.y = (float *)(uintptr_t)target->y;
    if (mr_device_class_bytes(program, rows)) args.class_index = (int32_t *)(uintptr_t)target->class_index;
    program_run(program, &args);
    mr_device_sums(program, scratch, rows, sums);
    free(scratch);
    free(label);
    mr_device_program_destroy(program);
}

/* A backend and a queue, opened when first used and kept. */
struct opened {
    const char *as; /* MILLRACE_OPENCL_AS */
    struct mr_backend *backend;
    struct mr_queue *queue;
};
static struct opened as_it_is = {.as = ""}, as_gpu = {.as = "gpu"};

/* Skips the test where there is no device. */
static const struct mr_backend_ops *opencl(struct opened *opened)
{
    const struct mr_backend_ops *const ops = mr_backend_find("opencl");
    struct mr_err err;
    if (opened->queue) return ops;
    setenv("MILLRACE_OPENCL_AS", opened->as, 1);
    if (ops->open(NULL, &opened->backend, &err)) {
        if (strstr(err.text, "does not compile")) fail_msg("%s", err.text);
        printf("SKIP: %s\n", err.text);
        skip();
    }
    if (ops->queue_open(opened->backend, &opened->queue, &err)) fail_msg("%s", err.text);
    return ops;
}

static void opencl_score(struct opened *opened, const float *x, const struct mr_packed *model, float *y,
                         int32_t *class_index, size_t rows)
{
    const struct mr_backend_ops *const ops = opencl(opened);
    struct mr_scores scores = {.y = y, .class_index = class_index, .item = class_index};
    struct mr_plan *plan;
    struct mr_err err;
    if (ops->plan_create(opened->backend, model->op, model->params, rows, want_of(model, y, class_index), &plan,
                         &err) ||
        ops->score(opened->queue, plan, x, rows, &scores, &err) || ops->wait(opened->queue, &err))
        fail_msg("%s", err.text);
    ops->plan_destroy(plan);
}

static void opencl_sum(struct opened *opened, const float *x, const struct mr_packed *model,
                       const struct mr_sum_target *target, double *sums, size_t rows)
{
    const struct mr_backend_ops *const ops = opencl(opened);
    struct mr_plan *plan;
    struct mr_err err;
    if (ops->plan_create(opened->backend, model->op, model->params, rows, 0, &plan, &err) ||
        ops->sum(opened->queue, plan, x, rows, target, sums, &err) || ops->wait(opened->queue, &err))
        fail_msg("%s", err.text);
    ops->plan_destroy(plan);
}

#define ROWS(name, how, where)                                                                                         \
    static void score_##name(const float *x, const struct mr_packed *model, float *y, int32_t *class_index,            \
                             void *scratch, size_t rows)                                                               \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        mr_kernel_ran = #name;                                                                                         \
        how##_score(where, x, model, y, class_index, rows);                                                            \
    }                                                                                                                  \
    static void sum_##name(const float *x, const struct mr_packed *model, const struct mr_sum_target *target,          \
                           double *sums, void *scratch, size_t rows)                                                   \
    {                                                                                                                  \
        (void)scratch;                                                                                                 \
        mr_kernel_ran = #name;                                                                                         \
        how##_sum(where, x, model, target, sums, rows);                                                                \
    }
ROWS(emulated, emulated, &kinds[0])
ROWS(emulated8, emulated, &kinds[1])
ROWS(emulated16, emulated, &kinds[2])
ROWS(opencl, opencl, &as_it_is)
ROWS(opencl_gpu, opencl, &as_gpu)

static void score_cuda(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                       size_t rows)
{
    (void)scratch;
    mr_cuda_parity_score(x, model, y, class_index, rows);
}

static void sum_cuda(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                     void *scratch, size_t rows)
{
    (void)scratch;
    mr_cuda_parity_sum(x, model, target, sums, rows);
}

#define SCORE(OP, name, how)                                                                                           \
    {                                                                                                                  \
        .op = MR_OP_##OP, .op_name = #name, .variant = #how, .score = score_##how                                      \
    }
#define SUM(OP, name, how)                                                                                             \
    {                                                                                                                  \
        .op = MR_OP_##OP, .op_name = #name, .variant = #how, .sum = sum_##how                                          \
    }
#define EACH(KIND, OP, name)                                                                                           \
    KIND(OP, name, emulated), KIND(OP, name, emulated8), KIND(OP, name, emulated16), KIND(OP, name, opencl),           \
        KIND(OP, name, opencl_gpu), KIND(OP, name, cuda)

extern const struct mr_kernel mr_device_kernels[];
const struct mr_kernel mr_device_kernels[] = {
    EACH(SCORE, MLP_FORWARD, mlp_forward),
    EACH(SCORE, LINEAR_SCORE, linear_score),
    EACH(SCORE, KMEANS_ASSIGN, kmeans_assign),
    EACH(SCORE, SCALE, scale),
    EACH(SCORE, MF_TOPN, mf_topn),
    EACH(SCORE, MF_ESTIMATE, mf_estimate),
    EACH(SUM, LINEAR_SUM, linear_sum),
    EACH(SUM, KMEANS_SUM, kmeans_sum),
    EACH(SUM, MOMENTS, moments),
    EACH(SUM, MLP_GRADIENT, mlp_gradient),
    {0},
};
