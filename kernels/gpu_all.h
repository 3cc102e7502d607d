/** All GPU kernels in one text: what nvcc compiles, what OpenCL gets as its source, and what the emulation runs. */
#include "kernels/gpu.h"

#include "kernels/gpu_model.h"

#include "kernels/gpu_activate.h"
#include "kernels/gpu_dense.h"
#include "kernels/gpu_product.h"
#include "kernels/gpu_sums.h"

#include "kernels/kmeans_assign/kmeans_assign_gpu.h"
#include "kernels/kmeans_sum/kmeans_sum_gpu.h"
#include "kernels/linear_score/linear_score_gpu.h"
#include "kernels/linear_sum/linear_sum_gpu.h"
#include "kernels/mf_estimate/mf_estimate_gpu.h"
#include "kernels/mf_topn/mf_topn_gpu.h"
#include "kernels/mlp_forward/mlp_forward_gpu.h"
#include "kernels/mlp_gradient/mlp_gradient_gpu.h"
#include "kernels/moments/moments_gpu.h"
#include "kernels/scale/scale_gpu.h"
