/*
 * bench_gpu: models on the GPU and on one core of the CPU, batch by batch, from pinned host memory and back: the batch
 * size from which the GPU is faster, where its time goes, and what share of the bus and of the arithmetic that is.
 *
 * Three figures of the GPU for each batch size: one batch alone, from the call to scores that the host can read (what a
 * trickle of records sees); a row when slots overlap (what a backlog sees); and upload, kernels, download by the
 * device's clock. It needs a GPU: on the double of the driver, for which --quick is meant, its figures say nothing, and
 * it says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/clock.h"
#include "kernels/kernels.h"
#include "registry.h"

#define SLOTS 3 /* in flight at a time */

static const size_t batch_rows[] = {1, 64, 1024, 8192, 65536};
enum { SIZES = sizeof batch_rows / sizeof *batch_rows };

/* What is measured: the shapes of the targets, and small ones, for which the bus is the limit. */
static const struct shape {
    const char *name;
    mr_op op;
    size_t width[5]; /* columns, then outputs of each layer, then 0; k-means: columns, centres */
} shapes[] = {
    {"linear 16-1", MR_OP_LINEAR_SCORE, {16, 1}},
    {"mlp 1-6-8-6", MR_OP_MLP_FORWARD, {1, 6, 8, 6}},
    {"mlp 16-32-8", MR_OP_MLP_FORWARD, {16, 32, 8}},
    {"mlp 128-256-256-10", MR_OP_MLP_FORWARD, {128, 256, 256, 10}},
    {"mlp 784-512-512-10", MR_OP_MLP_FORWARD, {784, 512, 512, 10}},
    {"kmeans 16-6", MR_OP_KMEANS_ASSIGN, {16, 6}},
    {"kmeans 256-1024", MR_OP_KMEANS_ASSIGN, {256, 1024}},
};

struct model {
    const struct shape *shape;
    struct mr_mlp_layer layer[4];
    struct mr_mlp_params mlp;
    struct mr_linear_params linear;
    struct mr_kmeans_params kmeans;
    const void *params;
    float *numbers; /* weights of all layers, or centres */
    size_t out;     /* numbers a row in y; class_index beside them */
    double flops;   /* of a row */
};

static void stop(const char *what)
{
    fprintf(stderr, "bench_gpu: %s\n", what);
    exit(1);
}

static void check(mr_status status, const struct mr_err *err)
{
    if (status) stop(err->text);
}

static float number_next(void) /* [-1, 1), the same every time */
{
    static unsigned long long seed = 1;
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (float)(long long)seed / 9.3e18f;
}

static void model_make(struct model *model, const struct shape *shape)
{
    size_t count = 0, layers = 0;
    *model = (struct model){.shape = shape};
    while (layers < 4 && shape->width[layers + 1]) layers++;
    for (size_t i = 0; i < layers; i++) count += (shape->width[i] + 1) * shape->width[i + 1];
    model->numbers = malloc((count + 1) * sizeof *model->numbers);
    if (!model->numbers) stop("out of memory");
    for (size_t i = 0; i < count; i++) model->numbers[i] = number_next() / 8;
    float *at = model->numbers;
    for (size_t i = 0; i < layers; i++) {
        const size_t in = shape->width[i], out = shape->width[i + 1];
        model->layer[i] = (struct mr_mlp_layer){.in = in,
                                                .out = out,
                                                .w = at,
                                                .b = at + in * out,
                                                .activation = i + 1 < layers ? MR_ACT_RELU : MR_ACT_SOFTMAX};
        at += (in + 1) * out;
        model->flops += 2 * (double)in * (double)out;
    }
    model->out = shape->op == MR_OP_KMEANS_ASSIGN ? 1 : shape->width[layers];
    model->mlp = (struct mr_mlp_params){model->layer, layers, NULL};
    model->linear = (struct mr_linear_params){
        .cols = shape->width[0], .out = 1, .w = model->numbers, .b = model->layer[0].b, .activation = MR_ACT_SIGMOID};
    model->kmeans = (struct mr_kmeans_params){shape->width[0], shape->width[1], model->numbers};
    model->params = shape->op == MR_OP_LINEAR_SCORE    ? (const void *)&model->linear
                    : shape->op == MR_OP_KMEANS_ASSIGN ? (const void *)&model->kmeans
                                                       : (const void *)&model->mlp;
}

