/* The meaning of mlp_int8: wide layers over whole numbers, whose sums are exact; the rest in double. */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/reduced.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_mlp_int8_ref;

static void plain_forward(const struct mr_mlp_layer *layer, const double *in, double *z)
{
    for (size_t o = 0; o < layer->out; o++) {
        z[o] = layer->b[o];
        for (size_t c = 0; c < layer->in; c++) z[o] += (double)layer->w[o * layer->in + c] * in[c];
    }
}

/* counted: room for [in] whole numbers of the inputs, and behind them of an output's weights. */
static void counted_forward(const struct mr_mlp_layer *layer, const double *in, double *z, uint8_t *counted)
{
    int8_t *const weight = (int8_t *)(counted + layer->in);
    float least = (float)in[0], most = least;
    bool is_finite = true;
    for (size_t c = 0; c < layer->in; c++) {
        const float x = (float)in[c];
        least = x < least ? x : least;
        most = x > most ? x : most;
        is_finite &= isfinite(x) != 0;
    }
    const struct mr_int8_row row = mr_int8_row(least, most);
    for (size_t c = 0; c < layer->in && is_finite; c++) counted[c] = (uint8_t)mr_int8_count(&row, (float)in[c]);
    for (size_t o = 0; o < layer->out; o++) {
        const double step = (double)mr_int8_weights(layer->w + o * layer->in, layer->in, weight);
        int64_t sum = 0, weights = 0;
        for (size_t c = 0; c < layer->in && is_finite; c++) {
            sum += weight[c] * counted[c];
            weights += weight[c];
        }
        z[o] = is_finite
                   ? (double)layer->b[o] + step * ((double)row.step * (double)sum + (double)row.low * (double)weights)
                   : (double)NAN;
    }
}

void mr_mlp_int8_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                     size_t rows)
{
    const struct mr_mlp_params *const params = model->params;
    const size_t in = model->in, out = model->out;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        double *const value = scratch, *const z = value + model->width_max;
        for (size_t c = 0; c < in; c++)
            value[c] = (double)(x[mr_tile_at(row, c, in)] - (params->shift ? params->shift[c] : 0));
        for (size_t i = 0; i < params->layer_count; i++) {
            const struct mr_mlp_layer *const layer = &params->layer[i];
            if (mr_layer_is_reduced(layer))
                counted_forward(layer, value, z, (uint8_t *)(z + model->width_max));
            else
                plain_forward(layer, value, z);
            if (i + 1 == params->layer_count && class_index) class_index[row] = mr_reference_class(z, out);
            mr_reference_activate(layer->activation, z, layer->out);
            memcpy(value, z, layer->out * sizeof *z);
        }
        for (size_t o = 0; y && o < out; o++) y[mr_tile_at(row, o, out)] = (float)value[o];
    }
}
