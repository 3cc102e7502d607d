/**
 * The matrix product of wide layers and many centres on a GPU: a work-group of 256 threads computes 128 rows by 128
 * outputs, each thread 8 by 8 in registers, from slices of 16 inputs in shared memory; the next slice is loaded while
 * this one is multiplied.
 */
#ifndef MR_KERNELS_GPU_PRODUCT_H
#define MR_KERNELS_GPU_PRODUCT_H

#include "kernels/gpu_activate.h"

#if MR_LANES == 1

#define MR_WIDE         128 /* rows, and outputs, of a work-group */
#define MR_WIDE_THREADS 256
#define MR_WIDE_SLICE   16
#define MR_WIDE_SHARED  (2 * MR_WIDE_SLICE * MR_WIDE) /* floats */

/** Row or output number i (of 8) of a thread whose place among its 16 is `lane`. */
#define MR_WIDE_AT(lane, i) ((lane)*4 + (i) % 4 + (i) / 4 * 64)

/** Four floats of a row of a slice; 0 where there is no such row of inputs, or of tiles. */
MR_DEVICE mr_f4 mr_slice_load(MR_GLOBAL const float *from, int is_there)
{
    mr_f4 zero;
    zero.x = zero.y = zero.z = zero.w = 0.0f;
    return is_there ? MR_LOAD4(MR_GLOBAL, from) : zero;
}

MR_DEVICE mr_f4 mr_slice_shift(mr_f4 a, float by)
{
    a.x -= by;
    a.y -= by;
    a.z -= by;
    a.w -= by;
    return a;
}

/** acc[8 outputs][8 rows] += one slice; stride: floats from one of its inputs to the next. */
MR_DEVICE void mr_slice_multiply(MR_SHARED const float *xs, MR_SHARED const float *ws, const int stride, mr_word lane,
                                 mr_word other, float *acc)
{
    MR_UNROLL for (int c = 0; c < MR_WIDE_SLICE; c++)
    {
        const mr_f4 x0 = MR_LOAD4(MR_SHARED, xs + c * stride + lane * 4);
        const mr_f4 x1 = MR_LOAD4(MR_SHARED, xs + c * stride + 64 + lane * 4);
        const mr_f4 w0 = MR_LOAD4(MR_SHARED, ws + c * stride + other * 4);
        const mr_f4 w1 = MR_LOAD4(MR_SHARED, ws + c * stride + 64 + other * 4);
        const float xr[8] = {x0.x, x0.y, x0.z, x0.w, x1.x, x1.y, x1.z, x1.w};
        const float wr[8] = {w0.x, w0.y, w0.z, w0.w, w1.x, w1.y, w1.z, w1.w};
        MR_UNROLL for (int i = 0; i < 64; i++) acc[i] = mr_fma1(xr[i % 8], wr[i / 8], acc[i]);
    }
}

/**
 * acc[8 outputs][8 rows] of this thread = x w, without a bias. x: the first of the group's two tiles, is_two: there is
 * a second one; w: [in][128]; shift: [in] or 0. All threads of the group call it; shared: MR_WIDE_SHARED floats, which
 * may be used again behind a barrier.
 */
MR_DEVICE void mr_product(MR_GLOBAL const float *x, int is_two, MR_GLOBAL const float *w, MR_GLOBAL const float *shift,
                          mr_word in, MR_SHARED float *shared, float *acc)
{
    MR_SHARED float *const xs = shared, *const ws = shared + MR_WIDE_SLICE * MR_WIDE;
    const mr_word thread = mr_local_id(), quad = thread % 32, c = thread / 32; /* loads rows c and c + 8 of a slice */
    const int is_there = quad < 16 || is_two;
    x += (quad < 16 ? 0 : (size_t)in * MR_TILE) + quad % 16 * 4;
    w += quad * 4;
    MR_UNROLL for (int i = 0; i < 64; i++) acc[i] = 0.0f;
    mr_f4 next_x[2], next_w[2];
    MR_UNROLL for (mr_word i = 0; i < 2; i++)
    {
        const mr_word at = c + i * 8;
        next_x[i] = mr_slice_load(x + (size_t)at * MR_TILE, is_there && at < in);
        next_w[i] = mr_slice_load(w + (size_t)at * MR_WIDE, at < in);
        if (shift && at < in) next_x[i] = mr_slice_shift(next_x[i], shift[at]);
    }
    for (mr_word first = 0; first < in; first += MR_WIDE_SLICE) {
        mr_barrier(); /* the slice before is no longer read */
        MR_UNROLL for (mr_word i = 0; i < 2; i++)
        {
            *(MR_SHARED mr_f4 *)(xs + (c + i * 8) * MR_WIDE + quad * 4) = next_x[i];
            *(MR_SHARED mr_f4 *)(ws + (c + i * 8) * MR_WIDE + quad * 4) = next_w[i];
        }
        mr_barrier();
        MR_UNROLL for (mr_word i = 0; i < 2; i++)
        {
            const mr_word at = first + MR_WIDE_SLICE + c + i * 8;
            next_x[i] = mr_slice_load(x + (size_t)at * MR_TILE, is_there && at < in);
            next_w[i] = mr_slice_load(w + (size_t)at * MR_WIDE, at < in);
            if (shift && at < in) next_x[i] = mr_slice_shift(next_x[i], shift[at]);
        }
        mr_slice_multiply(xs, ws, MR_WIDE, thread % 16, thread / 16, acc);
    }
}

#endif
#endif
