#include "kernels/reference.h"

#include <math.h>
#include <string.h>

#include "millrace/batch.h"

static double activate(mr_activation activation, double z)
{
    switch (activation) {
    case MR_ACT_SIGMOID:
        return 1 / (1 + exp(-z));
    case MR_ACT_TANH:
        return tanh(z);
    case MR_ACT_RELU:
        return z < 0 ? 0 : z;
    case MR_ACT_GELU:
        return z * 0.5 * erfc(-z * M_SQRT1_2);
    case MR_ACT_IDENTITY:
    case MR_ACT_SOFTMAX:
        break;
    }
    return z;
}

static void softmax(double *z, size_t count)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) max = z[i] > max ? z[i] : max;
    for (size_t i = 0; i < count; i++) {
        z[i] = exp(z[i] - max);
        sum += z[i];
    }
    for (size_t i = 0; i < count; i++) z[i] /= sum;
}

void mr_reference_activate(mr_activation activation, double *z, size_t count)
{
    if (activation == MR_ACT_SOFTMAX) {
        softmax(z, count);
    } else {
        for (size_t i = 0; i < count; i++) z[i] = activate(activation, z[i]);
    }
}

int32_t mr_reference_class(const double *z, size_t count)
{
    double best = -INFINITY;
    int32_t index = 0;
    if (count == 1) return z[0] > 0;
    for (size_t i = 0; i < count; i++) {
        if (z[i] > best) {
            best = z[i];
            index = (int32_t)i;
        }
    }
    return index;
}

void mr_reference_dense(const struct mr_mlp_layer *layer, const double *in, double *z, void *scratch)
{
    (void)scratch;
    for (size_t o = 0; o < layer->out; o++) {
        z[o] = layer->b[o];
        for (size_t c = 0; c < layer->in; c++) z[o] += (double)layer->w[o * layer->in + c] * in[c];
    }
}

void mr_reference_row(const struct mr_packed *model, mr_reference_layer_fn *forward, void *scratch, size_t row,
                      float *y, int32_t *class_index)
{
    const struct mr_mlp_params *const params = model->params;
    double *const value = scratch, *const z = value + model->width_max;
    for (size_t i = 0; i < params->layer_count; i++) {
        const struct mr_mlp_layer *const layer = &params->layer[i];
        forward(layer, value, z, z + model->width_max);
        if (i + 1 == params->layer_count && class_index) class_index[row] = mr_reference_class(z, model->out);
        mr_reference_activate(layer->activation, z, layer->out);
        memcpy(value, z, layer->out * sizeof *z);
    }
    for (size_t o = 0; y && o < model->out; o++) y[mr_tile_at(row, o, model->out)] = (float)value[o];
}
