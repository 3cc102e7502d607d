/* Matrix factorisation as launches: the best items for users, and estimates for pairs. */
#include <math.h>
#include <string.h>

#include "backend/device/block.h"
#include "kernels/gpu_model.h"

#define WIDE         128 /* MR_WIDE of gpu_product.h */
#define WIDE_THREADS 256
#define WIDE_SHARED  ((2 * 16 * WIDE + WIDE + 4) * sizeof(float)) /* slices, what a list's last score is, hits */
/* Parts of the items that are made where large batches alone would not ask for them, and how long they must be. */
#define PARTS_SMALL     8
#define PART_BLOCKS     64
#define LISTS_BYTES_MAX ((size_t)64 << 20)
/* Of a CPU device: a part of the items stays in the second-level cache while the users of a tile pass it. */
#define CHUNK_BYTES ((size_t)192 << 10)

_Static_assert(sizeof(float) == sizeof(uint32_t), "numbers of a step are words");

/* Rows of factors, each with zeros up to `stride`. */
static uint32_t table_build(struct mr_device_build *build, const float *from, size_t count, size_t rank, size_t stride)
{
    size_t words;
    if (__builtin_mul_overflow(count, stride, &words)) words = SIZE_MAX;
    const uint32_t position = mr_build_words(build, words);
    for (size_t i = 0; position && i < count; i++)
        memcpy(build->program->model + position + i * stride, from + i * rank, rank * sizeof *from);
    return position;
}

/* What all of these kernels read. */
static void numbers_begin(struct mr_device_build *build, const struct mr_packed *packed, uint32_t *numbers)
{
    const struct mr_mf_params *const params = packed->params;
    const size_t unit = build->program->kind.lanes == 1 ? 4 : build->program->kind.lanes,
                 stride = (params->rank + unit - 1) / unit * unit;
    numbers[MR_REC_TILES] = mr_build_tiles(build, 4 * (double)params->rank);
    numbers[MR_REC_COLS] = (uint32_t)packed->in;
    numbers[MR_REC_RANK] = (uint32_t)params->rank;
    numbers[MR_REC_STRIDE] = (uint32_t)stride;
    numbers[MR_REC_USERS] = table_build(build, params->user_factor, params->users, params->rank, stride);
    numbers[MR_REC_USER_BIAS] = mr_build_floats(build, params->user_bias, params->users);
    numbers[MR_REC_COUNT] = (uint32_t)params->items;
    numbers[MR_REC_TOP] = (uint32_t)params->top;
    memcpy(&numbers[MR_REC_MEAN], &params->mean, sizeof params->mean);
    memcpy(&numbers[MR_REC_MIN], &params->scale_min, sizeof params->scale_min);
    memcpy(&numbers[MR_REC_MAX], &params->scale_max, sizeof params->scale_max);
}

/* A launch whose threads have rows of their own. */
static void rows_step(struct mr_device_build *build, const char *kernel, const uint32_t *numbers)
{
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = kernel,
                                           .threads = build->program->kind.lanes == 1 ? MR_TILE_ROWS : 1,
                                           .rows = numbers[MR_REC_TILES] * MR_TILE_ROWS,
                                           .blocks = 1,
                                           .shared_bytes = 16},
                  numbers, MR_REC_WORDS);
}

void mr_build_mf_estimate(struct mr_device_build *build, const struct mr_packed *packed)
{
    const struct mr_mf_params *const params = packed->params;
    uint32_t numbers[MR_REC_WORDS] = {0};
    numbers_begin(build, packed, numbers);
    numbers[MR_REC_ITEMS] =
        table_build(build, params->item_factor, params->items, params->rank, numbers[MR_REC_STRIDE]);
    numbers[MR_REC_ITEM_BIAS] = mr_build_floats(build, params->item_bias, params->items);
    rows_step(build, "mf_estimate", numbers);
}

/* Who has seen what. */
static void seen_build(struct mr_device_build *build, const struct mr_mf_params *params, uint32_t *numbers)
{
    if (!params->seen_first) return;
    const uint64_t count = params->seen_first[params->users];
    if (count > UINT32_MAX / 2) {
        build->is_too_large = true;
        return;
    }
    const uint32_t first = mr_build_words(build, params->users + 1);
    numbers[MR_REC_SEEN_FIRST] = first;
    for (size_t i = 0; first && i <= params->users; i++)
        build->program->model[first + i] = (uint32_t)params->seen_first[i];
    const uint32_t seen = mr_build_words(build, (size_t)count);
    numbers[MR_REC_SEEN] = seen;
    if (seen && count) memcpy(build->program->model + seen, params->seen, (size_t)count * sizeof *params->seen);
}

