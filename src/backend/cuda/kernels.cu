// What nvcc compiles (cmake/cuda.cmake): all kernels of devices, with the words of kernels/gpu.h in CUDA.
#include "kernels/gpu_all.h"
