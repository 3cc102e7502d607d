/*
 * bench_kernels: time per row of every variant of every operation, for the shapes below, beside the peak that this
 * machine reaches.
 *
 *   bench_kernels [--filter REGEX] [--backend NAME[:VARIANT]] [--batch ROWS] [--repetitions N] [--min-time SECONDS]
 *                 [--large] [--json FILE] [--list]
 *
 * Names are operation/shape/activations/wanted/variant/batch. Times are CPU time of the thread, the median of the
 * repetitions; data is in tiles and, up to some 8,192 rows, in a cache. The peak (GFLOP/s of multiply-adds in
 * registers) is measured again beside each figure. GB/s counts what must be read and written once: features, outputs,
 * classes. mf_topn: rank-items, the best 10 for a user, of whom each has seen 50; --large adds 1 M items (1 GB of
 * memory, a second a batch). --backend adds rows for a backend such as opencl, from the start of a batch to the end of
 * wait(), buffers in its slabs: the time that passes, or, where its device is this CPU, the CPU time of all its threads
 * together. POCL_MAX_PTHREAD_COUNT=1 gives PoCL one thread, like the others.
 */
#include <getopt.h>
#include <math.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "millrace/backend.h"
#include "millrace/batch.h"
#include "peaks.h"
#include "registry.h"

#define LAYERS_MAX 4

struct shape {
    mr_op op;
    mr_activation hidden, last;
    size_t width[LAYERS_MAX + 1]; /* layers: 0 ends it; others: features, then centres or outputs */
    mr_loss loss;                 /* of linear_sum */
    bool is_large;                /* run with --large alone */
};

