/*
 * Queues: a stream, the device's copies of what its batches read and write, and an event to wait for.
 *
 * A batch (a round) is what is started between two waits: upload, kernels and download follow each other on the stream
 * without the host. What was uploaded or computed in a round is not uploaded again in it; a sum may use what score()
 * left even after wait(), until the next score().
 */
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/mirror.h"
#include "backend/cuda/profile.h"

struct mr_queue {
    struct mr_backend *backend;
    struct CUstream_st *stream;
    struct CUevent_st *done; /* whoever waits for it sleeps: a core belongs to the lanes and to the Kafka client, and
                                what a wake-up costs, some 10 us, is little beside a batch that is worth a GPU */
    bool is_busy;            /* something was started since the last wait */
    bool is_waited;          /* the round was waited for: the next score begins another one */
    struct mr_cuda_mirrors mirrors;
    mr_cuda_ptr scratch_dev;
    size_t scratch_bytes;
    float *label_pin, *partial_pin; /* of sums on their way */
    size_t label_bytes, partial_bytes;
    const struct mr_device_program *summed; /* a sum that wait() has to finish; NULL: none */
    size_t summed_rows;
    double *sums;
    struct mr_cuda_profile profile;
};

mr_status mr_cuda_queue_open(struct mr_backend *backend, struct mr_queue **queue_out, struct mr_err *err)
{
    struct mr_queue *const queue = calloc(1, sizeof *queue);
    *queue_out = NULL;
    if (!queue) return mr_fail(err, MR_ENOMEM, "backend cuda: out of memory");
    queue->backend = backend;
    queue->is_waited = true;
    mr_status status = MR_CUDA(backend, err, CtxSetCurrent, backend->context);
    if (!status) status = MR_CUDA(backend, err, StreamCreate, &queue->stream, MR_CUDA_STREAM_NON_BLOCKING);
    if (!status)
        status = MR_CUDA(backend, err, EventCreate, &queue->done,
                         MR_CUDA_EVENT_BLOCKING_SYNC | MR_CUDA_EVENT_DISABLE_TIMING);
    if (status)
        mr_cuda_queue_close(queue);
    else
        *queue_out = queue;
    return status;
}

/* After an error: nothing of this queue runs any more, and nothing of it counts. */
static void queue_drain(struct mr_queue *queue)
{
    if (queue->stream) MR_CUDA_RELEASE(queue->backend, StreamSynchronize, queue->stream);
    queue->mirrors.round++;
    queue->is_busy = false;
    queue->is_waited = true;
    queue->summed = NULL;
    mr_cuda_profile_forget(&queue->profile);
}

void mr_cuda_queue_close(struct mr_queue *queue)
{
    if (!queue) return;
    struct mr_backend *const backend = queue->backend;
    MR_CUDA_RELEASE(backend, CtxSetCurrent, backend->context);
    if (queue->is_busy) queue_drain(queue);
    mr_cuda_mirrors_free(backend, &queue->mirrors);
    if (queue->scratch_dev) MR_CUDA_RELEASE(backend, MemFree, queue->scratch_dev);
    if (queue->label_pin) MR_CUDA_RELEASE(backend, MemFreeHost, queue->label_pin);
    if (queue->partial_pin) MR_CUDA_RELEASE(backend, MemFreeHost, queue->partial_pin);
    mr_cuda_profile_close(&queue->profile, backend);
    if (queue->done) MR_CUDA_RELEASE(backend, EventDestroy, queue->done);
    if (queue->stream) MR_CUDA_RELEASE(backend, StreamDestroy, queue->stream);
    free(queue);
}

/* The device's copy of what the host has at `host`, uploaded when it is not there. is_scored: for score(). */
static mr_status input_get(struct mr_queue *queue, const void *host, size_t bytes, size_t bytes_cap, bool is_scored,
                           mr_cuda_ptr *dev_out, struct mr_err *err)
{
    struct mr_cuda_mirror *mirror;
    mr_status status =
        mr_cuda_mirror_get(queue->backend, &queue->mirrors, queue->stream, host, bytes, bytes_cap, &mirror, err);
    if (status) return status;
    if (mirror->valid_bytes < bytes) {
        status = MR_CUDA(queue->backend, err, MemcpyHtoDAsync, mirror->dev, host, bytes, queue->stream);
        if (!status) mirror->valid_bytes = bytes;
        mirror->is_scored = is_scored;
    }
    *dev_out = mirror->dev;
    return status;
}

/* Room for what kernels write. */
static mr_status output_get(struct mr_queue *queue, const void *host, size_t bytes, size_t bytes_cap,
                            struct mr_cuda_mirror **mirror_out, struct mr_err *err)
{
    const mr_status status =
        mr_cuda_mirror_get(queue->backend, &queue->mirrors, queue->stream, host, bytes, bytes_cap, mirror_out, err);
    if (status) return status;
    (*mirror_out)->valid_bytes = 0;
    (*mirror_out)->is_scored = true;
    return MR_OK;
}

