/**
 * The words in which GPU kernels are written: the same text is CUDA C, OpenCL C 1.2, and C for the host emulation
 * (tests/emulation/), which runs the threads of a work-group in lock-step.
 *
 * A thread computes MR_VECS vectors of MR_LANES neighbouring rows at a time: 1 and 1 on a GPU, where 64 threads share a
 * tile; as wide as the registers on a CPU device, where one thread has a tile for itself, because no OpenCL compiler
 * makes vectors of scalar work-items well (10 times slower, measured with PoCL). No kernel includes anything of a host.
 */
#ifndef MR_KERNELS_GPU_H
#define MR_KERNELS_GPU_H

#ifndef MR_LANES
#define MR_LANES 1
#endif

#define MR_GPU_PASTE2(a, b) a##b
#define MR_GPU_PASTE(a, b)  MR_GPU_PASTE2(a, b)

/*
 * MR_KERNEL(name)   a kernel: mr_gpu_<name>(MR_KERNEL_ARGS); MR_KERNEL_BEGIN() stands first in its body
 * MR_KERNEL_WIDE(name)  the same for work-groups of 256 threads, of which a multiprocessor is to hold two: one computes
 *                   while the other waits for memory or at a barrier
 * MR_DEVICE         a function that kernels call
 * MR_GLOBAL         memory of the device; MR_SHARED: of a work-group, MR_FLOATS of `shared`
 * mr_group_id()     which work-group; mr_local_id(): which thread of it; mr_group_size(): how many it has
 * mr_barrier()      all threads of the work-group are here, and see what the others wrote to shared memory
 */
#if defined(__OPENCL_C_VERSION__)

#pragma OPENCL FP_CONTRACT ON
#define MR_KERNEL(name)      __kernel void mr_gpu_##name
#define MR_KERNEL_WIDE(name) __kernel __attribute__((reqd_work_group_size(256, 1, 1))) void mr_gpu_##name
#define MR_DEVICE            static inline
#define MR_GLOBAL            __global
#define MR_SHARED            __local
#define MR_UNROLL            _Pragma("unroll")
#define MR_SHARED_ARG        , __local float4 *shared_block
#define MR_KERNEL_SHARED     __local float *const shared = (__local float *)shared_block
typedef uint mr_word;
typedef float4 mr_f4;
#define mr_group_id()   ((mr_word)get_group_id(0))
#define mr_local_id()   ((mr_word)get_local_id(0))
#define mr_group_size() ((mr_word)get_local_size(0))
#define mr_barrier()    barrier(CLK_LOCAL_MEM_FENCE)
#define mr_infinity()   INFINITY
#define mr_nan()        NAN

#elif defined(__CUDACC__)

#define MR_KERNEL(name)      extern "C" __global__ void mr_gpu_##name
#define MR_KERNEL_WIDE(name) extern "C" __global__ void __launch_bounds__(256, 2) mr_gpu_##name
#define MR_DEVICE            static __device__ __forceinline__
#define MR_GLOBAL
#define MR_SHARED
#define MR_UNROLL _Pragma("unroll")
#define MR_SHARED_ARG
#define MR_KERNEL_SHARED                                                                                               \
    extern __shared__ float4 shared_block[];                                                                           \
    float *const shared = (float *)shared_block
typedef unsigned mr_word;
typedef float4 mr_f4;
#define mr_group_id()   ((mr_word)blockIdx.x)
#define mr_local_id()   ((mr_word)threadIdx.x)
#define mr_group_size() ((mr_word)blockDim.x)
#define mr_barrier()    __syncthreads()
#define mr_infinity()   __int_as_float(0x7f800000)
#define mr_nan()        __int_as_float(0x7fc00000)

