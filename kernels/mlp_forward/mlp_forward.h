/** mlp_forward: a whole multi-layer perceptron over feature tiles, layers fused, activations never leave the cache. */
#ifndef MR_KERNEL_MLP_FORWARD_H
#define MR_KERNEL_MLP_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    MR_ACT_IDENTITY,
    MR_ACT_SIGMOID, /* 1 / (1 + exp(-z)) */
    MR_ACT_TANH,
    MR_ACT_RELU,
    MR_ACT_GELU,    /* z * (1 + erf(z / sqrt 2)) / 2, the exact form */
    MR_ACT_SOFTMAX, /* last layer only; exp(z - max) / sum */
} mr_activation;

/** Stable lower-case name, as model files spell it; never NULL. */
const char *mr_activation_name(mr_activation activation);

/** The activation of this name; false: there is none. */
bool mr_activation_find(const char *name, mr_activation *activation_out);

struct mr_mlp_layer {
    size_t in, out;
    const float *w; /* [out][in], row-major, as trained */
    const float *b; /* [out] */
    mr_activation activation;
};

struct mr_mlp_params {
    const struct mr_mlp_layer *layer; /* [layer_count], layer[i].out == layer[i + 1].in */
    size_t layer_count;
    /* [layer[0].in], subtracted from the inputs first, or NULL. Folding a mean into the first bias instead would cost
     * digits: both terms are large and nearly cancel. */
    const float *shift;
};

#endif
