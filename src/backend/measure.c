#include "backend/measure.h"

#include "base/clock.h"
#include "kernels/mf_topn/mf_topn.h"

#define REPETITIONS 5

struct bench {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    struct mr_plan *plan;
    struct mr_queue *queue;
    struct mr_rows rows;
    struct mr_scores scores;
    size_t x_bytes, y_bytes, class_bytes, item_bytes;
};

static void bench_close(struct bench *bench)
{
    const struct mr_backend_ops *const ops = bench->ops;
    if (bench->rows.x) ops->slab_release(bench->backend, bench->rows.x, bench->x_bytes);
    if (bench->scores.y) ops->slab_release(bench->backend, bench->scores.y, bench->y_bytes);
    if (bench->scores.class_index) ops->slab_release(bench->backend, bench->scores.class_index, bench->class_bytes);
    if (bench->scores.item) ops->slab_release(bench->backend, bench->scores.item, bench->item_bytes);
    if (bench->queue) ops->queue_close(bench->queue);
    if (bench->plan) ops->plan_destroy(bench->plan);
}

void mr_measure_rows(const struct mr_model_ops *ops, const struct mr_model *model, struct mr_rows *rows)
{
    const void *params;
    const mr_op op = ops->op(model, &params);
    const struct mr_mf_params *const mf = op == MR_OP_MF_TOPN || op == MR_OP_MF_ESTIMATE ? params : NULL;
    unsigned long long seed = 1;
    for (size_t row = 0; row < rows->row_cap; row++) {
        for (size_t c = 0; c < rows->feature_count; c++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            float value = (float)(long long)seed / 9.3e18f;
            if (mf && c == 0) value = (float)((seed >> 32) % mf->users);
            if (mf && op == MR_OP_MF_ESTIMATE && c == 1) value = (float)((seed >> 32) % mf->items);
            rows->x[mr_tile_at(row, c, rows->feature_count)] = value;
        }
    }
}

static void *slab_of(const struct bench *bench, size_t bytes)
{
    return bytes ? bench->ops->slab_acquire(bench->backend, bytes) : NULL;
}

/* For batches of up to row_cap rows. */
static mr_status bench_open(struct bench *bench, const struct mr_measure *measure, size_t row_cap, struct mr_err *err)
{
    const struct mr_backend_ops *const ops = measure->ops;
    const struct mr_model_info *const info = measure->model_ops->info(measure->model);
    const size_t tile_rows = mr_tile_count(row_cap) * MR_TILE_ROWS;
    const size_t cols = info->column_count ? info->column_count : info->feature_count;
    *bench = (struct bench){.ops = ops,
                            .backend = measure->backend,
                            .x_bytes = tile_rows * cols * sizeof(float),
                            .y_bytes = tile_rows * info->width * sizeof(float),
                            .class_bytes = tile_rows * sizeof(int32_t),
                            .item_bytes = info->item_count ? tile_rows * info->width * sizeof(int32_t) : 0};
    mr_status status = mr_plan_model(ops, bench->backend, measure->model_ops, measure->model, row_cap, measure->want,
                                     &bench->plan, err);
    if (!status) status = ops->queue_open(bench->backend, &bench->queue, err);
    if (status) return status;
    bench->rows = (struct mr_rows){.x = slab_of(bench, bench->x_bytes), .row_cap = row_cap, .feature_count = cols};
    bench->scores = (struct mr_scores){.y = slab_of(bench, bench->y_bytes),
                                       .class_index = slab_of(bench, bench->class_bytes),
                                       .item = slab_of(bench, bench->item_bytes),
                                       .width = info->width,
                                       .row_cap = row_cap};
    if (!bench->rows.x || !bench->scores.y || !bench->scores.class_index || (bench->item_bytes && !bench->scores.item))
        return mr_fail(err, MR_ENOMEM, "backend %s: out of memory for a batch of %zu rows", ops->name, row_cap);
    mr_measure_rows(measure->model_ops, measure->model, &bench->rows);
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
