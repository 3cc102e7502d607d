/** All GPU kernels in one text: what nvcc compiles, what OpenCL gets as its source, and what the emulation runs. */
#include "kernels/gpu.h"

#include "kernels/gpu_model.h"

#include "kernels/gpu_activate.h"
#include "kernels/gpu_dense.h"
#include "kernels/gpu_product.h"

#include "kernels/linear_score/linear_score_gpu.h"
#include "kernels/mlp_forward/mlp_forward_gpu.h"
#include "kernels/scale/scale_gpu.h"
