/**
 * Sums over rows: the inner loops that the sum kernels share. Each sum is kept in the lanes of a vector, float32, for
 * at most MR_SUM_ROWS rows; then the lanes are added to the float64 sums, always in the same order. Included by
 * <op>_simd.c only.
 */
#ifndef MR_KERNELS_SUMS_H
#define MR_KERNELS_SUMS_H

#include "kernels/activate.h"
#include "kernels/kernels.h"

typedef float mr_quad __attribute__((vector_size(16), may_alias));
typedef double mr_quad_d __attribute__((vector_size(32)));
typedef double mr_vec_d __attribute__((vector_size(MR_LANES * 8), aligned(8), may_alias));

/** Double to float and back, a vector of rows. gcc 12 converts by halves what the machine does at once. */
#if MR_LANES == 16
MR_INLINE mr_vec mr_narrow(const double *from)
{
    const __m256 low = _mm512_cvtpd_ps(_mm512_loadu_pd(from)), high = _mm512_cvtpd_ps(_mm512_loadu_pd(from + 8));
    return (mr_vec)_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
/** a - b, taken in double. */
MR_INLINE mr_vec mr_subtract_wide(mr_vec a, const double *b)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256((__m512)a)) - _mm512_loadu_pd(b),
                  high = _mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)a, 1)) - _mm512_loadu_pd(b + 8);
    return (mr_vec)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}
#else
MR_INLINE mr_vec mr_narrow(const double *from)
{
    return __builtin_convertvector(*(const mr_vec_d *)from, mr_vec);
}
/** a - b, taken in double. */
MR_INLINE mr_vec mr_subtract_wide(mr_vec a, const double *b)
{
    return __builtin_convertvector(__builtin_convertvector(a, mr_vec_d) - *(const mr_vec_d *)b, mr_vec);
}
#endif

/** lanes[count][MR_LANES] to zero. */
MR_INLINE void mr_lanes_clear(float *lanes, size_t count)
{
    for (size_t i = 0; i < count; i++) mr_store(lanes + i * MR_LANES, (mr_vec){0});
}

/** sums[count] += the lanes, which become zero. */
static __attribute__((noinline)) void mr_lanes_flush(float *lanes, size_t count, double *sums)
{
    for (size_t i = 0; i < count; i++) {
        mr_quad_d part = {0};
        for (int k = 0; k < MR_LANES; k += 4)
            part += __builtin_convertvector(*(const mr_quad *)(lanes + i * MR_LANES + k), mr_quad_d);
        sums[i] += (part[0] + part[1]) + (part[2] + part[3]);
        mr_store(lanes + i * MR_LANES, (mr_vec){0});
    }
}

MR_INLINE void mr_lane_add(float *lane, mr_vec value)
{
    mr_store(lane, mr_load(lane) + value);
}

/** lanes[cols] += the sum over `vecs` vectors of rows of weight[64] * x[c][64]. */
MR_INLINE void mr_weigh_tile(const float *x, size_t cols, const float *weight, float *lanes, size_t vecs)
{
    if (vecs == MR_TILE_VECS && MR_TILE_VECS <= 8) {
        mr_vec by[MR_TILE_VECS <= 8 ? MR_TILE_VECS : 1];
        MR_EACH(v, (MR_TILE_VECS <= 8 ? MR_TILE_VECS : 1)) by[v] = mr_load(weight + v * MR_LANES);
        for (size_t c = 0; c < cols; c++, x += MR_TILE_ROWS, lanes += MR_LANES) {
            mr_vec even = mr_load(lanes), odd = {0};
            MR_EACH(v, (MR_TILE_VECS <= 8 ? MR_TILE_VECS : 1))
            {
                if (v % 2)
                    odd += mr_load(x + v * MR_LANES) * by[v];
                else
                    even += mr_load(x + v * MR_LANES) * by[v];
            }
            mr_store(lanes, even + odd);
        }
        return;
    }
    for (size_t c = 0; c < cols; c++, x += MR_TILE_ROWS, lanes += MR_LANES) {
        mr_vec sum = mr_load(lanes);
        for (size_t v = 0; v < vecs; v++) sum += mr_load(x + v * MR_LANES) * mr_load(weight + v * MR_LANES);
        mr_store(lanes, sum);
    }
}

/** lane += the sum of value[64] over `vecs` vectors of rows. */
MR_INLINE void mr_add_tile(const float *value, float *lane, size_t vecs)
{
    for (size_t v = 0; v < vecs; v++) mr_lane_add(lane, mr_load(value + v * MR_LANES));
}

/** 1 for the rows that are there, 0 behind them. */
MR_INLINE void mr_there_tile(float *there, size_t rows)
{
    for (size_t row = 0; row < MR_TILE_ROWS; row++) there[row] = row < rows ? 1.0f : 0.0f;
}

#endif