static const struct shape shapes[] = {
    {MR_OP_MLP_FORWARD, MR_ACT_SIGMOID, MR_ACT_SOFTMAX, {1, 6, 8, 6}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_RELU, MR_ACT_SOFTMAX, {1, 6, 8, 6}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_SIGMOID, MR_ACT_SOFTMAX, {16, 32, 8}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_RELU, MR_ACT_SOFTMAX, {16, 32, 8}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_TANH, MR_ACT_SOFTMAX, {16, 32, 8}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_GELU, MR_ACT_SOFTMAX, {16, 32, 8}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_RELU, MR_ACT_SOFTMAX, {64, 256, 64, 10}, 0, false},
    {MR_OP_MLP_FORWARD, MR_ACT_RELU, MR_ACT_SOFTMAX, {784, 512, 512, 10}, 0, false},
    {MR_OP_MLP_BF16, MR_ACT_RELU, MR_ACT_SOFTMAX, {64, 256, 64, 10}, 0, false},
    {MR_OP_MLP_BF16, MR_ACT_RELU, MR_ACT_SOFTMAX, {784, 512, 512, 10}, 0, false},
    {MR_OP_MLP_INT8, MR_ACT_RELU, MR_ACT_SOFTMAX, {64, 256, 64, 10}, 0, false},
    {MR_OP_MLP_INT8, MR_ACT_RELU, MR_ACT_SOFTMAX, {784, 512, 512, 10}, 0, false},
    {MR_OP_LINEAR_SCORE, MR_ACT_IDENTITY, MR_ACT_IDENTITY, {2, 1}, 0, false},
    {MR_OP_LINEAR_SCORE, MR_ACT_IDENTITY, MR_ACT_IDENTITY, {16, 1}, 0, false},
    {MR_OP_LINEAR_SCORE, MR_ACT_IDENTITY, MR_ACT_SIGMOID, {16, 1}, 0, false},
    {MR_OP_LINEAR_SCORE, MR_ACT_IDENTITY, MR_ACT_SOFTMAX, {16, 6}, 0, false},
    {MR_OP_LINEAR_SCORE, MR_ACT_IDENTITY, MR_ACT_IDENTITY, {128, 1}, 0, false},
    {MR_OP_LINEAR_SCORE, MR_ACT_IDENTITY, MR_ACT_IDENTITY, {1024, 1}, 0, false},
    {.op = MR_OP_KMEANS_ASSIGN, .width = {1, 6}},
    {.op = MR_OP_KMEANS_ASSIGN, .width = {16, 6}},
    {.op = MR_OP_KMEANS_ASSIGN, .width = {64, 256}},
    {.op = MR_OP_KMEANS_ASSIGN, .width = {128, 1024}},
    {.op = MR_OP_KMEANS_ASSIGN, .width = {512, 4096}},
    {.op = MR_OP_SCALE, .width = {16, 16}},
    {.op = MR_OP_LINEAR_SUM, .width = {16, 1}, .loss = MR_LOSS_SQUARED},
    {.op = MR_OP_LINEAR_SUM, .width = {16, 1}, .loss = MR_LOSS_LOG},
    {.op = MR_OP_LINEAR_SUM, .width = {16, 6}, .loss = MR_LOSS_LOG},
    {.op = MR_OP_LINEAR_SUM, .width = {128, 1}, .loss = MR_LOSS_LOG},
    {.op = MR_OP_KMEANS_SUM, .width = {1, 6}},
    {.op = MR_OP_KMEANS_SUM, .width = {16, 6}},
    {.op = MR_OP_KMEANS_SUM, .width = {64, 256}},
    {.op = MR_OP_KMEANS_SUM, .width = {128, 1024}},
    {.op = MR_OP_MOMENTS, .width = {16, 16}},
    {MR_OP_MLP_GRADIENT, MR_ACT_RELU, MR_ACT_SOFTMAX, {16, 32, 8}, MR_LOSS_LOG, false},
    {MR_OP_MLP_GRADIENT, MR_ACT_RELU, MR_ACT_SOFTMAX, {64, 256, 64, 10}, MR_LOSS_LOG, false},
    {MR_OP_MLP_GRADIENT, MR_ACT_RELU, MR_ACT_SOFTMAX, {784, 512, 512, 10}, MR_LOSS_LOG, false},
    {.op = MR_OP_MF_TOPN, .width = {100, 1682}},
    {.op = MR_OP_MF_TOPN, .width = {100, 27000}},
    {.op = MR_OP_MF_TOPN, .width = {100, 1000000}, .is_large = true},
    {.op = MR_OP_MF_TOPN_BF16, .width = {100, 1682}},
    {.op = MR_OP_MF_TOPN_BF16, .width = {100, 27000}},
    {.op = MR_OP_MF_TOPN_BF16, .width = {100, 1000000}, .is_large = true},
    {.op = MR_OP_MF_ESTIMATE, .width = {100, 27000}},
};
static size_t batches[] = {1, 16, 64, 1024, 8192}; /* --batch: instead of the last */
static const struct {
    const char *name;
    unsigned want;
} wants[] = {{"y", MR_WANT_Y}, {"class", MR_WANT_CLASS}};

/* A backend that is measured beside the kernels. */
struct device {
    char name[64];
    const struct mr_backend_ops *ops; /* NULL: none */
    struct mr_backend *backend;
    struct mr_queue *queue;
};

struct settings {
    struct device device;
    regex_t filter;
    size_t repetitions;
    double min_time_s;
    bool only_list, has_large;
    FILE *json;
    size_t printed;
};

struct model {
    struct mr_mlp_layer layer[LAYERS_MAX];
    struct mr_mlp_params mlp;
    struct mr_linear_params linear;
    struct mr_kmeans_params kmeans;
    struct mr_linear_sum_params linear_sum;
    struct mr_scale_params scale;
    struct mr_mlp_gradient_params gradient;
    struct mr_mf_params mf;
    struct mr_packed *packed;
    const void *params; /* of the operation */
    size_t width;       /* numbers a row in y */
    double flops_per_row;
};

static void *memory_acquire(size_t bytes)
{
    void *const memory = aligned_alloc((size_t)2 << 20, (bytes / ((size_t)2 << 20) + 1) * ((size_t)2 << 20));
    if (!memory) {
        fputs("bench_kernels: out of memory\n", stderr);
        exit(71);
    }
    return memory;
}

static float *random_floats(size_t count, double size)
{
    float *const values = memory_acquire(count * sizeof *values);
    unsigned long long state = count;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        values[i] = (float)((double)(long long)state / 9.3e18 * size);
    }
    return values;
}

