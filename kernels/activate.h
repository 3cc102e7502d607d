/**
 * Activations over vectors, made of one power of two. Their arguments come already multiplied by mr_fold_factor().
 * Coefficients: kernels/fit_polynomials.py. Included by <op>_simd.c only.
 */
#ifndef MR_KERNELS_ACTIVATE_H
#define MR_KERNELS_ACTIVATE_H

#include "kernels/mlp_forward/mlp_forward.h"
#include "kernels/simd.h"

/** A power of two in parts: 2^t = scale * (1 + rest), scale a whole power of two, |rest| < 0.42; relative error 1.5e-7.
 */
struct mr_power {
    mr_vec_u scale_bits; /* to be added to a float's bits: that multiplies it by scale */
    mr_vec rest;
};

/** t in [-125, 126]; NaN gives NaN. */
MR_INLINE struct mr_power mr_exp2_parts(mr_vec t)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number, which stands in the low bits */
    const mr_vec shifted = t + magic;
    const mr_vec f = t - (shifted - magic); /* [-0.5, 0.5], exact */
    mr_vec q = f * 1.32647273e-3f + 9.67151299e-3f;
    q = q * f + 5.55073358e-2f;
    q = q * f + 2.40222424e-1f;
    q = q * f + 6.93147004e-1f;
    return (struct mr_power){.scale_bits = (mr_vec_u)shifted << 23, .rest = q * f};
}

MR_INLINE mr_vec mr_scale(mr_vec value, mr_vec_u scale_bits)
{
    return (mr_vec)((mr_vec_u)value + scale_bits);
}

MR_INLINE mr_vec mr_exp2(mr_vec t)
{
    const struct mr_power power = mr_exp2_parts(t);
    return mr_scale(power.rest + 1.0f, power.scale_bits);
}

/** 1 / (1 + 2^t), t = -z log2 e: never 0, and no less exact far out, where it is small. */
MR_INLINE mr_vec mr_sigmoid_folded(mr_vec t)
{
    return 1.0f / (mr_exp2(mr_at_least(mr_at_most(t, 126.0f), -125.0f)) + 1.0f);
}

/**
 * (2^t - 1) / (2^t + 1), t = 2 z log2 e. 2^t - 1 is put together as scale * rest + (scale - 1): near 0 that is `rest`
 * alone, so small values keep their relative precision.
 */
MR_INLINE mr_vec mr_tanh_folded(mr_vec t)
{
    const struct mr_power power = mr_exp2_parts(mr_at_least(mr_at_most(t, 40.0f), -40.0f));
    const mr_vec scale = mr_scale(mr_set(1.0f), power.scale_bits);
    const mr_vec part = scale * power.rest;
    return (part + (scale - 1.0f)) / (part + (scale + 1.0f));
}

MR_INLINE mr_vec mr_relu(mr_vec z)
{
    return mr_at_least(z, 0.0f);
}

/** z * P(Z < z) of the normal distribution: tail = P(Z > |z|) = e^(-z^2 / 2) * polynomial(1 / (1 + 0.3 |z|)). */
MR_INLINE mr_vec mr_gelu(mr_vec z)
{
    static const float c[] = {-1.57200888e-1f, 2.06349760e-1f, -5.36802374e-2f, 1.28559843e-1f,
                              9.99140292e-2f,  1.20753869e-1f, 1.19629301e-1f};
    const mr_vec size = mr_at_most((mr_vec)((mr_vec_i)z & 0x7fffffff), 13.0f);
    const mr_vec u = 1.0f / (size * 0.3f + 1.0f);
    mr_vec tail = mr_set(3.56742404e-2f);
    MR_UNROLL for (size_t i = 0; i < sizeof c / sizeof *c; i++) tail = tail * u + c[i];
    tail = tail * u * mr_exp2(size * size * -0.72134752f);
    return mr_select(z > 0.0f, z - z * tail, z * tail);
}

#endif