/* Slots of one backend with rows in them. */
struct bench {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    struct mr_plan *plan;
    size_t rows, x_bytes, y_bytes, class_bytes, slots;
    struct mr_queue *queue[SLOTS];
    float *x[SLOTS];
    struct mr_scores scores[SLOTS];
};

static void bench_open(struct bench *bench, const struct mr_backend_ops *ops, struct mr_backend *backend,
                       const struct model *model, size_t rows, size_t slots)
{
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS, cols = model->shape->width[0];
    struct mr_err err;
    *bench = (struct bench){.ops = ops,
                            .backend = backend,
                            .rows = rows,
                            .slots = slots,
                            .x_bytes = tile_rows * cols * sizeof(float),
                            .y_bytes = tile_rows * model->out * sizeof(float),
                            .class_bytes = tile_rows * sizeof(int32_t)};
    check(
        ops->plan_create(backend, model->shape->op, model->params, rows, MR_WANT_Y | MR_WANT_CLASS, &bench->plan, &err),
        &err);
    for (size_t i = 0; i < slots; i++) {
        check(ops->queue_open(backend, &bench->queue[i], &err), &err);
        bench->x[i] = ops->slab_acquire(backend, bench->x_bytes);
        bench->scores[i] = (struct mr_scores){.y = ops->slab_acquire(backend, bench->y_bytes),
                                              .class_index = ops->slab_acquire(backend, bench->class_bytes),
                                              .width = model->out,
                                              .row_cap = rows};
        if (!bench->x[i] || !bench->scores[i].y || !bench->scores[i].class_index) stop("out of memory for a batch");
        for (size_t row = 0; row < rows; row++) {
            for (size_t c = 0; c < cols; c++) bench->x[i][mr_tile_at(row, c, cols)] = number_next();
        }
    }
}

static void bench_close(struct bench *bench)
{
    for (size_t i = 0; i < bench->slots; i++) {
        bench->ops->queue_close(bench->queue[i]);
        bench->ops->slab_release(bench->backend, bench->x[i], bench->x_bytes);
        bench->ops->slab_release(bench->backend, bench->scores[i].y, bench->y_bytes);
        bench->ops->slab_release(bench->backend, bench->scores[i].class_index, bench->class_bytes);
    }
    bench->ops->plan_destroy(bench->plan);
}

