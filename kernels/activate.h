/**
 * Activations over groups of vectors, made of one power of two. Arguments come already multiplied by mr_fold_factor().
 * Coefficients: kernels/fit_polynomials.py. Errors: kernels/README.md. Included by <op>_simd.c only.
 *
 * A group of G vectors goes through each step together: one chain of dependent steps is 60 cycles long, and with the
 * chains one after the other the scheduler fills up with waiting instructions (measured on Zen 4: 12.3 cycles a sigmoid
 * alone, 9.4 in twos).
 */
#ifndef MR_KERNELS_ACTIVATE_H
#define MR_KERNELS_ACTIVATE_H

#include "kernels/mlp_forward/mlp_forward.h"
#include "kernels/simd.h"

#define MR_GROUP_MAX 2
/* NOLINTNEXTLINE(bugprone-macro-parentheses): i is declared here */
#define MR_EACH(i, count) MR_UNROLL for (int i = 0; i < (count); i++)

/**
 * Powers of two in parts: 2^t = scale * (1 + rest), scale a whole power of two, |rest| < 0.42. t in [-125, 126].
 * scale_bits: what to add to the bits of a float to multiply it by scale. The relative error of 2^t is 9e-8;
 * is_exact_near_0: of rest itself 1e-8, for one multiply-add more.
 */
MR_INLINE void mr_exp2_parts(const mr_vec *t, mr_vec *rest, mr_vec_u *scale_bits, const int G,
                             const int is_exact_near_0)
{
    static const float short_c[] = {1.32647273e-3f, 9.67151299e-3f, 5.55073358e-2f, 2.40222424e-1f, 6.93147004e-1f};
    static const float long_c[] = {1.54035122e-4f, 1.33907353e-3f, 9.61823761e-3f,
                                   5.55035733e-2f, 2.40226492e-1f, 6.93147182e-1f};
    const float *const c = is_exact_near_0 ? long_c : short_c;
    const int degree = is_exact_near_0 ? 6 : 5;
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to a whole number, which stands in the low bits */
    mr_vec shifted[MR_GROUP_MAX], f[MR_GROUP_MAX], q[MR_GROUP_MAX];
    MR_EACH(i, G) shifted[i] = t[i] + magic;
    MR_EACH(i, G) f[i] = t[i] - (shifted[i] - magic); /* [-0.5, 0.5], exact */
    MR_EACH(i, G) q[i] = f[i] * c[0] + c[1];
    MR_UNROLL for (int k = 2; k < degree; k++) MR_EACH(i, G) q[i] = q[i] * f[i] + c[k];
    MR_EACH(i, G) rest[i] = q[i] * f[i];
    MR_EACH(i, G) scale_bits[i] = (mr_vec_u)shifted[i] << 23;
}

MR_INLINE mr_vec mr_scale(mr_vec value, mr_vec_u scale_bits)
{
    return (mr_vec)((mr_vec_u)value + scale_bits);
}

/** t = 2^t, t in [-125, 126]; NaN stays NaN. */
MR_INLINE void mr_exp2(mr_vec *t, const int G)
{
    mr_vec rest[MR_GROUP_MAX];
    mr_vec_u scale_bits[MR_GROUP_MAX];
    mr_exp2_parts(t, rest, scale_bits, G, 0);
    MR_EACH(i, G) t[i] = mr_scale(rest[i] + 1.0f, scale_bits[i]);
}

/** 1 / (1 + 2^t), t = -z log2 e: never 0, and no less exact far out, where it is small. */
MR_INLINE void mr_sigmoid(mr_vec *t, const int G)
{
    MR_EACH(i, G) t[i] = mr_max(mr_min(t[i], mr_set(126.0f)), mr_set(-125.0f));
    mr_exp2(t, G);
    MR_EACH(i, G) t[i] = 1.0f / (t[i] + 1.0f);
}

