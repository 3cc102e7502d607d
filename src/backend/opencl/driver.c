#include "backend/opencl/driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

mr_status mr_cl_api_open(struct mr_cl_api *api, struct mr_err *err)
{
    /* A pointer to data cannot be cast to one to a function in ISO C; its bytes can be copied. */
#define MR_CL_CALL(name, result, ...) {"cl" #name, offsetof(struct mr_cl_api, name)},
    static const struct {
        const char *symbol;
        size_t at;
    } calls[] = {
#include "backend/opencl/calls.def"
    };
#undef MR_CL_CALL
    const char *const wanted = getenv(MR_CL_LIBRARY_VARIABLE);
    const char *const path = wanted && *wanted ? wanted : "libOpenCL.so.1";
    void *const library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return mr_fail(err, MR_EBACKEND,
                       "backend opencl: %s. Install the loader (Debian: ocl-icd-libopencl1) and a driver of the device "
                       "(for the CPU: pocl-opencl-icd)",
                       dlerror());
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        void *const found = dlsym(library, calls[i].symbol);
        if (!found) {
            dlclose(library);
            return mr_fail(err, MR_EBACKEND, "backend opencl: %s has no %s: OpenCL 1.2 or later is needed", path,
                           calls[i].symbol);
        }
        memcpy((char *)api + calls[i].at, &found, sizeof found);
    }
    return MR_OK;
}

const char *mr_cl_result_name(int result)
{
    static const struct {
        int result;
        const char *name;
    } names[] = {
        {-1, "CL_DEVICE_NOT_FOUND"},
        {-2, "CL_DEVICE_NOT_AVAILABLE"},
        {-3, "CL_COMPILER_NOT_AVAILABLE"},
        {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
        {-5, "CL_OUT_OF_RESOURCES"},
        {-6, "CL_OUT_OF_HOST_MEMORY"},
        {-11, "CL_BUILD_PROGRAM_FAILURE"},
        {-12, "CL_MAP_FAILURE"},
        {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
        {-30, "CL_INVALID_VALUE"},
        {-34, "CL_INVALID_CONTEXT"},
        {-36, "CL_INVALID_COMMAND_QUEUE"},
        {-37, "CL_INVALID_HOST_PTR"},
        {-38, "CL_INVALID_MEM_OBJECT"},
        {-42, "CL_INVALID_BINARY"},
        {-43, "CL_INVALID_BUILD_OPTIONS"},
        {-45, "CL_INVALID_PROGRAM_EXECUTABLE"},
        {-46, "CL_INVALID_KERNEL_NAME"},
        {-51, "CL_INVALID_ARG_SIZE"},
        {-52, "CL_INVALID_KERNEL_ARGS"},
        {-54, "CL_INVALID_WORK_GROUP_SIZE"},
        {-55, "CL_INVALID_WORK_ITEM_SIZE"},
        {-61, "CL_INVALID_BUFFER_SIZE"},
        {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].result == result) return names[i].name;
    }
    return "an error";
}
