/*
 * The gradient of a perceptron as launches: layers forward, residuals, layers back, and the sums of all blocks of rows
 * as one, so that little comes down from the device and the host adds nothing up.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/device/block.h"
#include "kernels/gpu_model.h"
#include "kernels/kernels.h"

#define WIDE          128 /* MR_WIDE of gpu_product.h */
#define WIDE_THREADS  256
#define OUTER_SHARED  (2 * 16 * (WIDE + 4) * sizeof(float)) /* MR_OUTER_SHARED of mlp_gradient_gpu.h */
#define SUM_OUTS      8                                     /* MR_SUM_OUTS of linear_sum_gpu.h */
#define REDUCE_GROUPS 256
/* A block's sums are float32: at most 4 times the rows that are added in one go, or they would lose digits. */
#define BLOCK_ROWS_MAX  (4 * MR_SUM_ROWS)
#define BLOCK_BYTES_MAX ((size_t)64 << 20) /* of all blocks, where fewer rows a block would take more */

/* What the launches share. */
struct gradient {
    const struct mr_packed *packed;
    const struct mr_mlp_gradient_params *params;
    uint32_t *kept;    /* [layers] places: the inputs of each layer; 0: x */
    uint32_t *logits;  /* [layers] of each one that is GELU's */
    uint32_t d, other; /* places of residuals */
    uint32_t partial, stride, block_rows;
};

/* Blocks of rows, as few as their memory asks for. */
static void blocks_take(struct mr_device_build *build, struct gradient *gradient)
{
    struct mr_device_program *const program = build->program;
    const size_t stride = (program->sum_count + MR_TILE_ROWS - 1) / MR_TILE_ROWS * MR_TILE_ROWS;
    const size_t most = BLOCK_BYTES_MAX / sizeof(float) / stride + 1, cap = program->row_cap ? program->row_cap : 1;
    size_t rows = ((cap - 1) / most / MR_SUM_ROWS + 1) * MR_SUM_ROWS, floats;
    if (rows > BLOCK_ROWS_MAX) rows = BLOCK_ROWS_MAX;
    if (stride > UINT32_MAX || __builtin_mul_overflow(stride, (cap - 1) / rows + 1, &floats)) {
        build->is_too_large = true;
        return;
    }
    program->partial_count = program->sum_count;
    program->partial_rows = UINT32_MAX; /* one block for the host, whatever the rows */
    gradient->stride = (uint32_t)stride;
    gradient->block_rows = (uint32_t)rows;
    (void)mr_build_scratch(build, stride); /* the sums, at the start of scratch */
    gradient->partial = mr_build_scratch(build, floats);
}

static void forward_build(struct mr_device_build *build, struct gradient *gradient)
{
    const struct mr_packed *const packed = gradient->packed;
    const size_t count = gradient->params->mlp.layer_count;
    if (packed->shift) gradient->kept[0] = mr_build_shift(build, packed->shift, packed->in);
    for (size_t i = 0; i + 1 < count; i++) {
        struct mr_dense layer = packed->layer[i];
        gradient->kept[i + 1] = mr_build_place(build, layer.out);
        mr_build_layer(build, &layer, gradient->kept[i], gradient->kept[i + 1]);
        if (layer.activation != MR_ACT_GELU) continue;
        layer.activation = MR_ACT_IDENTITY;
        gradient->logits[i] = mr_build_place(build, layer.out);
        mr_build_layer(build, &layer, gradient->kept[i], gradient->logits[i]);
    }
}

static void residuals_build(struct mr_device_build *build, const struct gradient *gradient)
{
    const struct mr_mlp_gradient_params *const params = gradient->params;
    const size_t classes = gradient->packed->out > 1 ? gradient->packed->out : 2;
    uint32_t numbers[MR_RESIDUALS_WORDS] = {[MR_SUMS_OUT] = (uint32_t)gradient->packed->out,
                                            [MR_SUMS_LOSS] = params->loss,
                                            [MR_SUMS_ROWS] = gradient->block_rows,
                                            [MR_SUMS_WEIGHT] = mr_build_floats(build, params->class_weight, classes),
                                            [MR_RESIDUALS_TO] = gradient->d,
                                            [MR_RESIDUALS_PARTIAL] = gradient->partial,
                                            [MR_RESIDUALS_STRIDE] = gradient->stride,
                                            [MR_RESIDUALS_AT] = (uint32_t)(gradient->packed->sum_count - 2)};
    memcpy(&numbers[MR_SUMS_DELTA], &params->delta, sizeof params->delta);
    mr_build_step(
        build,
        &(struct mr_device_step){.kernel = "mlp_residuals",
                                 .threads = build->program->kind.lanes == 1 ? MR_TILE_ROWS : 1,
                                 .rows = gradient->block_rows,
                                 .blocks = 1,
                                 .shared_bytes = ((SUM_OUTS + 2) * MR_SUM_ROWS + MR_TILE_ROWS) * sizeof(float)},
        numbers, MR_RESIDUALS_WORDS);
}

