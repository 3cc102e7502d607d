/**
 * How far mlp_bf16 and mlp_int8 may be off the reference of the same arithmetic: as error_bound.h, and for each input
 * of a reduced layer what becomes of its error: none, unless it may round to another bfloat16 or be counted
 * differently.
 */
#ifndef MR_TESTS_REDUCED_BOUND_H
#define MR_TESTS_REDUCED_BOUND_H

#include <stdlib.h>

#include "error_bound.h"
#include "kernels/reduced.h"
#include "millrace/model.h"

/* The inputs of a layer as its kernel sees them: value and error in place. */
static void bound_bf16_inputs(struct error_bound *row, size_t in)
{
    for (size_t c = 0; c < in; c++) {
        const double value = row->value[c], error = row->error[c];
        const double here = (double)mr_bf16_round((float)value);
        const double above = (double)mr_bf16_round((float)(value + error));
        const double below = (double)mr_bf16_round((float)(value - error));
        row->value[c] = here;
        row->error[c] = fmax(above - here, here - below);
    }
}

static void bound_int8_inputs(struct error_bound *row, size_t in)
{
    float least = (float)row->value[0], most = least;
    double worst = 0;
    for (size_t c = 0; c < in; c++) {
        least = fminf(least, (float)row->value[c]);
        most = fmaxf(most, (float)row->value[c]);
        worst = fmax(worst, row->error[c]);
    }
    const struct mr_int8_row counted = mr_int8_row(least, most);
    const double step = (double)counted.step, step_error = worst > 0 ? 2 * worst / 255 + EPS * step : 0;
    for (size_t c = 0; c < in; c++) {
        const double q = (double)mr_int8_count(&counted, (float)row->value[c]);
        double off = 0;
        if (worst > 0 && step > 0) {
            const double exact = (row->value[c] - (double)counted.low) / step;
            const double may = (row->error[c] + worst) / step + exact * (step_error / step) + 4 * EPS * exact;
            off = fmax(rint(exact + may) - q, q - rint(exact - may));
        }
        row->value[c] = (double)counted.low + step * q;
        row->error[c] = worst > 0 ? off * step + worst + (q + off) * step_error : 0;
    }
    /* What the sums are made of, for their rounding: step * q and low apart. */
    for (size_t c = 0; c < in; c++) row->z[c] = fabs((double)counted.low) + fabs(row->value[c] - (double)counted.low);
}

/* The weights of an output as the kernel sees them, in double. */
static void bound_weights(const struct mr_mlp_layer *layer, size_t o, mr_op op, double *w)
{
    const float *const from = layer->w + o * layer->in;
    if (op == MR_OP_MLP_INT8) {
        int8_t *const q = malloc(layer->in);
        const double step = (double)mr_int8_weights(from, layer->in, q);
        for (size_t c = 0; c < layer->in; c++) w[c] = step * q[c];
        free(q);
        return;
    }
    for (size_t c = 0; c < layer->in; c++) w[c] = (double)mr_bf16_round(from[c]);
}

static void bound_reduced_layer(struct error_bound *row, const struct mr_mlp_layer *layer, mr_op op)
{
    double *const w = malloc(layer->in * sizeof *w), *const sizes = malloc(layer->in * sizeof *sizes);
    if (op == MR_OP_MLP_INT8)
        bound_int8_inputs(row, layer->in);
    else
        bound_bf16_inputs(row, layer->in);
    for (size_t c = 0; c < layer->in; c++) sizes[c] = op == MR_OP_MLP_INT8 ? row->z[c] : fabs(row->value[c]);
    for (size_t o = 0; o < layer->out; o++) {
        double z = layer->b[o], size = fabs(z), error = 0;
        bound_weights(layer, o, op, w);
        for (size_t c = 0; c < layer->in; c++) {
            z += w[c] * row->value[c];
            size += fabs(w[c]) * sizes[c];
            error += fabs(w[c]) * row->error[c];
        }
        row->z[o] = z;
        /* Integers are added without an error: what is left are a few roundings at the end. */
        const double roundings = op == MR_OP_MLP_INT8 ? 8 : (double)layer->in + 4;
        row->z_error[o] = error * (1 + 1e-6) + roundings * EPS * size + 1e-34;
    }
    free(w);
    free(sizes);
}

/** As bound_forward. op: MR_OP_MLP_BF16 or MR_OP_MLP_INT8. */
static void bound_reduced(struct error_bound *row, const float *shift, const struct mr_mlp_layer *layers,
                          size_t layer_count, mr_op op)
{
    for (size_t c = 0; c < layers[0].in; c++) {
        row->value[c] = (double)((float)row->value[c] - (shift ? shift[c] : 0));
        row->error[c] = 0;
    }
    for (const struct mr_mlp_layer *layer = layers; layer < layers + layer_count; layer++) {
        if (mr_layer_is_reduced(layer))
            bound_reduced_layer(row, layer, op);
        else
            bound_layer(row, layer);
        bound_activate(row, layer->activation, layer->out);
    }
}

#endif
