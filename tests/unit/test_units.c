/*
 * Models on several units, the first of which fails: a device made of the CPU's kernels whose N-th call goes wrong. The
 * scores and what is learned are those of a run without it, bit for bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipeline/layout.h"
#include "registry.h"
#include "scoring/cross_check.h"

#define ROWS    1000
#define BATCHES 4

/* ---- the device ---- */

static struct {
    const struct mr_backend_ops *cpu;
    size_t calls, fail_at; /* the call of that number fails, and with is_dead all after it */
    mr_status with;
    bool is_dead;
    size_t rows_max; /* more rows at once are out of memory; 0: no limit */
    float wrong_by;  /* added to the first score */
    size_t scored;   /* score calls that went well */
    bool has_no_sums;
    size_t plan_rows_max; /* plans for more rows are out of memory; 0: no limit */
    float sums_wrong_by;  /* added to the first sum */
} device;

static mr_status call(struct mr_err *err)
{
    const size_t number = ++device.calls;
    if (!device.fail_at || number < device.fail_at || (number > device.fail_at && !device.is_dead)) return MR_OK;
    return mr_fail(err, device.with, "flaky: call %zu", number);
}

static const char *flaky_describe(const struct mr_backend *backend)
{
    (void)backend;
    return "flaky";
}

static mr_status flaky_plan_create(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap,
                                   unsigned want, struct mr_plan **plan_out, struct mr_err *err)
{
    *plan_out = NULL;
    if (device.has_no_sums && (op == MR_OP_LINEAR_SUM || op == MR_OP_MOMENTS))
        return mr_fail(err, MR_EBACKEND, "flaky: no sums here");
    if (device.plan_rows_max && row_cap > device.plan_rows_max) return mr_fail(err, MR_ENOMEM, "flaky: no memory");
    return device.cpu->plan_create(backend, op, params, row_cap, want, plan_out, err);
}

static mr_status flaky_plan_update(struct mr_plan *plan, struct mr_err *err)
{
    const mr_status status = call(err);
    return status ? status : device.cpu->plan_update(plan, err);
}

static mr_status flaky_score(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t rows,
                             struct mr_scores *scores, struct mr_err *err)
{
    mr_status status = call(err);
    if (!status && device.rows_max && rows > device.rows_max) status = mr_fail(err, MR_ENOMEM, "flaky: no memory");
    if (!status) status = device.cpu->score(queue, plan, x, rows, scores, err);
    if (!status && scores->y) scores->y[0] += device.wrong_by;
    if (!status) device.scored++;
    return status;
}

static mr_status flaky_sum(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t rows,
                           const struct mr_sum_target *target, double *sums, struct mr_err *err)
{
    mr_status status = call(err);
    if (status) sums[0] = 1e30; /* half done */
    if (!status && device.plan_rows_max && rows > device.plan_rows_max)
        status = mr_fail(err, MR_EINVARIANT, "flaky: more rows than the plan is for"); /* as cuda says */
    if (!status) status = device.cpu->sum(queue, plan, x, rows, target, sums, err);
    if (!status) sums[0] += (double)device.sums_wrong_by;
    return status;
}

static mr_status flaky_wait(struct mr_queue *queue, struct mr_err *err)
{
    const mr_status status = call(err);
    return status ? status : device.cpu->wait(queue, err);
}

/* ---- a job ---- */

struct rig {
    struct mr_job *job;
    struct mr_models models;
    struct mr_layout *layout;
    struct mr_units units;
    struct mr_queues queues;
    struct mr_rows rows;
    struct mr_scores scores[2];
    struct mr_cross_check check;
    struct mr_check_stats stats;
    struct mr_backend_ops ops;
    struct mr_err err;
};

static void *floats(size_t count)
{
    float *const all = aligned_alloc(MR_ALIGN, (count * sizeof(float) / MR_ALIGN + 1) * MR_ALIGN);
    assert_non_null(all);
    memset(all, 0, count * sizeof(float));
    return all;
}

