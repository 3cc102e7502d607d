#include "backend/cuda/image.h"

/* The build gives the path of the fatbin as MR_CUDA_IMAGE; nothing, when it has no nvcc. */
#ifdef MR_CUDA_IMAGE
#define CUDA_IMAGE_BYTES ".incbin \"" MR_CUDA_IMAGE "\"\n"
#else
#define CUDA_IMAGE_BYTES ""
#endif

__asm__(".pushsection .rodata, \"a\"\n"
        ".balign 64\n"
        "mr_cuda_image_first:\n" CUDA_IMAGE_BYTES "mr_cuda_image_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern const unsigned char mr_cuda_image_first[], mr_cuda_image_end[];

const void *mr_cuda_image(size_t *bytes_out)
{
    const size_t bytes = (size_t)(mr_cuda_image_end - mr_cuda_image_first);
    if (bytes_out) *bytes_out = bytes;
    return bytes ? mr_cuda_image_first : NULL;
}