#define MF_USERS 4096
#define MF_SEEN  50
#define MF_TOP   10

/* Users who have each seen MF_SEEN items, spread over all, of which there are more. */
static void mf_make(struct mr_mf_params *mf, size_t rank, size_t items, const float *item_factor,
                    const float *item_bias)
{
    uint64_t *const first = memory_acquire((MF_USERS + 1) * sizeof *first);
    int32_t *const seen = memory_acquire((size_t)MF_USERS * MF_SEEN * sizeof *seen);
    const size_t apart = items > MF_SEEN ? items / MF_SEEN : 1;
    for (size_t user = 0; user < MF_USERS; user++) {
        first[user] = user * MF_SEEN;
        first[user + 1] = (user + 1) * MF_SEEN;
        for (size_t i = 0; i < MF_SEEN; i++)
            seen[user * MF_SEEN + i] = (int32_t)(i * apart + (user * 2654435761u >> 7) % apart);
    }
    *mf = (struct mr_mf_params){.users = MF_USERS,
                                .items = items,
                                .rank = rank,
                                .top = MF_TOP,
                                .user_factor = random_floats(MF_USERS * rank + 1, 1),
                                .item_factor = item_factor,
                                .user_bias = random_floats(MF_USERS + 1, 1),
                                .item_bias = item_bias,
                                .mean = 3,
                                .scale_min = 1,
                                .scale_max = 5,
                                .seen_first = first,
                                .seen = seen};
}

static bool is_mf(mr_op op)
{
    return op == MR_OP_MF_TOPN || op == MR_OP_MF_TOPN_BF16 || op == MR_OP_MF_ESTIMATE;
}

static void model_make(struct model *model, const struct shape *shape)
{
    *model = (struct model){0};
    size_t count = 0;
    for (; count < LAYERS_MAX && shape->width[count + 1]; count++) {
        const size_t in = shape->width[count], out = shape->width[count + 1];
        model->layer[count] = (struct mr_mlp_layer){in, out, random_floats(in * out, 2 / sqrt((double)in)),
                                                    random_floats(out, 1), shape->hidden};
        model->flops_per_row += 2.0 * (double)in * (double)out;
    }
    model->layer[count - 1].activation = shape->last;
    const size_t in = shape->width[0], out = shape->width[1];
    const float *const w = model->layer[0].w, *const b = model->layer[0].b;
    model->mlp = (struct mr_mlp_params){.layer = model->layer, .layer_count = count};
    model->linear = (struct mr_linear_params){in, out, w, b, shape->last};
    model->kmeans = (struct mr_kmeans_params){in, out, w};
    model->linear_sum = (struct mr_linear_sum_params){in, out, shape->loss, 1};
    model->scale = (struct mr_scale_params){in, b, b};
    model->gradient = (struct mr_mlp_gradient_params){.mlp = model->mlp, .loss = shape->loss, .delta = 1};
    if (is_mf(shape->op)) mf_make(&model->mf, in, out, w, b);
    const void *const params[MR_OP_COUNT] = {
        [MR_OP_MLP_FORWARD] = &model->mlp,
        [MR_OP_MLP_BF16] = &model->mlp,
        [MR_OP_MLP_INT8] = &model->mlp,
        [MR_OP_LINEAR_SCORE] = &model->linear,
        [MR_OP_KMEANS_ASSIGN] = &model->kmeans,
        [MR_OP_SCALE] = &model->scale,
        [MR_OP_LINEAR_SUM] = &model->linear_sum,
        [MR_OP_KMEANS_SUM] = &model->kmeans,
        [MR_OP_MOMENTS] = &model->scale,
        [MR_OP_MLP_GRADIENT] = &model->gradient,
        [MR_OP_MF_TOPN] = &model->mf,
        [MR_OP_MF_TOPN_BF16] = &model->mf,
        [MR_OP_MF_ESTIMATE] = &model->mf,
    };
    model->params = params[shape->op];
    model->packed = mr_packed_create(shape->op, model->params);
    model->width = shape->op == MR_OP_KMEANS_ASSIGN || shape->op == MR_OP_KMEANS_SUM ? 1 : model->packed->out;
    /* What must be done at least: the additions of a row to its centre, not those of zeros to the others. */
    if (shape->op == MR_OP_KMEANS_SUM || shape->op == MR_OP_SCALE) model->flops_per_row = (double)in;
    /* Hidden layers forward again, the products of all layers, and the way back but to the inputs. */
    if (shape->op == MR_OP_MLP_GRADIENT)
        model->flops_per_row = 3 * model->flops_per_row - 2.0 * (double)(in * out) -
                               2.0 * (double)(model->layer[count - 1].in * model->layer[count - 1].out);
    if (shape->op == MR_OP_MF_ESTIMATE) model->flops_per_row = 2.0 * (double)in;
    if (shape->op == MR_OP_MOMENTS) model->flops_per_row = 4.0 * (double)in;
}

