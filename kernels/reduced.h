/**
 * mlp_bf16, mlp_int8: a perceptron whose wide layers multiply numbers of fewer bits. Sums, biases and activations stay
 * float32; narrow layers are computed as in mlp_forward.
 *
 *   bf16  weights and inputs of the layer are rounded to bfloat16 (nearest, ties to even; below 2^-126: 0). Products
 *         are exact, sums float32.
 *   int8  weights are whole multiples -127 ... 127 of a step of each output, inputs 0 ... 255 of a step of each row,
 *         from the row's least input up. Sums are exact. A row with an input that is not finite gives NaN.
 */
#ifndef MR_KERNELS_REDUCED_H
#define MR_KERNELS_REDUCED_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/mlp_forward/mlp_forward.h"

/** Layers with fewer inputs or outputs are not reduced: they are no faster (kernels/README.md). */
#define MR_REDUCED_IN_MIN  32
#define MR_REDUCED_OUT_MIN 24
/** Nor are those with more inputs: their sums of integers would overflow. */
#define MR_REDUCED_IN_MAX 65536

/** Values of fewer bits that stand in a word of 32 bits. */
#define MR_BF16_IN_WORD 2
#define MR_INT8_IN_WORD 4

static inline bool mr_layer_is_reduced(const struct mr_mlp_layer *layer)
{
    return layer->in >= MR_REDUCED_IN_MIN && layer->in <= MR_REDUCED_IN_MAX && layer->out >= MR_REDUCED_OUT_MIN;
}

/** The bits of the nearest bfloat16. */
static inline uint16_t mr_bf16_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value) return (uint16_t)(bits >> 16 | 0x40); /* NaN, quiet */
    if ((bits & 0x7f800000) == 0) return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/** The nearest bfloat16, as float32. */
static inline float mr_bf16_round(float value)
{
    const uint32_t bits = (uint32_t)mr_bf16_bits(value) << 16;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** The weights of an output as multiples of a step, which is returned. w, q: [in]. */
static inline float mr_int8_weights(const float *w, size_t in, int8_t *q)
{
    float most = 0;
    for (size_t c = 0; c < in; c++) most = fabsf(w[c]) > most ? fabsf(w[c]) : most;
    const float inverse = most > 1e-30f ? 127 / most : 0;
    for (size_t c = 0; c < in; c++) q[c] = (int8_t)lrintf(w[c] * inverse);
    return inverse > 0 ? most / 127 : 0;
}

/** How the inputs of a row are counted: x is about low + step * q, q the whole number nearest to
 * (x / 2 - low / 2) * inverse. Halves, which are exact, because the range of finite inputs may be beyond float32. */
struct mr_int8_row {
    float low, step, inverse;
};

static inline struct mr_int8_row mr_int8_row(float least, float most)
{
    const float half = most * 0.5f - least * 0.5f;
    return (struct mr_int8_row){.low = least, .step = half * (2.0f / 255), .inverse = half > 0.5e-30f ? 255 / half : 0};
}

/** q of an input. */
static inline long mr_int8_count(const struct mr_int8_row *row, float x)
{
    return lrintf((x * 0.5f - row->low * 0.5f) * row->inverse);
}

#endif
