/*
 * bench_gpu: models on a device and on one core of the CPU, batch by batch, from pinned host memory and back: the batch
 * size from which the device is faster, where its time goes, and what share of the bus and of the arithmetic that is.
 *
 * Three figures of the device for each batch size: one batch alone, from the call to scores that the host can read
 * (what a trickle of records sees); a row when slots overlap (what a backlog sees); and upload, kernels, download by
 * the device's clock. A model that learns scores a batch, then sums what it learns from: one batch at a time, as jobs
 * do. It needs a GPU: on the double of the driver, for which --quick is meant, and on a CPU device of OpenCL its
 * figures say nothing of one, and it says so.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "base/clock.h"
#include "gpu_models.h"
#include "kernels/kernels.h"
#include "registry.h"

#define SLOTS         3    /* in flight at a time */
#define CPU_FLOPS_MAX 1e11 /* of a batch: larger ones take the CPU's last figure, a row */
#define FLOPS_MAX     3e13 /* of a batch on the device */
#define BUS_BYTES     ((size_t)64 << 20)

static const size_t batch_rows[] = {1, 64, 1024, 8192, 65536};
enum { SIZES = sizeof batch_rows / sizeof *batch_rows };

static void stop(const char *what)
{
    fprintf(stderr, "bench_gpu: %s\n", what);
    exit(1);
}

static void check(mr_status status, const struct mr_err *err)
{
    if (status) stop(err->text);
}

/* Slots of one backend with rows in them. */
struct bench {
    const struct mr_backend_ops *ops;
    struct mr_backend *backend;
    struct mr_plan *plan, *sum_plan;
    size_t rows, x_bytes, y_bytes, class_bytes, slots;
    struct mr_queue *queue[SLOTS];
    float *x[SLOTS];
    struct mr_scores scores[SLOTS];
    double *label, *sums;
};

static void slot_open(struct bench *bench, const struct gpu_model *model, size_t i)
{
    const struct mr_backend_ops *const ops = bench->ops;
    struct mr_err err;
    check(ops->queue_open(bench->backend, &bench->queue[i], &err), &err);
    bench->x[i] = ops->slab_acquire(bench->backend, bench->x_bytes);
    bench->scores[i] = (struct mr_scores){.y = ops->slab_acquire(bench->backend, bench->y_bytes),
                                          .class_index = ops->slab_acquire(bench->backend, bench->class_bytes),
                                          .width = model->out,
                                          .row_cap = bench->rows};
    if (!bench->x[i] || !bench->scores[i].y || !bench->scores[i].class_index) stop("out of memory for a batch");
    if (model->item_count) bench->scores[i].item = bench->scores[i].class_index;
    gpu_rows_fill(model, bench->x[i], bench->rows);
}

static void bench_open(struct bench *bench, const struct mr_backend_ops *ops, struct mr_backend *backend,
                       const struct gpu_model *model, size_t rows, size_t slots)
{
    const size_t tile_rows = mr_tile_count(rows) * MR_TILE_ROWS;
    const struct gpu_shape *const shape = model->shape;
    const unsigned want = MR_WANT_Y | (model->item_count ? MR_WANT_ITEMS : MR_WANT_CLASS);
    struct mr_err err;
    *bench = (struct bench){.ops = ops,
                            .backend = backend,
                            .rows = rows,
                            .slots = slots,
                            .x_bytes = tile_rows * model->in * sizeof(float),
                            .y_bytes = tile_rows * model->out * sizeof(float),
                            .class_bytes = tile_rows * (model->item_count ? model->out : 1) * sizeof(int32_t)};
    check(ops->plan_create(backend, shape->op, model->params, rows, want, &bench->plan, &err), &err);
    if (shape->sum != MR_OP_COUNT) {
        check(ops->plan_create(backend, shape->sum, model->sum_params, rows, 0, &bench->sum_plan, &err), &err);
        bench->label = calloc(rows, sizeof *bench->label);
        bench->sums = calloc(mr_sum_count(shape->sum, model->sum_params), sizeof *bench->sums);
        if (!bench->label || !bench->sums) stop("out of memory for a batch");
        gpu_labels_fill(model, bench->label, rows);
    }
    for (size_t i = 0; i < slots; i++) slot_open(bench, model, i);
}

