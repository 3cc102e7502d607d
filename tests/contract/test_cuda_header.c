/* Our declarations of the driver's calls are those of NVIDIA's header, where it is installed. */
#include <stdio.h>

#if __has_include(<cuda.h>)
#include <cuda.h>
#define MR_HAS_CUDA_H
#endif

#include "backend/cuda/driver.h"

#ifdef MR_HAS_CUDA_H
/* An enumeration of the header's is an unsigned number of ours; everything else must be the same type. */
_Static_assert(sizeof(CUresult) == sizeof(mr_cuda_result) && sizeof(CUdevice_attribute) == sizeof(mr_cuda_attribute),
               "enumerations are passed as unsigned");
_Static_assert(CUDA_ERROR_OUT_OF_MEMORY == (CUresult)MR_CUDA_ERROR_OUT_OF_MEMORY &&
                   CUDA_ERROR_NO_DEVICE == (CUresult)MR_CUDA_ERROR_NO_DEVICE,
               "results");
_Static_assert(CU_DEVICE_ATTRIBUTE_CLOCK_RATE == (CUdevice_attribute)MR_CUDA_CLOCK_KHZ, "attributes of a device");
_Static_assert(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT == (CUdevice_attribute)MR_CUDA_MULTIPROCESSOR_COUNT &&
                   CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == (CUdevice_attribute)MR_CUDA_CAPABILITY_MAJOR &&
                   CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == (CUdevice_attribute)MR_CUDA_CAPABILITY_MINOR,
               "attributes");
_Static_assert(CU_STREAM_NON_BLOCKING == (CUstream_flags)MR_CUDA_STREAM_NON_BLOCKING &&
                   CU_EVENT_BLOCKING_SYNC == (CUevent_flags)MR_CUDA_EVENT_BLOCKING_SYNC &&
                   CU_EVENT_DISABLE_TIMING == (CUevent_flags)MR_CUDA_EVENT_DISABLE_TIMING &&
                   CU_MEMHOSTALLOC_PORTABLE == MR_CUDA_MEMHOST_PORTABLE,
               "flags");

/* Without a driver to link with, only the types are looked at. */
#define MR_CUDA_CALL(name, symbol, ...)                                                                                \
    _Static_assert(__builtin_types_compatible_p(__typeof__(*((struct mr_cuda_api *)0)->name), __typeof__(symbol)),     \
                   "calls.def: " #symbol " has other parameters in cuda.h");
#include "backend/cuda/calls.def"
#undef MR_CUDA_CALL

int main(void)
{
    printf("declarations agree with cuda.h of CUDA %d.%d\n", CUDA_VERSION / 1000, CUDA_VERSION % 1000 / 10);
    return 0;
}
#else
int main(void)
{
    puts("SKIP: cuda.h is not installed: scripts/setup --cuda brings it");
    return 77;
}
#endif
