/* k-means as launches: the nearest centre, and the sums of what belongs to each. */
#include <math.h>

#include "backend/device/block.h"
#include "kernels/gpu_model.h"

#define WIDE         128 /* MR_WIDE of gpu_product.h */
#define WIDE_THREADS 256
#define WIDE_SHARED  (2 * 16 * WIDE * sizeof(float))
#define WIDE_K_MIN   48
#define WIDE_IN_MIN  16

static void line_step(struct mr_device_build *build, const struct mr_line *line)
{
    const uint32_t tiles = mr_build_tiles(build, (double)line->count);
    const uint32_t numbers[MR_LINE_WORDS] = {[MR_LINE_TILES] = tiles,
                                             [MR_LINE_COUNT] = (uint32_t)line->count,
                                             [MR_LINE_CENTER] = mr_build_floats(build, line->center, line->count),
                                             [MR_LINE_BOUND] = mr_build_floats(build, line->bound, line->count),
                                             [MR_LINE_INDEX] =
                                                 mr_build_floats(build, (const float *)line->index, line->count)};
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = "kmeans_line",
                                           .threads = build->program->kind.lanes == 1 ? MR_TILE_ROWS : 1,
                                           .rows = tiles * MR_TILE_ROWS,
                                           .blocks = 1,
                                           .shared_bytes = 16},
                  numbers, MR_LINE_WORDS);
}

/* Half the squared lengths; infinite behind the last centre. */
static uint32_t wide_lengths(struct mr_device_build *build, const struct mr_dense *layer)
{
    const size_t count = (layer->out + WIDE - 1) / WIDE * WIDE;
    const uint32_t position = mr_build_words(build, count);
    for (size_t i = 0; position && i < count; i++)
        ((float *)(build->program->model + position))[i] = i < layer->out ? layer->b[i] : INFINITY;
    return position;
}

static void wide_step(struct mr_device_build *build, const struct mr_packed *packed)
{
    const struct mr_dense *const layer = &packed->layer[0];
    const uint32_t numbers[MR_NEAR_WORDS] = {[MR_NEAR_TILES] = 2,
                                             [MR_NEAR_SHIFT] = mr_build_floats(build, packed->shift, packed->in),
                                             [MR_NEAR_IN] = (uint32_t)layer->in,
                                             [MR_NEAR_K] = (uint32_t)layer->out,
                                             [MR_NEAR_W] = mr_build_wide_weights(build, layer),
                                             [MR_NEAR_B] = wide_lengths(build, layer)};
    mr_build_step(
        build,
        &(struct mr_device_step){
            .kernel = "kmeans_wide", .threads = WIDE_THREADS, .rows = WIDE, .blocks = 1, .shared_bytes = WIDE_SHARED},
        numbers, MR_NEAR_WORDS);
}

void mr_build_kmeans_assign(struct mr_device_build *build, const struct mr_packed *packed)
{
    const struct mr_device_kind *const kind = &build->program->kind;
    const struct mr_dense *const layer = &packed->layer[0];
    if (packed->line.count) {
        line_step(build, &packed->line);
        return;
    }
    if (kind->lanes == 1 && kind->shared_bytes >= WIDE_SHARED && layer->out >= WIDE_K_MIN && layer->in >= WIDE_IN_MIN) {
        wide_step(build, packed);
        return;
    }
    const size_t shared_bytes = packed->in * MR_TILE_ROWS * sizeof(float);
    const bool is_shared = shared_bytes <= kind->shared_bytes;
    const uint32_t tiles = mr_build_tiles(build, 2.0 * (double)layer->in * (double)layer->out);
    const uint32_t numbers[MR_NEAR_WORDS] = {
        [MR_NEAR_TILES] = tiles,
        [MR_NEAR_FROM] = is_shared ? 0 : mr_build_shift(build, packed->shift, packed->in),
        [MR_NEAR_SHIFT] = is_shared ? mr_build_floats(build, packed->shift, packed->in) : 0,
        [MR_NEAR_IN] = (uint32_t)layer->in,
        [MR_NEAR_K] = (uint32_t)layer->out,
        [MR_NEAR_W] = mr_build_floats(build, layer->w, layer->in * layer->out),
        [MR_NEAR_B] = mr_build_floats(build, layer->b, layer->out)};
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = "kmeans_assign",
                                           .threads = kind->lanes == 1 ? MR_TILE_ROWS : 1,
                                           .rows = tiles * MR_TILE_ROWS,
                                           .blocks = 1,
                                           .shared_bytes = is_shared ? shared_bytes : 16},
                  numbers, MR_NEAR_WORDS);
}