static void bench_close(struct bench *bench)
{
    for (size_t i = 0; i < bench->slots; i++) {
        bench->ops->queue_close(bench->queue[i]);
        bench->ops->slab_release(bench->backend, bench->x[i], bench->x_bytes);
        bench->ops->slab_release(bench->backend, bench->scores[i].y, bench->y_bytes);
        bench->ops->slab_release(bench->backend, bench->scores[i].class_index, bench->class_bytes);
    }
    bench->ops->plan_destroy(bench->sum_plan);
    bench->ops->plan_destroy(bench->plan);
    free(bench->label);
    free(bench->sums);
}

static void batch_start(struct bench *bench, size_t at)
{
    const struct mr_backend_ops *const ops = bench->ops;
    const struct mr_sum_target target = {
        .label = bench->label, .y = bench->scores[at].y, .class_index = bench->scores[at].class_index};
    struct mr_err err;
    check(ops->score(bench->queue[at], bench->plan, bench->x[at], bench->rows, &bench->scores[at], &err), &err);
    if (!bench->sum_plan) return;
    check(ops->wait(bench->queue[at], &err), &err);
    check(ops->sum(bench->queue[at], bench->sum_plan, bench->x[at], bench->rows, &target, bench->sums, &err), &err);
}

/* Seconds for so many batches, `slots` of them in flight. */
static double bench_run(struct bench *bench, size_t batches, size_t slots)
{
    struct mr_err err;
    const int64_t start_ns = mr_clock_ns();
    for (size_t i = 0; i < batches + slots - 1; i++) {
        const size_t at = i % slots;
        if (i >= slots) check(bench->ops->wait(bench->queue[at], &err), &err);
        if (i < batches) batch_start(bench, at);
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

/* Both backends, and what the device could do at best; 0: not known. */
struct backends {
    const struct mr_backend_ops *cpu_ops, *device_ops;
    struct mr_backend *cpu, *device;
    bool is_cuda, is_quick;
    double seconds, up_gb, down_gb, fp32_gflops;
};

/* Upload, kernels and download of a batch, in microseconds by the device's clock, one slot in flight. */
static void phases_us(const struct backends *with, struct bench *bench, double us_out[MR_CUDA_PHASES])
{
    const size_t batches = with->is_quick ? 2 : 20;
    struct mr_err err;
    for (int i = 0; i < MR_CUDA_PHASES; i++) us_out[i] = (double)NAN;
    if (!with->is_cuda) return;
    check(mr_cuda_queue_profile(bench->queue[0], &err), &err);
    (void)bench_run(bench, batches, 1);
    for (int i = 0; i < MR_CUDA_PHASES; i++)
        us_out[i] = mr_cuda_queue_times(bench->queue[0])[i] * 1e3 / (double)batches;
}

/* GB/s of one large copy from pinned memory, or to it: the best of five. */
static double copy_measure(struct mr_backend *device, mr_cuda_ptr memory_dev, float *slab_pin, bool is_up, size_t bytes)
{
    double best = 0;
    struct mr_err err;
    for (int i = 0; i < 5; i++) {
        const int64_t start_ns = mr_clock_ns();
        if (is_up)
            check(MR_CUDA(device, &err, MemcpyHtoDAsync, memory_dev, slab_pin, bytes, device->upload), &err);
        else
            check(MR_CUDA(device, &err, MemcpyDtoHAsync, slab_pin, memory_dev, bytes, device->upload), &err);
        check(MR_CUDA(device, &err, StreamSynchronize, device->upload), &err);
        const double gb = (double)bytes / (double)(mr_clock_ns() - start_ns);
        if (gb > best) best = gb;
    }
    return best;
}

/* What bus and arithmetic could do. */
static void limits_measure(struct backends *with)
{
    struct mr_backend *const device = with->device;
    const size_t bytes = with->is_quick ? 1 << 20 : BUS_BYTES;
    int major = 0, minor = 0, units = 0, khz = 0;
    mr_cuda_ptr memory_dev = 0;
    struct mr_err err;
    if (!with->is_cuda) return;
    float *const slab_pin = with->device_ops->slab_acquire(device, bytes);
    if (!slab_pin) stop("out of pinned memory");
    check(MR_CUDA(device, &err, MemAlloc, &memory_dev, bytes), &err);
    with->up_gb = copy_measure(device, memory_dev, slab_pin, true, bytes);
    with->down_gb = copy_measure(device, memory_dev, slab_pin, false, bytes);
    MR_CUDA_RELEASE(device, MemFree, memory_dev);
    with->device_ops->slab_release(device, slab_pin, bytes);
    check(MR_CUDA(device, &err, DeviceGetAttribute, &major, MR_CUDA_CAPABILITY_MAJOR, device->device), &err);
    check(MR_CUDA(device, &err, DeviceGetAttribute, &minor, MR_CUDA_CAPABILITY_MINOR, device->device), &err);
    check(MR_CUDA(device, &err, DeviceGetAttribute, &units, MR_CUDA_MULTIPROCESSOR_COUNT, device->device), &err);
    check(MR_CUDA(device, &err, DeviceGetAttribute, &khz, MR_CUDA_CLOCK_KHZ, device->device), &err);
    const int lanes = major == 7 || (major == 8 && minor == 0) ? 64 : 128; /* multiply-adds of float32 a clock */
    with->fp32_gflops = 2.0 * lanes * units * khz * 1e-6;
    printf("bus: %.1f GB/s up, %.1f GB/s down; float32 peak by clock and lanes: %.0f GFLOP/s\n", with->up_gb,
           with->down_gb, with->fp32_gflops);
}

static void cell(double value, const char *unit)
{
    if (isfinite(value))
        printf(" %.4g%s |", value, unit);
    else
        fputs(" - |", stdout);
}

/* What one batch size took, in nanoseconds a batch. */
struct figures {
    double cpu_ns, alone_ns, overlapped_ns;
    double us[MR_CUDA_PHASES];
};

static void line_print(const struct backends *with, const struct gpu_model *model, const struct bench *bench,
                       const struct figures *figures)
{
    const double rows = (double)bench->rows;
    const double best_ns = isfinite(figures->overlapped_ns) ? figures->overlapped_ns : figures->alone_ns;
    const double up_ns = (double)bench->x_bytes / with->up_gb,
                 down_ns = (double)(bench->y_bytes + bench->class_bytes) / with->down_gb;
    const double gflops = model->flops * rows / (figures->us[MR_CUDA_KERNEL] * 1e3);
    printf("| %s | %zu |", model->shape->name, bench->rows);
    cell(figures->cpu_ns / rows, "");
    cell(figures->alone_ns / rows, "");
    cell(figures->overlapped_ns / rows, "");
    cell(rows * 1e3 / best_ns, "");
    cell(100 * fmax(up_ns, down_ns) / best_ns, " %"); /* both ways at once */
    for (int i = 0; i < MR_CUDA_PHASES; i++) cell(figures->us[i], "");
    cell(gflops, "");
    cell(100 * gflops / with->fp32_gflops, " %");
    putchar('\n');
    fflush(stdout);
}

static void size_measure(const struct backends *with, const struct gpu_model *model, size_t rows,
                         struct figures *figures)
{
    const bool learns = model->shape->sum != MR_OP_COUNT;
    struct bench bench;
    if (figures->cpu_ns > 0 && (double)rows * model->flops > CPU_FLOPS_MAX) {
        figures->cpu_ns *= (double)rows; /* was a row's */
    } else {
        bench_open(&bench, with->cpu_ops, with->cpu, model, rows, 1);
        figures->cpu_ns = batch_ns(&bench, 1, with->seconds);
        bench_close(&bench);
    }
    bench_open(&bench, with->device_ops, with->device, model, rows, learns ? 1 : SLOTS);
    figures->alone_ns = batch_ns(&bench, 1, with->seconds);
    figures->overlapped_ns = learns ? (double)NAN : batch_ns(&bench, SLOTS, with->seconds);
    phases_us(with, &bench, figures->us);
    line_print(with, model, &bench, figures);
    bench_close(&bench);
}

/* The first batch size at which the device wins; 0: none. */
static void crossover_print(size_t rows, const char *how)
{
    if (rows)
        printf("%zu rows a batch on %s", rows, how);
    else
        printf("no batch size measured %s", how);
}

/* All batch sizes of a model, a line each, then the crossover. */
static void model_measure(const struct backends *with, const struct gpu_shape *shape, size_t rows_max)
{
    struct gpu_model model;
    struct figures figures = {0};
    size_t alone = 0, overlapped = 0; /* first sizes at which the device wins */
    gpu_model_make(&model, shape);
    puts(
        "\n| model | rows a batch | CPU, ns a row | device, one batch alone, ns a row | device, overlapped, ns a row | "
        "M rows/s | of the bus | upload, us | kernels, us | download, us | GFLOP/s of the kernels | of the peak |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (size_t i = 0; i < SIZES && batch_rows[i] <= rows_max; i++) {
        const size_t rows = batch_rows[i];
        if (i && (double)rows * model.flops > FLOPS_MAX) break;
        size_measure(with, &model, rows, &figures);
        if (!alone && figures.alone_ns < figures.cpu_ns) alone = rows;
        if (!overlapped && figures.overlapped_ns < figures.cpu_ns) overlapped = rows;
        figures.cpu_ns /= (double)rows;
    }
    printf("\n%s: the GPU is faster than one core from ", shape->name);
    crossover_print(alone, "for one batch alone");
    if (shape->sum == MR_OP_COUNT) {
        fputs(", from ", stdout);
        crossover_print(overlapped, "when batches overlap");
    }
    puts(".\n");
    gpu_model_free(&model);
}

/* The backends; 0, or the exit code. */
static int backends_open(struct backends *with, const char *name)
{
    struct mr_err err;
    with->cpu_ops = mr_backend_find("cpu");
    with->device_ops = mr_backend_find(name);
    with->is_cuda = !strcmp(name, "cuda");
    if (!with->cpu_ops || !with->device_ops) stop("no such backend in this build");
    if (with->device_ops->open(NULL, &with->device, &err)) {
        printf("SKIP: %s\n", err.text);
        return 77;
    }
    check(with->cpu_ops->open(NULL, &with->cpu, &err), &err);
    const char *const text = with->device_ops->describe(with->device);
    printf("GPU: %s\nCPU: %s, of which one core is used\n", text, with->cpu_ops->describe(with->cpu));
    if (strstr(text, "double"))
        puts("NOT A GPU: this is the double of the driver, whose figures say nothing.");
    else if (with->device_ops->is_host && with->device_ops->is_host(with->device))
        puts("NOT A GPU: these are this machine's own processors.");
    limits_measure(with);
    return 0;
}

int main(int argc, char **argv)
{
    struct backends with = {.seconds = 0.1};
    const char *filter = "", *backend = "cuda";
    size_t rows_max = 65536;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) {
            with.is_quick = true;
            with.seconds = 0.001;
            rows_max = 64;
        } else if (!strcmp(argv[i], "--filter") && i + 1 < argc) {
            filter = argv[++i];
        } else if (!strcmp(argv[i], "--backend") && i + 1 < argc) {
            backend = argv[++i];
        } else {
            fputs("Usage: bench_gpu [--backend cuda|opencl] [--filter TEXT] [--quick]\n"
                  "Without such a device it ends with exit code 77.\n",
                  stderr);
            return 64;
        }
    }
    const int code = backends_open(&with, backend);
    if (code) return code;
    for (const struct gpu_shape *shape = gpu_shapes; shape->name; shape++) {
        if (strstr(shape->name, filter) && !(with.is_quick && shape->is_large)) model_measure(&with, shape, rows_max);
    }
    with.device_ops->close(with.device);
    with.cpu_ops->close(with.cpu);
    return 0;
}