/* What unknown users get: the items with the highest biases, and those biases. */
static void popular_build(struct mr_device_build *build, const struct mr_packed *packed, uint32_t *numbers)
{
    const struct mr_mf_params *const params = packed->params;
    numbers[MR_REC_POPULAR] = mr_build_floats(build, (const float *)packed->popular, params->top);
    const uint32_t biases = mr_build_words(build, params->top);
    numbers[MR_REC_BIASES] = biases;
    for (size_t n = 0; biases && params->item_bias && n < params->top && packed->popular[n] >= 0; n++)
        ((float *)(build->program->model + biases))[n] = params->item_bias[packed->popular[n]];
}

/* Biases of the items as they stand in the layer; NaN, which is in no list, behind the last. */
static uint32_t biases_build(struct mr_device_build *build, const struct mr_dense *layer)
{
    const size_t count = (layer->out + WIDE - 1) / WIDE * WIDE;
    const uint32_t position = mr_build_words(build, count);
    for (size_t i = 0; position && i < count; i++)
        ((float *)(build->program->model + position))[i] = i < layer->out ? layer->b[i] : NAN;
    return position;
}

/*
 * Groups that share the users of a batch, each with a list of its own: as few as give all units two, for every list has
 * to be filled; but some where batches may be small and there are many items.
 */
static size_t parts_of(const struct mr_device_build *build, const struct mr_mf_params *params)
{
    const struct mr_device_program *const program = build->program;
    const size_t blocks = (params->items + WIDE - 1) / WIDE, user_groups = (program->row_cap + WIDE - 1) / WIDE + 1;
    const size_t list_bytes = user_groups * WIDE * 2 * params->top * sizeof(float);
    const size_t few = blocks / PART_BLOCKS < PARTS_SMALL ? blocks / PART_BLOCKS : PARTS_SMALL;
    size_t parts = ((size_t)2 * program->kind.units + user_groups - 1) / user_groups;
    if (parts < few && few * list_bytes <= LISTS_BYTES_MAX) parts = few;
    if (parts > blocks / 8 + 1) parts = blocks / 8 + 1;
    return parts ? parts : 1;
}

static void topn_step(struct mr_device_build *build, const struct mr_packed *packed, uint32_t *numbers)
{
    const struct mr_device_kind *const kind = &build->program->kind;
    const struct mr_dense *const layer = &packed->layer[0];
    struct mr_device_step step = {.kernel = "mf_topn", .threads = 1, .blocks = 1};
    if (kind->lanes == 1) {
        step.threads = WIDE_THREADS;
        step.rows = WIDE;
        step.blocks = numbers[MR_REC_PARTS];
        step.shared_bytes = WIDE_SHARED;
        numbers[MR_REC_ITEMS] = mr_build_wide_weights(build, layer);
    } else {
        const size_t chunk = CHUNK_BYTES / (layer->in * MR_BLOCK_OUT * sizeof(float));
        numbers[MR_REC_CHUNK] = (uint32_t)((chunk ? chunk : 1) * MR_BLOCK_OUT);
        numbers[MR_REC_TILES] = mr_build_tiles(build, 2 * (double)layer->in * (double)layer->out);
        numbers[MR_REC_ITEMS] = mr_build_floats(build, layer->w, layer->in * layer->out);
        step.rows = numbers[MR_REC_TILES] * MR_TILE_ROWS;
        step.shared_bytes = (MR_BLOCK_OUT + 1) * MR_TILE_ROWS * sizeof(float);
    }
    numbers[MR_REC_ITEM_BIAS] = biases_build(build, layer);
    mr_build_step(build, &step, numbers, MR_REC_WORDS);
}

void mr_build_mf_topn(struct mr_device_build *build, const struct mr_packed *packed)
{
    const struct mr_mf_params *const params = packed->params;
    const size_t parts = build->program->kind.lanes == 1 ? parts_of(build, params) : 1;
    uint32_t numbers[MR_REC_WORDS] = {0};
    if (params->top > UINT32_MAX / (2 * MR_TILE_ROWS) / parts) {
        build->is_too_large = true;
        return;
    }
    numbers_begin(build, packed, numbers);
    seen_build(build, params, numbers);
    popular_build(build, packed, numbers);
    numbers[MR_REC_ORDER] = mr_build_floats(build, (const float *)packed->order, params->items);
    numbers[MR_REC_OWN_MAX] = (uint32_t)params->own_listed_max;
    numbers[MR_REC_PARTS] = (uint32_t)parts;
    numbers[MR_REC_FACTORS] = mr_build_place(build, params->rank);
    numbers[MR_REC_LISTS] = mr_build_place(build, parts * 2 * params->top);
    rows_step(build, "mf_users", numbers);
    const uint32_t tiles = numbers[MR_REC_TILES];
    topn_step(build, packed, numbers);
    numbers[MR_REC_TILES] = tiles;
    rows_step(build, "mf_merge", numbers);
}
