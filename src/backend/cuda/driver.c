#include "backend/cuda/driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY "libcuda.so.1"

const char *mr_cuda_result_text(const struct mr_cuda_api *api, mr_cuda_result result, char *text, size_t bytes)
{
    const char *name = NULL, *what = NULL;
    if (api->GetErrorName(result, &name) || !name) name = "unknown error";
    if (api->GetErrorString(result, &what) || !what) what = "no description";
    snprintf(text, bytes, "%s (%u: %s)", name, result, what);
    return text;
}

/* Finds every call; the first that is missing is named. */
static mr_status calls_find(void *library, const char *path, struct mr_cuda_api *api, struct mr_err *err)
{
    /* A pointer to data cannot be cast to one to a function in ISO C; its bytes can be copied. */
#define MR_CUDA_CALL(name, symbol, ...) {#symbol, offsetof(struct mr_cuda_api, name)},
    static const struct {
        const char *symbol;
        size_t at;
    } calls[] = {
#include "backend/cuda/calls.def"
    };
#undef MR_CUDA_CALL
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *const found = dlsym(library, calls[i].symbol);
        if (!found)
            return mr_fail(err, MR_EBACKEND,
                           "backend cuda: %s has no %s: the driver is too old, version 580 or later is needed", path,
                           calls[i].symbol);
        memcpy((char *)api + calls[i].at, &found, sizeof found);
    }
    return MR_OK;
}

mr_status mr_cuda_api_open(struct mr_cuda_api *api, struct mr_err *err)
{
    const char *const wanted = getenv(MR_CUDA_LIBRARY_VARIABLE), *const path = wanted && *wanted ? wanted : LIBRARY;
    char text[256];
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return mr_fail(
            err, MR_EBACKEND,
            "backend cuda: no driver: %s. It comes with NVIDIA's display driver (version 580 or later); in a "
            "container it is mounted from the host (--gpus all)",
            dlerror());
    mr_status status = calls_find(library, path, api, err);
    if (status) {
        dlclose(library);
        return status;
    }
    mr_cuda_result result = api->Init(0);
    if (result == MR_CUDA_ERROR_NO_DEVICE)
        return mr_fail(err, MR_EBACKEND,
                       "backend cuda: the driver is there, a GPU is not (cuInit: CUDA_ERROR_NO_DEVICE): see what "
                       "nvidia-smi lists, and CUDA_VISIBLE_DEVICES%s%s",
                       getenv("CUDA_VISIBLE_DEVICES") ? ", which is " : "",
                       getenv("CUDA_VISIBLE_DEVICES") ? getenv("CUDA_VISIBLE_DEVICES") : "");
    if (result)
        return mr_fail(
            err, MR_EBACKEND,
            "backend cuda: cuInit: %s: does nvidia-smi work? Driver and kernel module must be of one version",
            mr_cuda_result_text(api, result, text, sizeof text));
    result = api->DriverGetVersion(&api->version);
    if (result)
        return mr_fail(err, MR_EBACKEND, "backend cuda: cuDriverGetVersion: %s",
                       mr_cuda_result_text(api, result, text, sizeof text));
    return MR_OK;
}