/* Scratch grows with the first batch of a model that needs more, never afterwards. */
static mr_status scratch_grow(struct mr_queue *queue, size_t bytes, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (bytes <= queue->scratch_bytes) return MR_OK;
    if (queue->scratch_dev) status = MR_CUDA(queue->backend, err, StreamSynchronize, queue->stream);
    if (status) return status;
    if (queue->scratch_dev) MR_CUDA_RELEASE(queue->backend, MemFree, queue->scratch_dev);
    queue->scratch_dev = 0;
    queue->scratch_bytes = 0;
    status = MR_CUDA(queue->backend, err, MemAlloc, &queue->scratch_dev, bytes);
    if (!status) queue->scratch_bytes = bytes;
    return status;
}

/* Pinned host memory of the queue's own. Nothing may be on its way from or to it. */
static mr_status pinned_grow(struct mr_queue *queue, float **memory_pin, size_t *bytes, size_t wanted,
                             struct mr_err *err)
{
    void *fresh_pin = NULL;
    if (wanted <= *bytes) return MR_OK;
    const mr_status status = MR_CUDA(queue->backend, err, MemHostAlloc, &fresh_pin, wanted, MR_CUDA_MEMHOST_PORTABLE);
    if (status) return status;
    if (*memory_pin) MR_CUDA_RELEASE(queue->backend, MemFreeHost, *memory_pin);
    *memory_pin = fresh_pin;
    *bytes = wanted;
    return MR_OK;
}

/* What MR_KERNEL_ARGS (kernels/gpu.h) names, in its order. */
struct arguments {
    mr_cuda_ptr x, model, y, class_index, label, scratch;
    uint32_t rows, step;
};

static mr_status steps_launch(struct mr_queue *queue, const struct mr_plan *plan, struct arguments *arguments,
                              struct mr_err *err)
{
    void *at[] = {&arguments->x,     &arguments->model,   &arguments->y,    &arguments->class_index,
                  &arguments->label, &arguments->scratch, &arguments->rows, &arguments->step};
    mr_status status = MR_OK;
    arguments->model = plan->model_dev;
    arguments->scratch = queue->scratch_dev;
    for (size_t i = 0; i < plan->program->step_count && !status; i++) {
        const struct mr_device_step *const step = &plan->program->step[i];
        arguments->step = step->step;
        status = MR_CUDA(queue->backend, err, LaunchKernel, plan->function[i],
                         (unsigned)mr_device_groups(step, arguments->rows), 1, 1, step->threads, 1, 1,
                         (unsigned)step->shared_bytes, queue->stream, at, NULL);
    }
    return status;
}

/* The thread's context, and that the rows fit what the plan was made for. */
static mr_status work_begin(struct mr_queue *queue, const struct mr_plan *plan, size_t row_count, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    if (row_count > program->row_cap)
        return mr_fail(err, MR_EINVARIANT, "backend cuda: %zu rows for a plan of at most %zu", row_count,
                       program->row_cap);
    mr_status status = MR_CUDA(queue->backend, err, CtxSetCurrent, queue->backend->context);
    if (!status) status = scratch_grow(queue, program->scratch_bytes, err);
    if (!status) queue->is_busy = true;
    return status;
}

/* Upload, kernels, download: all on the stream, none waited for. */
static mr_status score_start(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t rows,
                             struct mr_scores *scores, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    const size_t y_bytes = mr_device_y_bytes(program, rows), class_bytes = mr_device_class_bytes(program, rows);
    int32_t *const class_host = mr_device_class_of(program, scores);
    struct arguments arguments = {.rows = (uint32_t)rows};
    struct mr_cuda_mirror *y = NULL, *class_index = NULL;
    mr_status status = work_begin(queue, plan, rows, err);
    if (status) return status;
    status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_PHASES, err);
    if (!status)
        status = input_get(queue, x, mr_device_x_bytes(program, rows), mr_device_x_bytes(program, program->row_cap),
                           true, &arguments.x, err);
    if (!status && y_bytes)
        status = output_get(queue, scores->y, y_bytes, mr_device_y_bytes(program, program->row_cap), &y, err);
    if (!status && class_bytes)
        status = output_get(queue, class_host, class_bytes, mr_device_class_bytes(program, program->row_cap),
                            &class_index, err);
    if (y) arguments.y = y->dev;
    if (class_index) arguments.class_index = class_index->dev;
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_UPLOAD, err);
    if (!status) status = steps_launch(queue, plan, &arguments, err);
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_KERNEL, err);
    if (!status && y) status = MR_CUDA(queue->backend, err, MemcpyDtoHAsync, scores->y, y->dev, y_bytes, queue->stream);
    if (!status && class_index)
        status =
            MR_CUDA(queue->backend, err, MemcpyDtoHAsync, class_host, class_index->dev, class_bytes, queue->stream);
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_DOWNLOAD, err);
    if (!status && y) y->valid_bytes = y_bytes;
    if (!status && class_index) class_index->valid_bytes = class_bytes;
    return status;
}

