/* The meaning of mlp_int8: wide layers over whole numbers, whose sums are exact; the rest in double. */
#include "kernels/kernels.h"
#include "kernels/reduced.h"
#include "kernels/reference.h"
#include "millrace/batch.h"

mr_score_fn mr_mlp_int8_ref;

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

static void layer_forward(const struct mr_mlp_layer *layer, const double *in, double *z, void *scratch)
{
    if (mr_layer_is_reduced(layer))
        counted_forward(layer, in, z, scratch);
    else
        mr_reference_dense(layer, in, z, scratch);
}

void mr_mlp_int8_ref(const float *x, const struct mr_packed *model, float *y, int32_t *class_index, void *scratch,
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
