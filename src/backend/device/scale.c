/* Scaling as a launch. */
#include <stdlib.h>

#include "backend/device/block.h"
#include "kernels/gpu_model.h"

static void scale_step(struct mr_device_build *build, uint32_t to, uint32_t shift, uint32_t scale, size_t cols)
{
    const uint32_t tiles = mr_build_tiles(build, 2 * (double)cols);
    const uint32_t numbers[MR_SCALE_WORDS] = {[MR_SCALE_TILES] = tiles,
                                              [MR_SCALE_COLS] = (uint32_t)cols,
                                              [MR_SCALE_TO] = to,
                                              [MR_SCALE_SHIFT] = shift,
                                              [MR_SCALE_SCALE] = scale};
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = "scale",
                                           .threads = build->program->kind.lanes == 1 ? MR_TILE_ROWS : 1,
                                           .rows = tiles * MR_TILE_ROWS,
                                           .blocks = 1,
                                           .shared_bytes = 16},
                  numbers, MR_SCALE_WORDS);
}

void mr_build_scale(struct mr_device_build *build, const struct mr_packed *packed)
{
    const uint32_t shift = mr_build_floats(build, packed->shift, packed->in);
    scale_step(build, 0, shift, mr_build_floats(build, packed->scale, packed->in), packed->in);
}

uint32_t mr_build_shift(struct mr_device_build *build, const float *shift, size_t cols)
{
    const uint32_t place = mr_build_place(build, cols), ones = mr_build_words(build, cols);
    for (size_t c = 0; ones && c < cols; c++) ((float *)(build->program->model + ones))[c] = 1;
    scale_step(build, place, mr_build_floats(build, shift, cols), ones, cols);
    return place;
}
