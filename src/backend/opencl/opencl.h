/** Inside of the opencl backend: what its files share. Memory of the device is named _dev. */
#ifndef MR_BACKEND_OPENCL_OPENCL_H
#define MR_BACKEND_OPENCL_OPENCL_H

#include <pthread.h>
#include <stdbool.h>

#include "backend/device/program.h"
#include "backend/opencl/driver.h"
#include "millrace/backend.h"

/**
 * A CPU device named "cpu" is at work on host memory itself, with vectors of rows; everything else is a GPU. For tests:
 * with this variable set to "gpu", a CPU device is used as one.
 */
#define MR_CL_AS_VARIABLE "MILLRACE_OPENCL_AS"

/** For tests: with this variable set, the nodes of devices are looked for there instead of in /dev. */
#define MR_CL_NODES_VARIABLE "MILLRACE_DEVICE_NODES"

/** The kernels, by kernels/gpu.def. */
enum {
#define MR_GPU_KERNEL(name, shares) MR_CL_KERNEL_##name,
#define MR_GPU_KERNEL_WIDE(name)    MR_CL_KERNEL_##name,
#include "kernels/gpu.def"
#undef MR_GPU_KERNEL
#undef MR_GPU_KERNEL_WIDE
    MR_CL_KERNELS
};

struct mr_cl_slab {
    struct mr_cl_slab *next;
    struct cl_memory *memory; /* NULL: the driver does not know of it */
    void *host;
    bool is_mapped; /* memory of the driver, else of malloc */
};

struct mr_backend {
    struct mr_cl_api api;
    struct cl_platform *platform;
    struct cl_device *device;
    struct cl_context *context;
    struct cl_program *program; /* made with the first plan */
    struct cl_queue *transfers; /* of slabs and constants; one at a time: */
    pthread_mutex_t lock;
    struct mr_cl_slab *slabs; /* those that the driver knows */
    struct mr_device_kind kind;
    bool is_host; /* the device is this CPU: kernels work on slabs themselves */
    char name[128], driver[128], text[320];
};

struct mr_plan {
    struct mr_backend *backend;
    struct mr_device_program *program;
    unsigned char *kernel; /* [step_count], MR_CL_KERNEL_... */
    struct cl_memory *model_dev;
};

/** A call, checked: MR_OK, MR_ENOMEM or MR_EBACKEND with a text that names the call. */
mr_status mr_cl_check(const struct mr_backend *backend, int result, const char *call, struct mr_err *err);

/** Finds the device that a variant names (NULL: the best) and fills what describes it. MR_EBACKEND lists all. */
mr_status mr_cl_device_find(struct mr_backend *backend, const char *variant, struct mr_err *err);

/** Is there a node of a device that OpenCL may run on, other than the CPU? What backend.h calls may_start. */
bool mr_cl_may_start(void);

/** Makes backend->program if it is not there: from the cache of the user, or from its source, which is then kept there.
 * Any thread. */
mr_status mr_cl_program_build(struct mr_backend *backend, struct mr_err *err);

/** The device's memory that is the slab at this address; NULL: none is, what lies there must be copied. Any thread. */
struct cl_memory *mr_cl_slab_memory(struct mr_backend *backend, const void *host);

/** The text of all kernels. */
const char *mr_cl_source(size_t *bytes_out);

/* The entries of the backend's table: backend.h. plan.c: */
mr_status mr_cl_plan_create(struct mr_backend *backend, mr_op op, const void *params, size_t row_cap, unsigned want,
                            struct mr_plan **plan_out, struct mr_err *err);
mr_status mr_cl_plan_update(struct mr_plan *plan, struct mr_err *err);
void mr_cl_plan_destroy(struct mr_plan *plan);
/* queue.c: */
mr_status mr_cl_queue_open(struct mr_backend *backend, struct mr_queue **queue_out, struct mr_err *err);
void mr_cl_queue_close(struct mr_queue *queue);
mr_status mr_cl_score(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                      struct mr_scores *scores, struct mr_err *err);
mr_status mr_cl_sum(struct mr_queue *queue, const struct mr_plan *plan, const float *x, size_t row_count,
                    const struct mr_sum_target *target, double *sums, struct mr_err *err);
mr_status mr_cl_wait(struct mr_queue *queue, struct mr_err *err);

#endif