/**
 * (2^t - 1) / (2^t + 1), t = 2 z log2 e. 2^t - 1 is put together as scale * rest + (scale - 1): near 0 that is `rest`
 * alone, so small values keep their relative precision.
 */
MR_INLINE void mr_tanh(mr_vec *t, const int G)
{
    mr_vec rest[MR_GROUP_MAX], scale[MR_GROUP_MAX];
    mr_vec_u scale_bits[MR_GROUP_MAX];
    MR_EACH(i, G) t[i] = mr_max(mr_min(t[i], mr_set(40.0f)), mr_set(-40.0f));
    mr_exp2_parts(t, rest, scale_bits, G, 1);
    MR_EACH(i, G) scale[i] = mr_scale(mr_set(1.0f), scale_bits[i]);
    MR_EACH(i, G) t[i] = (scale[i] * rest[i] + (scale[i] - 1.0f)) / (scale[i] * rest[i] + (scale[i] + 1.0f));
}

/**
 * ln a for normal a > 0, within 2 * FLT_EPSILON * max(1, |ln a|): a = 2^n * m with m in [sqrt(1/2), sqrt(2)), and
 * ln m = 2 * artanh((m - 1) / (m + 1)) by its series.
 */
MR_INLINE mr_vec mr_log(mr_vec a)
{
    const mr_vec_i bits = (mr_vec_i)a, n = (bits - 0x3f3504f3) >> 23;
    const mr_vec m = (mr_vec)(bits - (n << 23)), s = (m - 1.0f) / (m + 1.0f), square = s * s;
    const mr_vec series = ((square * (2.0f / 9) + 2.0f / 7) * square + 2.0f / 5) * square + 2.0f / 3;
    return __builtin_convertvector(n, mr_vec) * 0.693147182f + s * (series * square + 2.0f);
}

/** z * P(Z < z) of the normal distribution: P(Z > |z|) = e^(-z^2 / 2) * polynomial(1 / (1 + 0.3 |z|)). */
MR_INLINE void mr_gelu(mr_vec *z, const int G)
{
    static const float c[] = {-1.57200888e-1f, 2.06349760e-1f, -5.36802374e-2f, 1.28559843e-1f,
                              9.99140292e-2f,  1.20753869e-1f, 1.19629301e-1f};
    mr_vec size[MR_GROUP_MAX], u[MR_GROUP_MAX], tail[MR_GROUP_MAX];
    MR_EACH(i, G) size[i] = mr_min((mr_vec)((mr_vec_i)z[i] & 0x7fffffff), mr_set(13.0f));
    MR_EACH(i, G) u[i] = 1.0f / (size[i] * 0.3f + 1.0f);
    MR_EACH(i, G) tail[i] = mr_set(3.56742404e-2f);
    MR_UNROLL for (size_t k = 0; k < sizeof c / sizeof *c; k++) MR_EACH(i, G) tail[i] = tail[i] * u[i] + c[k];
    MR_EACH(i, G) size[i] = size[i] * size[i] * -0.72134752f;
    mr_exp2(size, G);
    MR_EACH(i, G) tail[i] = z[i] * (tail[i] * u[i] * size[i]);
    MR_EACH(i, G) z[i] = mr_select(mr_greater(z[i], mr_set(0.0f)), z[i] - tail[i], tail[i]);
}

/** Any of them, and ReLU, on G vectors in place; softmax, which needs all outputs, and identity leave them as they are.
 */
MR_INLINE void mr_activate(const mr_activation activation, mr_vec *z, const int G)
{
    switch (activation) {
    case MR_ACT_SIGMOID:
        mr_sigmoid(z, G);
        break;
    case MR_ACT_TANH:
        mr_tanh(z, G);
        break;
    case MR_ACT_RELU:
        MR_EACH(i, G) z[i] = mr_max(z[i], mr_set(0.0f));
        break;
    case MR_ACT_GELU:
        mr_gelu(z, G);
        break;
    case MR_ACT_IDENTITY:
    case MR_ACT_SOFTMAX:
        break;
    }
}

#endif
