/*
 * The cuda backend on the double of its driver: numbers, order, overlap, what goes over the bus, and every call made to
 * fail in turn: no crash, no leak, no wrong number, an error that names the call.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cuda/image.h"
#include "fake_cuda/load.h"
#include "kernels/kernels.h"
#include "registry.h"

static const struct fake_cuda_control *driver;
static const struct mr_backend_ops *cuda, *cpu;

enum { ROWS = 200, TILE_ROWS = 256, QUEUES = 2, SUMS = 5 };

/* scale -> linear, with a sum; an mlp beside them on the same rows. */
static float shift[] = {1, -2}, scale[] = {0.5f, 2}, w[] = {0.25f, -0.5f}, b[] = {0.125f};
static const float w1[] = {1, 2, -1, 0.5f, 0.25f, -2}, b1[] = {0, 0.5f, -0.5f};
static const float w2[] = {1, -1, 0.5f, 2, 0.25f, -0.75f}, b2[] = {0.5f, 0};
static const struct mr_mlp_layer layers[] = {{2, 3, w1, b1, MR_ACT_TANH}, {3, 2, w2, b2, MR_ACT_SOFTMAX}};
static const struct mr_scale_params scale_params = {2, shift, scale};
static const struct mr_linear_params linear_params = {.cols = 2, .out = 1, .w = w, .b = b};
static const struct mr_mlp_params mlp_params = {layers, 2, NULL};
static const struct mr_linear_sum_params sum_params = {.cols = 2, .out = 1, .loss = MR_LOSS_SQUARED};

enum { SCALE, LINEAR, MLP, SUM, PLANS };
static const struct {
    mr_op op;
    const void *params;
    unsigned want;
} plans[PLANS] = {
    {MR_OP_SCALE, &scale_params, MR_WANT_Y},
    {MR_OP_LINEAR_SCORE, &linear_params, MR_WANT_Y},
    {MR_OP_MLP_FORWARD, &mlp_params, MR_WANT_Y | MR_WANT_CLASS},
    {MR_OP_LINEAR_SUM, &sum_params, 0},
};

/* What came out: of each queue's batch, of the sum, and after an update. */
struct answers {
    bool has_batch[QUEUES], has_sums, has_update;
    float linear[QUEUES][ROWS], mlp[QUEUES][2 * TILE_ROWS], updated[ROWS];
    int32_t class_index[QUEUES][ROWS];
    double sums[SUMS];
};

struct rig {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    struct mr_plan *plan[PLANS];
    struct mr_queue *queue[QUEUES];
    struct slot {
        float *x;
        double label[ROWS];
        struct mr_scores scaled, linear, mlp;
    } slot[QUEUES];
    struct mr_err err;
};

#define X_BYTES (2 * TILE_ROWS * sizeof(float))

static mr_status slab_acquire(struct rig *rig, void *to, size_t bytes)
{
    void *const slab = rig->ops->slab_acquire(rig->backend, bytes);
    memcpy(to, &slab, sizeof slab);
    return slab ? MR_OK : mr_fail(&rig->err, MR_ENOMEM, "backend cuda: cuMemHostAlloc");
}

static mr_status rig_open(struct rig *rig, const struct mr_backend_ops *ops)
{
    *rig = (struct rig){.ops = ops};
    mr_status status = ops->open(NULL, &rig->backend, &rig->err);
    for (size_t i = 0; i < PLANS && !status; i++)
        status =
            ops->plan_create(rig->backend, plans[i].op, plans[i].params, ROWS, plans[i].want, &rig->plan[i], &rig->err);
    for (size_t q = 0; q < QUEUES && !status; q++) {
        struct slot *const slot = &rig->slot[q];
        status = ops->queue_open(rig->backend, &rig->queue[q], &rig->err);
        slot->scaled.width = 2;
        slot->linear.width = 1;
        slot->mlp.width = 2;
        if (!status) status = slab_acquire(rig, &slot->x, X_BYTES);
        if (!status) status = slab_acquire(rig, &slot->scaled.y, X_BYTES);
        if (!status) status = slab_acquire(rig, &slot->linear.y, X_BYTES / 2);
        if (!status) status = slab_acquire(rig, &slot->mlp.y, X_BYTES);
        if (!status) status = slab_acquire(rig, &slot->mlp.class_index, X_BYTES / 2);
    }
    return status;
}