static void model_free(struct model *model)
{
    mr_packed_free(model->packed);
    free((void *)(uintptr_t)model->mf.user_factor);
    free((void *)(uintptr_t)model->mf.user_bias);
    free((void *)(uintptr_t)model->mf.seen_first);
    free((void *)(uintptr_t)model->mf.seen);
    for (size_t i = 0; i < model->mlp.layer_count; i++) {
        free((void *)(uintptr_t)model->layer[i].w);
        free((void *)(uintptr_t)model->layer[i].b);
    }
}

/* Of a device the time that passes; where that is this CPU, the time that all threads together take of it. */
static double device_seconds(bool is_host)
{
    struct timespec now;
    clock_gettime(is_host ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

struct buffers {
    float *x, *y;
    int32_t *class_index;
    double *label, *sums;
    void *scratch;
};

/* What is measured: a kernel, or a plan of a backend. */
struct subject {
    const struct mr_kernel *kernel;
    const struct device *device;
    struct mr_plan *plan;
};

static double device_call_many(const struct subject *subject, const struct model *model, const struct buffers *b,
                               size_t rows, size_t calls)
{
    const struct device *const device = subject->device;
    const struct mr_sum_target target = {.label = b->label, .y = b->y, .class_index = b->class_index};
    struct mr_scores scores = {.y = b->y, .class_index = b->class_index};
    struct mr_err err;
    const bool is_host = device->ops->is_host && device->ops->is_host(device->backend);
    const double start = device_seconds(is_host);
    for (size_t i = 0; i < calls; i++) {
        mr_status status = model->packed->sum_count
                               ? device->ops->sum(device->queue, subject->plan, b->x, rows, &target, b->sums, &err)
                               : device->ops->score(device->queue, subject->plan, b->x, rows, &scores, &err);
        if (!status) status = device->ops->wait(device->queue, &err);
        if (status) {
            fprintf(stderr, "bench_kernels: %s\n", err.text);
            exit(69);
        }
    }
    return device_seconds(is_host) - start;
}

static double call_many(const struct subject *subject, const struct model *model, const struct buffers *b,
                        unsigned want, size_t rows, size_t calls)
{
    const struct mr_kernel *const kernel = subject->kernel;
    if (!kernel) return device_call_many(subject, model, b, rows, calls);
    const struct mr_sum_target target = {.label = b->label, .y = b->y, .class_index = b->class_index};
    const double start = cpu_seconds();
    for (size_t i = 0; kernel->sum && i < calls; i++)
        kernel->sum(b->x, model->packed, &target, b->sums, b->scratch, rows);
    for (size_t i = 0; kernel->score && i < calls; i++) {
        kernel->score(b->x, model->packed, want & MR_WANT_Y ? b->y : NULL, want & MR_WANT_CLASS ? b->class_index : NULL,
                      b->scratch, rows);
    }
    return cpu_seconds() - start;
}

struct figure {
    double row_ns;     /* median */
    double peak_flops; /* median of the peaks measured between the repetitions: clocks change */
};

static struct figure figure_measure(const struct subject *subject, const struct model *model,
                                    const struct buffers *buffers, unsigned want, size_t rows, const struct peak *peak,
                                    const struct settings *settings)
{
    double times[REPETITIONS_MAX], peaks[REPETITIONS_MAX];
    size_t calls = 1;
    while (call_many(subject, model, buffers, want, rows, calls) < settings->min_time_s / 4) calls *= 2;
    calls *= 4;
    for (size_t i = 0; i < settings->repetitions; i++) {
        peaks[i] = peak_rate(peak);
        times[i] = call_many(subject, model, buffers, want, rows, calls) / (double)calls / (double)rows;
    }
    return (struct figure){median(times, settings->repetitions) * 1e9, median(peaks, settings->repetitions)};
}

static void case_print(struct settings *settings, const char *name, const struct model *model, size_t rows,
                       unsigned want, struct figure figure)
{
    const double ns = figure.row_ns, peak = figure.peak_flops * 1e-9, gflops = model->flops_per_row / ns;
    const double bytes = 4.0 * ((double)model->packed->in + (want & MR_WANT_Y ? (double)model->width : 0) +
                                (want & MR_WANT_CLASS ? 1 : 0));
    printf("%-62s %10.3f %12.4g %9.2f %8.2f %8.1f %6.1f%%\n", name, ns, 1e9 / ns, gflops, bytes / ns, peak,
           100 * gflops / peak);
    fflush(stdout);
    if (!settings->json) return;
    fprintf(
        settings->json,
        "%s    {\"name\": \"%s\", \"rows\": %zu, \"ns_per_row\": %.5g, \"rows_per_s\": %.6g, \"gflop_per_s\": %.5g, "
        "\"gb_per_s\": %.5g, \"peak_gflop_per_s\": %.5g, \"peak_share\": %.4g}",
        settings->printed++ ? ",\n" : "", name, rows, ns, 1e9 / ns, gflops, bytes / ns, peak, gflops / peak);
}

static bool is_sum(mr_op op)
{
    const struct mr_kernel *const kernel = mr_kernel_select(op, "ref");
    return kernel && kernel->sum;
}

static void name_print(char *name, size_t bytes, const char *variant, const struct shape *shape, const char *want,
                       size_t batch)
{
    static const char *const losses[] = {"squared", "huber", "log"};
    char widths[64] = "", kind[64] = "-";
    for (size_t i = 0; i <= LAYERS_MAX && shape->width[i]; i++) {
        snprintf(widths + strlen(widths), sizeof widths - strlen(widths), "%s%zu", i ? "-" : "", shape->width[i]);
    }
    if (shape->op <= MR_OP_LINEAR_SCORE || shape->op == MR_OP_MLP_BF16 || shape->op == MR_OP_MLP_INT8)
        snprintf(kind, sizeof kind, "%s-%s", mr_activation_name(shape->hidden), mr_activation_name(shape->last));
    if (shape->op == MR_OP_LINEAR_SUM) snprintf(kind, sizeof kind, "%s", losses[shape->loss]);
    snprintf(name, bytes, "%s/%s/%s/%s/%s/%zu", mr_op_name(shape->op), widths, kind, is_sum(shape->op) ? "sums" : want,
             variant, batch);
}

/* One subject at every batch size. */
static void subject_run(struct settings *settings, const struct shape *shape, const struct subject *subject,
                        const struct model *model, const struct buffers *buffers, size_t want, const struct peak *peak)
{
    char name[160];
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        const char *const variant = subject->kernel ? subject->kernel->variant : subject->device->name;
        if (shape->is_large && batches[i] != 64) continue;
        name_print(name, sizeof name, variant, shape, wants[want].name, batches[i]);
        if (regexec(&settings->filter, name, 0, NULL, 0)) continue;
        if (settings->only_list)
            puts(name);
        else
            case_print(settings, name, model, batches[i], wants[want].want,
                       figure_measure(subject, model, buffers, wants[want].want, batches[i], peak, settings));
    }
}

/* The backend's turn, its buffers in slabs. */
static void device_run(struct settings *settings, const struct shape *shape, const struct model *model,
                       const struct buffers *buffers, size_t want, size_t rows_max, const struct peak *peak)
{
    const struct device *const device = &settings->device;
    const size_t x_bytes = rows_max * model->packed->in * sizeof(float),
                 y_bytes = rows_max * model->width * sizeof(float),
                 class_bytes = rows_max * model->width * sizeof(int32_t);
    struct subject subject = {.device = device};
    struct buffers slabs = *buffers;
    struct mr_err err;
    if (!device->ops) return;
    if (device->ops->plan_create(device->backend, shape->op, model->params, rows_max, wants[want].want, &subject.plan,
                                 &err))
        return; /* an operation that it lacks */
    slabs.x = device->ops->slab_acquire(device->backend, x_bytes);
    slabs.y = device->ops->slab_acquire(device->backend, y_bytes);
    slabs.class_index = device->ops->slab_acquire(device->backend, class_bytes);
    memcpy(slabs.x, buffers->x, x_bytes);
    memcpy(slabs.y, buffers->y, y_bytes);
    memcpy(slabs.class_index, buffers->class_index, class_bytes);
    subject_run(settings, shape, &subject, model, &slabs, want, peak);
    device->ops->slab_release(device->backend, slabs.x, x_bytes);
    device->ops->slab_release(device->backend, slabs.y, y_bytes);
    device->ops->slab_release(device->backend, slabs.class_index, class_bytes);
    device->ops->plan_destroy(subject.plan);
}

/* Features of the rows; for matrix factorisation users, and items. */
static float *features_make(const struct shape *shape, const struct model *model, size_t rows)
{
    const size_t in = model->packed->in;
    float *const x = random_floats(rows * in, 2);
    if (!is_mf(shape->op)) return x;
    for (size_t row = 0; row < rows; row++) {
        x[mr_tile_at(row, 0, in)] = (float)((row * 2654435761u >> 7) % MF_USERS);
        if (in > 1 && model->mf.items) x[mr_tile_at(row, 1, in)] = (float)((row * 2246822519u >> 7) % model->mf.items);
    }
    return x;
}

static void shape_run(struct settings *settings, const struct shape *shape, const struct peak *peak)
{
    struct model model;
    if (shape->is_large && !settings->has_large) return;
    model_make(&model, shape);
    const size_t rows_max = batches[sizeof batches / sizeof *batches - 1];
    struct buffers buffers = {.x = features_make(shape, &model, rows_max),
                              .y = memory_acquire(rows_max * model.width * sizeof(float)),
                              .class_index = memory_acquire(rows_max * model.width * sizeof(int32_t)),
                              .label = memory_acquire(rows_max * sizeof(double)),
                              .sums = memory_acquire((mr_packed_sum_count(model.packed) + 1) * sizeof(double)),
                              .scratch = memory_acquire(mr_packed_scratch_bytes(model.packed))};
    for (size_t row = 0; row < rows_max; row++) {
        buffers.class_index[row] = (int32_t)((row * 2654435761u >> 7) % model.packed->out);
        buffers.label[row] = (double)buffers.class_index[row];
        for (size_t o = 0; o < model.width; o++) buffers.y[mr_tile_at(row, o, model.width)] = 1 / (float)(2 + row % 7);
    }
    for (size_t w = 0; w < sizeof wants / sizeof *wants; w++) {
        if (wants[w].want == MR_WANT_CLASS && shape->op != MR_OP_KMEANS_ASSIGN &&
            (!is_mf(shape->op) || shape->op == MR_OP_MF_ESTIMATE) && shape->last != MR_ACT_SOFTMAX &&
            shape->last != MR_ACT_SIGMOID)
            continue;
        for (size_t k = 0; k < mr_kernel_count; k++) {
            const struct subject subject = {.kernel = &mr_kernels[k]};
            if (mr_kernels[k].op != shape->op || !mr_kernel_is_available(&mr_kernels[k], NULL)) continue;
            subject_run(settings, shape, &subject, &model, &buffers, w, peak);
        }
        device_run(settings, shape, &model, &buffers, w, rows_max, peak);
    }
    free(buffers.x);
    free(buffers.y);
    free(buffers.class_index);
    free(buffers.scratch);
    free(buffers.label);
    free(buffers.sums);
    model_free(&model);
}

/* Opens NAME or NAME:VARIANT; exit code. */
static int device_open(struct device *device, const char *which)
{
    const char *const colon = strchr(which, ':');
    struct mr_err err;
    snprintf(device->name, sizeof device->name, "%.*s", colon ? (int)(colon - which) : 63, which);
    device->ops = mr_backend_find(device->name);
    if (!device->ops) {
        fprintf(stderr, "bench_kernels: --backend: no backend \"%s\"\n", device->name);
        return 64;
    }
    mr_status status = device->ops->open(colon ? colon + 1 : NULL, &device->backend, &err);
    if (!status) status = device->ops->queue_open(device->backend, &device->queue, &err);
    if (!status) {
        printf("%s\n", device->ops->describe(device->backend));
        return 0;
    }
    fprintf(stderr, "bench_kernels: %s\n", err.text);
    return 69;
}

static void device_close(const struct device *device)
{
    if (!device->ops) return;
    device->ops->queue_close(device->queue);
    device->ops->close(device->backend);
}

static int usage(void)
{
    fputs("usage: bench_kernels [--filter REGEX] [--backend NAME[:VARIANT]] [--batch ROWS] [--repetitions N] "
          "[--min-time SECONDS] [--large] [--json FILE] [--list]\n"
          "names are operation/shape/activations/wanted/variant/batch, e.g. --filter 'avx(2|512)/1024$'\n",
          stderr);
    return 64;
}

static int settings_read(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {{"filter", required_argument, NULL, 'f'},
                                            {"repetitions", required_argument, NULL, 'r'},
                                            {"min-time", required_argument, NULL, 't'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"list", no_argument, NULL, 'l'},
                                            {"large", no_argument, NULL, 'L'},
                                            {"backend", required_argument, NULL, 'b'},
                                            {"batch", required_argument, NULL, 'n'},
                                            {0}};
    const char *filter = "", *backend = NULL;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'f':
            filter = optarg;
            break;
        case 'r':
            settings->repetitions = strtoul(optarg, NULL, 10);
            break;
        case 't':
            settings->min_time_s = strtod(optarg, NULL);
            break;
        case 'j':
            settings->json = fopen(optarg, "we");
            if (!settings->json) {
                perror(optarg);
                return 74;
            }
            break;
        case 'L':
            settings->has_large = true;
            break;
        case 'b':
            backend = optarg;
            break;
        case 'n':
            batches[sizeof batches / sizeof *batches - 1] = strtoul(optarg, NULL, 10);
            break;
        case 'l':
            settings->only_list = true;
            break;
        default:
            return usage();
        }
    }
    if (optind < argc || !settings->repetitions || batches[sizeof batches / sizeof *batches - 1] < 64 ||
        settings->repetitions > REPETITIONS_MAX || !(settings->min_time_s > 0) ||
        regcomp(&settings->filter, filter, REG_EXTENDED | REG_NOSUB)) {
        return usage();
    }
    return backend ? device_open(&settings->device, backend) : 0;
}

int main(int argc, char **argv)
{
    struct settings settings = {.repetitions = 9, .min_time_s = 0.02};
    const int wrong = settings_read(&settings, argc, argv);
    if (wrong) return wrong;
    struct peak peaks[MR_OP_COUNT] = {0};
    if (!settings.only_list) peaks_find(settings.repetitions, peaks);
    if (settings.json) {
        fprintf(settings.json,
                "{\n  \"program\": \"bench_kernels " MR_VERSION "\",\n    \"repetitions\": %zu,\n  \"benchmarks\": [\n",
                settings.repetitions);
    }
    if (!settings.only_list)
        printf("%-62s %10s %12s %9s %8s %8s %7s\n", "benchmark", "ns/row", "rows/s", "GFLOP/s", "GB/s", "peak",
               "of peak");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) shape_run(&settings, &shapes[i], &peaks[shapes[i].op]);
    if (settings.json) {
        fputs("\n  ]\n}\n", settings.json);
        if (fclose(settings.json)) return 74;
    }
    device_close(&settings.device);
    regfree(&settings.filter);
    return 0;
}
