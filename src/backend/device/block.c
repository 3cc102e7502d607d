#include "backend/device/block.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/gpu_model.h"

#define BOUNDARY 16 /* words: 64 bytes */

uint32_t mr_build_words(struct mr_device_build *build, size_t count)
{
    struct mr_device_program *const program = build->program;
    const size_t position = build->word_count, room = (count + BOUNDARY - 1) / BOUNDARY * BOUNDARY;
    if (build->is_out_of_memory || build->is_too_large) return 0;
    if (count > UINT32_MAX - BOUNDARY || position + room > UINT32_MAX) {
        build->is_too_large = true;
        return 0;
    }
    if (position + room > build->word_cap) {
        const size_t cap = (position + room) * 2;
        uint32_t *const words = realloc(program->model, cap * sizeof *words);
        if (!words) {
            build->is_out_of_memory = true;
            return 0;
        }
        program->model = words;
        build->word_cap = cap;
    }
    memset(program->model + position, 0, room * sizeof *program->model);
    build->word_count += room;
    program->model_bytes = build->word_count * sizeof *program->model;
    return (uint32_t)position;
}

uint32_t mr_build_floats(struct mr_device_build *build, const float *from, size_t count)
{
    if (!from) return 0;
    const uint32_t position = mr_build_words(build, count);
    if (position) memcpy(build->program->model + position, from, count * sizeof *from);
    return position;
}

uint32_t mr_build_place(struct mr_device_build *build, size_t cols)
{
    /* One tile more: a work-group may write whole pairs of tiles. */
    const size_t place = build->scratch_units;
    size_t units;
    if (__builtin_mul_overflow(mr_tile_count(build->program->row_cap) + 1, cols, &units) ||
        units > UINT32_MAX - 1 - place) {
        build->is_too_large = true;
        return 1;
    }
    build->scratch_units += units;
    return (uint32_t)place + 1;
}

uint32_t mr_build_scratch(struct mr_device_build *build, size_t count)
{
    const size_t place = build->scratch_units, units = (count + MR_TILE_ROWS - 1) / MR_TILE_ROWS;
    if (place > UINT32_MAX - 1 || units > UINT32_MAX - 1 - place) {
        build->is_too_large = true;
        return 1;
    }
    build->scratch_units += units;
    return (uint32_t)place + 1;
}

void mr_build_step(struct mr_device_build *build, const struct mr_device_step *step, const uint32_t *numbers,
                   size_t count)
{
    struct mr_device_program *const program = build->program;
    const uint32_t position = mr_build_words(build, count);
    if (!position) return;
    memcpy(program->model + position, numbers, count * sizeof *numbers);
    if (program->step_count == build->step_cap) {
        const size_t cap = build->step_cap * 2 + 4;
        struct mr_device_step *const steps = realloc(program->step, cap * sizeof *steps);
        if (!steps) {
            build->is_out_of_memory = true;
            return;
        }
        program->step = steps;
        build->step_cap = cap;
    }
    program->step[program->step_count] = *step;
    program->step[program->step_count++].step = position;
}

uint32_t mr_build_tiles(const struct mr_device_build *build, double flops_per_row)
{
    const struct mr_device_kind *const kind = &build->program->kind;
    const double tile_flops = (flops_per_row + 8) * MR_TILE_ROWS, wanted = 4e5; /* some 5 us of one core */
    const size_t most = mr_tile_count(build->program->row_cap) / (kind->units * (size_t)4 + 1) + 1;
    size_t tiles = (size_t)(wanted / tile_flops) + 1;
    if (kind->lanes == 1) return 1; /* threads enough */
    if (tiles > most) tiles = most;
    return (uint32_t)(tiles > 64 ? 64 : tiles);
}

float mr_dense_weight(const struct mr_dense *dense, size_t o, size_t c)
{
    const size_t first = o / MR_BLOCK_OUT * MR_BLOCK_OUT, left = dense->out - first;
    return dense->w[first * dense->in + c * (left < MR_BLOCK_OUT ? left : MR_BLOCK_OUT) + (o - first)];
}
