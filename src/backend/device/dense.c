/* Networks of dense layers as launches: runs of narrow layers in one, each wide one alone. */
#include "backend/device/block.h"
#include "kernels/gpu_model.h"
#include "kernels/kernels.h"

#define WIDE         128 /* MR_WIDE of gpu_product.h */
#define WIDE_THREADS 256
#define WIDE_SHARED  (2 * 16 * WIDE * sizeof(float))
/* From here on a matrix product pays, even where a part of its 128 outputs is not there. */
#define WIDE_OUT_MIN 48
#define WIDE_IN_MIN  16

_Static_assert(MR_GPU_IDENTITY == (int)MR_ACT_IDENTITY && MR_GPU_SIGMOID == (int)MR_ACT_SIGMOID, "same numbers");
_Static_assert(MR_GPU_TANH == (int)MR_ACT_TANH && MR_GPU_RELU == (int)MR_ACT_RELU, "same numbers");
_Static_assert(MR_GPU_GELU == (int)MR_ACT_GELU && MR_GPU_SOFTMAX == (int)MR_ACT_SOFTMAX, "same numbers");
_Static_assert(MR_BLOCK_OUT == 6, "MR_OUTS of gpu.h: weights of narrow layers are copied as they are packed");

static bool is_wide(const struct mr_device_build *build, const struct mr_dense *layer)
{
    const struct mr_device_kind *const kind = &build->program->kind;
    return kind->lanes == 1 && kind->shared_bytes >= WIDE_SHARED && layer->out >= WIDE_OUT_MIN &&
           layer->in >= WIDE_IN_MIN;
}

static void layer_numbers(struct mr_device_build *build, const struct mr_dense *layer, uint32_t w, uint32_t *numbers)
{
    numbers[MR_LAYER_IN] = (uint32_t)layer->in;
    numbers[MR_LAYER_OUT] = (uint32_t)layer->out;
    numbers[MR_LAYER_ACTIVATION] = layer->activation;
    numbers[MR_LAYER_W] = w;
    numbers[MR_LAYER_B] = mr_build_floats(build, layer->b, layer->out);
}

uint32_t mr_build_wide_weights(struct mr_device_build *build, const struct mr_dense *layer)
{
    const size_t blocks = (layer->out + WIDE - 1) / WIDE;
    size_t count;
    if (__builtin_mul_overflow(blocks * WIDE, layer->in, &count)) count = SIZE_MAX;
    const uint32_t position = mr_build_words(build, count);
    if (!position) return 0;
    float *const w = (float *)(build->program->model + position);
    for (size_t o = 0; o < layer->out; o++) {
        for (size_t c = 0; c < layer->in; c++)
            w[(o / WIDE * layer->in + c) * WIDE + o % WIDE] = mr_dense_weight(layer, o, c);
    }
    return position;
}

static struct mr_device_step wide_launch(const struct mr_dense *layer)
{
    return (struct mr_device_step){.kernel = "dense_wide",
                                   .threads = WIDE_THREADS,
                                   .rows = WIDE,
                                   .blocks = (uint32_t)((layer->out + WIDE - 1) / WIDE),
                                   .shared_bytes = WIDE_SHARED};
}

void mr_build_layer(struct mr_device_build *build, const struct mr_dense *layer, uint32_t from, uint32_t to)
{
    const bool is_gpu = build->program->kind.lanes == 1, wide = is_wide(build, layer);
    const struct mr_device_step launch = wide_launch(layer);
    const uint32_t tiles = mr_build_tiles(build, 2.0 * (double)layer->in * (double)layer->out);
    uint32_t numbers[MR_DENSE_WORDS + MR_LAYER_WORDS] = {[MR_DENSE_TILES] = tiles,
                                                         [MR_DENSE_FROM] = from,
                                                         [MR_DENSE_TO] = to,
                                                         [MR_DENSE_LAYERS] = 1,
                                                         [MR_DENSE_BLOCKS] = launch.blocks};
    const uint32_t w =
        wide ? mr_build_wide_weights(build, layer) : mr_build_floats(build, layer->w, layer->in * layer->out);
    layer_numbers(build, layer, w, numbers + MR_DENSE_WORDS);
    mr_build_step(build,
                  wide ? &launch
                       : &(struct mr_device_step){.kernel = "mlp_forward",
                                                  .threads = is_gpu ? MR_TILE_ROWS : 1,
                                                  .rows = tiles * MR_TILE_ROWS,
                                                  .blocks = 1,
                                                  .shared_bytes = 16},
                  numbers, sizeof numbers / sizeof *numbers);
}

/* What all steps of a network share. */
struct network {
    const struct mr_packed *packed;
    uint32_t place[2]; /* outputs of a step; 0: not taken yet */
    size_t place_cols; /* widest of what steps hand on */
    uint32_t from, shift;
    unsigned turn;
};