mr_status mr_cuda_score(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                        struct mr_scores *scores, struct mr_err *err)
{
    if (!row_count) return MR_OK;
    if (queue->is_waited) queue->mirrors.round++;
    queue->is_waited = false;
    const mr_status status = score_start(queue, plan, x, row_count, scores, err);
    if (status) queue_drain(queue);
    return status;
}

/* Labels go up in a form that kernels read; what a sum before left on its way was waited for. */
static mr_status label_upload(struct mr_queue *queue, const struct mr_device_program *program, const double *label,
                              size_t rows, mr_cuda_ptr *dev_out, struct mr_err *err)
{
    const size_t bytes = mr_device_label_bytes(program, rows), cap = mr_device_label_bytes(program, program->row_cap);
    struct mr_cuda_mirror *mirror;
    mr_status status = pinned_grow(queue, &queue->label_pin, &queue->label_bytes, cap, err);
    if (status) return status;
    mr_device_labels_split(label, rows, queue->label_pin);
    status = output_get(queue, queue->label_pin, bytes, cap, &mirror, err);
    if (status) return status;
    *dev_out = mirror->dev;
    return MR_CUDA(queue->backend, err, MemcpyHtoDAsync, mirror->dev, queue->label_pin, bytes, queue->stream);
}

static mr_status sum_start(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t rows,
                           const struct mr_sum_target *target, struct mr_err *err)
{
    const struct mr_device_program *const program = plan->program;
    const size_t y_bytes = mr_device_y_bytes(program, rows), class_bytes = mr_device_class_bytes(program, rows);
    const size_t partial_bytes = mr_device_partial_bytes(program, rows);
    struct arguments arguments = {.rows = (uint32_t)rows};
    mr_status status = work_begin(queue, plan, rows, err);
    if (!status)
        status = pinned_grow(queue, &queue->partial_pin, &queue->partial_bytes,
                             mr_device_partial_bytes(program, program->row_cap), err);
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_PHASES, err);
    if (!status)
        status = input_get(queue, x, mr_device_x_bytes(program, rows), mr_device_x_bytes(program, program->row_cap),
                           false, &arguments.x, err);
    if (!status && y_bytes)
        status = input_get(queue, target->y, y_bytes, mr_device_y_bytes(program, program->row_cap), false, &arguments.y,
                           err);
    if (!status && class_bytes)
        status = input_get(queue, target->class_index, class_bytes, mr_device_class_bytes(program, program->row_cap),
                           false, &arguments.class_index, err);
    if (!status && mr_device_label_bytes(program, rows))
        status = label_upload(queue, program, target->label, rows, &arguments.label, err);
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_UPLOAD, err);
    if (!status) status = steps_launch(queue, plan, &arguments, err);
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_KERNEL, err);
    if (!status)
        status = MR_CUDA(queue->backend, err, MemcpyDtoHAsync, queue->partial_pin, queue->scratch_dev, partial_bytes,
                         queue->stream);
    if (!status) status = mr_cuda_profile_mark(&queue->profile, queue->backend, queue->stream, MR_CUDA_DOWNLOAD, err);
    return status;
}

mr_status mr_cuda_sum(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                      const struct mr_sum_target *target, double *sums, struct mr_err *err)
{
    mr_status status = MR_OK;
    if (!row_count) {
        mr_device_sums(plan->program, NULL, 0, sums);
        return MR_OK;
    }
    if (queue->summed) status = mr_cuda_wait(queue, err); /* its labels and partial sums are on their way */
    if (!status) status = sum_start(queue, plan, x, row_count, target, err);
    if (status) {
        queue_drain(queue);
        return status;
    }
    queue->summed = plan->program;
    queue->summed_rows = row_count;
    queue->sums = sums;
    return MR_OK;
}

mr_status mr_cuda_wait(struct mr_queue *queue, struct mr_err *err)
{
    struct mr_backend *const backend = queue->backend;
    if (!queue->is_busy) return atomic_load(&backend->is_lost) ? mr_cuda_lost(backend, err) : MR_OK;
    mr_status status = MR_CUDA(backend, err, CtxSetCurrent, backend->context);
    if (!status) status = MR_CUDA(backend, err, EventRecord, queue->done, queue->stream);
    if (!status) status = MR_CUDA(backend, err, EventSynchronize, queue->done);
    if (!status) status = mr_cuda_profile_take(&queue->profile, backend, err);
    if (status) {
        queue_drain(queue);
        return status;
    }
    if (queue->summed) mr_device_sums(queue->summed, queue->partial_pin, queue->summed_rows, queue->sums);
    queue->summed = NULL;
    mr_cuda_mirrors_waited(&queue->mirrors);
    queue->is_busy = false;
    queue->is_waited = true;
    return MR_OK;
}

mr_status mr_cuda_queue_profile(struct mr_queue *queue, struct mr_err *err)
{
    const mr_status status = MR_CUDA(queue->backend, err, CtxSetCurrent, queue->backend->context);
    return status ? status : mr_cuda_profile_open(&queue->profile, queue->backend, err);
}

const double *mr_cuda_queue_times(const struct mr_queue *queue)
{
    return queue->profile.ms;
}
