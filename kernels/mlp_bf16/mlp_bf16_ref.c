/* The meaning of mlp_bf16: wide layers over rounded weights and inputs, products and sums in double. */
#include "kernels/kernels.h"
#include "kernels/reduced.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_mlp_bf16_ref;

static void layer_forward(const struct mr_mlp_layer *layer, const double *in, double *z, void *scratch)
{
    if (!mr_layer_is_reduced(layer)) {
        mr_reference_dense(layer, in, z, scratch);
        return;
    }
    for (size_t o = 0; o < layer->out; o++) {
        z[o] = layer->b[o];
        for (size_t c = 0; c < layer->in; c++)
            z[o] += (double)mr_bf16_round(layer->w[o * layer->in + c]) * (double)mr_bf16_round((float)in[c]);
    }
}

void mr_mlp_bf16_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
                     size_t rows)
{
    const struct mr_mlp_params *const params = model->params;
    const size_t in = model->in;
    double *const value = scratch;
    mr_kernel_ran = "ref";
    for (size_t row = 0; row < rows; row++) {
        for (size_t c = 0; c < in; c++)
            value[c] = (double)(x[mr_tile_at(row, c, in)] - (params->shift ? params->shift[c] : 0));
        mr_reference_row(model, layer_forward, scratch, row, y, class_index);
    }
}