static void rig_close(struct rig *rig)
{
    for (size_t q = 0; rig->backend && q < QUEUES; q++) {
        struct slot *const slot = &rig->slot[q];
        rig->ops->queue_close(rig->queue[q]);
        rig->ops->slab_release(rig->backend, slot->x, X_BYTES);
        rig->ops->slab_release(rig->backend, slot->scaled.y, X_BYTES);
        rig->ops->slab_release(rig->backend, slot->linear.y, X_BYTES / 2);
        rig->ops->slab_release(rig->backend, slot->mlp.y, X_BYTES);
        rig->ops->slab_release(rig->backend, slot->mlp.class_index, X_BYTES / 2);
    }
    for (size_t i = 0; i < PLANS; i++) rig->ops->plan_destroy(rig->plan[i]);
    rig->ops->close(rig->backend);
}

static void rows_fill(struct slot *slot, unsigned number)
{
    for (size_t row = 0; row < ROWS; row++) {
        slot->x[mr_tile_at(row, 0, 2)] = (float)((row * 7919 + number * 31) % 1000) / 100;
        slot->x[mr_tile_at(row, 1, 2)] = (float)((row * 104729 + number) % 500) / 50 - 5;
        slot->label[row] = row % 9 ? (double)row / 8 + 1e-9 : (double)NAN;
    }
}

/* Starts all models of a batch. */
static mr_status batch_start(struct rig *rig, size_t q)
{
    struct slot *const slot = &rig->slot[q];
    const struct mr_backend_ops *const ops = rig->ops;
    mr_status status = ops->score(rig->queue[q], rig->plan[SCALE], slot->x, ROWS, &slot->scaled, &rig->err);
    if (!status) status = ops->score(rig->queue[q], rig->plan[LINEAR], slot->scaled.y, ROWS, &slot->linear, &rig->err);
    if (!status) status = ops->score(rig->queue[q], rig->plan[MLP], slot->x, ROWS, &slot->mlp, &rig->err);
    return status;
}

/* Waits for it; out of memory: once more from the start, as the pipeline does. */
static mr_status batch_end(struct rig *rig, size_t q, mr_status started, struct answers *answers)
{
    struct slot *const slot = &rig->slot[q];
    mr_status status = started ? started : rig->ops->wait(rig->queue[q], &rig->err);
    if (status == MR_ENOMEM) {
        status = batch_start(rig, q);
        if (!status) status = rig->ops->wait(rig->queue[q], &rig->err);
    }
    if (status) return status;
    answers->has_batch[q] = true;
    memcpy(answers->linear[q], slot->linear.y, sizeof answers->linear[q]);
    memcpy(answers->class_index[q], slot->mlp.class_index, sizeof answers->class_index[q]);
    for (size_t row = 0; row < ROWS; row++) { /* what lies behind the last row is nobody's */
        answers->mlp[q][row * 2] = slot->mlp.y[mr_tile_at(row, 0, 2)];
        answers->mlp[q][row * 2 + 1] = slot->mlp.y[mr_tile_at(row, 1, 2)];
    }
    return MR_OK;
}

static mr_status sums_make(struct rig *rig, struct answers *answers)
{
    const struct slot *const slot = &rig->slot[0];
    const struct mr_sum_target target = {.label = slot->label, .y = slot->linear.y};
    double sums[SUMS] = {0};
    mr_status status = rig->ops->sum(rig->queue[0], rig->plan[SUM], slot->scaled.y, ROWS, &target, sums, &rig->err);
    if (!status) status = rig->ops->wait(rig->queue[0], &rig->err);
    if (status) return status;
    answers->has_sums = true;
    memcpy(answers->sums, sums, sizeof sums);
    return MR_OK;
}

