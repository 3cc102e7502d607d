/* The driver's calls about memory, streams and events. */
#include <stdlib.h>
#include <string.h>

#include "fake_cuda/fake.h"

#define MR_CUDA_CALL(name, symbol, ...) __attribute__((visibility("default"))) mr_cuda_result symbol(__VA_ARGS__);
#include "backend/cuda/calls.def"
#undef MR_CUDA_CALL

static bool is_pending(const struct fake_use *use, const struct CUstream_st *other_than)
{
    return use->stream && use->stream != other_than && use->stream->done < use->seq;
}

bool fake_device_use(const void *at, size_t bytes, bool is_written, struct CUstream_st *stream, const char *by)
{
    struct fake_memory *const memory = fake_memory_at(at, bytes, FAKE_DEVICE_MEMORY);
    if (!memory) {
        fake_misuse("%s: %zu bytes at %p are not in any memory of the device", by, bytes, at);
        return false;
    }
    if (is_pending(&memory->writer, stream) || (is_written && is_pending(&memory->reader, stream))) {
        fake_misuse("%s: %zu bytes at %p are in use on another stream, and nothing orders the two", by, memory->bytes,
                    (void *)memory->data);
        return false;
    }
    struct fake_use *const use = is_written ? &memory->writer : &memory->reader;
    *use = (struct fake_use){stream, stream->enqueued + 1};
    return true;
}

/* Room with a pattern in it that no test takes for a result: NaN as floats. Exactly as long as asked for, so that the
 * address sanitizer sees what is read past it. */
static mr_cuda_result memory_make(enum fake_kind kind, size_t bytes, void **data_out)
{
    struct fake_memory *const memory = calloc(1, sizeof *memory);
    void *data;
    if (!memory || posix_memalign(&data, 256, bytes)) {
        free(memory);
        return MR_CUDA_ERROR_OUT_OF_MEMORY;
    }
    memset(data, 0xff, bytes);
    *memory = (struct fake_memory){.data = data, .bytes = bytes};
    fake_object_add(&memory->object, kind);
    *data_out = data;
    return MR_CUDA_SUCCESS;
}

static mr_cuda_result memory_free(void *data, enum fake_kind kind, const char *call, mr_cuda_result code)
{
    struct fake_memory *const memory = fake_memory_at(data, 0, kind);
    if (!memory || memory->data != data) {
        fake_misuse("%s: %p is no such memory, or was freed before", call, data);
        return FAKE_INVALID_VALUE;
    }
    fake_streams_drain(); /* as the driver does */
    if (kind == FAKE_DEVICE_MEMORY) fake.memory_used -= memory->bytes;
    fake_object_remove(&memory->object);
    free(memory->data);
    free(memory);
    return code;
}

mr_cuda_result cuMemAlloc_v2(mr_cuda_ptr *memory_out, size_t bytes)
{
    mr_cuda_result code;
    void *data = NULL;
    fake_enter(true, "cuMemAlloc", &code, NULL);
    if (!code && !bytes) code = FAKE_INVALID_VALUE;
    if (!code && bytes > fake.memory_bytes - fake.memory_used) code = MR_CUDA_ERROR_OUT_OF_MEMORY;
    if (!code) code = memory_make(FAKE_DEVICE_MEMORY, bytes, &data);
    if (!code) {
        fake.memory_used += bytes;
        *memory_out = (mr_cuda_ptr)(uintptr_t)data;
    }
    return fake_leave(code);
}

mr_cuda_result cuMemFree_v2(mr_cuda_ptr memory)
{
    mr_cuda_result code;
    fake_enter(true, "cuMemFree", &code, NULL);
    return fake_leave(memory_free((void *)(uintptr_t)memory, FAKE_DEVICE_MEMORY, "cuMemFree", code));
}

mr_cuda_result cuMemHostAlloc(void **memory_out, size_t bytes, unsigned flags)
{
    mr_cuda_result code;
    fake_enter(true, "cuMemHostAlloc", &code, NULL);
    if (!code && (!bytes || flags & ~7u)) code = FAKE_INVALID_VALUE;
    if (!code) code = memory_make(FAKE_HOST_MEMORY, bytes, memory_out);
    return fake_leave(code);
}

mr_cuda_result cuMemFreeHost(void *memory)
{
    mr_cuda_result code;
    fake_enter(true, "cuMemFreeHost", &code, NULL);
    return fake_leave(memory_free(memory, FAKE_HOST_MEMORY, "cuMemFreeHost", code));
}

