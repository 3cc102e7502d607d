/**
 * How far float32 may be off: a forward pass in double with an error beside each value. A sum of n products is off by
 * at most (n + 4) * FLT_EPSILON * (|bias| + sum |x w|), which covers weights rounded once and scaled once, plus |w|
 * times the error of its inputs; an activation multiplies the error by its largest slope and adds its own
 * (kernels/README.md, "Error bounds").
 */
#ifndef MR_TESTS_ERROR_BOUND_H
#define MR_TESTS_ERROR_BOUND_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/mlp_forward/mlp_forward.h"

#define EPS ((double)FLT_EPSILON)

/** One row: outputs and logits of the last layer with their errors. Arrays of the widest layer, the caller's. */
struct error_bound {
    double *value, *error, *z, *z_error;
};

static void bound_activate(struct error_bound *row, mr_activation activation, size_t count)
{
    const double *const z = row->z, *const z_error = row->z_error;
    double max = -INFINITY, sum = 0, worst = 0;
    for (size_t i = 0; i < count; i++) {
        max = fmax(max, z[i]);
        worst = fmax(worst, z_error[i]);
    }
    for (size_t i = 0; i < count; i++) sum += exp(z[i] - max);
    for (size_t i = 0; i < count; i++) {
        double *const value = &row->value[i], *const error = &row->error[i];
        switch (activation) {
        case MR_ACT_IDENTITY:
            *value = z[i];
            *error = z_error[i];
            break;
        case MR_ACT_RELU:
            *value = fmax(z[i], 0);
            *error = z_error[i];
            break;
        case MR_ACT_SIGMOID:
            *value = 1 / (1 + exp(-z[i]));
            *error = fmin(z_error[i] / 4, *value * expm1(fmin(z_error[i], 100))) + 3 * EPS * *value + 2e-38;
            break;
        case MR_ACT_TANH:
            *value = tanh(z[i]);
            *error = z_error[i] + 3 * EPS * fabs(*value);
            break;
        case MR_ACT_GELU:
            *value = z[i] * 0.5 * erfc(-z[i] * M_SQRT1_2);
            *error = 1.13 * z_error[i] + 3 * EPS * fabs(z[i]);
            break;
        case MR_ACT_SOFTMAX:
            *value = exp(z[i] - max) / sum;
            *error = *value * expm1(fmin(2 * worst, 100)) + (double)(count + 6) * EPS * *value + 1e-37;
            break;
        }
    }
}

/** The logits of one layer over row->value. */
static void bound_layer(struct error_bound *row, const struct mr_mlp_layer *layer)
{
    for (size_t o = 0; o < layer->out; o++) {
        double z = layer->b[o], size = fabs(z), error = 0;
        for (size_t c = 0; c < layer->in; c++) {
            const double w = layer->w[o * layer->in + c];
            z += w * row->value[c];
            size += fabs(w) * fabs(row->value[c]);
            error += fabs(w) * row->error[c];
        }
        row->z[o] = z;
        row->z_error[o] = error * (1 + 1e-6) + (double)(layer->in + 4) * EPS * size;
    }
}

/** Runs the layers over row->value, which holds the inputs. shift: taken off them first, [layers[0].in] or NULL. */
static void bound_forward(struct error_bound *row, const float *shift, const struct mr_mlp_layer *layers,
                          size_t layer_count)
{
    for (size_t c = 0; c < layers[0].in; c++) {
        row->value[c] -= shift ? (double)shift[c] : 0;
        row->error[c] = shift ? fabs(row->value[c]) * EPS / 2 : 0;
    }
    for (const struct mr_mlp_layer *layer = layers; layer < layers + layer_count; layer++) {
        bound_layer(row, layer);
        bound_activate(row, layer->activation, layer->out);
    }
}

/** May the class be another? Only when the two logits are closer than their errors. count: of the logits. */
static bool bound_is_near_tie(const struct error_bound *row, size_t count, int32_t want, int32_t got)
{
    if (count == 1) return fabs(row->z[0]) <= row->z_error[0];
    return row->z[want] - row->z[got] <= row->z_error[want] + row->z_error[got];
}

#endif
