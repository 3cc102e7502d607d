/** The arithmetic peak of one core, measured: what bench_kernels divides by. */
#ifndef MR_KERNEL_PEAK_H
#define MR_KERNEL_PEAK_H

#include <stddef.h>

/** Runs `rounds` rounds of independent multiply-adds in registers; returns the floating-point operations done (an add
 * and a multiply each). */
typedef double mr_peak_fn(size_t rounds);

/** The peak routine of a variant ("avx512", "avx2", "neon", "base"), or of "bf16" or "int8" with AVX-512; NULL when it
 * is not compiled here. Whether it can run: mr_kernel_is_available of the variant, or of mlp_bf16 and mlp_int8. */
mr_peak_fn *mr_peak_find(const char *variant);

#endif