static uint32_t place_next(struct mr_device_build *build, struct network *network)
{
    uint32_t *const place = &network->place[network->turn++ % 2];
    if (!*place) *place = mr_build_place(build, network->place_cols);
    return *place;
}

/* Where a step's outputs go: on to the next, or, when y is not wanted, the logits. */
static uint32_t place_to(struct mr_device_build *build, struct network *network, bool is_last)
{
    return is_last && build->program->want & MR_WANT_Y ? 0 : place_next(build, network);
}

static void wide_step(struct mr_device_build *build, struct network *network, size_t i)
{
    const struct mr_dense *const layer = &network->packed->layer[i];
    const bool is_last = i + 1 == network->packed->layer_count;
    const struct mr_device_step launch = wide_launch(layer);
    const uint32_t to = place_to(build, network, is_last);
    uint32_t numbers[MR_DENSE_WORDS + MR_LAYER_WORDS] = {[MR_DENSE_TILES] = 1,
                                                         [MR_DENSE_FROM] = network->from,
                                                         [MR_DENSE_TO] = to,
                                                         [MR_DENSE_SHIFT] = network->shift,
                                                         [MR_DENSE_LAYERS] = 1,
                                                         [MR_DENSE_IS_LAST] = is_last,
                                                         [MR_DENSE_BLOCKS] = launch.blocks};
    layer_numbers(build, layer, mr_build_wide_weights(build, layer), numbers + MR_DENSE_WORDS);
    mr_build_step(build, &launch, numbers, sizeof numbers / sizeof *numbers);
    network->from = to;
    network->shift = 0;
    if (!is_last) return;
    mr_build_step(
        build,
        &(struct mr_device_step){
            .kernel = "finish", .threads = MR_TILE_ROWS, .rows = MR_TILE_ROWS, .blocks = 1, .shared_bytes = 16},
        numbers, sizeof numbers / sizeof *numbers);
}

/* Layers [i, end) of which all but the last one's outputs stay in shared memory. */
static void narrow_step(struct mr_device_build *build, struct network *network, size_t i, size_t end,
                        size_t shared_cols)
{
    const struct mr_packed *const packed = network->packed;
    const bool is_last = end == packed->layer_count;
    const size_t word_count = MR_DENSE_WORDS + (end - i) * MR_LAYER_WORDS;
    double flops = 0;
    const uint32_t to = place_to(build, network, is_last);
    uint32_t numbers[MR_DENSE_WORDS + MR_DEVICE_RUN_MAX * MR_LAYER_WORDS] = {0};
    for (size_t k = i; k < end; k++) {
        const struct mr_dense *const layer = &packed->layer[k];
        const uint32_t w = mr_build_floats(build, layer->w, layer->in * layer->out);
        layer_numbers(build, layer, w, numbers + MR_DENSE_WORDS + (k - i) * MR_LAYER_WORDS);
        flops += 2.0 * (double)layer->in * (double)layer->out;
    }
    const uint32_t tiles = mr_build_tiles(build, flops);
    numbers[MR_DENSE_TILES] = tiles;
    numbers[MR_DENSE_FROM] = network->from;
    numbers[MR_DENSE_TO] = to;
    numbers[MR_DENSE_SHIFT] = network->shift;
    numbers[MR_DENSE_LAYERS] = (uint32_t)(end - i);
    numbers[MR_DENSE_IS_LAST] = is_last;
    numbers[MR_DENSE_SHARED_COLS] = (uint32_t)shared_cols;
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = mr_op_name(build->program->op),
                                           .threads = build->program->kind.lanes == 1 ? MR_TILE_ROWS : 1,
                                           .rows = tiles * MR_TILE_ROWS,
                                           .blocks = 1,
                                           .shared_bytes = 2 * shared_cols * MR_TILE_ROWS * sizeof(float) + 16},
                  numbers, word_count);
    network->from = to;
    network->shift = 0;
}

void mr_build_dense(struct mr_device_build *build, const struct mr_packed *packed)
{
    const size_t shared_max = (build->program->kind.shared_bytes - 16) / (2 * MR_TILE_ROWS * sizeof(float));
    struct network network = {.packed = packed, .place_cols = packed->width_max};
    if (packed->shift && !is_wide(build, &packed->layer[0]) && packed->in > shared_max)
        network.from = mr_build_shift(build, packed->shift, packed->in);
    else
        network.shift = mr_build_floats(build, packed->shift, packed->in);
    for (size_t i = 0; i < packed->layer_count;) {
        size_t cols = network.shift ? packed->in : 0, end = i + 1;
        if (is_wide(build, &packed->layer[i])) {
            wide_step(build, &network, i++);
            continue;
        }
        while (end < packed->layer_count && !is_wide(build, &packed->layer[end]) &&
               packed->layer[end - 1].out <= shared_max && end - i < MR_DEVICE_RUN_MAX) {
            if (packed->layer[end - 1].out > cols) cols = packed->layer[end - 1].out;
            end++;
        }
        narrow_step(build, &network, i, end, cols);
        i = end;
    }
}
