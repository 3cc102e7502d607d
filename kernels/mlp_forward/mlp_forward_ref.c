/* The meaning of mlp_forward: plain loops, sums in double, never optimised. */
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_mlp_forward_ref;

/* z = b + w in, for one row. */
static void layer_forward(const struct mr_mlp_layer *layer, const double *in, double *z)
{
    for (size_t o = 0; o < layer->out; o++) {
        z[o] = layer->b[o];
        for (size_t c = 0; c < layer->in; c++) z[o] += (double)layer->w[o * layer->in + c] * in[c];
    }
}

void mr_mlp_forward_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                        size_t rows)
{
    const struct mr_mlp_params *params = model->params;
    const size_t in = model->in, out = model->out;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        double *value = scratch, *z = value + model->width_max;
        for (size_t c = 0; c < in; c++) {
            value[c] = (double)x[mr_tile_at(row, c, in)] - (params->shift ? (double)params->shift[c] : 0);
        }
        for (size_t i = 0; i < params->layer_count; i++) {
            const struct mr_mlp_layer *layer = &params->layer[i];
            layer_forward(layer, value, z);
            if (i + 1 == params->layer_count && class_index) class_index[row] = mr_reference_class(z, out);
            mr_reference_activate(layer->activation, z, layer->out);
            memcpy(value, z, layer->out * sizeof *z);
        }
        for (size_t o = 0; y && o < out; o++) y[mr_tile_at(row, o, out)] = (float)value[o];
    }
}
