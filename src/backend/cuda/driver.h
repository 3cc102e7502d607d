/**
 * The CUDA driver, opened at run time: the few calls that are made, in declarations of our own, so that neither a
 * header nor a library of CUDA is needed to build, and the same program starts where there is no driver.
 */
#ifndef MR_BACKEND_CUDA_DRIVER_H
#define MR_BACKEND_CUDA_DRIVER_H

#include <stddef.h>

#include "millrace/status.h"

/** Library that is opened in place of libcuda.so.1: a path. For tests (tests/fake_cuda) and odd installations. */
#define MR_CUDA_LIBRARY_VARIABLE "MILLRACE_CUDA_LIBRARY"

typedef unsigned mr_cuda_result;    /* CUresult */
typedef unsigned mr_cuda_attribute; /* CUdevice_attribute */
typedef unsigned long long mr_cuda_ptr;

/* What driver and backend hand each other unseen; the names are the driver's. */
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;

/** Of CUresult. Every other value but success is final for the backend. */
enum { MR_CUDA_SUCCESS = 0, MR_CUDA_ERROR_OUT_OF_MEMORY = 2, MR_CUDA_ERROR_NO_DEVICE = 100 };

/** Of CUdevice_attribute. */
enum {
    MR_CUDA_CLOCK_KHZ = 13, /* bench_gpu asks */
    MR_CUDA_MULTIPROCESSOR_COUNT = 16,
    MR_CUDA_CAPABILITY_MAJOR = 75,
    MR_CUDA_CAPABILITY_MINOR = 76
};

/** Of the flags of streams, events and host memory. */
enum {
    MR_CUDA_STREAM_NON_BLOCKING = 1, /* does not wait for the default stream, which others in the process may use */
    MR_CUDA_EVENT_BLOCKING_SYNC = 1, /* whoever waits sleeps */
    MR_CUDA_EVENT_DISABLE_TIMING = 2,
    MR_CUDA_MEMHOST_PORTABLE = 1,
};

/** The calls, by the names of calls.def. */
struct mr_cuda_api {
#define MR_CUDA_CALL(name, symbol, ...) mr_cuda_result (*(name))(__VA_ARGS__);
#include "backend/cuda/calls.def"
#undef MR_CUDA_CALL
    int version; /* of the driver: 13000 for 13.0 */
};

/**
 * Opens the library, finds all calls and starts the driver. MR_EBACKEND says what is missing and what to do. The
 * library stays open until the process ends: it cannot be unloaded safely. Any thread.
 */
mr_status mr_cuda_api_open(struct mr_cuda_api *api, struct mr_err *err);

/** "CUDA_ERROR_OUT_OF_MEMORY: out of memory" into text[bytes]; returns text. */
const char *mr_cuda_result_text(const struct mr_cuda_api *api, mr_cuda_result result, char *text, size_t bytes);

#endif
