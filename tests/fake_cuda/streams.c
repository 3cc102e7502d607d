/* Streams: each has a thread that does its work in order, at once, or (lazy) only up to what somebody waits for. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "emulation/emulate.h"
#include "fake_cuda/fake.h"

bool fake_is_sticky(mr_cuda_result code)
{
    static const mr_cuda_result sticky[] = {46, 214, 220, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999};
    for (size_t i = 0; i < sizeof sticky / sizeof *sticky; i++) {
        if (sticky[i] == code) return true;
    }
    return false;
}

mr_cuda_result fake_stream_add(struct CUstream_st *stream, const struct fake_work *work)
{
    struct fake_work *const own = malloc(sizeof *own);
    if (!own) return MR_CUDA_ERROR_OUT_OF_MEMORY;
    *own = *work;
    own->next = NULL;
    *stream->end = own;
    stream->end = &own->next;
    stream->enqueued++;
    if (!fake.is_lazy) stream->wanted = stream->enqueued;
    pthread_cond_broadcast(&fake.changed);
    return MR_CUDA_SUCCESS;
}

void fake_stream_wait(struct CUstream_st *stream, uint64_t seq)
{
    if (stream->wanted < seq) stream->wanted = seq;
    pthread_cond_broadcast(&fake.changed);
    while (stream->done < seq) pthread_cond_wait(&fake.changed, &fake.lock);
}

/* A stream that has work left; NULL: none has. */
static struct CUstream_st *busy_find(void)
{
    for (struct fake_object *object = fake.first; object; object = object->next) {
        struct CUstream_st *const stream = (struct CUstream_st *)object;
        if (object->kind == FAKE_STREAM && stream->done < stream->enqueued) return stream;
    }
    return NULL;
}

void fake_streams_drain(void)
{
    struct CUstream_st *stream;
    while ((stream = busy_find())) fake_stream_wait(stream, stream->enqueued);
}

/* Does one piece of work, without the lock. False: a launch failed. */
static bool work_do(const struct fake_work *work)
{
    switch (work->kind) {
    case FAKE_COPY:
        memcpy(work->to, work->staged ? work->staged : work->from, work->bytes);
        return true;
    case FAKE_LAUNCH: {
        const struct mr_emulated_args args = {
            .x = work->pointer[0],
            .model = work->pointer[1],
            .y = work->pointer[2],
            .class_index = work->pointer[3],
            .label = work->pointer[4],
            .scratch = work->pointer[5],
            .rows = work->word[0],
            .step = work->word[1],
        };
        return mr_emulate_launch(work->function->name, 1, work->groups, work->group_size, work->shared_bytes, &args);
    }
    default:
        return true;
    }
}

static void mark_time(const struct fake_work *work)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    work->event->at_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    work->event->has_time = true;
}

static void stream_run(struct CUstream_st *stream)
{
    for (;;) {
        while (stream->done >= stream->wanted && !stream->is_ending) pthread_cond_wait(&fake.changed, &fake.lock);
        if (stream->done >= stream->enqueued) break;
        struct fake_work *const work = stream->first;
        stream->first = work->next;
        if (!stream->first) stream->end = &stream->first;
        if (work->is_faulty && !fake.sticky) fake.sticky = fake.fail_code;
        if (work->kind == FAKE_MARK) {
            mark_time(work);
        } else if (!fake.sticky) { /* a device with a fault does nothing any more */
            pthread_mutex_unlock(&fake.lock);
            const bool is_done = work_do(work);
            pthread_mutex_lock(&fake.lock);
            if (!is_done && !fake.sticky) fake.sticky = FAKE_LAUNCH_FAILED;
        }
        free(work->staged);
        free(work);
        stream->done++;
        pthread_cond_broadcast(&fake.changed);
    }
    stream->is_ended = true;
    pthread_cond_broadcast(&fake.changed);
}

static void *worker_run(void *of)
{
    struct fake_worker *const worker = of;
    pthread_mutex_lock(&fake.lock);
    for (;;) {
        while (!worker->stream) pthread_cond_wait(&fake.changed, &fake.lock);
        stream_run(worker->stream);
        worker->stream = NULL;
    }
    return NULL;
}

bool fake_stream_begin(struct CUstream_st *stream)
{
    struct fake_worker *worker = fake.workers;
    pthread_t thread;
    while (worker && worker->stream) worker = worker->next;
    if (worker) {
        worker->stream = stream;
        pthread_cond_broadcast(&fake.changed);
        return true;
    }
    worker = calloc(1, sizeof *worker);
    if (!worker) return false;
    worker->stream = stream;
    if (pthread_create(&thread, NULL, worker_run, worker)) {
        free(worker);
        return false;
    }
    pthread_detach(thread);
    worker->next = fake.workers;
    fake.workers = worker;
    return true;
}

void fake_stream_end(struct CUstream_st *stream)
{
    stream->is_ending = true;
    pthread_cond_broadcast(&fake.changed);
    while (!stream->is_ended) pthread_cond_wait(&fake.changed, &fake.lock);
}