/* Sums of a layer's weights, which stand at w in a block, and of its biases. */
static void outer_build(struct mr_device_build *build, const struct gradient *gradient, size_t i, size_t w, size_t b)
{
    const struct mr_dense *const layer = &gradient->packed->layer[i];
    const bool is_gpu = build->program->kind.lanes == 1;
    const size_t in_blocks = is_gpu ? (layer->in + WIDE - 1) / WIDE : 1,
                 blocks = is_gpu ? (layer->out + WIDE - 1) / WIDE * in_blocks : 1;
    const uint32_t numbers[MR_GRADIENT_WORDS] = {[MR_GRADIENT_IN] = (uint32_t)layer->in,
                                                 [MR_GRADIENT_OUT] = (uint32_t)layer->out,
                                                 [MR_GRADIENT_FROM] = gradient->kept[i],
                                                 [MR_GRADIENT_D] = gradient->d,
                                                 [MR_GRADIENT_PARTIAL] = gradient->partial,
                                                 [MR_GRADIENT_STRIDE] = gradient->stride,
                                                 [MR_GRADIENT_ROWS] = gradient->block_rows,
                                                 [MR_GRADIENT_W] = (uint32_t)w,
                                                 [MR_GRADIENT_B] = (uint32_t)b,
                                                 [MR_GRADIENT_BLOCKS] = (uint32_t)blocks,
                                                 [MR_GRADIENT_IN_BLOCKS] = (uint32_t)in_blocks};
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = "mlp_gradient",
                                           .threads = is_gpu ? WIDE_THREADS : 1,
                                           .rows = gradient->block_rows,
                                           .blocks = (uint32_t)blocks,
                                           .shared_bytes = is_gpu ? OUTER_SHARED : 16},
                  numbers, MR_GRADIENT_WORDS);
}

/* The residuals of the layer before layer i, which become gradient->d. */
static void back_build(struct mr_device_build *build, struct gradient *gradient, size_t i)
{
    const struct mr_packed *const packed = gradient->packed;
    const struct mr_dense *const before = &packed->layer[i - 1];
    const uint32_t to = gradient->other, tiles = mr_build_tiles(build, 8 * (double)before->out);
    mr_build_layer(build, &packed->layer[gradient->params->mlp.layer_count + i - 1], gradient->d, to);
    gradient->other = gradient->d;
    gradient->d = to;
    if (before->activation == MR_ACT_IDENTITY) return;
    const uint32_t numbers[MR_SLOPE_WORDS] = {
        [MR_SLOPE_TILES] = tiles, [MR_SLOPE_COLS] = (uint32_t)before->out, [MR_SLOPE_ACTIVATION] = before->activation,
        [MR_SLOPE_D] = to,        [MR_SLOPE_A] = gradient->kept[i],        [MR_SLOPE_Z] = gradient->logits[i - 1]};
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = "mlp_slope",
                                           .threads = build->program->kind.lanes == 1 ? WIDE_THREADS : 1,
                                           .rows = tiles * MR_TILE_ROWS,
                                           .blocks = 1,
                                           .shared_bytes = 16},
                  numbers, MR_SLOPE_WORDS);
}

static void reduce_build(struct mr_device_build *build, const struct gradient *gradient)
{
    const struct mr_device_kind *const kind = &build->program->kind;
    const size_t threads = kind->lanes == 1 ? WIDE_THREADS : 1, most = gradient->stride / kind->lanes / threads + 1,
                 groups = kind->lanes == 1 ? REDUCE_GROUPS : kind->units;
    const uint32_t numbers[MR_GRADIENT_WORDS] = {[MR_GRADIENT_PARTIAL] = gradient->partial,
                                                 [MR_GRADIENT_STRIDE] = gradient->stride,
                                                 [MR_GRADIENT_ROWS] = gradient->block_rows,
                                                 [MR_GRADIENT_BLOCKS] = (uint32_t)(groups < most ? groups : most)};
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = "mlp_reduce",
                                           .threads = (uint32_t)threads,
                                           .rows = UINT32_MAX, /* all groups, whatever the rows */
                                           .blocks = numbers[MR_GRADIENT_BLOCKS],
                                           .shared_bytes = 16},
                  numbers, MR_GRADIENT_WORDS);
}

/* From the residuals of the last layer to the sums of all. */
static void backward_build(struct mr_device_build *build, struct gradient *gradient)
{
    const struct mr_packed *const packed = gradient->packed;
    const struct mr_mlp_params *const mlp = &gradient->params->mlp;
    size_t w = mr_mlp_weight_count(mlp), b = w + mr_mlp_bias_count(mlp);
    for (size_t i = mlp->layer_count; i-- > 0;) {
        w -= packed->layer[i].in * packed->layer[i].out;
        b -= packed->layer[i].out;
        outer_build(build, gradient, i, w, b);
        if (i) back_build(build, gradient, i);
    }
}

void mr_build_mlp_gradient(struct mr_device_build *build, const struct mr_packed *packed)
{
    const struct mr_mlp_gradient_params *const params = packed->params;
    uint32_t *const places = calloc(params->mlp.layer_count, 2 * sizeof *places);
    struct gradient gradient = {
        .packed = packed, .params = params, .kept = places, .logits = places + params->mlp.layer_count};
    if (!places) {
        build->is_out_of_memory = true;
        return;
    }
    blocks_take(build, &gradient);
    forward_build(build, &gradient);
    gradient.d = mr_build_place(build, packed->width_max);
    gradient.other = mr_build_place(build, packed->width_max);
    residuals_build(build, &gradient);
    backward_build(build, &gradient);
    reduce_build(build, &gradient);
    free(places);
}
