/**
 * Inside of the cuda backend: what its files share, and what bench/bench_gpu.c asks of it. Buffers on the device are
 * named _dev, pinned host memory _pin.
 */
#ifndef MR_BACKEND_CUDA_CUDA_H
#define MR_BACKEND_CUDA_CUDA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/cuda/driver.h"
#include "backend/device/program.h"
#include "millrace/backend.h"

struct mr_backend {
    struct mr_cuda_api api;
    int device;
    struct CUctx_st *context; /* the device's primary one, retained; made current by every entry point */
    struct CUmod_st *module;
    struct mr_device_kind kind;
    struct CUstream_st *upload; /* of constants; one at a time: */
    pthread_mutex_t upload_lock;
    pthread_mutex_t lost_lock; /* of writing `lost`; the inner one of the two */
    _Atomic bool is_lost;      /* the device failed: nothing is asked of it any more */
    char lost[400];            /* how; written once, before is_lost */
    char text[320];            /* what describe() says */
};

struct mr_plan {
    struct mr_backend *backend;
    struct mr_device_program *program;
    struct CUfunc_st **function; /* [program->step_count] */
    mr_cuda_ptr model_dev;
};

/**
 * A call of the driver, checked: MR_OK, MR_ENOMEM, or MR_EBACKEND, which is final: what was in flight is not to be
 * trusted, so every later call fails at once with the same text, without a call.
 */
#define MR_CUDA(backend, err, call, ...)                                                                               \
    (atomic_load(&(backend)->is_lost) ? mr_cuda_lost((backend), (err))                                                 \
                                      : mr_cuda_check((backend), (backend)->api.call(__VA_ARGS__), "cu" #call, (err)))

/** A call that gives something back: made even when the device is lost, its result only noted. */
#define MR_CUDA_RELEASE(backend, call, ...)                                                                            \
    ((void)mr_cuda_check((backend), (backend)->api.call(__VA_ARGS__), "cu" #call, NULL))

/** What a call returned, as a status; a text that names the call. Any thread. */
mr_status mr_cuda_check(struct mr_backend *backend, mr_cuda_result result, const char *call, struct mr_err *err);

/** The error of a device that is lost. Any thread. */
mr_status mr_cuda_lost(struct mr_backend *backend, struct mr_err *err);

/** Where the time of a queue's batches goes, in ms, by the device's clock. */
typedef enum { MR_CUDA_UPLOAD, MR_CUDA_KERNEL, MR_CUDA_DOWNLOAD, MR_CUDA_PHASES } mr_cuda_phase;

/** From now on phases are timed, which costs a few events a batch; nothing may be in flight. */
mr_status mr_cuda_queue_profile(struct mr_queue *queue, struct mr_err *err);

/** Sums since it was switched on, of all batches waited for. */
const double *mr_cuda_queue_times(const struct mr_queue *queue); /* [MR_CUDA_PHASES] */

/* The entries of the backend's table: backend.h. plan.c: */
mr_status mr_cuda_plan_create(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap, unsigned want,
                              struct mr_plan **plan_out, struct mr_err *err);
mr_status mr_cuda_plan_update(struct mr_plan *plan, struct mr_err *err);
void mr_cuda_plan_destroy(struct mr_plan *plan);
/* queue.c: */
mr_status mr_cuda_queue_open(struct mr_backend *backend, struct mr_queue **queue_out, struct mr_err *err);
void mr_cuda_queue_close(struct mr_queue *queue);
mr_status mr_cuda_score(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                        struct mr_scores *scores, struct mr_err *err);
mr_status mr_cuda_sum(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                      const struct mr_sum_target *target, double *sums, struct mr_err *err);
mr_status mr_cuda_wait(struct mr_queue *queue, struct mr_err *err);

#endif
