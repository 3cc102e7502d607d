/* The meaning of mlp_bf16: wide layers over rounded weights and inputs, products and sums in double. */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/reduced.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_mlp_bf16_ref;

static void layer_forward(const struct mr_mlp_layer *layer, const double *in, double *z)
{
    const bool is_reduced = mr_layer_is_reduced(layer);
    for (size_t o = 0; o < layer->out; o++) {
        z[o] = layer->b[o];
        for (size_t c = 0; c < layer->in; c++) {
            const float w = layer->w[o * layer->in + c];
            if (is_reduced)
                z[o] += (double)mr_bf16_round(w) * (double)mr_bf16_round((float)in[c]);
            else
                z[o] += (double)w * in[c];
        }
    }
}

void mr_mlp_bf16_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
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
            layer_forward(layer, value, z);
            if (i + 1 == params->layer_count && class_index) class_index[row] = mr_reference_class(z, out);
            mr_reference_activate(layer->activation, z, layer->out);
            memcpy(value, z, layer->out * sizeof *z);
        }
        for (size_t o = 0; y && o < out; o++) y[mr_tile_at(row, o, out)] = (float)value[o];
    }
}
