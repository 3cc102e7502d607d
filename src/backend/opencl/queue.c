/*
 * One slot's work in order: uploads, the launches of a program, downloads. Slabs of a CPU device are memory of the
 * device themselves and not copied.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/opencl/opencl.h"

static const char *const kernel_symbols[MR_CL_KERNELS] = {
#define MR_GPU_KERNEL(name, shares) "mr_gpu_" #name,
#define MR_GPU_KERNEL_WIDE(name)    "mr_gpu_" #name,
#include "kernels/gpu.def"
#undef MR_GPU_KERNEL
#undef MR_GPU_KERNEL_WIDE
};

struct buffer {
    struct cl_memory *memory;
    size_t bytes;
};

struct mr_queue {
    struct mr_backend *backend;
    struct cl_queue *queue;
    struct cl_kernel *kernel[MR_CL_KERNELS]; /* made when needed: arguments of a kernel are not thread-safe */
    struct buffer x, y, class_index, label, scratch;
    float *label_parts, *partial; /* what goes up, and comes down, of a sum */
    size_t label_bytes, partial_bytes;
    struct {
        const struct mr_device_program *program; /* NULL: nothing */
        size_t rows;
        double *sums;
    } pending; /* a sum whose partial sums wait() adds up */
};

mr_status mr_cl_queue_open(struct mr_backend *backend, struct mr_queue **queue_out, struct mr_err *err)
{
    struct mr_queue *const queue = calloc(1, sizeof *queue);
    int result = 0;
    *queue_out = NULL;
    if (!queue) return mr_fail(err, MR_ENOMEM, "backend opencl: out of memory");
    queue->backend = backend;
    queue->queue = backend->api.CreateCommandQueue(backend->context, backend->device, 0, &result);
    const mr_status status = mr_cl_check(backend, result, "clCreateCommandQueue", err);
    if (status)
        mr_cl_queue_close(queue);
    else
        *queue_out = queue;
    return status;
}

static void buffer_release(struct mr_queue *queue, struct buffer *buffer)
{
    if (buffer->memory) queue->backend->api.ReleaseMemObject(buffer->memory);
    *buffer = (struct buffer){0};
}

void mr_cl_queue_close(struct mr_queue *queue)
{
    if (!queue) return;
    const struct mr_cl_api *const api = &queue->backend->api;
    if (queue->queue) api->Finish(queue->queue);
    struct buffer *const own[] = {&queue->x, &queue->y, &queue->class_index, &queue->label, &queue->scratch};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) buffer_release(queue, own[i]);
    for (size_t i = 0; i < MR_CL_KERNELS; i++) {
        if (queue->kernel[i]) api->ReleaseKernel(queue->kernel[i]);
    }
    if (queue->queue) api->ReleaseCommandQueue(queue->queue);
    free(queue->label_parts);
    free(queue->partial);
    free(queue);
}

/* After an error: what was started is no longer on its way to memory that the caller goes on with, and counts for
 * nothing. */
static mr_status queue_drain(struct mr_queue *queue, mr_status status)
{
    queue->backend->api.Finish(queue->queue);
    queue->pending.program = NULL;
    return status;
}

/* Device memory of at least so many bytes: grows with the first batches, never afterwards. */
static mr_status buffer_grow(struct mr_queue *queue, struct buffer *buffer, size_t bytes, struct mr_err *err)
{
    const struct mr_cl_api *const api = &queue->backend->api;
    int result = 0;
    if (bytes <= buffer->bytes) return MR_OK;
    result = api->Finish(queue->queue);
    if (result) return mr_cl_check(queue->backend, result, "clFinish", err);
    buffer_release(queue, buffer);
    buffer->memory = api->CreateBuffer(queue->backend->context, MR_CL_READ_WRITE, bytes, NULL, &result);
    if (buffer->memory) buffer->bytes = bytes;
    return mr_cl_check(queue->backend, result, "clCreateBuffer", err);
}

