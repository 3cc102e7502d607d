/* opencl: the kernels of kernels/gpu_all.h on any device with an OpenCL driver: GPUs of AMD, Intel and NVIDIA, and CPUs
 * through PoCL. `opencl` takes the first GPU, else the first device; `opencl:1` or `opencl:NAME` that one. */
#include "backend/opencl/opencl.h"

#include <stdlib.h>
#include <string.h>

mr_status mr_cl_check(const struct mr_backend *backend, int result, const char *call, struct mr_err *err)
{
    if (result == MR_CL_SUCCESS) return MR_OK;
    const bool is_memory =
        result == MR_CL_ALLOCATION_FAILURE || result == MR_CL_OUT_OF_RESOURCES || result == MR_CL_OUT_OF_HOST_MEMORY;
    return mr_fail(err, is_memory ? MR_ENOMEM : MR_EBACKEND, "backend opencl: %s on %s: %s (%d)", call, backend->name,
                   mr_cl_result_name(result), result);
}

static void cl_close(struct mr_backend *backend)
{
    if (!backend) return;
    const struct mr_cl_api *const api = &backend->api;
    if (backend->transfers) api->ReleaseCommandQueue(backend->transfers);
    if (backend->program) api->ReleaseProgram(backend->program);
    if (backend->context) api->ReleaseContext(backend->context);
    pthread_mutex_destroy(&backend->lock);
    free(backend);
}

static mr_status device_open(struct mr_backend *backend, const char *variant, struct mr_err *err)
{
    const struct mr_cl_api *const api = &backend->api;
    size_t group_size_max = 0;
    int result = 0;
    mr_status status = mr_cl_device_find(backend, variant, err);
    if (status) return status;
    api->GetDeviceInfo(backend->device, MR_CL_DEVICE_GROUP_SIZE_MAX, sizeof group_size_max, &group_size_max, NULL);
    if (!backend->is_host && group_size_max < 256)
        return mr_fail(err, MR_EBACKEND, "backend opencl: %s: work-groups of %zu threads, 256 are needed",
                       backend->name, group_size_max);
    backend->context = api->CreateContext(NULL, 1, &backend->device, NULL, NULL, &result);
    status = mr_cl_check(backend, result, "clCreateContext", err);
    if (status) return status;
    backend->transfers = api->CreateCommandQueue(backend->context, backend->device, 0, &result);
    return mr_cl_check(backend, result, "clCreateCommandQueue", err);
}

static mr_status cl_open(const char *variant, struct mr_backend **backend_out, struct mr_err *err)
{
    struct mr_backend *const backend = calloc(1, sizeof *backend);
    *backend_out = NULL;
    if (!backend) return mr_fail(err, MR_ENOMEM, "backend opencl: out of memory");
    pthread_mutex_init(&backend->lock, NULL);
    mr_status status = mr_cl_api_open(&backend->api, err);
    if (!status) status = device_open(backend, variant, err);
    if (status)
        cl_close(backend);
    else
        *backend_out = backend;
    return status;
}

static const char *cl_describe(const struct mr_backend *backend)
{
    return backend->text;
}

static bool cl_is_host(const struct mr_backend *backend)
{
    return backend->is_host;
}

/* A CPU device is told of the slab: page-aligned memory is taken as it is. */
static void *host_memory(struct mr_backend *backend, size_t bytes, struct cl_memory **memory_out)
{
    void *host;
    int result = 0;
    if (posix_memalign(&host, 4096, bytes)) return NULL;
    *memory_out = backend->is_host ? backend->api.CreateBuffer(backend->context, MR_CL_READ_WRITE | MR_CL_USE_HOST,
                                                               bytes, host, &result)
                                   : NULL;
    return host;
}

