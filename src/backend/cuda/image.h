/** The compiled kernels, as bytes of this program (cmake/cuda.cmake). */
#ifndef MR_BACKEND_CUDA_IMAGE_H
#define MR_BACKEND_CUDA_IMAGE_H

#include <stddef.h>

/** The fatbin, for cuModuleLoadData; NULL: this program was built without nvcc. *bytes_out (may be NULL): its size. */
const void *mr_cuda_image(size_t *bytes_out);

#endif
