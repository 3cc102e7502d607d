/*
 * cuda: NVIDIA GPUs through the driver's API, which is opened at run time. `cuda` takes the first device, `cuda:1` the
 * second. Each queue has a stream of its own, so that the upload of one slot, the kernels of another and the download
 * of a third run at the same time; slabs are pinned, so that the device copies them while the host goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"
#include "backend/cuda/image.h"

/* Every device has this much for a work-group without being asked for more. */
#define SHARED_BYTES 49152

mr_status mr_cuda_lost(struct mr_backend *backend, struct mr_err *err)
{
    return mr_fail(err, MR_EBACKEND, "%s", backend->lost);
}

mr_status mr_cuda_check(struct mr_backend *backend, mr_cuda_result result, const char *call, struct mr_err *err)
{
    char text[256];
    if (!result) return MR_OK;
    mr_cuda_result_text(&backend->api, result, text, sizeof text);
    if (result == MR_CUDA_ERROR_OUT_OF_MEMORY)
        return mr_fail(
            err, MR_ENOMEM,
            "backend cuda: %s: %s: too little memory for this batch and model: make batch.records_max smaller", call,
            text);
    pthread_mutex_lock(&backend->lost_lock);
    if (!atomic_load(&backend->is_lost)) {
        snprintf(backend->lost, sizeof backend->lost,
                 "backend cuda: %s: %s: nothing that device %d computes after this is used", call, text,
                 backend->device);
        atomic_store(&backend->is_lost, true);
    }
    pthread_mutex_unlock(&backend->lost_lock);
    return mr_cuda_lost(backend, err);
}

static void cuda_close(struct mr_backend *backend)
{
    if (!backend) return;
    if (backend->context) {
        MR_CUDA_RELEASE(backend, CtxSetCurrent, backend->context);
        if (backend->upload) MR_CUDA_RELEASE(backend, StreamDestroy, backend->upload);
        if (backend->module) MR_CUDA_RELEASE(backend, ModuleUnload, backend->module);
        MR_CUDA_RELEASE(backend, CtxSetCurrent, NULL);
        MR_CUDA_RELEASE(backend, DevicePrimaryCtxRelease, backend->device);
    }
    pthread_mutex_destroy(&backend->upload_lock);
    pthread_mutex_destroy(&backend->lost_lock);
    free(backend);
}

/* "0 (NVIDIA H100), 1 (...)" into text. */
static void devices_list(struct mr_backend *backend, int count, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used < bytes; i++) {
        char name[128] = "?";
        int device;
        if (!backend->api.DeviceGet(&device, i)) (void)backend->api.DeviceGetName(name, sizeof name, device);
        used += (size_t)snprintf(text + used, bytes - used, "%scuda:%d (%s)", i ? ", " : "", i, name);
    }
}

/* Which device the variant names. */
static mr_status device_pick(struct mr_backend *backend, const char *variant, struct mr_err *err)
{
    int count = 0, ordinal = 0;
    mr_status status = MR_CUDA(backend, err, DeviceGetCount, &count);
    if (status) return status;
    if (variant) {
        char *end;
        errno = 0;
        const long wanted = strtol(variant, &end, 10);
        if (errno || end == variant || *end || wanted < 0 || wanted >= count) {
            char list[400];
            devices_list(backend, count, list, sizeof list);
            return mr_fail(err, MR_EBACKEND, "backend \"cuda:%.40s\": no such device here; there are: %s", variant,
                           list);
        }
        ordinal = (int)wanted;
    }
    return MR_CUDA(backend, err, DeviceGet, &backend->device, ordinal);
}

static mr_status device_describe(struct mr_backend *backend, struct mr_err *err)
{
    char name[128] = "";
    int major = 0, minor = 0, units = 1;
    size_t bytes = 0;
    mr_status status = MR_CUDA(backend, err, DeviceGetName, name, sizeof name, backend->device);
    if (!status) status = MR_CUDA(backend, err, DeviceGetAttribute, &major, MR_CUDA_CAPABILITY_MAJOR, backend->device);
    if (!status) status = MR_CUDA(backend, err, DeviceGetAttribute, &minor, MR_CUDA_CAPABILITY_MINOR, backend->device);
    if (!status)
        status = MR_CUDA(backend, err, DeviceGetAttribute, &units, MR_CUDA_MULTIPROCESSOR_COUNT, backend->device);
    if (!status) status = MR_CUDA(backend, err, DeviceTotalMem, &bytes, backend->device);
    if (status) return status;
    snprintf(backend->text, sizeof backend->text,
             "cuda:%d, %s, compute capability %d.%d, %d multiprocessors, %zu MiB, driver for CUDA %d.%d",
             backend->device, name, major, minor, units, bytes >> 20, backend->api.version / 1000,
             backend->api.version % 1000 / 10);
    backend->kind = (struct mr_device_kind){.lanes = 1, .shared_bytes = SHARED_BYTES, .units = (unsigned)units};
    return MR_OK;
}