/* Memory that the driver gives out is pinned where that helps; NULL when it has none that is aligned. */
static void *driver_memory(struct mr_backend *backend, size_t bytes, struct cl_memory **memory_out)
{
    const struct mr_cl_api *const api = &backend->api;
    int result = 0;
    struct cl_memory *const memory =
        api->CreateBuffer(backend->context, MR_CL_READ_WRITE | MR_CL_ALLOC_HOST, bytes, NULL, &result);
    if (!memory) return NULL;
    pthread_mutex_lock(&backend->lock);
    void *host = api->EnqueueMapBuffer(backend->transfers, memory, 1, MR_CL_MAP_READ | MR_CL_MAP_WRITE, 0, bytes, 0,
                                       NULL, NULL, &result);
    if (host && (uintptr_t)host % MR_ALIGN) {
        api->EnqueueUnmapMemObject(backend->transfers, memory, host, 0, NULL, NULL);
        host = NULL;
    }
    pthread_mutex_unlock(&backend->lock);
    if (!host) api->ReleaseMemObject(memory);
    *memory_out = host ? memory : NULL;
    return host;
}

static void *cl_slab_acquire(struct mr_backend *backend, size_t bytes)
{
    const size_t room = (bytes + 4096) / 4096 * 4096;
    struct mr_cl_slab *const slab = calloc(1, sizeof *slab);
    if (!slab) return NULL;
    if (!backend->is_host) slab->host = driver_memory(backend, room, &slab->memory);
    slab->is_mapped = slab->host != NULL;
    if (!slab->host) slab->host = host_memory(backend, room, &slab->memory);
    if (!slab->host) {
        free(slab);
        return NULL;
    }
    pthread_mutex_lock(&backend->lock);
    slab->next = backend->slabs;
    backend->slabs = slab;
    pthread_mutex_unlock(&backend->lock);
    return memset(slab->host, 0, room);
}

static void cl_slab_release(struct mr_backend *backend, void *host, size_t bytes)
{
    const struct mr_cl_api *const api = &backend->api;
    (void)bytes;
    if (!host) return;
    pthread_mutex_lock(&backend->lock);
    struct mr_cl_slab **at = &backend->slabs;
    while ((*at)->host != host) at = &(*at)->next;
    struct mr_cl_slab *const slab = *at;
    *at = slab->next;
    if (slab->is_mapped) {
        api->EnqueueUnmapMemObject(backend->transfers, slab->memory, host, 0, NULL, NULL);
        api->Finish(backend->transfers);
    }
    pthread_mutex_unlock(&backend->lock);
    if (slab->memory) api->ReleaseMemObject(slab->memory);
    if (!slab->is_mapped) free(host);
    free(slab);
}

struct cl_memory *mr_cl_slab_memory(struct mr_backend *backend, const void *host)
{
    if (!backend->is_host) return NULL;
    pthread_mutex_lock(&backend->lock);
    const struct mr_cl_slab *slab = backend->slabs;
    while (slab && slab->host != host) slab = slab->next;
    struct cl_memory *const memory = slab ? slab->memory : NULL;
    pthread_mutex_unlock(&backend->lock);
    return memory;
}

extern const struct mr_backend_ops mr_backend_opencl;
const struct mr_backend_ops mr_backend_opencl = {
    .name = "opencl",
    .summary = "any device with an OpenCL driver: the first GPU, else the first device; opencl:NUMBER or opencl:NAME "
               "forces one",
    .overlaps = true,
    .may_start = mr_cl_may_start,
    .open = cl_open,
    .describe = cl_describe,
    .is_host = cl_is_host,
    .slab_acquire = cl_slab_acquire,
    .slab_release = cl_slab_release,
    .plan_create = mr_cl_plan_create,
    .plan_update = mr_cl_plan_update,
    .plan_destroy = mr_cl_plan_destroy,
    .queue_open = mr_cl_queue_open,
    .queue_close = mr_cl_queue_close,
    .score = mr_cl_score,
    .sum = mr_cl_sum,
    .wait = mr_cl_wait,
    .close = cl_close,
};