/* Other weights, and the same rows. */
static mr_status update_make(struct rig *rig, struct answers *answers)
{
    struct slot *const slot = &rig->slot[0];
    b[0] = 7;
    mr_status status = rig->ops->plan_update(rig->plan[LINEAR], &rig->err);
    if (!status) status = batch_start(rig, 0);
    if (!status) status = rig->ops->wait(rig->queue[0], &rig->err);
    b[0] = 0.125f;
    if (status) return status;
    answers->has_update = true;
    memcpy(answers->updated, slot->linear.y, sizeof answers->updated);
    return MR_OK;
}

/* Two batches in flight at a time, learning from one. Everything is given back, whatever happens. */
static mr_status work(const struct mr_backend_ops *ops, struct answers *answers, struct mr_err *err)
{
    struct rig rig;
    mr_status started[QUEUES] = {MR_OK, MR_OK};
    memset(answers, 0, sizeof *answers);
    mr_status status = rig_open(&rig, ops);
    if (!status) {
        for (unsigned q = 0; q < QUEUES; q++) rows_fill(&rig.slot[q], q);
        for (size_t q = 0; q < QUEUES; q++) started[q] = batch_start(&rig, q);
        for (size_t q = 0; q < QUEUES && !status; q++) status = batch_end(&rig, q, started[q], answers);
    }
    if (!status) status = sums_make(&rig, answers);
    if (!status) status = update_make(&rig, answers);
    *err = rig.err;
    rig_close(&rig);
    return status;
}

static struct answers want; /* of a run in which nothing fails */

/* What came out is right to the bit, or did not come out. */
static void answers_check(const struct answers *got, const char *what)
{
    for (size_t q = 0; q < QUEUES; q++) {
        if (!got->has_batch[q]) continue;
        if (memcmp(got->linear[q], want.linear[q], sizeof want.linear[q]) ||
            memcmp(got->mlp[q], want.mlp[q], sizeof want.mlp[q]) ||
            memcmp(got->class_index[q], want.class_index[q], sizeof want.class_index[q]))
            fail_msg("%s: batch %zu came out wrong, and nobody said so", what, q);
    }
    if (got->has_sums && memcmp(got->sums, want.sums, sizeof want.sums)) fail_msg("%s: sums are wrong", what);
    if (got->has_update && memcmp(got->updated, want.updated, sizeof want.updated))
        fail_msg("%s: scores after an update are wrong", what);
}

static void nothing_is_left(const char *what)
{
    if (!driver) return; /* a real one does not tell */
    if (driver->live()) fail_msg("%s: %zu objects of the driver are not given back", what, driver->live());
    if (driver->misuse()) fail_msg("%s: the driver is used wrongly: see above", what);
}

static void agrees_with_cpu(void **state)
{
    struct answers got;
    struct mr_err err;
    (void)state;
    for (int is_lazy = 0; is_lazy < 2; is_lazy++) {
        if (driver) driver->set_lazy(is_lazy);
        if (work(cuda, &want, &err)) fail_msg("%s", err.text);
        nothing_is_left("a run");
        if (work(cpu, &got, &err)) fail_msg("%s", err.text);
        for (size_t q = 0; q < QUEUES; q++) {
            assert_memory_equal(got.class_index[q], want.class_index[q], sizeof want.class_index[q]);
            for (size_t i = 0; i < ROWS; i++) assert_float_equal(got.linear[q][i], want.linear[q][i], 1e-4f);
            for (size_t i = 0; i < 2 * (size_t)ROWS; i++) assert_float_equal(got.mlp[q][i], want.mlp[q][i], 1e-5f);
        }
        for (size_t i = 0; i < SUMS; i++) assert_true(fabs(got.sums[i] - want.sums[i]) <= 1e-4 * fabs(got.sums[i]));
        for (size_t i = 0; i < ROWS; i++) assert_float_equal(got.updated[i], want.updated[i], 1e-4f);
    }
    if (driver) driver->set_lazy(false);
}