mr_cuda_result cuMemcpyHtoDAsync_v2(mr_cuda_ptr to, const void *from, size_t bytes, struct CUstream_st *stream)
{
    struct fake_work work = {.kind = FAKE_COPY, .to = (void *)(uintptr_t)to, .from = from, .bytes = bytes};
    mr_cuda_result code;
    fake_enter(true, "cuMemcpyHtoDAsync", &code, &work.is_faulty);
    if (code) return fake_leave(code);
    struct CUstream_st *const on = fake_object_find(stream, FAKE_STREAM, "cuMemcpyHtoDAsync");
    if (!on) return fake_leave(FAKE_INVALID_HANDLE);
    if (!fake_device_use(work.to, bytes, true, on, "cuMemcpyHtoDAsync")) return fake_leave(FAKE_INVALID_VALUE);
    if (!fake_memory_at(from, bytes, FAKE_HOST_MEMORY)) { /* not pinned: the driver copies it before it returns */
        if (fake_memory_at(from, 0, FAKE_HOST_MEMORY)) {
            fake_misuse("cuMemcpyHtoDAsync: %zu bytes at %p run past pinned memory", bytes, from);
            return fake_leave(FAKE_INVALID_VALUE);
        }
        work.staged = malloc(bytes + 1);
        if (!work.staged) return fake_leave(MR_CUDA_ERROR_OUT_OF_MEMORY);
        memcpy(work.staged, from, bytes);
    }
    code = fake_stream_add(on, &work);
    fake.uploads++;
    if (code) free(work.staged);
    return fake_leave(code);
}

mr_cuda_result cuMemcpyDtoHAsync_v2(void *to, mr_cuda_ptr from, size_t bytes, struct CUstream_st *stream)
{
    struct fake_work work = {.kind = FAKE_COPY, .to = to, .from = (void *)(uintptr_t)from, .bytes = bytes};
    mr_cuda_result code;
    fake_enter(true, "cuMemcpyDtoHAsync", &code, &work.is_faulty);
    if (code) return fake_leave(code);
    struct CUstream_st *const on = fake_object_find(stream, FAKE_STREAM, "cuMemcpyDtoHAsync");
    if (!on) return fake_leave(FAKE_INVALID_HANDLE);
    if (!fake_device_use(work.from, bytes, false, on, "cuMemcpyDtoHAsync")) return fake_leave(FAKE_INVALID_VALUE);
    const bool is_pinned = fake_memory_at(to, bytes, FAKE_HOST_MEMORY) != NULL;
    if (!is_pinned && fake_memory_at(to, 0, FAKE_HOST_MEMORY)) {
        fake_misuse("cuMemcpyDtoHAsync: %zu bytes at %p run past pinned memory", bytes, to);
        return fake_leave(FAKE_INVALID_VALUE);
    }
    code = fake_stream_add(on, &work);
    if (!code && !is_pinned) { /* the driver returns when it is done */
        fake_stream_wait(on, on->enqueued);
        code = fake.sticky;
    }
    return fake_leave(code);
}

