/**
 * Activations of GPU kernels: the same powers of two as in activate.h, so the same errors (README.md). Arguments come
 * multiplied by mr_fold_factor().
 */
#ifndef MR_KERNELS_GPU_ACTIVATE_H
#define MR_KERNELS_GPU_ACTIVATE_H

#include "kernels/gpu.h"
#include "kernels/gpu_model.h"

/** 2^t = scale * (1 + rest), scale by its exponent in the low bits of *whole; t in [-125, 126]. */
MR_DEVICE mr_vf mr_exp2_parts(mr_vf t, mr_vi *whole)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number, which stands in the low bits */
    const mr_vf shifted = t + magic, f = t - (shifted - magic);
    mr_vf q = mr_fma(f, mr_set(1.54035122e-4f), mr_set(1.33907353e-3f));
    q = mr_fma(q, f, mr_set(9.61823761e-3f));
    q = mr_fma(q, f, mr_set(5.55035733e-2f));
    q = mr_fma(q, f, mr_set(2.40226492e-1f));
    q = mr_fma(q, f, mr_set(6.93147182e-1f));
    *whole = mr_bits(shifted);
    return q * f;
}

/** 2^t, t in [-125, 126]; NaN stays NaN. */
MR_DEVICE mr_vf mr_exp2(mr_vf t)
{
    mr_vi whole;
    const mr_vf rest = mr_exp2_parts(t, &whole);
    return mr_scale_by_bits(rest + 1.0f, whole);
}

/** 2^t for t <= 0; 0 where that would be subnormal. */
MR_DEVICE mr_vf mr_exp2_of_negative(mr_vf t)
{
    return mr_pick(mr_set(-125.0f) > t, mr_set(0.0f), mr_exp2(mr_max(t, mr_set(-125.0f))));
}

/** 1 / (1 + 2^t), t = -z log2 e. */
MR_DEVICE mr_vf mr_sigmoid(mr_vf t)
{
    return 1.0f / (mr_exp2(mr_max(mr_min(t, mr_set(126.0f)), mr_set(-125.0f))) + 1.0f);
}

/** (2^t - 1) / (2^t + 1), t = 2 z log2 e; near 0 the numerator is `rest` alone, which keeps its digits. */
MR_DEVICE mr_vf mr_tanh(mr_vf t)
{
    mr_vi whole;
    const mr_vf rest = mr_exp2_parts(mr_max(mr_min(t, mr_set(40.0f)), mr_set(-40.0f)), &whole);
    const mr_vf scale = mr_scale_by_bits(mr_set(1.0f), whole);
    return mr_fma(scale, rest, scale - 1.0f) / mr_fma(scale, rest, scale + 1.0f);
}

/** z * P(Z < z) of the normal distribution, from a polynomial in 1 / (1 + 0.3 |z|). */
MR_DEVICE mr_vf mr_gelu(mr_vf z)
{
    const mr_vf size = mr_min(mr_from_bits(mr_bits(z) & 0x7fffffff), mr_set(13.0f));
    const mr_vf u = 1.0f / (size * 0.3f + 1.0f);
    mr_vf tail = mr_fma(mr_set(3.56742404e-2f), u, mr_set(-1.57200888e-1f));
    tail = mr_fma(tail, u, mr_set(2.06349760e-1f));
    tail = mr_fma(tail, u, mr_set(-5.36802374e-2f));
    tail = mr_fma(tail, u, mr_set(1.28559843e-1f));
    tail = mr_fma(tail, u, mr_set(9.99140292e-2f));
    tail = mr_fma(tail, u, mr_set(1.20753869e-1f));
    tail = mr_fma(tail, u, mr_set(1.19629301e-1f));
    tail = z * (tail * u * mr_exp2(size * size * -0.72134752f));
    return mr_pick(z > 0.0f, z - tail, tail);
}

/** ln a for normal a > 0, within 2 * FLT_EPSILON * max(1, |ln a|). */
MR_DEVICE mr_vf mr_log(mr_vf a)
{
    const mr_vi bits = mr_bits(a), n = (bits - 0x3f3504f3) >> 23;
    const mr_vf m = mr_from_bits(bits - n * 0x800000), s = (m - 1.0f) / (m + 1.0f), square = s * s;
    mr_vf series = mr_fma(square, mr_set(2.0f / 9), mr_set(2.0f / 7));
    series = mr_fma(series, square, mr_set(2.0f / 5));
    series = mr_fma(series, square, mr_set(2.0f / 3));
    series = mr_fma(series, square, mr_set(2.0f));
    return mr_fma(mr_to_float(n), mr_set(0.693147182f), s * series);
}

/** Any of them; softmax, which needs all outputs, and identity leave z as it is. */
MR_DEVICE mr_vf mr_activate(mr_word activation, mr_vf z)
{
    switch (activation) {
    case MR_GPU_SIGMOID:
        return mr_sigmoid(z);
    case MR_GPU_TANH:
        return mr_tanh(z);
    case MR_GPU_RELU:
        return mr_max(z, mr_set(0.0f));
    case MR_GPU_GELU:
        return mr_gelu(z);
    default:
        return z;
    }
}

#endif