static void same_bits_again(void **state)
{
    struct answers got;
    struct mr_err err;
    (void)state;
    if (work(cuda, &want, &err)) fail_msg("%s", err.text);
    if (work(cuda, &got, &err)) fail_msg("%s", err.text);
    answers_check(&got, "a second run");
}

static void every_call_fails(void **state)
{
    static const struct {
        mr_cuda_result code;
        bool is_late;
    } faults[] = {{719, false}, {MR_CUDA_ERROR_OUT_OF_MEMORY, false}, {1, false}, {700, true}};
    struct mr_err err;
    (void)state;
    if (work(cuda, &want, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        unsigned long long n = 0, failed = 0;
        do {
            struct answers got;
            char what[96];
            memset(&err, 0, sizeof err);
            driver->fail_call(++n, faults[i].code, faults[i].is_late);
            const mr_status status = work(cuda, &got, &err);
            snprintf(what, sizeof what, "call %llu fails with %u%s", n, faults[i].code,
                     faults[i].is_late ? ", late" : "");
            answers_check(&got, what);
            nothing_is_left(what);
            if (!status && !(got.has_batch[0] && got.has_batch[1] && got.has_sums && got.has_update))
                fail_msg("%s: no error, and not all answers", what);
            if (status && !strstr(err.text, "cu")) fail_msg("%s: names no call: %s", what, err.text);
            if (status) assert_true(status == MR_EBACKEND || status == MR_ENOMEM);
            failed += status != MR_OK;
        } while (driver->has_failed());
        printf("%llu calls failed in turn with %u%s: %llu runs ended with an error, none with a wrong number\n", n - 1,
               faults[i].code, faults[i].is_late ? " when they ran" : "", failed);
        assert_true(n > 50 && failed > 20);
    }
    driver->fail_call(0, 0, false);
}

static void lost_device_is_left_alone(void **state)
{
    struct rig rig;
    struct mr_err first, err;
    (void)state;
    if (rig_open(&rig, cuda)) fail_msg("%s", rig.err.text);
    rows_fill(&rig.slot[0], 0);
    driver->fail_call(1, 700, true);
    (void)batch_start(&rig, 0);
    assert_int_equal(cuda->wait(rig.queue[0], &first), MR_EBACKEND);
    assert_non_null(strstr(first.text, "CUDA_ERROR_ILLEGAL_ADDRESS"));
    const unsigned long long calls = driver->calls();
    double sums[SUMS];
    const struct mr_sum_target target = {.label = rig.slot[0].label, .y = rig.slot[0].linear.y};
    struct mr_plan *plan;
    struct mr_queue *queue;
    assert_int_equal(cuda->wait(rig.queue[1], &err), MR_EBACKEND);
    assert_string_equal(err.text, first.text);
    assert_int_equal(cuda->plan_update(rig.plan[LINEAR], &err), MR_EBACKEND);
    assert_int_equal(cuda->plan_create(rig.backend, MR_OP_SCALE, &scale_params, ROWS, MR_WANT_Y, &plan, &err),
                     MR_EBACKEND);
    assert_null(plan);
    assert_int_equal(cuda->queue_open(rig.backend, &queue, &err), MR_EBACKEND);
    assert_null(queue);
    assert_null(cuda->slab_acquire(rig.backend, 64));
    assert_string_equal(err.text, first.text);
    assert_true(driver->calls() <= calls + 1); /* a context made current to give something back */
    assert_int_equal(batch_start(&rig, 1), MR_EBACKEND);
    assert_int_equal(cuda->sum(rig.queue[1], rig.plan[SUM], rig.slot[1].x, ROWS, &target, sums, &err), MR_EBACKEND);
    rig.slot[0].x[0] = 1; /* slabs are still there for whoever goes on */
    rig_close(&rig);
    driver->fail_call(0, 0, false);
    nothing_is_left("a lost device");
}

static void too_little_memory(void **state)
{
    struct mr_backend *backend;
    struct mr_plan *plan = NULL;
    struct mr_err err;
    (void)state;
    driver->set_memory((size_t)1 << 20);
    assert_int_equal(cuda->open(NULL, &backend, &err), MR_OK);
    assert_int_equal(cuda->plan_create(backend, MR_OP_SCALE, &scale_params, 1 << 20, MR_WANT_Y, &plan, &err),
                     MR_ENOMEM);
    assert_null(plan);
    assert_non_null(strstr(err.text, "cuMemAlloc"));
    assert_non_null(strstr(err.text, "records_max"));
    assert_int_equal(cuda->plan_create(backend, MR_OP_SCALE, &scale_params, 1 << 10, MR_WANT_Y, &plan, &err), MR_OK);
    cuda->plan_destroy(plan);
    cuda->close(backend);
    driver->set_memory((size_t)1 << 30);
    nothing_is_left("too little memory");
}

/* Nothing has run when score() returns, on a device that takes its time; two batches are then in flight. */
static void does_not_wait(void **state)
{
    struct rig rig;
    struct answers got = {0};
    struct mr_err err;
    (void)state;
    if (work(cuda, &want, &err)) fail_msg("%s", err.text);
    driver->set_lazy(true);
    if (rig_open(&rig, cuda)) fail_msg("%s", rig.err.text);
    for (unsigned q = 0; q < QUEUES; q++) {
        rows_fill(&rig.slot[q], q);
        memset(rig.slot[q].linear.y, 0x7f, ROWS * sizeof(float));
    }
    for (size_t q = 0; q < QUEUES; q++) assert_int_equal(batch_start(&rig, q), MR_OK);
    for (size_t q = 0; q < QUEUES; q++) assert_memory_equal(rig.slot[q].linear.y, "\x7f\x7f\x7f\x7f", 4);
    assert_int_equal(batch_end(&rig, 1, MR_OK, &got), MR_OK);
    assert_memory_equal(rig.slot[0].linear.y, "\x7f\x7f\x7f\x7f", 4);
    assert_int_equal(batch_end(&rig, 0, MR_OK, &got), MR_OK);
    answers_check(&got, "two batches in flight");
    rig_close(&rig);
    driver->set_lazy(false);
    nothing_is_left("two batches in flight");
}

/* Rows that several models score go up once; scores that another model or a sum reads do not go up at all. */
static void rows_go_up_once(void **state)
{
    struct rig rig;
    struct answers got = {0};
    (void)state;
    if (rig_open(&rig, cuda)) fail_msg("%s", rig.err.text);
    rows_fill(&rig.slot[0], 0);
    unsigned long long before = driver->uploads();
    assert_int_equal(batch_start(&rig, 0), MR_OK);
    assert_int_equal(batch_end(&rig, 0, MR_OK, &got), MR_OK);
    assert_int_equal(driver->uploads() - before, 1);
    before = driver->uploads();
    assert_int_equal(sums_make(&rig, &got), MR_OK);
    assert_int_equal(driver->uploads() - before, 1); /* the labels */
    rows_fill(&rig.slot[0], 1);                      /* another batch in the same slot */
    before = driver->uploads();
    assert_int_equal(batch_start(&rig, 0), MR_OK);
    got = (struct answers){0};
    assert_int_equal(batch_end(&rig, 0, MR_OK, &got), MR_OK);
    assert_int_equal(driver->uploads() - before, 1);
    assert_memory_equal(got.linear[0], want.linear[1], sizeof want.linear[1]);
    rig_close(&rig);
    nothing_is_left("rows that go up once");
}

/* A sum over rows that no score has seen reads them as they are now. */
static void sums_of_new_rows(void **state)
{
    struct rig rig;
    struct answers first = {0}, second = {0};
    (void)state;
    if (rig_open(&rig, cuda)) fail_msg("%s", rig.err.text);
    for (size_t row = 0; row < ROWS; row++) rig.slot[0].scaled.y[mr_tile_at(row, 0, 2)] = 1, rig.slot[0].label[row] = 1;
    assert_int_equal(sums_make(&rig, &first), MR_OK);
    for (size_t row = 0; row < ROWS; row++) rig.slot[0].scaled.y[mr_tile_at(row, 0, 2)] = 2;
    assert_int_equal(sums_make(&rig, &second), MR_OK);
    assert_true(second.sums[0] == 2 * first.sums[0] && first.sums[0] != 0);
    rig_close(&rig);
}

static void devices(void **state)
{
    struct mr_backend *backend;
    struct mr_err err;
    (void)state;
    assert_int_equal(cuda->open("1", &backend, &err), MR_OK);
    assert_non_null(strstr(cuda->describe(backend), "cuda:1"));
    cuda->close(backend);
    static const char *const wrong[] = {"2", "-1", "x", "1x", "99999999999999999999", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(cuda->open(wrong[i], &backend, &err), MR_EBACKEND);
        assert_null(backend);
        assert_non_null(strstr(err.text, wrong[i]));
        assert_non_null(strstr(err.text, "cuda:1 (double of a GPU"));
    }
    nothing_is_left("devices");
}

/* What a machine without a driver, or with another library in its place, is told. */
static void no_driver(void **state)
{
    struct mr_backend *backend;
    struct mr_err err;
    (void)state;
    setenv(MR_CUDA_LIBRARY_VARIABLE, "/nonexistent/libcuda.so.1", 1);
    assert_int_equal(cuda->open(NULL, &backend, &err), MR_EBACKEND);
    assert_null(backend);
    assert_non_null(strstr(err.text, "no driver"));
    assert_non_null(strstr(err.text, "/nonexistent/libcuda.so.1"));
    setenv(MR_CUDA_LIBRARY_VARIABLE, "libm.so.6", 1);
    assert_int_equal(cuda->open(NULL, &backend, &err), MR_EBACKEND);
    assert_non_null(strstr(err.text, "libm.so.6 has no cuInit"));
    setenv(MR_CUDA_LIBRARY_VARIABLE, MR_FAKE_CUDA, 1);
}

/* --gpu: what can be asked of a real device. --probe: is there one? */
static int gpu_main(const char *how)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_cpu),
        cmocka_unit_test(same_bits_again),
    };
    struct mr_backend *backend;
    struct mr_err err;
    if (cuda->open(NULL, &backend, &err)) {
        printf("SKIP: %s\n", err.text);
        return 77;
    }
    printf("runs on: %s\n", cuda->describe(backend));
    cuda->close(backend);
    return strcmp(how, "--probe") ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_cpu),   cmocka_unit_test(same_bits_again),
        cmocka_unit_test(every_call_fails),  cmocka_unit_test(lost_device_is_left_alone),
        cmocka_unit_test(too_little_memory), cmocka_unit_test(does_not_wait),
        cmocka_unit_test(rows_go_up_once),   cmocka_unit_test(sums_of_new_rows),
        cmocka_unit_test(devices),           cmocka_unit_test(no_driver),
    };
    if (!mr_cuda_image(NULL)) {
        puts("SKIP: built without CUDA: no nvcc was found; scripts/setup --cuda installs it");
        return 77;
    }
    cuda = mr_backend_find("cuda");
    cpu = mr_backend_find("cpu");
    if (argc > 1 && cuda && cpu) return gpu_main(argv[1]);
    driver = fake_cuda_load(MR_FAKE_CUDA);
    if (!driver || !cuda || !cpu) return 1;
    puts("runs on: the double of the driver, no GPU");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