mr_cuda_result cuStreamCreate(struct CUstream_st **stream_out, unsigned flags)
{
    struct CUstream_st *stream = NULL;
    mr_cuda_result code;
    fake_enter(true, "cuStreamCreate", &code, NULL);
    if (!code && flags & ~1u) code = FAKE_INVALID_VALUE;
    if (!code && !(stream = calloc(1, sizeof *stream))) code = MR_CUDA_ERROR_OUT_OF_MEMORY;
    if (stream) stream->end = &stream->first;
    if (!code && !fake_stream_begin(stream)) {
        free(stream);
        code = MR_CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (!code) {
        fake_object_add(&stream->object, FAKE_STREAM);
        *stream_out = stream;
    }
    return fake_leave(code);
}

mr_cuda_result cuStreamSynchronize(struct CUstream_st *stream)
{
    mr_cuda_result code;
    fake_enter(true, "cuStreamSynchronize", &code, NULL);
    struct CUstream_st *const on = fake_object_find(stream, FAKE_STREAM, "cuStreamSynchronize");
    if (!on) return fake_leave(FAKE_INVALID_HANDLE);
    fake_stream_wait(on, on->enqueued);
    return fake_leave(code ? code : fake.sticky);
}

/* Nobody may be sent away from memory by a stream that is gone. */
static void uses_forget(const struct CUstream_st *stream)
{
    for (struct fake_object *object = fake.first; object; object = object->next) {
        if (object->kind != FAKE_DEVICE_MEMORY) continue;
        struct fake_memory *const memory = (struct fake_memory *)object;
        if (memory->writer.stream == stream) memory->writer.stream = NULL;
        if (memory->reader.stream == stream) memory->reader.stream = NULL;
    }
}

mr_cuda_result cuStreamDestroy_v2(struct CUstream_st *stream)
{
    mr_cuda_result code;
    fake_enter(true, "cuStreamDestroy", &code, NULL);
    struct CUstream_st *const on = fake_object_find(stream, FAKE_STREAM, "cuStreamDestroy");
    if (!on) return fake_leave(FAKE_INVALID_HANDLE);
    if (on->done < on->enqueued)
        fake_misuse("cuStreamDestroy: %llu pieces of its work are not done",
                    (unsigned long long)(on->enqueued - on->done));
    for (struct fake_object *object = fake.first; object; object = object->next) {
        if (object->kind == FAKE_EVENT && ((struct CUevent_st *)object)->stream == on)
            ((struct CUevent_st *)object)->stream = NULL;
    }
    uses_forget(on);
    fake_object_remove(&on->object);
    fake_stream_end(on);
    free(on);
    return fake_leave(code);
}

mr_cuda_result cuEventCreate(struct CUevent_st **event_out, unsigned flags)
{
    struct CUevent_st *event = NULL;
    mr_cuda_result code;
    fake_enter(true, "cuEventCreate", &code, NULL);
    if (!code && flags & ~3u) code = FAKE_INVALID_VALUE;
    if (!code && !(event = calloc(1, sizeof *event))) code = MR_CUDA_ERROR_OUT_OF_MEMORY;
    if (!code) {
        fake_object_add(&event->object, FAKE_EVENT);
        *event_out = event;
    }
    return fake_leave(code);
}

mr_cuda_result cuEventRecord(struct CUevent_st *event, struct CUstream_st *stream)
{
    struct fake_work work = {.kind = FAKE_MARK};
    mr_cuda_result code;
    fake_enter(true, "cuEventRecord", &code, NULL);
    if (code) return fake_leave(code);
    work.event = fake_object_find(event, FAKE_EVENT, "cuEventRecord");
    struct CUstream_st *const on = fake_object_find(stream, FAKE_STREAM, "cuEventRecord");
    if (!work.event || !on) return fake_leave(FAKE_INVALID_HANDLE);
    code = fake_stream_add(on, &work);
    if (!code) {
        event->stream = on;
        event->seq = on->enqueued;
        event->has_time = false;
    }
    return fake_leave(code);
}

mr_cuda_result cuEventSynchronize(struct CUevent_st *event)
{
    mr_cuda_result code;
    fake_enter(true, "cuEventSynchronize", &code, NULL);
    struct CUevent_st *const on = fake_object_find(event, FAKE_EVENT, "cuEventSynchronize");
    if (!on) return fake_leave(FAKE_INVALID_HANDLE);
    if (on->stream) fake_stream_wait(on->stream, on->seq);
    return fake_leave(code ? code : fake.sticky);
}

mr_cuda_result cuEventElapsedTime(float *ms_out, struct CUevent_st *start, struct CUevent_st *end)
{
    mr_cuda_result code;
    fake_enter(true, "cuEventElapsedTime", &code, NULL);
    if (code) return fake_leave(code);
    if (!start->has_time || !end->has_time) {
        fake_misuse("cuEventElapsedTime: an event has not happened yet");
        return fake_leave(FAKE_INVALID_HANDLE);
    }
    *ms_out = (float)((double)(end->at_ns - start->at_ns) * 1e-6);
    return fake_leave(code);
}

mr_cuda_result cuEventDestroy_v2(struct CUevent_st *event)
{
    mr_cuda_result code;
    fake_enter(true, "cuEventDestroy", &code, NULL);
    struct CUevent_st *const found = fake_object_find(event, FAKE_EVENT, "cuEventDestroy");
    if (!found) return fake_leave(FAKE_INVALID_HANDLE);
    if (found->stream && found->stream->done < found->seq) {
        fake_misuse("cuEventDestroy: it has not happened yet");
        fake_stream_wait(found->stream, found->seq);
    }
    fake_object_remove(&found->object);
    free(found);
    return fake_leave(code);
}
