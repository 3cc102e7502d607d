/** The cuda backend for the rows of device.c: as mr_score_fn and mr_sum_fn, through plans and queues. */
#ifndef MR_TESTS_PARITY_DEVICE_CUDA_H
#define MR_TESTS_PARITY_DEVICE_CUDA_H

#include "kernels/kernels.h"

void mr_cuda_parity_score(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, size_t rows);
void mr_cuda_parity_sum(const float *x, const struct mr_packed *model, const struct mr_sum_target *target, double *sums,
                        size_t rows);

#endif