static void rig_open(struct rig *rig, bool has_device, double share)
{
    static const char text[] =
        "{\"job\":\"units\",\"source\":{\"type\":\"kafka\",\"topics\":[\"in\"],\"properties\":{\"bootstrap.servers\":"
        "\"embedded\"}},\"record\":{\"format\":\"json\",\"features\":[\"a\",\"b\"],\"label\":\"y\"},\"models\":["
        "{\"name\":\"s\",\"type\":\"scaler\",\"learn\":true},"
        "{\"name\":\"m\",\"type\":\"linear\",\"input\":\"s\",\"learn\":true,\"step\":0.1}],"
        "\"emit\":{\"fields\":{\"y\":\"m.score\"}},\"sinks\":[{\"type\":\"kafka\",\"topic\":\"out\"}],"
        "\"bad_records\":{\"drop\":true}}";
    memset(rig, 0, sizeof *rig);
    if (mr_job_parse("units.json", text, sizeof text - 1, stderr, &rig->job, &rig->err)) fail_msg("%s", rig->err.text);
    if (mr_models_open(rig->job, &rig->models, &rig->err)) fail_msg("%s", rig->err.text);
    assert_int_equal(mr_layout_create(rig->job, rig->models.info, &rig->layout, &rig->err), MR_OK);
    assert_int_equal(mr_units_open(&rig->units, "cpu:base", ROWS, share > 0, &rig->err), MR_OK);
    if (has_device) {
        struct mr_backend *backend;
        rig->ops = *(device.cpu = mr_backend_find("cpu"));
        rig->ops.describe = flaky_describe;
        rig->ops.plan_create = flaky_plan_create;
        rig->ops.plan_update = flaky_plan_update;
        rig->ops.score = flaky_score;
        rig->ops.sum = flaky_sum;
        rig->ops.wait = flaky_wait;
        assert_int_equal(device.cpu->open("base", &backend, &rig->err), MR_OK);
        mr_units_prefer(&rig->units, &rig->ops, backend, ROWS, 0);
    }
    assert_int_equal(mr_models_plan(&rig->models, &rig->units, rig->layout->want, &rig->err), MR_OK);
    assert_int_equal(mr_queues_open(&rig->queues, &rig->units, &rig->err), MR_OK);
    assert_int_equal(mr_cross_check_init(&rig->check, &rig->models, &rig->stats, share, 1e-3, ROWS, &rig->err), MR_OK);
    rig->rows = (struct mr_rows){.x = floats(1024 * 2),
                                 .label = calloc(ROWS, sizeof(double)),
                                 .feature_count = 2,
                                 .row_cap = ROWS,
                                 .row_count = ROWS};
    for (size_t i = 0; i < 2; i++) {
        const size_t width = rig->models.info[i]->width;
        rig->scores[i] = (struct mr_scores){.y = floats(1024 * width), .width = width, .row_cap = ROWS};
    }
}

static void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < 2; i++) free(rig->scores[i].y);
    free(rig->rows.x);
    free(rig->rows.label);
    mr_cross_check_deinit(&rig->check);
    mr_queues_close(&rig->queues, &rig->units);
    mr_models_close(&rig->models);
    mr_units_close(&rig->units);
    mr_layout_destroy(rig->layout);
    mr_job_destroy(rig->job);
}

static mr_status batch_run(struct rig *rig, unsigned number, float *y_out)
{
    for (size_t row = 0; row < ROWS; row++) {
        const float a = (float)((row * 7919 + number * 31) % 1000) / 100,
                    b = (float)((row * 104729 + number) % 500) / 50;
        rig->rows.x[mr_tile_at(row, 0, 2)] = a;
        rig->rows.x[mr_tile_at(row, 1, 2)] = b;
        rig->rows.label[row] = 3 * a - 2 * b + 1;
    }
    mr_status status = mr_models_score(&rig->models, &rig->queues, &rig->rows, rig->scores, &rig->err);
    if (!status) status = mr_models_wait(&rig->models, &rig->queues, &rig->rows, rig->scores, &rig->err);
    if (!status) status = mr_cross_check_batch(&rig->check, &rig->queues, &rig->rows, rig->scores, &rig->err);
    if (!status) memcpy(y_out, rig->scores[1].y, ROWS * sizeof *y_out);
    if (!status) status = mr_models_learn(&rig->models, &rig->queues, &rig->rows, rig->scores, MR_LEARN_ALL, &rig->err);
    return status;
}

