/* mf_estimate on a device: a thread a row; factors lie one behind the other, so whole vectors of them are read. */
#ifndef MR_KERNEL_MF_ESTIMATE_GPU_H
#define MR_KERNEL_MF_ESTIMATE_GPU_H

#include "kernels/gpu.h"
#include "kernels/gpu_model.h"

/** p . q, both with zeros up to `stride`. */
MR_DEVICE float mr_factors_dot(MR_GLOBAL const float *p, MR_GLOBAL const float *q, mr_word stride)
{
#if MR_LANES == 1
    float x = 0.0f, y = 0.0f, z = 0.0f, w = 0.0f;
    for (mr_word f = 0; f < stride; f += 4) {
        const mr_f4 a = MR_LOAD4(MR_GLOBAL, p + f), b = MR_LOAD4(MR_GLOBAL, q + f);
        x = mr_fma1(a.x, b.x, x);
        y = mr_fma1(a.y, b.y, y);
        z = mr_fma1(a.z, b.z, z);
        w = mr_fma1(a.w, b.w, w);
    }
    return (x + y) + (z + w);
#else
    mr_vf sum = mr_set(0.0f);
    for (mr_word f = 0; f < stride; f += MR_LANES)
        sum = mr_fma(MR_LOAD(MR_GLOBAL, p + f), MR_LOAD(MR_GLOBAL, q + f), sum);
    return mr_lanes_sum(sum);
#endif
}

MR_DEVICE float mr_estimate(MR_GLOBAL const mr_word *model, MR_GLOBAL const mr_word *at, float user, float item)
{
    MR_GLOBAL const float *const numbers = (MR_GLOBAL const float *)model, *const own = (MR_GLOBAL const float *)at;
    const int knows_user = user != MR_REC_UNKNOWN, knows_item = item != MR_REC_UNKNOWN;
    const mr_word stride = at[MR_REC_STRIDE], u = knows_user ? (mr_word)user : 0, i = knows_item ? (mr_word)item : 0;
    float sum = own[MR_REC_MEAN];
    if (at[MR_REC_USER_BIAS]) {
        if (knows_user) sum += numbers[at[MR_REC_USER_BIAS] + u];
        if (knows_item) sum += numbers[at[MR_REC_ITEM_BIAS] + i];
    } else if (knows_user && knows_item) {
        sum = 0.0f;
    }
    if (knows_user && knows_item)
        sum += mr_factors_dot(numbers + at[MR_REC_USERS] + u * stride, numbers + at[MR_REC_ITEMS] + i * stride, stride);
    if (sum < own[MR_REC_MIN]) return own[MR_REC_MIN];
    return sum > own[MR_REC_MAX] ? own[MR_REC_MAX] : sum;
}

MR_KERNEL(mf_estimate)(MR_KERNEL_ARGS)
{
    MR_KERNEL_BEGIN();
    MR_GLOBAL const mr_word *const at = model + step;
    const mr_word tiles = at[MR_REC_TILES];
    for (mr_word tile = mr_group_id() * tiles; tile < (mr_group_id() + 1) * tiles && tile * MR_TILE < rows; tile++) {
        MR_GLOBAL const float *const from = x + (size_t)tile * 2 * MR_TILE;
        for (mr_word row = mr_local_id(); row < MR_TILE; row += mr_group_size()) {
            if (y && tile * MR_TILE + row < rows)
                y[tile * MR_TILE + row] = mr_estimate(model, at, from[row], from[MR_TILE + row]);
        }
    }
}

#endif
