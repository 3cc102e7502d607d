/**
 * A double of the CUDA driver over host memory: the calls that the backend makes (src/backend/cuda/calls.def), streams
 * as worker threads, launches through the emulated kernels, and any call made to fail. What it proves is the logic of
 * the host: order, ownership, errors. It never proves speed, nor what nvcc makes of the kernels.
 *
 * Environment, read by cuInit the first time:
 *   MILLRACE_FAKE_CUDA_FAIL=N[:CODE][:late]  the N-th call fails with this CUresult (719, a failed launch); late: a
 * copy or launch is accepted and fails when it runs, as faults of a real device do MILLRACE_FAKE_CUDA_LAZY=1 nothing
 * runs before somebody waits for it: a missing wait always shows MILLRACE_FAKE_CUDA_DEVICES=2      how many devices
 * there are MILLRACE_FAKE_CUDA_MEMORY=BYTES   of each of them (1 GiB)
 */
#ifndef MR_TESTS_FAKE_CUDA_H
#define MR_TESTS_FAKE_CUDA_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_cuda/load.h"

/** Of CUresult, what the double gives of its own accord. */
enum {
    FAKE_INVALID_VALUE = 1,
    FAKE_NOT_INITIALIZED = 3,
    FAKE_INVALID_DEVICE = 101,
    FAKE_INVALID_IMAGE = 200,
    FAKE_INVALID_CONTEXT = 201,
    FAKE_INVALID_HANDLE = 400,
    FAKE_NOT_FOUND = 500,
    FAKE_LAUNCH_FAILED = 719,
};

/** What kind of thing an object is. Every object is on one list while it lives; a handle that is not is no object. */
enum fake_kind { FAKE_MODULE = 1, FAKE_FUNCTION, FAKE_STREAM, FAKE_EVENT, FAKE_DEVICE_MEMORY, FAKE_HOST_MEMORY };

struct fake_object {
    enum fake_kind kind;
    struct fake_object *next;
};

struct CUmod_st {
    struct fake_object object;
};

/* All kernels have the parameters of MR_KERNEL_ARGS (kernels/gpu.h): six pointers and two words. */
enum { FAKE_POINTERS = 6, FAKE_WORDS = 2 };

struct CUfunc_st {
    struct fake_object object;
    struct CUmod_st *module;
    char name[64];
};

struct fake_memory {
    struct fake_object object;
    char *data;
    size_t bytes;
    /* Of device memory: which stream wrote and read it last, and how far that must be before another one may. */
    struct fake_use {
        struct CUstream_st *stream;
        uint64_t seq;
    } writer, reader;
};

enum fake_work_kind { FAKE_COPY, FAKE_LAUNCH, FAKE_MARK };

struct fake_work {
    enum fake_work_kind kind;
    struct fake_work *next;
    bool is_faulty; /* the fault that was asked for comes when it runs */
    void *to;
    const void *from;
    size_t bytes;
    void *staged; /* of a copy from memory that is not pinned: its bytes at the time of the call */
    const struct CUfunc_st *function;
    unsigned groups, group_size, shared_bytes;
    void *pointer[FAKE_POINTERS];
    uint32_t word[FAKE_WORDS];
    struct CUevent_st *event;
};

struct CUstream_st {
    struct fake_object object;
    struct fake_work *first, **end;
    uint64_t enqueued, done, wanted;
    bool is_ending, is_ended;
};

/* A thread that serves one stream after the other: the emulation keeps stacks for each thread that it has run on. */
struct fake_worker {
    struct CUstream_st *stream; /* NULL: idle */
    struct fake_worker *next;
};

struct CUevent_st {
    struct fake_object object;
    struct CUstream_st *stream; /* NULL: not recorded yet */
    uint64_t seq;
    bool has_time;
    int64_t at_ns;
};

/** The state, under one lock; what runs on a worker runs outside of it. */
extern struct fake_state {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct fake_object *first;
    struct fake_worker *workers;
    bool is_initialised, is_lazy, has_failed, fail_late;
    unsigned contexts[8]; /* how often each device's primary context is retained */
    int device_count;
    size_t memory_bytes, memory_used;
    unsigned long long calls, launches, uploads, fail_at;
    mr_cuda_result fail_code;
    mr_cuda_result sticky; /* after a fault of the device every call gives it */
    size_t misuse;
} fake;

/** Prints and counts a misuse. */
void fake_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * Locks and counts a call. *code_out: what it must return, 0 when it may go on; *is_late_out (NULL: it cannot fail
 * late): its work is to fail when it runs. Calls that release something do their work whatever *code_out is, as the
 * driver does: it may be that of something before.
 */
void fake_enter(bool needs_context, const char *call, mr_cuda_result *code_out, bool *is_late_out);
/** Unlocks; returns code. */
mr_cuda_result fake_leave(mr_cuda_result code);

/** Puts an object on the list, or takes it off. Locked. */
void fake_object_add(struct fake_object *object, enum fake_kind kind);
void fake_object_remove(struct fake_object *object);
/** The object behind a handle; NULL, and a misuse, when there is none of this kind. Locked. */
void *fake_object_find(const void *handle, enum fake_kind kind, const char *call);
/** The memory of this kind that holds [at, at + bytes), at least one byte; NULL: none does. Locked. */
struct fake_memory *fake_memory_at(const void *at, size_t bytes, enum fake_kind kind);

/** Notes that the next work of a stream uses device memory; false, and a misuse, when there is none, or another stream
 * is not done with it. Locked. */
bool fake_device_use(const void *at, size_t bytes, bool is_written, struct CUstream_st *stream, const char *by);

/** Adds work to a stream (work is copied); locked. */
mr_cuda_result fake_stream_add(struct CUstream_st *stream, const struct fake_work *work);
/** Waits until a stream has done `seq` pieces of work. Locked; unlocks meanwhile. */
void fake_stream_wait(struct CUstream_st *stream, uint64_t seq);
/** Gives a stream a thread; false: there is none to be had. Locked. */
bool fake_stream_begin(struct CUstream_st *stream);
/** Waits for the end of its work, and takes it from its thread. Locked; unlocks meanwhile. */
void fake_stream_end(struct CUstream_st *stream);
/** Every stream of the device is done. Locked. */
void fake_streams_drain(void);

/** A result that leaves the context of no use. */
bool fake_is_sticky(mr_cuda_result code);

#endif