/* Seconds for so many batches, `slots` of them in flight. */
static double bench_run(struct bench *bench, size_t batches, size_t slots)
{
    struct mr_err err;
    const int64_t start_ns = mr_clock_ns();
    for (size_t i = 0; i < batches + slots - 1; i++) {
        const size_t at = i % slots;
        if (i >= slots) check(bench->ops->wait(bench->queue[at], &err), &err);
        if (i < batches)
            check(bench->ops->score(bench->queue[at], bench->plan, bench->x[at], bench->rows, &bench->scores[at], &err),
                  &err);
    }
    for (size_t i = 0; i < slots; i++) check(bench->ops->wait(bench->queue[i], &err), &err);
    return (double)(mr_clock_ns() - start_ns) * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Nanoseconds a batch: the median of five times of `seconds` each. */
static double batch_ns(struct bench *bench, size_t slots, double seconds)
{
    double times[5];
    (void)bench_run(bench, slots, slots); /* memory is touched, scratch grows */
    const double once = bench_run(bench, slots, slots) / (double)slots;
    const double wanted = seconds / (once > 1e-9 ? once : 1e-9);
    const size_t batches = wanted < 1 ? 1 : wanted > 1e6 ? 1000000 : (size_t)wanted;
    for (size_t i = 0; i < 5; i++) times[i] = bench_run(bench, batches, slots) * 1e9 / (double)batches;
    qsort(times, 5, sizeof *times, by_size);
    return times[2];
}

/* Upload, kernels and download of a batch, in microseconds by the device's clock, one slot in flight. */
static void phases_us(struct bench *bench, double us_out[MR_CUDA_PHASES])
{
    enum { BATCHES = 20 };
    struct mr_err err;
    check(mr_cuda_queue_profile(bench->queue[0], &err), &err);
    (void)bench_run(bench, BATCHES, 1);
    for (int i = 0; i < MR_CUDA_PHASES; i++) us_out[i] = mr_cuda_queue_times(bench->queue[0])[i] * 1e3 / BATCHES;
}

struct backends {
    const struct mr_backend_ops *cpu_ops, *cuda_ops;
    struct mr_backend *cpu, *cuda;
    double seconds;
};

/* All batch sizes of a model, a line each, then the crossover. */
static void model_measure(const struct backends *with, const struct shape *shape, size_t rows_max)
{
    struct model model;
    size_t alone = 0, overlapped = 0; /* first sizes at which the GPU wins */
    model_make(&model, shape);
    puts("\n| model | rows a batch | CPU, ns a row | GPU, one batch alone, ns a row | GPU, overlapped, ns a row | M "
         "rows/s | "
         "upload, us | kernels, us | download, us | GB/s over the bus, both ways | GFLOP/s of the kernels |\n"
         "|---|---|---|---|---|---|---|---|---|---|---|");
    for (size_t i = 0; i < SIZES && batch_rows[i] <= rows_max; i++) {
        const size_t rows = batch_rows[i];
        struct bench bench;
        double us[MR_CUDA_PHASES];
        bench_open(&bench, with->cpu_ops, with->cpu, &model, rows, 1);
        const double cpu_ns = batch_ns(&bench, 1, with->seconds);
        bench_close(&bench);
        bench_open(&bench, with->cuda_ops, with->cuda, &model, rows, SLOTS);
        const double alone_ns = batch_ns(&bench, 1, with->seconds), cuda_ns = batch_ns(&bench, SLOTS, with->seconds);
        phases_us(&bench, us);
        printf("| %s | %zu | %.4g | %.4g | %.4g | %.4g | %.1f | %.1f | %.1f | %.4g | %.4g |\n", shape->name, rows,
               cpu_ns / (double)rows, alone_ns / (double)rows, cuda_ns / (double)rows, (double)rows * 1e3 / cuda_ns,
               us[MR_CUDA_UPLOAD], us[MR_CUDA_KERNEL], us[MR_CUDA_DOWNLOAD],
               (double)(bench.x_bytes + bench.y_bytes + bench.class_bytes) / cuda_ns,
               model.flops * (double)rows / (us[MR_CUDA_KERNEL] * 1e3));
        fflush(stdout);
        bench_close(&bench);
        if (!alone && alone_ns < cpu_ns) alone = rows;
        if (!overlapped && cuda_ns < cpu_ns) overlapped = rows;
    }
    printf("\n%s: the GPU is faster than one core from ", shape->name);
    if (overlapped)
        printf("%zu rows a batch on when batches overlap", overlapped);
    else
        printf("no batch size measured when batches overlap");
    if (alone)
        printf(", from %zu rows on for one batch alone.\n\n", alone);
    else
        printf(", and from none for one batch alone.\n\n");
    free(model.numbers);
}

int main(int argc, char **argv)
{
    struct backends with = {.cpu_ops = mr_backend_find("cpu"), .cuda_ops = mr_backend_find("cuda"), .seconds = 0.1};
    const char *filter = "";
    size_t rows_max = 65536;
    struct mr_err err;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) {
            with.seconds = 0.001;
            rows_max = 64;
        } else if (!strcmp(argv[i], "--filter") && i + 1 < argc) {
            filter = argv[++i];
        } else {
            fputs("Usage: bench_gpu [--filter TEXT] [--quick]\nWithout a GPU it ends with exit code 77.\n", stderr);
            return 64;
        }
    }
    if (!with.cpu_ops || !with.cuda_ops) stop("this build has no cuda backend");
    if (with.cuda_ops->open(NULL, &with.cuda, &err)) {
        printf("SKIP: %s\n", err.text);
        return 77;
    }
    check(with.cpu_ops->open(NULL, &with.cpu, &err), &err);
    printf("GPU: %s\nCPU: %s, of which one core is used\n", with.cuda_ops->describe(with.cuda),
           with.cpu_ops->describe(with.cpu));
    if (strstr(with.cuda_ops->describe(with.cuda), "double"))
        puts("NOT A GPU: this is the double of the driver, whose figures say nothing.");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strstr(shapes[i].name, filter)) model_measure(&with, &shapes[i], rows_max);
    }
    with.cuda_ops->close(with.cuda);
    with.cpu_ops->close(with.cpu);
    return 0;
}
