#include "backend/measure.h"

#include "base/clock.h"

#define REPETITIONS 5

struct bench {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct mr_rows rows;
    struct mr_scores scores;
    size_t x_bytes, y_bytes, class_bytes;
};

static void bench_close(struct bench *bench)
{
    const struct mr_backend_ops *const ops = bench->ops;
    if (bench->rows.x) ops->slab_release(bench->backend, bench->rows.x, bench->x_bytes);
    if (bench->scores.y) ops->slab_release(bench->backend, bench->scores.y, bench->y_bytes);
    if (bench->scores.class_index) ops->slab_release(bench->backend, bench->scores.class_index, bench->class_bytes);
    if (bench->queue) ops->queue_close(bench->queue);
    if (bench->plan) ops->plan_destroy(bench->plan);
}

static void rows_make(struct mr_rows *rows)
{
    unsigned long long seed = 1;
    for (size_t row = 0; row < rows->row_cap; row++) {
        for (size_t c = 0; c < rows->feature_count; c++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            rows->x[mr_tile_at(row, c, rows->feature_count)] = (float)(long long)seed / 9.3e18f;
        }
    }
}

/* For batches of up to row_cap rows. */
static mr_status bench_open(struct bench *bench, const struct mr_measure *measure, size_t row_cap, struct mr_err *err)
{
    const struct mr_backend_ops *const ops = measure->ops;
    const struct mr_model_info *const info = measure->model_ops->info(measure->model);
    const size_t floats = mr_tile_count(row_cap) * MR_TILE_ROWS;
    *bench = (struct bench){.ops = ops,
                            .backend = measure->backend,
                            .x_bytes = floats * info->feature_count * sizeof(float),
                            .y_bytes = floats * info->width * sizeof(float),
                            .class_bytes = floats * sizeof(int32_t)};
    mr_status status = mr_plan_model(ops, bench->backend, measure->model_ops, measure->model, row_cap, measure->want,
                                     &bench->plan, err);
    if (!status) status = ops->queue_open(bench->backend, &bench->queue, err);
    if (status) return status;
    bench->rows = (struct mr_rows){.x = ops->slab_acquire(bench->backend, bench->x_bytes),
                                   .row_cap = row_cap,
                                   .feature_count = info->feature_count};
    bench->scores = (struct mr_scores){.y = ops->slab_acquire(bench->backend, bench->y_bytes),
                                       .class_index = ops->slab_acquire(bench->backend, bench->class_bytes),
                                       .width = info->width,
                                       .row_cap = row_cap};
    if (!bench->rows.x || !bench->scores.y || !bench->scores.class_index)
        return mr_fail(err, MR_ENOMEM, "backend %s: out of memory for a batch of %zu rows", ops->name, row_cap);
    rows_make(&bench->rows);
    return MR_OK;
}

/* Seconds for `calls` batches. */
static mr_status bench_run(struct bench *bench, size_t rows, size_t calls, double *seconds_out, struct mr_err *err)
{
    const int64_t start_ns = mr_clock_ns();
    for (size_t i = 0; i < calls; i++) {
        mr_status status = bench->ops->score(bench->queue, bench->plan, bench->rows.x, rows, &bench->scores, err);
        if (!status) status = bench->ops->wait(bench->queue, err);
        if (status) return status;
    }
    *seconds_out = (double)(mr_clock_ns() - start_ns) * 1e-9;
    return MR_OK;
}

static mr_status size_measure(struct bench *bench, const struct mr_measure *measure, size_t rows, double *row_ns_out,
                              struct mr_err *err)
{
    double seconds = 0, best = 0;
    size_t calls = 1;
    mr_status status = bench_run(bench, rows, 1, &seconds, err); /* the first touches memory and grows scratch */
    const int64_t deadline_ns = mr_clock_ns() + (int64_t)(measure->seconds_max * 1e9);
    while (!status && seconds < measure->seconds_max / (2 * REPETITIONS) && seconds < 0.01)
        status = bench_run(bench, rows, calls *= 2, &seconds, err);
    for (int i = 0; !status && i < REPETITIONS && (i < 3 || mr_clock_ns() < deadline_ns); i++) {
        status = bench_run(bench, rows, calls, &seconds, err);
        if (!i || seconds < best) best = seconds;
    }
    *row_ns_out = best * 1e9 / (double)calls / (double)rows;
    return status;
}

mr_status mr_backend_measure(const struct mr_measure *measure, const size_t *rows, size_t count, double *row_ns_out,
                             struct mr_err *err)
{
    struct bench bench;
    size_t row_cap = 0;
    for (size_t i = 0; i < count; i++) row_cap = rows[i] > row_cap ? rows[i] : row_cap;
    mr_status status = bench_open(&bench, measure, row_cap, err);
    for (size_t i = 0; i < count && !status; i++) status = size_measure(&bench, measure, rows[i], &row_ns_out[i], err);
    bench_close(&bench);
    return status;
}