#else

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MR_KERNEL(name)      void MR_GPU_PASTE(mr_gpu_##name##_, MR_LANES)
#define MR_KERNEL_WIDE(name) MR_KERNEL(name)
#define MR_DEVICE            static inline __attribute__((always_inline, unused))
#define MR_GLOBAL
#define MR_SHARED
#define MR_UNROLL        _Pragma("GCC unroll 64")
#define MR_SHARED_ARG    , float *shared
#define MR_KERNEL_SHARED (void)0
typedef uint32_t mr_word;
typedef struct {
    float x, y, z, w;
} mr_f4;
/* Which thread of which group is at work: the emulation's. */
struct mr_emulated_place {
    mr_word group, local, group_size;
};
extern _Thread_local struct mr_emulated_place mr_emulated_place;
void mr_emulated_barrier(void);
#define mr_group_id()    (mr_emulated_place.group)
#define mr_local_id()    (mr_emulated_place.local)
#define mr_group_size()  (mr_emulated_place.group_size)
#define mr_barrier()     mr_emulated_barrier()
#define mr_infinity()    __builtin_inff()
#define mr_nan()         __builtin_nanf("")

#endif

/**
 * All kernels take the same arguments, so that a backend sets them once for all steps of a program.
 * x            feature tiles (batch.h)
 * model        the constant block that src/backend/device/ made; `step` is the word of it at which the step's numbers
 *              stand (gpu_model.h)
 * y            tiles of outputs, class_index: [rows rounded up to 64]; NULL: not wanted. Sums read them.
 * label        [rows] rounded to float32, then, from rows rounded up to 64 on, what was rounded off; NULL: none
 * scratch      what steps hand on to the next, and the partial sums for the host, at its start
 */
#define MR_KERNEL_ARGS                                                                                                 \
    MR_GLOBAL const float *x, MR_GLOBAL const mr_word *model, MR_GLOBAL float *y, MR_GLOBAL int *class_index,          \
        MR_GLOBAL const float *label, MR_GLOBAL float *scratch, mr_word rows, mr_word step MR_SHARED_ARG

#define MR_KERNEL_BEGIN()                                                                                              \
    MR_KERNEL_SHARED;                                                                                                  \
    (void)x, (void)model, (void)y, (void)class_index, (void)label, (void)scratch, (void)rows, (void)step, (void)shared

#define MR_TILE 64 /* rows of a tile, MR_TILE_ROWS of batch.h */

/** Vectors: mr_vf of floats, mr_vi of ints, mr_mask what comparisons give. MR_OUTS: outputs that a thread computes
 * together. */
#if MR_LANES == 1

#define MR_VECS 1
typedef float mr_vf;
typedef int mr_vi;
typedef int mr_mask;

#else

#if MR_LANES == 16
#define MR_VECS 4
#else
#define MR_VECS 2
#endif
#if defined(__OPENCL_C_VERSION__)
typedef MR_GPU_PASTE(float, MR_LANES) mr_vf;
typedef MR_GPU_PASTE(int, MR_LANES) mr_vi;
#else
typedef float mr_vf __attribute__((vector_size(MR_LANES * 4), may_alias));
typedef int mr_vi __attribute__((vector_size(MR_LANES * 4), may_alias));
#endif
typedef mr_vi mr_mask;

#endif
#define MR_OUTS      6                    /* by 4 vectors they fill 32 registers, by 2 16 */
#define MR_STEP_ROWS (MR_VECS * MR_LANES) /* rows that a thread computes at a time */

/** Loads and stores of whole vectors; the address space is named because OpenCL C has no pointer to any. */
#define MR_LOAD(space, from)        (*(space const mr_vf *)(from))
#define MR_STORE(space, to, what)   (*(space mr_vf *)(to) = (what))
#define MR_LOAD_I(space, from)      (*(space const mr_vi *)(from))
#define MR_STORE_I(space, to, what) (*(space mr_vi *)(to) = (what))
#define MR_LOAD4(space, from)       (*(space const mr_f4 *)(from))

MR_DEVICE mr_vf mr_set(float value)
{
#if MR_LANES == 1
    return value;
#elif defined(__OPENCL_C_VERSION__)
    return (mr_vf)(value);
#else
    return value - (mr_vf){0};
#endif
}

MR_DEVICE mr_vi mr_set_i(int value)
{
#if MR_LANES == 1
    return value;
#elif defined(__OPENCL_C_VERSION__)
    return (mr_vi)(value);
#else
    return value + (mr_vi){0};
#endif
}

/** a * b + c with one rounding, where the machine has such an instruction; else with two. */
MR_DEVICE mr_vf mr_fma(mr_vf a, mr_vf b, mr_vf c)
{
#if defined(__CUDACC__)
    return fmaf(a, b, c);
#elif defined(__OPENCL_C_VERSION__) && defined(FP_FAST_FMAF)
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}

/** The same of single floats, whatever MR_LANES is. */
MR_DEVICE float mr_fma1(float a, float b, float c)
{
#if defined(__CUDACC__)
    return fmaf(a, b, c);
#elif defined(__OPENCL_C_VERSION__) && defined(FP_FAST_FMAF)
    return fma(a, b, c);
#else
    return a * b + c;
#endif
}

/** yes where the mask is set, no elsewhere. */
MR_DEVICE mr_vf mr_pick(mr_mask mask, mr_vf yes, mr_vf no)
{
#if MR_LANES == 1 || defined(__OPENCL_C_VERSION__)
    return mask ? yes : no;
#else
    return (mr_vf)((mask & (mr_vi)yes) | (~mask & (mr_vi)no));
#endif
}

MR_DEVICE mr_vi mr_pick_i(mr_mask mask, mr_vi yes, mr_vi no)
{
#if MR_LANES == 1 || defined(__OPENCL_C_VERSION__)
    return mask ? yes : no;
#else
    return (mask & yes) | (~mask & no);
#endif
}

/** Whether the mask is set for any row. */
MR_DEVICE int mr_any(mr_mask mask)
{
#if MR_LANES == 1
    return mask != 0;
#elif defined(__OPENCL_C_VERSION__)
    return any(mask);
#else
    int all = 0;
    for (int i = 0; i < MR_LANES; i++) all |= mask[i];
    return all != 0;
#endif
}

/** The sum of the rows of a vector, always in the same order. */
MR_DEVICE float mr_lanes_sum(mr_vf value)
{
#if MR_LANES == 1
    return value;
#else
    const float *const lane = (const float *)&value;
    float part[4] = {0, 0, 0, 0};
    MR_UNROLL for (int i = 0; i < MR_LANES; i++) part[i % 4] += lane[i];
    return (part[0] + part[1]) + (part[2] + part[3]);
#endif
}

/** `a` is what is limited: where it is NaN, so is the result. */
MR_DEVICE mr_vf mr_min(mr_vf a, mr_vf limit)
{
    return mr_pick(limit < a, limit, a);
}

MR_DEVICE mr_vf mr_max(mr_vf a, mr_vf limit)
{
    return mr_pick(limit > a, limit, a);
}

/** The bits of floats, and back. */
#if defined(__CUDACC__)
#define mr_bits(a)      __float_as_int(a)
#define mr_from_bits(a) __int_as_float(a)
#define mr_to_float(a)  ((float)(a))
#elif defined(__OPENCL_C_VERSION__)
#if MR_LANES == 1
#define mr_bits(a)      as_int(a)
#define mr_from_bits(a) as_float(a)
#define mr_to_float(a)  convert_float(a)
#else
#define mr_bits(a)      MR_GPU_PASTE(as_int, MR_LANES)(a)
#define mr_from_bits(a) MR_GPU_PASTE(as_float, MR_LANES)(a)
#define mr_to_float(a)  MR_GPU_PASTE(convert_float, MR_LANES)(a)
#endif
#elif MR_LANES == 1
MR_DEVICE int mr_bits(float a)
{
    int bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
MR_DEVICE float mr_from_bits(int bits)
{
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
#define mr_to_float(a) ((float)(a))
#else
#define mr_bits(a)      ((mr_vi)(a))
#define mr_from_bits(a) ((mr_vf)(a))
#define mr_to_float(a)  __builtin_convertvector(a, mr_vf)
#endif

/** Which is the lowest bit that is set, of a word in which one is. */
MR_DEVICE mr_word mr_first_bit(mr_word bits)
{
#if defined(__CUDACC__)
    return (mr_word)__ffs((int)bits) - 1;
#elif defined(__OPENCL_C_VERSION__)
    return 31 - clz(bits & (0 - bits));
#else
    return (mr_word)__builtin_ctz(bits);
#endif
}

/** Bits of a float times a power of two, whose exponent is added: unsigned, so that nothing overflows. */
MR_DEVICE mr_vf mr_scale_by_bits(mr_vf value, mr_vi shifted)
{
#if MR_LANES == 1
    return mr_from_bits((int)((mr_word)mr_bits(value) + ((mr_word)shifted << 23)));
#else
    return mr_from_bits(mr_bits(value) + (shifted << 23));
#endif
}

#endif
