#include "kernels/pack.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "millrace/batch.h"

double mr_fold_factor(mr_activation activation)
{
    switch (activation) {
    case MR_ACT_SIGMOID:
        return -M_LOG2E;
    case MR_ACT_TANH:
        return 2 * M_LOG2E;
    case MR_ACT_SOFTMAX:
        return M_LOG2E;
    case MR_ACT_IDENTITY:
    case MR_ACT_RELU:
    case MR_ACT_GELU:
        break;
    }
    return 1;
}

bool mr_dense_pack(struct mr_dense *dense, const struct mr_mlp_layer *layer)
{
    const double factor = mr_fold_factor(layer->activation);
    size_t count, bytes;
    if (__builtin_mul_overflow(layer->in, layer->out, &count) || __builtin_add_overflow(count, layer->out, &count) ||
        __builtin_mul_overflow(count, sizeof(float), &bytes) || bytes > SIZE_MAX - MR_ALIGN) {
        return false;
    }
    float *const w = aligned_alloc(MR_ALIGN, (bytes + MR_ALIGN) / MR_ALIGN * MR_ALIGN);
    if (!w) return false;
    float *next = w;
    for (size_t first = 0; first < layer->out; first += MR_BLOCK_OUT) {
        const size_t left = layer->out - first, n = left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT;
        for (size_t c = 0; c < layer->in; c++) {
            for (size_t o = 0; o < n; o++) *next++ = (float)(factor * layer->w[(first + o) * layer->in + c]);
        }
    }
    *dense = (struct mr_dense){.in = layer->in, .out = layer->out, .w = w, .b = next, .activation = layer->activation};
    for (size_t o = 0; o < layer->out; o++) *next++ = (float)(factor * layer->b[o]);
    return true;
}

struct mr_packed *mr_layers_pack(const struct mr_mlp_layer *layers, size_t count, mr_layer_pack_fn *pack)
{
    struct mr_packed *model = calloc(1, sizeof *model + count * sizeof model->layer[0]);
    if (!model) return NULL;
    model->in = layers[0].in;
    model->out = layers[count - 1].out;
    model->width_max = layers[0].in;
    for (size_t i = 0; i < count; i++) {
        if (!pack(&model->layer[i], &layers[i])) {
            mr_packed_free(model);
            return NULL;
        }
        model->layer_count = i + 1;
        if (layers[i].out > model->width_max) model->width_max = layers[i].out;
        if (i + 1 < count && layers[i].out > model->hidden_width_max) model->hidden_width_max = layers[i].out;
    }
    return model;
}

static struct mr_packed *mlp_pack(const struct mr_mlp_params *params)
{
    struct mr_packed *const model = mr_layers_pack(params->layer, params->layer_count, mr_dense_pack);
    if (model) model->shift = params->shift;
    return model;
}

static struct mr_packed *linear_pack(const struct mr_linear_params *params)
{
    const struct mr_mlp_layer layer = {
        .in = params->cols, .out = params->out, .w = params->w, .b = params->b, .activation = params->activation};
    return mr_layers_pack(&layer, 1, mr_dense_pack);
}

size_t mr_sum_count(mr_op op, const void *params)
{
    switch (op) {
    case MR_OP_LINEAR_SUM:
        return mr_linear_sum_count(params);
    case MR_OP_KMEANS_SUM:
        return mr_kmeans_sum_count(params);
    case MR_OP_MOMENTS:
        return mr_moments_count(params);
    case MR_OP_MLP_GRADIENT:
        return mr_mlp_gradient_count(params);
    case MR_OP_MLP_FORWARD:
    case MR_OP_LINEAR_SCORE:
    case MR_OP_KMEANS_ASSIGN:
    case MR_OP_SCALE:
    case MR_OP_MF_TOPN:
    case MR_OP_MF_ESTIMATE:
    case MR_OP_MLP_BF16:
    case MR_OP_MLP_INT8:
    case MR_OP_MF_TOPN_BF16:
    case MR_OP_GRAPH_FORWARD:
    case MR_OP_COUNT:
        break;
    }
    return 0;
}

/* What has no layers: sizes and what the kernel reads from params. */
static struct mr_packed *plain_pack(size_t in, size_t out)
{
    struct mr_packed *const model = calloc(1, sizeof *model);
    if (model) *model = (struct mr_packed){.in = in, .out = out};
    return model;
}

static struct mr_packed *scale_pack(const struct mr_scale_params *params)
{
    struct mr_packed *const model = plain_pack(params->cols, params->cols);
    if (!model) return NULL;
    model->shift = params->shift;
    model->scale = params->scale;
    return model;
}

struct mr_packed *mr_packed_create(mr_op op, const void *params)
{
    const struct mr_linear_sum_params *const linear = params;
    const struct mr_kmeans_params *const kmeans = params;
    struct mr_packed *model = NULL;
    switch (op) {
    case MR_OP_MLP_FORWARD:
        model = mlp_pack(params);
        break;
    case MR_OP_MLP_BF16:
    case MR_OP_MLP_INT8:
        model = mr_reduced_pack(op, params);
        break;
    case MR_OP_LINEAR_SCORE:
        model = linear_pack(params);
        break;
    case MR_OP_KMEANS_ASSIGN:
        model = mr_kmeans_assign_pack(kmeans);
        break;
    case MR_OP_SCALE:
    case MR_OP_MOMENTS:
        model = scale_pack(params);
        break;
    case MR_OP_MF_TOPN:
    case MR_OP_MF_TOPN_BF16:
        model = mr_mf_topn_pack(op, params);
        break;
    case MR_OP_MF_ESTIMATE:
        model = plain_pack(2, 1);
        break;
    case MR_OP_LINEAR_SUM:
        model = plain_pack(linear->cols, linear->out);
        break;
    case MR_OP_KMEANS_SUM:
        model = plain_pack(kmeans->cols, kmeans->k);
        break;
    case MR_OP_MLP_GRADIENT:
        model = mr_mlp_gradient_pack(params);
        break;
    case MR_OP_GRAPH_FORWARD:
        model = mr_graph_forward_pack(params);
        break;
    case MR_OP_COUNT:
        break;
    }
    if (!model) return NULL;
    model->op = op;
    model->params = params;
    model->sum_count = mr_sum_count(op, params);
    return model;
}

void mr_packed_free(struct mr_packed *model)
{
    if (!model) return;
    for (size_t i = 0; i < model->layer_count; i++) free((void *)(uintptr_t)model->layer[i].w);
    free(model->own);
    free(model);
}

size_t mr_packed_scratch_bytes(const struct mr_packed *model)
{
    if (model->scratch_floats) return (model->scratch_floats * sizeof(float) + MR_ALIGN - 1) / MR_ALIGN * MR_ALIGN;
    /* SIMD: two buffers for the activations of one tile, one for logits when y is not wanted, one for shifted
     * inputs. Reference: two rows of doubles. */
    const size_t shifted = model->shift ? model->in : 0;
    const size_t simd = (2 * model->hidden_width_max + model->out + shifted) * MR_TILE_ROWS * sizeof(float);
    const size_t reference = 2 * model->width_max * sizeof(double);
    /* Sums: for each its lanes in float32, up to 64 bytes; and a tile of residuals. */
    const size_t sums = model->sum_count * MR_ALIGN + (model->out + 1) * MR_TILE_ROWS * sizeof(float);
    const size_t most = model->sum_count ? sums : simd > reference ? simd : reference;
    return (most + MR_ALIGN - 1) / MR_ALIGN * MR_ALIGN;
}
