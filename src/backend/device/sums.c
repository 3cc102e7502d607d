/* Sums over rows as launches, and how their partial sums become float64. */
#include <string.h>

#include "backend/device/block.h"
#include "kernels/gpu_model.h"
#include "kernels/kernels.h"

#define SUM_OUTS        8  /* MR_SUM_OUTS of linear_sum_gpu.h */
#define FEW_CENTERS     12 /* up to here every sum looks at all rows */
#define SCATTER_THREADS 64
#define REDUCE_THREADS  256
#define REDUCE_GROUPS   256
/* Of all blocks' sums, where shorter blocks would take more. */
#define SCATTER_BYTES_MAX ((size_t)64 << 20)

_Static_assert(MR_GPU_SQUARED == (int)MR_LOSS_SQUARED && MR_GPU_HUBER == (int)MR_LOSS_HUBER, "same numbers");
_Static_assert(MR_GPU_LOG == (int)MR_LOSS_LOG, "same numbers");

/* A launch of work-groups of `block_rows` rows; their sums are `partial_count` floats. */
static void sum_step(struct mr_device_build *build, const char *kernel, const uint32_t *numbers, size_t partial_count,
                     size_t block_rows, size_t shared_floats)
{
    struct mr_device_program *const program = build->program;
    program->partial_count = partial_count;
    program->partial_rows = block_rows;
    mr_build_step(build,
                  &(struct mr_device_step){.kernel = kernel,
                                           .threads = program->kind.lanes == 1 ? SCATTER_THREADS : 1,
                                           .rows = (uint32_t)block_rows,
                                           .blocks = numbers[MR_SUMS_BLOCKS],
                                           .shared_bytes = (shared_floats + 4) * sizeof(float)},
                  numbers, MR_SUMS_WORDS);
}

void mr_build_moments(struct mr_device_build *build, const struct mr_packed *packed)
{
    const uint32_t numbers[MR_SUMS_WORDS] = {[MR_SUMS_COLS] = (uint32_t)packed->in,
                                             [MR_SUMS_SHIFT] = mr_build_floats(build, packed->shift, packed->in),
                                             [MR_SUMS_BLOCKS] = 1};
    sum_step(build, "moments", numbers, 2 * packed->in, MR_SUM_ROWS, MR_SUM_ROWS);
}

void mr_build_linear_sum(struct mr_device_build *build, const struct mr_packed *packed)
{
    const struct mr_linear_sum_params *const params = packed->params;
    const size_t outs = params->out < SUM_OUTS ? params->out : SUM_OUTS;
    uint32_t numbers[MR_SUMS_WORDS] = {[MR_SUMS_COLS] = (uint32_t)packed->in,
                                       [MR_SUMS_OUT] = (uint32_t)params->out,
                                       [MR_SUMS_LOSS] = params->loss,
                                       [MR_SUMS_BLOCKS] = (uint32_t)((params->out + SUM_OUTS - 1) / SUM_OUTS)};
    memcpy(&numbers[MR_SUMS_DELTA], &params->delta, sizeof params->delta);
    sum_step(build, "linear_sum", numbers, packed->sum_count, MR_SUM_ROWS, (outs + 2) * MR_SUM_ROWS);
}

/* Rows of a block, so that all partial sums together stay small. */
static size_t scatter_rows(const struct mr_device_program *program, size_t count)
{
    const size_t block_bytes = 2 * count * sizeof(float), blocks_max = SCATTER_BYTES_MAX / block_bytes + 1;
    const size_t rows = (program->row_cap + blocks_max - 1) / blocks_max;
    return rows < MR_SUM_ROWS ? MR_SUM_ROWS : (rows + MR_TILE_ROWS - 1) / MR_TILE_ROWS * MR_TILE_ROWS;
}

