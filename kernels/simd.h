/**
 * The words in which SIMD kernels are written: GCC vector types as wide as a register, compiled once for each
 * instruction set. Included by <op>_simd.c only. Everything is static, so that no object for one instruction set can
 * end up in another's place.
 */
#ifndef MR_KERNELS_SIMD_H
#define MR_KERNELS_SIMD_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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

/**
 * Comparisons, choices and limits. gcc 12 makes two or three instructions of the generic forms where the machine has
 * one, so x86 says it outright. `a` in min and max is what is limited: where it is NaN, so is the result.
 */
#if defined(__AVX512F__)
typedef __mmask16 mr_mask;
MR_INLINE mr_mask mr_greater(mr_vec a, mr_vec b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
}
MR_INLINE mr_mask mr_is_number(mr_vec a)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_ORD_Q);
}
MR_INLINE mr_mask mr_equal(mr_vec a, mr_vec b)
{
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
}
MR_INLINE mr_mask mr_equal_i(mr_vec_i a, mr_vec_i b)
{
    return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b);
}
MR_INLINE mr_vec mr_select(mr_mask mask, mr_vec yes, mr_vec no)
{
    return (mr_vec)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
}
MR_INLINE mr_vec_i mr_select_i(mr_mask mask, mr_vec_i yes, mr_vec_i no)
{
    return (mr_vec_i)_mm512_mask_blend_epi32(mask, (__m512i)no, (__m512i)yes);
}
MR_INLINE mr_vec mr_min(mr_vec a, mr_vec limit)
{
    return (mr_vec)_mm512_min_ps((__m512)limit, (__m512)a);
}
MR_INLINE mr_vec mr_max(mr_vec a, mr_vec limit)
{
    return (mr_vec)_mm512_max_ps((__m512)limit, (__m512)a);
}
#else
typedef mr_vec_i mr_mask;
MR_INLINE mr_mask mr_greater(mr_vec a, mr_vec b)
{
    return a > b;
}
MR_INLINE mr_mask mr_is_number(mr_vec a)
{
    return a == a; /* NOLINT(misc-redundant-expression): only NaN differs from itself */
}
MR_INLINE mr_mask mr_equal(mr_vec a, mr_vec b)
{
    return a == b;
}
MR_INLINE mr_mask mr_equal_i(mr_vec_i a, mr_vec_i b)
{
    return a == b;
}
MR_INLINE mr_vec_i mr_select_i(mr_mask mask, mr_vec_i yes, mr_vec_i no)
{
    return (mask & yes) | (~mask & no);
}
MR_INLINE mr_vec mr_select(mr_mask mask, mr_vec yes, mr_vec no)
{
    return (mr_vec)mr_select_i(mask, (mr_vec_i)yes, (mr_vec_i)no);
}
#if defined(__AVX2__)
MR_INLINE mr_vec mr_min(mr_vec a, mr_vec limit)
{
    return (mr_vec)_mm256_min_ps((__m256)limit, (__m256)a);
}
MR_INLINE mr_vec mr_max(mr_vec a, mr_vec limit)
{
    return (mr_vec)_mm256_max_ps((__m256)limit, (__m256)a);
}
#elif defined(__SSE2__)
MR_INLINE mr_vec mr_min(mr_vec a, mr_vec limit)
{
    return (mr_vec)_mm_min_ps((__m128)limit, (__m128)a);
}
MR_INLINE mr_vec mr_max(mr_vec a, mr_vec limit)
{
    return (mr_vec)_mm_max_ps((__m128)limit, (__m128)a);
}
#else
MR_INLINE mr_vec mr_min(mr_vec a, mr_vec limit)
{
    return mr_select(a > limit, limit, a);
}
MR_INLINE mr_vec mr_max(mr_vec a, mr_vec limit)
{
    return mr_select(limit > a, limit, a);
}
#endif
#endif

/** A comparison's lanes as bits, the first lane the lowest. */
MR_INLINE unsigned mr_mask_bits(mr_mask mask)
{
#if defined(__AVX512F__)
    return mask;
#elif defined(__AVX2__)
    return (unsigned)_mm256_movemask_ps((__m256)mask);
#elif defined(__SSE2__)
    return (unsigned)_mm_movemask_ps((__m128)mask);
#else
    unsigned bits = 0;
    for (int lane = 0; lane < MR_LANES; lane++) bits |= ((unsigned)mask[lane] & 1u) << lane;
    return bits;
#endif
}

/** Vectors of a tile that hold rows, when `rows` are left from its start. */
MR_INLINE size_t mr_tile_vecs(size_t rows)
{
    return rows >= MR_TILE_ROWS ? MR_TILE_VECS : (rows + MR_LANES - 1) / MR_LANES;
}

#endif
