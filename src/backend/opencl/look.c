/*
 * Whether a device other than the CPU may be here, without its driver. On Linux a driver in user space reaches hardware
 * through a node in /dev, and OpenCL's drivers are no exception: where none of these is, they can only offer the CPU,
 * for which `cpu` is the better choice. Loading them to hear that takes 0.1 s (PoCL brings a compiler).
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/opencl/opencl.h"

bool mr_cl_may_start(void)
{
    static const char *const nodes[] = {
        "nvidia[0-9]*",           /* NVIDIA */
        "nvhost-gpu",    "nvgpu", /* NVIDIA's Tegra */
        "dri/renderD*",           /* AMD, Intel, and whatever else Mesa drives */
        "kfd",                    /* AMD's ROCm */
        "dxg",                    /* a GPU of Windows, inside WSL */
        "mali[0-9]*",             /* Arm */
        "kgsl-3d[0-9]*",          /* Qualcomm */
        "pvr*",                   /* Imagination */
    };
    const char *const as = getenv(MR_CL_AS_VARIABLE), *const folder = getenv(MR_CL_NODES_VARIABLE);
    if (as && *as) return true; /* a CPU that plays a GPU */
    bool is_found = false;
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes && !is_found; i++) {
        char pattern[512];
        glob_t found;
        if (snprintf(pattern, sizeof pattern, "%s/%s", folder ? folder : "/dev", nodes[i]) >= (int)sizeof pattern)
            continue;
        is_found = glob(pattern, GLOB_NOSORT, NULL, &found) == 0;
        globfree(&found);
    }
    return is_found;
}