/* Many centres: the sums of each block, then those of all; the host gets one of each and what was rounded off. */
static void scatter_steps(struct mr_device_build *build, const struct mr_packed *packed)
{
    struct mr_device_program *const program = build->program;
    const size_t count = packed->sum_count, rows = scatter_rows(program, count);
    const bool is_gpu = program->kind.lanes == 1;
    const size_t blocks = ((program->row_cap ? program->row_cap : 1) - 1) / rows + 1;
    uint32_t numbers[MR_SCATTER_WORDS] = {
        [MR_SUMS_COLS] = (uint32_t)packed->in, [MR_SUMS_OUT] = (uint32_t)packed->out, [MR_SUMS_ROWS] = (uint32_t)rows};
    size_t floats;
    if (count > UINT32_MAX / 2 || __builtin_mul_overflow(2 * count, blocks, &floats)) {
        build->is_too_large = true;
        return;
    }
    program->scatter_cols = packed->in;
    program->partial_count = 2 * count;
    program->partial_rows = UINT32_MAX; /* one block for the host, whatever the rows */
    (void)mr_build_scratch(build, 2 * count);
    numbers[MR_SCATTER_PARTIAL] = mr_build_scratch(build, floats);
    struct mr_device_step step = {.kernel = "kmeans_scatter",
                                  .threads = is_gpu ? SCATTER_THREADS : 1,
                                  .rows = (uint32_t)rows,
                                  .blocks = is_gpu ? (uint32_t)((packed->in + 1) / SCATTER_THREADS + 1) : 1,
                                  .shared_bytes = 16};
    numbers[MR_SUMS_BLOCKS] = step.blocks;
    mr_build_step(build, &step, numbers, MR_SCATTER_WORDS);
    step.kernel = "kmeans_reduce";
    step.threads = is_gpu ? REDUCE_THREADS : 1;
    step.rows = UINT32_MAX; /* all groups, whatever the rows */
    step.blocks = is_gpu ? REDUCE_GROUPS : program->kind.units;
    if (step.blocks > count / step.threads + 1) step.blocks = (uint32_t)(count / step.threads + 1);
    numbers[MR_SUMS_BLOCKS] = step.blocks;
    mr_build_step(build, &step, numbers, MR_SCATTER_WORDS);
}

void mr_build_kmeans_sum(struct mr_device_build *build, const struct mr_packed *packed)
{
    uint32_t numbers[MR_SUMS_WORDS] = {
        [MR_SUMS_COLS] = (uint32_t)packed->in, [MR_SUMS_OUT] = (uint32_t)packed->out, [MR_SUMS_BLOCKS] = 1};
    if (packed->out <= FEW_CENTERS) {
        sum_step(build, "kmeans_sum", numbers, packed->sum_count, MR_SUM_ROWS, (size_t)2 * MR_SUM_ROWS);
        return;
    }
    scatter_steps(build, packed);
}

/* kmeans_scatter: by columns, then the counts, then the distances; behind them what was rounded off. */
static void scatter_add(const struct mr_device_program *program, const float *partial, double *sums)
{
    const size_t count = program->sum_count, cols = program->scatter_cols, k = (count - 1) / (cols + 1);
    for (size_t i = 0; i < k; i++) {
        sums[i] += (double)partial[cols * k + i];
        for (size_t c = 0; c < cols; c++)
            sums[k + i * cols + c] += (double)partial[c * k + i] + (double)partial[count + c * k + i];
    }
    sums[count - 1] += (double)partial[count - 1] + (double)partial[2 * count - 1];
}

void mr_device_sums(const struct mr_device_program *program, const float *partial, size_t rows, double *sums)
{
    const size_t blocks = rows ? (rows + program->partial_rows - 1) / program->partial_rows : 0;
    memset(sums, 0, program->sum_count * sizeof *sums);
    for (size_t block = 0; block < blocks; block++, partial += program->partial_count) {
        if (program->scatter_cols)
            scatter_add(program, partial, sums);
        else
            for (size_t i = 0; i < program->partial_count; i++) sums[i] += (double)partial[i];
    }
    if (program->op == MR_OP_MOMENTS) sums[program->sum_count - 1] = (double)rows;
}
