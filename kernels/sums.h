/**
 * Sums over rows: the inner loops that the sum kernels share. Each sum is kept in the lanes of a vector, float32, for
 * at most MR_SUM_ROWS rows; then the lanes are added to the float64 sums, always in the same order. Included by
 * <op>_simd.c only.
 */
#ifndef MR_KERNELS_SUMS_H
#define MR_KERNELS_SUMS_H

#include "kernels/activate.h"
#include "kernels/kernels.h"

typedef double mr_vec_d __attribute__((vector_size(MR_LANES * 8), aligned(8), may_alias));

/** lanes[count][MR_LANES] to zero. */
MR_INLINE void mr_lanes_clear(float *lanes, size_t count)
{
    for (size_t i = 0; i < count; i++) mr_store(lanes + i * MR_LANES, (mr_vec){0});
}

/** sums[count] += the lanes, which become zero. */
static __attribute__((noinline)) void mr_lanes_flush(float *lanes, size_t count, double *sums)
{
    for (size_t i = 0; i < count; i++) {
        const mr_vec_d wide = __builtin_convertvector(mr_load(lanes + i * MR_LANES), mr_vec_d);
        double part[4] = {0};
        MR_EACH(k, MR_LANES) part[k % 4] += wide[k];
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
