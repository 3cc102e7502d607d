/**
 * The words in which SIMD kernels are written: GCC vector types as wide as a register, compiled once for each
 * instruction set. Included by <op>_simd.c only. Everything is static, so that no object for one instruction set can
 * end up in another's place.
 */
#ifndef MR_KERNELS_SIMD_H
#define MR_KERNELS_SIMD_H

#include <stddef.h>
#include <stdint.h>

#include "millrace/batch.h"

#define MR_PASTE2(a, b) a##_##b
#define MR_PASTE(a, b)  MR_PASTE2(a, b)
#define MR_QUOTE2(a)    #a
#define MR_QUOTE(a)     MR_QUOTE2(a)
/** Name of this variant of an operation: MR_KERNEL_NAME(mr_mlp_forward) is mr_mlp_forward_avx2. */
#define MR_KERNEL_NAME(op) MR_PASTE(op, MR_VARIANT)

#if defined(__AVX512F__)
#define MR_LANES     16
#define MR_REGISTERS 32
#elif defined(__AVX2__)
#define MR_LANES     8
#define MR_REGISTERS 16
#elif defined(__aarch64__)
#define MR_LANES     4
#define MR_REGISTERS 32
#else
#define MR_LANES     4
#define MR_REGISTERS 16
#endif
#define MR_TILE_VECS (MR_TILE_ROWS / MR_LANES)

typedef float mr_vec __attribute__((vector_size(MR_LANES * 4), may_alias));
typedef int32_t mr_vec_i __attribute__((vector_size(MR_LANES * 4), may_alias));
typedef uint32_t mr_vec_u __attribute__((vector_size(MR_LANES * 4), may_alias));

#define MR_INLINE static inline __attribute__((always_inline))
#define MR_UNROLL _Pragma("GCC unroll 64")

MR_INLINE mr_vec mr_load(const float *from)
{
    return *(const mr_vec *)from;
}
MR_INLINE void mr_store(float *to, mr_vec value)
{
    *(mr_vec *)to = value;
}
MR_INLINE mr_vec mr_set(float value)
{
    return value - (mr_vec){0};
}

/** mask lanes are all ones or all zeros, as comparisons make them. */
MR_INLINE mr_vec mr_select(mr_vec_i mask, mr_vec yes, mr_vec no)
{
    return (mr_vec)((mask & (mr_vec_i)yes) | (~mask & (mr_vec_i)no));
}
MR_INLINE mr_vec_i mr_select_i(mr_vec_i mask, mr_vec_i yes, mr_vec_i no)
{
    return (mask & yes) | (~mask & no);
}

/** NaN in value stays NaN (both comparisons are false). */
MR_INLINE mr_vec mr_at_most(mr_vec value, float limit)
{
    return mr_select(value > limit, mr_set(limit), value);
}
MR_INLINE mr_vec mr_at_least(mr_vec value, float limit)
{
    return mr_select(value < limit, mr_set(limit), value);
}

#endif