static mr_status module_load(struct mr_backend *backend, const void *image, struct mr_err *err)
{
    struct mr_err why;
    const mr_status status = MR_CUDA(backend, &why, ModuleLoadData, &backend->module, image);
    if (status)
        return mr_fail(err, status,
                       "%s. The kernels were compiled for compute capability 7.5 to 12.0 and need a driver "
                       "for CUDA 13 (version 580) or later; here: %s",
                       why.text, backend->text);
    return MR_OK;
}

static mr_status cuda_open(const char *variant, struct mr_backend **backend_out, struct mr_err *err)
{
    const void *const image = mr_cuda_image(NULL);
    struct mr_backend *const backend = calloc(1, sizeof *backend);
    *backend_out = NULL;
    if (!backend) return mr_fail(err, MR_ENOMEM, "backend cuda: out of memory");
    pthread_mutex_init(&backend->upload_lock, NULL);
    pthread_mutex_init(&backend->lost_lock, NULL);
    mr_status status = MR_OK;
    struct mr_err why = {0};
    if (!image)
        status =
            mr_fail(&why, MR_EBACKEND,
                    "backend cuda: this program was built without CUDA: scripts/setup --cuda installs its compiler; "
                    "then configure and build again");
    if (!status) status = mr_cuda_api_open(&backend->api, &why);
    if (!status) status = device_pick(backend, variant, &why);
    if (!status) status = device_describe(backend, &why);
    if (!status) status = MR_CUDA(backend, &why, DevicePrimaryCtxRetain, &backend->context, backend->device);
    if (!status) status = MR_CUDA(backend, &why, CtxSetCurrent, backend->context);
    if (!status) status = module_load(backend, image, &why);
    if (!status) status = MR_CUDA(backend, &why, StreamCreate, &backend->upload, MR_CUDA_STREAM_NON_BLOCKING);
    if (!status) {
        *backend_out = backend;
        return MR_OK;
    }
    cuda_close(backend);
    if (variant && !strstr(why.text, variant))
        return mr_fail(err, status, "backend \"cuda:%.40s\" does not start: %s", variant, why.text);
    return mr_fail(err, status, "%s", why.text);
}

static const char *cuda_describe(const struct mr_backend *backend)
{
    return backend->text;
}

static void *cuda_slab_acquire(struct mr_backend *backend, size_t bytes)
{
    void *slab_pin = NULL;
    if (!bytes) bytes = MR_ALIGN;
    if (MR_CUDA(backend, NULL, CtxSetCurrent, backend->context) ||
        MR_CUDA(backend, NULL, MemHostAlloc, &slab_pin, bytes, MR_CUDA_MEMHOST_PORTABLE))
        return NULL;
    return memset(slab_pin, 0, bytes);
}

static void cuda_slab_release(struct mr_backend *backend, void *slab_pin, size_t bytes)
{
    (void)bytes;
    if (!slab_pin) return;
    MR_CUDA_RELEASE(backend, CtxSetCurrent, backend->context);
    MR_CUDA_RELEASE(backend, MemFreeHost, slab_pin);
}

extern const struct mr_backend_ops mr_backend_cuda;
const struct mr_backend_ops mr_backend_cuda = {
    .name = "cuda",
    .summary = "NVIDIA GPUs, compute capability 7.5 or later, through the driver; cuda:1 is the second device",
    .overlaps = true,
    .open = cuda_open,
    .describe = cuda_describe,
    .slab_acquire = cuda_slab_acquire,
    .slab_release = cuda_slab_release,
    .plan_create = mr_cuda_plan_create,
    .plan_update = mr_cuda_plan_update,
    .plan_destroy = mr_cuda_plan_destroy,
    .queue_open = mr_cuda_queue_open,
    .queue_close = mr_cuda_queue_close,
    .score = mr_cuda_score,
    .sum = mr_cuda_sum,
    .wait = mr_cuda_wait,
    .close = cuda_close,
};