static void job_run(struct rig *rig, float y[BATCHES][ROWS])
{
    for (unsigned i = 0; i < BATCHES; i++) {
        if (batch_run(rig, i, y[i])) fail_msg("batch %u: %s", i, rig->err.text);
    }
}

static float want[BATCHES][ROWS], got[BATCHES][ROWS];

static int truth_make(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    rig_open(&rig, false, 0);
    job_run(&rig, want);
    rig_close(&rig);
    return 0;
}

/* ---- tests ---- */

static void every_call_fails_in_turn(void **state)
{
    static const mr_status kinds[] = {MR_EBACKEND, MR_ENOMEM};
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        for (unsigned is_dead = 0; is_dead < 2; is_dead++) {
            size_t fail_at = 1, calls;
            do {
                struct rig rig;
                memset(&device, 0, sizeof device);
                device.fail_at = fail_at;
                device.with = kinds[kind];
                device.is_dead = is_dead;
                rig_open(&rig, true, 0);
                job_run(&rig, got);
                calls = device.calls;
                assert_memory_equal(got, want, sizeof want);
                if (fail_at <= calls && kinds[kind] == MR_EBACKEND) assert_true(rig.units.unit[0].is_left);
                if (is_dead && kinds[kind] == MR_EBACKEND && fail_at <= calls)
                    assert_int_equal(calls, fail_at); /* a lost device is not asked again */
                rig_close(&rig);
            } while (calls >= fail_at++); /* until none failed */
            assert_true(fail_at > 20);
        }
    }
}

static void short_memory_halves_what_goes_at_once(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    device.rows_max = 150;
    rig_open(&rig, true, 0);
    job_run(&rig, got);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(atomic_load(&rig.units.unit[0].chunk_rows), 128);
    assert_false(rig.units.unit[0].is_left);
    assert_int_equal(rig.units.unit[0].batches, BATCHES);
    rig_close(&rig);
    memset(&device, 0, sizeof device);
    device.rows_max = 10; /* not even a tile */
    rig_open(&rig, true, 0);
    job_run(&rig, got);
    assert_memory_equal(got, want, sizeof want);
    assert_true(rig.units.unit[0].is_left);
    assert_int_equal(rig.units.unit[1].batches, BATCHES);
    rig_close(&rig);
}

static void sums_that_a_device_lacks_are_the_cpus(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    device.has_no_sums = true;
    rig_open(&rig, true, 0);
    job_run(&rig, got);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(rig.units.unit[0].batches, BATCHES);
    assert_false(rig.units.unit[0].is_left);
    rig_close(&rig);
}

/* Plans for fewer rows than a batch: it is scored in parts, and summed on the CPU. */
static void short_memory_for_plans_leaves_sums_to_the_cpu(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    device.plan_rows_max = 512;
    rig_open(&rig, true, 0);
    job_run(&rig, got);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(rig.units.unit[0].batches, BATCHES);
    rig_close(&rig);
}

/* A trickle stays on the CPU, a backlog goes to the device, and both know what was learned. */
static void batches_go_by_their_size(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    rig_open(&rig, true, 0);
    rig.units.unit[0].rows_min = 500;
    for (unsigned i = 0; i < BATCHES; i++) {
        float part[ROWS];
        rig.rows.row_count = ROWS;
        if (i % 2) { /* the same rows, with nothing on the device */
            rig.units.unit[0].rows_min = ROWS + 1;
        } else {
            rig.units.unit[0].rows_min = 500;
        }
        assert_int_equal(batch_run(&rig, i, part), MR_OK);
        assert_memory_equal(part, want[i], sizeof part);
    }
    assert_int_equal(rig.units.unit[0].batches, BATCHES / 2);
    assert_int_equal(rig.units.unit[1].batches, BATCHES / 2);
    assert_int_equal(mr_unit_pick(&rig.units, ROWS), 1);
    rig_close(&rig);
}

