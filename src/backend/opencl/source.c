#include "backend/opencl/opencl.h"

/* The build joins gpu_all.h and what it includes to one text and gives its path (cmake/opencl.cmake). */
__asm__(".pushsection .rodata, \"a\"\n"
        "mr_cl_source_first:\n"
        ".incbin \"" MR_OPENCL_SOURCE "\"\n"
        "mr_cl_source_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern const char mr_cl_source_first[], mr_cl_source_end[];

const char *mr_cl_source(size_t *bytes_out)
{
    *bytes_out = (size_t)(mr_cl_source_end - mr_cl_source_first);
    return mr_cl_source_first;
}
