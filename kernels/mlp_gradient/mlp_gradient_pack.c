/*
 * Packs a perceptron for its gradient: the layers as for scoring, and behind them the transposed weights of all but the
 * first, as layers without bias and activation: they carry residuals back.
 */
#include <stdlib.h>

#include "kernels/pack.h"
#include "millrace/batch.h"

/* The transposed layer, weights and zero biases in memory of its own; w NULL: out of memory. */
static struct mr_mlp_layer transposed(const struct mr_mlp_layer *layer)
{
    struct mr_mlp_layer back = {.in = layer->out, .out = layer->in, .activation = MR_ACT_IDENTITY};
    float *const w = calloc(layer->in, (layer->out + 1) * sizeof *w);
    for (size_t o = 0; w && o < layer->out; o++) {
        for (size_t c = 0; c < layer->in; c++) w[c * layer->out + o] = layer->w[o * layer->in + c];
    }
    back.w = w;
    back.b = w ? w + layer->in * layer->out : NULL;
    return back;
}

/* Floats of scratch of the SIMD kernel (mlp_gradient_simd.c), and of the reference, whichever is more. */
static size_t scratch_floats(const struct mr_packed *model, const struct mr_mlp_params *mlp)
{
    const size_t values = mr_mlp_bias_count(mlp), chunk = MR_SUM_ROWS;
    size_t kept = model->in; /* the shifted inputs, what each hidden layer gave, and GELU's logits */
    for (size_t i = 0; i + 1 < mlp->layer_count; i++)
        kept += mlp->layer[i].out * (mlp->layer[i].activation == MR_ACT_GELU ? 2 : 1);
    const size_t simd = (kept + 2 * model->width_max) * chunk + (model->out + 2) * MR_ALIGN / sizeof(float);
    const size_t reference = 2 * (2 * values + model->in + 2 * model->width_max);
    return simd > reference ? simd : reference;
}

struct mr_packed *mr_mlp_gradient_pack(const struct mr_mlp_gradient_params *params)
{
    const struct mr_mlp_params *const mlp = &params->mlp;
    const size_t count = mlp->layer_count;
    struct mr_mlp_layer *const all = calloc(2 * count - 1, sizeof *all);
    struct mr_packed *model = NULL;
    bool is_whole = all;
    for (size_t i = 0; i < count && is_whole; i++) {
        all[i] = mlp->layer[i];
        if (i) all[count + i - 1] = transposed(&mlp->layer[i]);
        is_whole = !i || all[count + i - 1].w;
    }
    if (is_whole) model = mr_layers_pack(all, 2 * count - 1, mr_dense_pack);
    for (size_t i = count; all && i < 2 * count - 1; i++) free((void *)(uintptr_t)all[i].w);
    free(all);
    if (!model) return NULL;
    model->shift = mlp->shift;
    model->out = mlp->layer[count - 1].out;
    model->scratch_floats = scratch_floats(model, mlp);
    return model;
}