static void a_cross_check_measures(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    rig_open(&rig, true, 0.5);
    job_run(&rig, got);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(rig.stats.batches, 2); /* the first, and then half of them */
    assert_int_equal(rig.stats.rows, 2 * ROWS);
    assert_true(rig.stats.error_max < 1e-5);
    assert_false(rig.units.unit[0].is_left);
    rig_close(&rig);
}

static void wrong_scores_leave_the_device(void **state)
{
    struct rig rig;
    (void)state;
    memset(&device, 0, sizeof device);
    device.wrong_by = 0.5F;
    device.sums_wrong_by = 1000; /* nothing may be learned from it, either */
    rig_open(&rig, true, 1);
    job_run(&rig, got);
    assert_true(rig.units.unit[0].is_left);
    assert_true(rig.stats.error_max > 1e-3);
    for (unsigned i = 0; i < BATCHES; i++) {
        for (size_t row = 0; row < ROWS; row++) assert_float_equal(got[i][row], want[i][row], 1e-4);
    }
    assert_int_equal(rig.units.unit[1].batches, BATCHES - 1); /* the first batch's scores are the reference's */
    rig_close(&rig);
}

static void differences_are_seen(void **state)
{
    static const struct mr_model_info classes = {.width = 2, .is_classifier = true, .class_count = 2};
    float y[2][2 * MR_TILE_ROWS] = {{0}};
    int32_t class_index[2][MR_TILE_ROWS] = {{0}};
    const struct mr_scores a = {.y = y[0], .class_index = class_index[0], .width = 2, .row_cap = MR_TILE_ROWS};
    const struct mr_scores b = {.y = y[1], .class_index = class_index[1], .width = 2, .row_cap = MR_TILE_ROWS};
    (void)state;
    for (size_t row = 0; row < 3; row++) {
        for (size_t side = 0; side < 2; side++) {
            y[side][mr_tile_at(row, 0, 2)] = 0.75F;
            y[side][mr_tile_at(row, 1, 2)] = 0.25F;
        }
    }
    assert_true(mr_scores_error(&classes, &a, &b, 3) == 0);
    class_index[0][1] = 1;
    assert_float_equal(mr_scores_error(&classes, &a, &b, 3), 0.5, 1e-6);
    assert_true(mr_scores_error(&classes, &a, &b, 1) == 0); /* the row is past the end */
    class_index[0][1] = 0;
    y[0][mr_tile_at(2, 1, 2)] = 0.2F;
    assert_float_equal(mr_scores_error(&classes, &a, &b, 3), 0.2, 1e-6); /* 0.05 of at most 0.25 */
    y[0][mr_tile_at(2, 1, 2)] = (float)(0.0 / 0.0 * 0.0);
    assert_true(mr_scores_error(&classes, &a, &b, 3) > 1e300);
    y[1][mr_tile_at(2, 1, 2)] = y[0][mr_tile_at(2, 1, 2)];
    assert_true(mr_scores_error(&classes, &a, &b, 3) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_fails_in_turn),
        cmocka_unit_test(short_memory_halves_what_goes_at_once),
        cmocka_unit_test(sums_that_a_device_lacks_are_the_cpus),
        cmocka_unit_test(short_memory_for_plans_leaves_sums_to_the_cpu),
        cmocka_unit_test(batches_go_by_their_size),
        cmocka_unit_test(a_cross_check_measures),
        cmocka_unit_test(wrong_scores_leave_the_device),
        cmocka_unit_test(differences_are_seen),
    };
    return cmocka_run_group_tests(tests, truth_make, NULL);
}