/* A buffer for `bytes` of host memory, whose contents it gets when is_input; no bytes: NULL. */
static mr_status buffer_take(struct mr_queue *queue, struct buffer *own, const void *host, size_t bytes, bool is_input,
                             struct cl_memory **memory_out, struct mr_err *err)
{
    *memory_out = NULL;
    if (!bytes) return MR_OK;
    *memory_out = mr_cl_slab_memory(queue->backend, host);
    if (*memory_out) return MR_OK;
    const mr_status status = buffer_grow(queue, own, bytes, err);
    *memory_out = own->memory;
    if (status || !is_input) return status;
    return mr_cl_check(
        queue->backend,
        queue->backend->api.EnqueueWriteBuffer(queue->queue, own->memory, 0, 0, bytes, host, 0, NULL, NULL),
        "clEnqueueWriteBuffer", err);
}

/* What a kernel wrote, to the host. */
static mr_status buffer_give(struct mr_queue *queue, const struct buffer *own, struct cl_memory *memory, void *host,
                             size_t bytes, struct mr_err *err)
{
    if (!bytes || memory != own->memory) return MR_OK;
    return mr_cl_check(queue->backend,
                       queue->backend->api.EnqueueReadBuffer(queue->queue, memory, 0, 0, bytes, host, 0, NULL, NULL),
                       "clEnqueueReadBuffer", err);
}

/* The arguments of MR_KERNEL_ARGS. */
struct arguments {
    struct cl_memory *x, *y, *class_index, *label;
    uint32_t rows;
};

static mr_status step_launch(struct mr_queue *queue, const struct mr_plan *plan, size_t i, const struct arguments *args,
                             struct mr_err *err)
{
    const struct mr_cl_api *const api = &queue->backend->api;
    const struct mr_device_step *const step = &plan->program->step[i];
    struct cl_kernel **const kernel = &queue->kernel[plan->kernel[i]];
    int result = 0;
    if (!*kernel) *kernel = api->CreateKernel(queue->backend->program, kernel_symbols[plan->kernel[i]], &result);
    if (!*kernel) return mr_cl_check(queue->backend, result, "clCreateKernel", err);
    const struct {
        size_t bytes;
        const void *value;
    } all[] = {{sizeof args->x, &args->x},         {sizeof plan->model_dev, &plan->model_dev},
               {sizeof args->y, &args->y},         {sizeof args->class_index, &args->class_index},
               {sizeof args->label, &args->label}, {sizeof queue->scratch.memory, &queue->scratch.memory},
               {sizeof args->rows, &args->rows},   {sizeof step->step, &step->step},
               {step->shared_bytes, NULL}};
    for (unsigned a = 0; a < sizeof all / sizeof *all && !result; a++)
        result = api->SetKernelArg(*kernel, a, all[a].bytes, all[a].value);
    if (result) return mr_cl_check(queue->backend, result, "clSetKernelArg", err);
    const size_t threads = step->threads, global = mr_device_groups(step, args->rows) * threads;
    return mr_cl_check(queue->backend,
                       api->EnqueueNDRangeKernel(queue->queue, *kernel, 1, NULL, &global, &threads, 0, NULL, NULL),
                       "clEnqueueNDRangeKernel", err);
}

static mr_status program_launch(struct mr_queue *queue, const struct mr_plan *plan, const struct arguments *args,
                                struct mr_err *err)
{
    mr_status status = buffer_grow(queue, &queue->scratch, plan->program->scratch_bytes, err);
    for (size_t i = 0; i < plan->program->step_count && !status; i++) status = step_launch(queue, plan, i, args, err);
    return status;
}

