/* linear_score on a device: a network of one layer, whose inputs are read once. */
#ifndef MR_KERNEL_LINEAR_SCORE_GPU_H
#define MR_KERNEL_LINEAR_SCORE_GPU_H

#include "kernels/gpu_dense.h"

MR_KERNEL(linear_score)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    mr_dense_tiles(x, model, y, class_index, scratch, rows, step, shared);
}

#endif
