#include "fit/prepare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static void rows_swap(struct mr_matrix *matrix, size_t a, size_t b)
{
    float *const left = &matrix->x[mr_tile_at(a, 0, matrix->cols)];
    float *const right = &matrix->x[mr_tile_at(b, 0, matrix->cols)];
    for (size_t c = 0; c < matrix->cols; c++) {
        const float kept = left[c * MR_TILE_ROWS];
        left[c * MR_TILE_ROWS] = right[c * MR_TILE_ROWS];
        right[c * MR_TILE_ROWS] = kept;
    }
    if (!matrix->label) return;
    const double kept = matrix->label[a];
    matrix->label[a] = matrix->label[b];
    matrix->label[b] = kept;
}

void mr_matrix_shuffle(struct mr_matrix *matrix, uint64_t seed)
{
    for (size_t left = matrix->rows; left > 1; left--) {
        const size_t other = mr_random_below(&seed, left);
        if (other != left - 1) rows_swap(matrix, left - 1, other);
    }
}

mr_status mr_matrix_hold_out(struct mr_matrix *matrix, double share, struct mr_matrix *held_out, struct mr_err *err)
{
    size_t rows = (size_t)(share * (double)matrix->rows + 0.5);
    *held_out = (struct mr_matrix){.cols = matrix->cols, .spill = matrix->spill};
    if (share > 0 && rows < 1) rows = 1;
    if (rows >= matrix->rows) rows = matrix->rows - 1;
    if (!rows || !(share > 0)) return MR_OK;
    const size_t bytes = mr_tile_count(rows) * MR_TILE_ROWS * matrix->cols * sizeof(float);
    mr_status status = mr_mapping_grow(&held_out->x_map, bytes, matrix->spill, err);
    if (!status && matrix->label)
        status = mr_mapping_grow(&held_out->label_map, rows * sizeof(double), matrix->spill, err);
    if (status) {
        mr_matrix_deinit(held_out);
        return status;
    }
    held_out->x = held_out->x_map.at;
    held_out->label = held_out->label_map.at;
    held_out->rows = rows;
    matrix->rows -= rows;
    for (size_t row = 0; row < rows; row++) {
        float *const from = &matrix->x[mr_tile_at(matrix->rows + row, 0, matrix->cols)];
        float *const to = &held_out->x[mr_tile_at(row, 0, matrix->cols)];
        for (size_t c = 0; c < matrix->cols; c++) {
            to[c * MR_TILE_ROWS] = from[c * MR_TILE_ROWS];
            from[c * MR_TILE_ROWS] = 0;
        }
        if (matrix->label) held_out->label[row] = matrix->label[matrix->rows + row];
    }
    return MR_OK;
}

struct standardising {
    struct mr_matrix *matrix;
    const struct mr_standard *standard;
};

static mr_status chunk_standardise(void *context, struct mr_hand *hand, const struct mr_chunk *chunk, double *sums,
                                   struct mr_err *err)
{
    const struct standardising *const work = context;
    const size_t cols = work->matrix->cols;
    (void)hand, (void)sums, (void)err;
    for (size_t first = chunk->first; first < chunk->first + chunk->rows; first += MR_TILE_ROWS) {
        const size_t left = chunk->first + chunk->rows - first, rows = left < MR_TILE_ROWS ? left : MR_TILE_ROWS;
        for (size_t c = 0; c < cols; c++) {
            float *const x = &work->matrix->x[mr_tile_at(first, c, cols)];
            const double mean = work->standard->mean[c], factor = work->standard->factor[c];
            for (size_t i = 0; i < rows; i++) x[i] = (float)(((double)x[i] - mean) * factor);
        }
    }
    return MR_OK;
}

mr_status mr_matrix_standardise(struct mr_crew *crew, struct mr_matrix *matrix, const struct mr_standard *standard,
                                struct mr_err *err)
{
    struct standardising work = {matrix, standard};
    return mr_crew_walk(crew, matrix->rows, matrix->cols, 0, chunk_standardise, &work, NULL, err);
}