mr_status mr_cl_score(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                      struct mr_scores *scores, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    const size_t y_bytes = mr_device_y_bytes(program, row_count),
                 class_bytes = mr_device_class_bytes(program, row_count);
    int32_t *const class_index = mr_device_class_of(program, scores);
    struct arguments args = {.rows = (uint32_t)row_count};
    if (!row_count) return MR_OK;
    mr_status status = buffer_take(queue, &queue->x, x, mr_device_x_bytes(program, row_count), true, &args.x, err);
    if (!status) status = buffer_take(queue, &queue->y, scores->y, y_bytes, false, &args.y, err);
    if (!status)
        status = buffer_take(queue, &queue->class_index, class_index, class_bytes, false, &args.class_index, err);
    if (!status) status = program_launch(queue, plan, &args, err);
    if (!status) status = buffer_give(queue, &queue->y, args.y, scores->y, y_bytes, err);
    if (!status) status = buffer_give(queue, &queue->class_index, args.class_index, class_index, class_bytes, err);
    if (!status) status = mr_cl_check(queue->backend, queue->backend->api.Flush(queue->queue), "clFlush", err);
    return status ? queue_drain(queue, status) : MR_OK;
}

static mr_status host_grow(float **memory, size_t *has, size_t bytes, struct mr_err *err)
{
    void *fresh;
    if (bytes <= *has) return MR_OK;
    if (posix_memalign(&fresh, 4096, bytes))
        return mr_fail(err, MR_ENOMEM, "backend opencl: out of memory for %zu bytes of sums", bytes);
    free(*memory);
    *memory = fresh;
    *has = bytes;
    return MR_OK;
}

/* The labels in two parts, on the device. */
static mr_status labels_take(struct mr_queue *queue, const struct mr_device_program *program, const double *label,
                             size_t rows, struct cl_memory **memory_out, struct mr_err *err)
{
    const size_t bytes = mr_device_label_bytes(program, rows);
    *memory_out = NULL;
    if (!bytes) return MR_OK;
    const mr_status status = host_grow(&queue->label_parts, &queue->label_bytes, bytes, err);
    if (status) return status;
    mr_device_labels_split(label, rows, queue->label_parts);
    return buffer_take(queue, &queue->label, queue->label_parts, bytes, true, memory_out, err);
}

mr_status mr_cl_sum(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                    const struct mr_sum_target *target, double *sums, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    const size_t bytes = mr_device_partial_bytes(program, row_count), y_bytes = mr_device_y_bytes(program, row_count),
                 class_bytes = mr_device_class_bytes(program, row_count);
    struct arguments args = {.rows = (uint32_t)row_count};
    /* One at a time: labels and partial sums have one place on the host. */
    mr_status status = queue->pending.program ? mr_cl_wait(queue, err) : MR_OK;
    if (status) return status;
    if (!row_count) {
        mr_device_sums(program, NULL, 0, sums);
        return MR_OK;
    }
    status = buffer_take(queue, &queue->x, x, mr_device_x_bytes(program, row_count), true, &args.x, err);
    if (!status) status = buffer_take(queue, &queue->y, target->y, y_bytes, true, &args.y, err);
    if (!status)
        status =
            buffer_take(queue, &queue->class_index, target->class_index, class_bytes, true, &args.class_index, err);
    if (!status) status = labels_take(queue, program, target->label, row_count, &args.label, err);
    if (!status) status = host_grow(&queue->partial, &queue->partial_bytes, bytes, err);
    if (!status) status = program_launch(queue, plan, &args, err);
    if (!status)
        status = mr_cl_check(queue->backend,
                             queue->backend->api.EnqueueReadBuffer(queue->queue, queue->scratch.memory, 0, 0, bytes,
                                                                   queue->partial, 0, NULL, NULL),
                             "clEnqueueReadBuffer", err);
    if (!status) status = mr_cl_check(queue->backend, queue->backend->api.Flush(queue->queue), "clFlush", err);
    if (status) return queue_drain(queue, status);
    queue->pending.program = program;
    queue->pending.rows = row_count;
    queue->pending.sums = sums;
    return MR_OK;
}

mr_status mr_cl_wait(struct mr_queue *queue, struct mr_err *err)
{
    const mr_status status = mr_cl_check(queue->backend, queue->backend->api.Finish(queue->queue), "clFinish", err);
    if (!status && queue->pending.program)
        mr_device_sums(queue->pending.program, queue->partial, queue->pending.rows, queue->pending.sums);
    queue->pending.program = NULL;
    return status;
}
